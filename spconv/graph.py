"""Checks of the graph that backward walks: before it and on its way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spconv.checks import type_name


def check_values(root: Any) -> None:
    """Raise, before anything is computed, if values that the graph may need are no more."""
    seen, stack = {root}, [root]
    while stack:
        node = stack.pop()
        if node.stale:
            raise RuntimeError(
                f"Tensor.backward: a parameter of shape {node.shape} was changed in place by an "
                "optimizer after the forward pass; go backward before step(), or forward again"
            )
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)


def check_results(backward: Any, gradients: Any, inputs: Sequence[Any]) -> None:
    """What a ``backward`` of :func:`spconv.autograd.record` returned, held against its inputs.

    Raises
    ------
    TypeError
        If it is no tuple or list: an array would be taken row by row.
    ValueError
        If there are not as many as inputs, or one has not the shape of its input.
    """
    if not isinstance(gradients, tuple | list):
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
        shape = getattr(gradient, "shape", type_name(gradient))
        if shape != node.shape:
            raise ValueError(
                f"record: {backward} returned a gradient of shape {shape} for an input of shape "
                f"{node.shape}"
            )
