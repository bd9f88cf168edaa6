"""Reverse-mode differentiation: a define-by-run tape of closures.

An operation computes its result and hands :func:`record` a closure that turns the gradient of
the result into the gradients of its inputs. Nodes keep their parents' nodes, never input
tensors, and closures capture only the arrays they need, so memory is freed as backward goes.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from spconv import numpy_functions
from spconv.adjoints import own_index, scattered, unbroadcast
from spconv.checks import type_name
from spconv.compat import Array, array_module, is_array, is_cupy, may_share_memory
from spconv.dtypes import as_floating
from spconv.graph import Backward, Changes, Node, run_backward
from spconv.memory import combined
from spconv.operations import Operations, values_of

_recording = ContextVar("recording", default=True)
_TYPELESS = int, float, np.integer  # float64's scalars are floats
_NUMBERS = *_TYPELESS, np.floating


class Tensor(Operations["Tensor"]):
    """An array with an optional gradient.

    Parameters
    ----------
    array : numpy.ndarray, cupy.ndarray or (nested) numbers
        Floating point; numbers and integer lists become float32.
    requires_grad : bool

    Attributes
    ----------
    data : ndarray
        Assignable, but for the result of an operation; the shape must stay the same.
    grad : ndarray or None
        Summed over backward passes until it is set to None.

    Examples
    --------
    >>> import numpy as np
    >>> x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4.])
    """

    __slots__ = ("__weakref__", "_changes", "_data", "_node", "grad", "requires_grad")

    def __init__(self, array: Any, requires_grad: bool = False) -> None:
        self._data: Array = as_floating(values_of(array))
        self.requires_grad = requires_grad
        self.grad: Array | None = None
        self._node: Node | None = None
        # Of what an optimizer may change, and of all that share its array.
        self._changes = Changes(self._data.shape) if requires_grad else None

    @property
    def data(self) -> Array:
        return self._data

    @data.setter
    def data(self, array: Any) -> None:
        array = as_floating(values_of(array))
        if array.shape != self._data.shape:
            raise ValueError(
                f"Tensor.data: expected shape {self._data.shape}, got {array.shape}; "
                "make a new Tensor to change the shape"
            )
        if may_share_memory(array, self._data):  # tensor.data *= 2 assigns what it has changed
            self.changed_in_place()
        else:
            self._leave()
            self._changes = self._changes and Changes(array.shape)
        self._data = array

    def changed_in_place(self) -> None:
        """Say that the values were: a backward through what was computed of them is an error."""
        self._leave()
        if self._changes is not None:
            self._changes.count += 1

    def _leave(self) -> None:
        """Start anew: the graph keeps what was computed of the values that were."""
        if self._node is not None and self._node.leaf is None:
            raise RuntimeError(
                "Tensor: the result of an operation cannot be changed: gradients of what it was "
                "computed of would be lost; compute a new one, or take it off the tape: y.detach()"
            )
        self._node = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    def __len__(self) -> int:
        if not self._data.ndim:
            raise TypeError("Tensor: a scalar has no length and no rows; item() is its value")
        return len(self._data)

    def __repr__(self) -> str:
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"{type(self).__name__}({self._data!r}{grad})"

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array, copied from the GPU if they are there."""
        return self._data.get() if is_cupy(self._data) else self._data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return np.array(array, dtype=dtype, copy=copy) if dtype is not None or copy else array

    @numpy_functions.AskedOfTheClass
    def __array_ufunc__(
        self, function: np.ufunc, method: str, *operands: Any, **options: Any
    ) -> Any:
        """``array * tensor`` comes to __rmul__, any other ufunc is an error."""
        reflected = numpy_functions.REFLECTED.get(function)
        if not reflected or method != "__call__" or options or isinstance(operands[0], Tensor):
            raise numpy_functions.refused(function, method)
        return getattr(self, reflected)(operands[0])

    def __array_function__(
        self, function: Any, types: Any, arguments: Sequence[Any], options: dict[str, Any]
    ) -> Any:
        """NumPy's functions get the values; see :mod:`spconv.numpy_functions`."""
        return numpy_functions.call(function, arguments, options, Tensor, _recording.get())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return self.item()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __getstate__(self) -> tuple[Array, bool, Array | None]:
        """What is pickled: the values, not the graph they came from."""
        return self._data, self.requires_grad, self.grad

    def __setstate__(self, state: tuple[Array, bool, Array | None]) -> None:
        self._data, self.requires_grad, self.grad = state
        self._node, self._changes = None, Changes(self._data.shape)

    def item(self) -> float:
        """The value of a tensor with one element."""
        return float(self._data.item())

    def detach(self) -> Tensor:
        """The same array, off the tape."""
        detached = Tensor(self._data)
        detached._changes = self._changes
        return detached

    def __dlpack__(self, **options: Any) -> Any:
        """Share the values with another library; gradients do not cross."""
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    def backward(self, gradient: Array | None = None) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf that it depends on.

        Parameters
        ----------
        gradient : ndarray, optional
            Gradient of the loss with respect to this tensor, of its shape; a scalar needs none.

        Raises
        ------
        ValueError
            If ``gradient`` is missing or has another shape.
        TypeError
            If ``gradient`` is no array.
        RuntimeError
            If nothing requires a gradient, the graph has been consumed already, or values in it
            were changed in place.
        """
        if gradient is None:
            if self.size != 1:
                raise ValueError(
                    f"Tensor.backward: a tensor of shape {self.shape} needs a gradient of that "
                    "shape; only a scalar needs none"
                )
            gradient = np.ones_like(self._data)
        elif not is_array(gradient):
            raise TypeError(
                f"Tensor.backward: the gradient must be an array, got {type_name(gradient)}"
            )
        elif gradient.shape != self.shape:
            raise ValueError(
                f"Tensor.backward: expected a gradient of shape {self.shape}, got {gradient.shape}"
            )
        node = self._graph_node()
        if node is None:
            raise RuntimeError(
                "Tensor.backward: nothing to differentiate; no input required a gradient, or the "
                "forward pass ran under no_grad()"
            )
        run_backward(node, gradient)

    def _record(self, data: Array, inputs: Sequence[Tensor | None], backward: Backward) -> Tensor:
        return record(data, inputs, backward)

    def _operand(self, value: Any) -> Tensor:
        return as_operand(value, self)

    def _graph_node(self) -> Node | None:
        if not self.requires_grad:
            return None
        if self._node is None:
            self._node = Node((), None, self._data)
            self._node.leaf = weakref.ref(self)
            self._changes = self._changes or Changes(self._data.shape)
        return self._node

    def __getitem__(self, index: Any) -> Tensor:
        """Rows or elements, as those of an array; an array of integers may take one twice."""
        if isinstance(index, int):
            len(self)  # a scalar's IndexError would be the end of an iteration
        shape, xp = self.shape, array_module(self._data)
        own = own_index(index, xp)

        def backward(gradient: Array) -> tuple[Array]:
            return (scattered(gradient, own, shape),)

        return record(xp.asarray(self._data[own]), (self,), backward)

    def __add__(self, other: Any) -> Tensor:
        other = as_operand(other, self)
        shapes = self.shape, other.shape

        def backward(gradient: Array) -> tuple[Array, Array]:
            return unbroadcast(gradient, shapes[0]), unbroadcast(gradient, shapes[1])

        return record(combined(np.add, self._data, other._data), (self, other), backward)

    def __mul__(self, other: Any) -> Tensor:
        other = as_operand(other, self)
        a, b = self._data, other._data
        wanted = other.requires_grad

        def backward(gradient: Array) -> tuple[Array, Array | None]:
            db = unbroadcast(gradient * a, b.shape) if wanted else None
            return unbroadcast(gradient * b, a.shape), db

        return record(a * b, (self, other), backward)

    def __sub__(self, other: Any) -> Tensor:
        return self + (-as_operand(other, self))

    def __rsub__(self, other: Any) -> Tensor:
        return as_operand(other, self) + (-self)

    def __truediv__(self, other: Any) -> Tensor:
        other = as_operand(other, self)
        a, b = self._data, other._data
        wanted = other.requires_grad

        def backward(gradient: Array) -> tuple[Array, Array | None]:
            da = gradient / b
            db = unbroadcast(-da * a / b, b.shape) if wanted else None
            return unbroadcast(da, a.shape), db

        return record(a / b, (self, other), backward)

    def __rtruediv__(self, other: Any) -> Tensor:
        return as_operand(other, self) / self

    def __neg__(self) -> Tensor:
        return record(-self._data, (self,), lambda gradient: (-gradient,))

    __radd__ = __add__
    __rmul__ = __mul__


class Parameter(Tensor):
    """A tensor that a layer learns."""

    __slots__ = ()

    def __init__(self, array: Any) -> None:
        super().__init__(array, requires_grad=True)


def record(data: Array, inputs: Sequence[Tensor | None], backward: Backward) -> Tensor:
    """Make the result of an operation and put the operation on the tape.

    Parameters
    ----------
    data : ndarray
        The result, which must not be changed from then on, nor be an array that is, such as an
        input's: optimizers update parameters in place. It is not copied.
    inputs : sequence of Tensor or None
        None stands for an optional input that was not given.
    backward : callable
        Takes the gradient of ``data``, a read-only array, and returns one gradient (an array, or
        None) for every input, which belongs to the input from then on. It must not refer to the
        input tensors.

    Raises
    ------
    TypeError
        If an input is no Tensor.
    """
    result = Tensor(data)
    if isinstance(inputs, Tensor):  # its rows would be taken for inputs
        raise TypeError(
            "record: inputs must be a sequence of Tensors or None, got Tensor; pass a tuple, (x,)"
        )
    if _recording.get():
        try:
            parents = [None if tensor is None else tensor._graph_node() for tensor in inputs]
        except (AttributeError, TypeError):
            kinds = type_name(inputs)
            if isinstance(inputs, tuple | list):
                kinds = f"({', '.join(map(type_name, inputs))})"
            raise TypeError(
                f"record: inputs must be a sequence of Tensors or None, got {kinds}"
            ) from None
        if any(parents):
            result.requires_grad = True
            used = [
                (tensor._changes, tensor._changes.count)
                for tensor in inputs
                if tensor is not None and tensor._changes is not None
            ]
            result._node = Node(parents, backward, result._data, used)
    return result


def needs_gradient(tensor: Tensor | None) -> bool:
    """Whether an operation, if it is recorded, will be asked for the gradient of this input."""
    return tensor is not None and tensor.requires_grad


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside the ``with`` block: evaluation takes less memory and time."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def as_operand(value: Any, like: Tensor) -> Tensor:
    """A Tensor as it is; arrays, and numbers of the dtype and on the device of ``like``, as one."""
    if isinstance(value, Tensor):
        return value
    if type(value) is np.ndarray:
        return Tensor(value)
    if hasattr(value, "features"):
        raise TypeError(
            f"Tensor: an operand is a {type_name(value)}; compute with its features, and "
            "x.replace_feature(result) puts them back on its sites"
        )
    if not isinstance(value, _NUMBERS):
        return Tensor(value)
    dtype = like.dtype if isinstance(value, _TYPELESS) else value.dtype
    if not is_cupy(like._data):
        return Tensor(np.array(value, dtype))
    # Filled in where ``like`` is: an array of the host would not mix with one of the device.
    return Tensor(array_module(like._data).full((), value, dtype))
