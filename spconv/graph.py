"""The graph of operations, and the walk back through it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any
from weakref import ref

import numpy as np

from spconv.checks import type_name
from spconv.compat import Array, is_array, may_share_memory
from spconv.locks import Lock
from spconv.memory import WORTH_KEEPING, combined, copied

Backward = Callable[[Array], Sequence[Array | None]]

_creation_number = itertools.count()
_leaves = Lock()  # several threads may go backward into the same parameters


class Changes:
    """How often values were changed in place; tensors of one array share it."""

    __slots__ = ("count", "shape")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.count = 0


class Node:
    """One operation, or one leaf that wants a gradient."""

    __slots__ = ("backward", "dtype", "leaf", "number", "parents", "shape", "used")

    def __init__(
        self,
        parents: Sequence[Node | None],
        backward: Backward | None,
        data: Array,
        used: Sequence[tuple[Changes, int]] = (),
    ) -> None:
        self.parents = parents
        self.backward = backward
        self.dtype: np.dtype = data.dtype
        self.shape: tuple[int, ...] = data.shape
        self.used = used  # of inputs that may be changed in place, and their counts
        # Weak, because a leaf holds its node: a model is freed when it is dropped.
        self.leaf: ref[Any] | None = None
        self.number = next(_creation_number)


def run_backward(root: Node, gradient: Array) -> None:
    """Visit nodes from the newest to the oldest: every consumer comes before its inputs."""
    nodes = sorted(checked_nodes(root), key=attrgetter("number"))
    gradients: dict[Node, Array] = {root: gradient}
    new: set[Node] = set()  # whose gradient is nobody else's array
    while nodes:
        node = nodes.pop()
        if node not in gradients:  # no consumer gave it one
            continue
        gradient = _array(gradients.pop(node))
        if gradient.dtype != node.dtype:
            gradient = gradient.astype(node.dtype)
        if node.leaf is not None:
            leaf = node.leaf()
            with _leaves:
                if leaf is not None and leaf.grad is not None:
                    leaf.grad = _array(combined(np.add, leaf.grad, gradient))
                elif leaf is not None:
                    leaf.grad = gradient if node in new else copied(gradient)
            continue
        parents, given = node.parents, _read_only(gradient)
        results = node.backward(given)
        check_results(node.backward, results, parents)
        for parent, result in zip(parents, results, strict=True):
            if parent is None or result is None:
                continue
            # Gradients are borrowed, so sums are made out of place.
            if parent in gradients:
                gradients[parent] = combined(np.add, gradients[parent], result)
                new.add(parent)
            else:
                gradients[parent] = result
                if parent.leaf is not None and _is_new(result, (given, *results)):
                    new.add(parent)
        node.backward, node.parents, node.used = None, (), ()


def _array(value: Any) -> Array:
    """What NumPy makes of sums without axes, as an array."""
    return np.asarray(value) if isinstance(value, np.generic) else value


def _read_only(array: Array) -> Array:
    """A view that a backward cannot change: the array may be another branch's gradient too."""
    if type(array) is not np.ndarray:
        return array
    view = array.view()
    view.setflags(write=False)
    return view


def _is_new(result: Array, arrays: Sequence[Array | None]) -> bool:
    """Whether to keep a leaf's gradient as it is, one of ``arrays``: no other has its memory."""
    on_host = type(result) is np.ndarray
    if on_host and result.nbytes < WORTH_KEEPING:
        return False  # a copy takes no longer than to look
    flags = result.flags
    if not flags.c_contiguous or (on_host and not flags.writeable):
        return False
    return sum(may_share_memory(result, array) for array in arrays) == 1


def checked_nodes(root: Any) -> set[Any]:
    """A node and all that it was computed of.

    Raises
    ------
    RuntimeError
        Before anything is computed, if values that the graph may need are no more.
    """
    seen, stack = {root}, [root]
    while stack:
        node = stack.pop()
        if node.leaf is None and node.backward is None:
            raise RuntimeError(
                "Tensor.backward: the graph has been consumed by an earlier backward pass; run "
                "the forward pass again"
            )
        for changes, count in node.used:
            if changes.count != count:
                raise RuntimeError(
                    f"Tensor.backward: a parameter of shape {changes.shape} was changed in place "
                    "after the forward pass, as an optimizer's step() does; go backward before "
                    "that, or forward again"
                )
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return seen


def check_results(backward: Any, gradients: Any, inputs: Sequence[Any]) -> None:
    """What a ``backward`` of :func:`spconv.autograd.record` returned, held against its inputs.

    Raises
    ------
    TypeError
        If it is no tuple or list, since an array would be taken row by row, or one of them is no
        array.
    ValueError
        If there are not as many as inputs, or one has not the shape of its input.
    """
    if not isinstance(gradients, (tuple, list)):
        raise TypeError(
            f"record: {backward} must return a tuple, one gradient or None for each input, got "
            f"{type_name(gradients)}"
        )
    if len(gradients) != len(inputs):
        raise ValueError(
            f"record: {backward} must return one gradient or None for each of {len(inputs)} "
            f"inputs, got {len(gradients)}"
        )
    for gradient, node in zip(gradients, inputs, strict=True):
        if gradient is None or node is None:
            continue
        if type(gradient) is not np.ndarray and not is_array(gradient):
            tensor = hasattr(gradient, "requires_grad")
            fix = "return its .data" if tensor else "make one with numpy.asarray"
            raise TypeError(
                f"record: {backward} must return arrays, got {type_name(gradient)}; {fix}"
            )
        if gradient.shape != node.shape:
            raise ValueError(
                f"record: {backward} returned a gradient of shape {gradient.shape} for an input of "
                f"shape {node.shape}"
            )
