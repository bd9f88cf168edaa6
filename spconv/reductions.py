"""What a tensor computes along its axes: sums, means, extremes and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from spconv.checks import check_int
from spconv.compat import Array, array_module
from spconv.dtypes import math_type
from spconv.graph import Backward

Result = TypeVar("Result", bound="Reductions")


class Reductions(Generic[Result]):
    """Methods of :class:`spconv.autograd.Tensor`, which brings the way onto the tape."""

    __slots__ = ()
    _data: Array

    def _record(self, data: Array, inputs: Sequence[Any], backward: Backward) -> Result:
        raise NotImplementedError

    def max(self, axis: int | None = None, keepdims: bool = False) -> Result:
        """Largest element along ``axis``; without one of all elements, a scalar.

        NaN is larger than any number. Of equal elements along an axis the first gets the gradient,
        as in pooling; without an axis each gets the same share. PyTorch's ``max`` does the same.

        Raises
        ------
        ValueError
            If there is no such axis, or no element to take.

        Examples
        --------
        >>> import numpy as np, spconv
        >>> spconv.Tensor(np.array([[1.0, 5.0], [7.0, 3.0]])).max(axis=1)
        Tensor(array([5., 7.]))
        """
        return self._extreme("max", axis, keepdims)

    def min(self, axis: int | None = None, keepdims: bool = False) -> Result:
        """Smallest element, see :meth:`max`; NaN is smaller than any number.

        Examples
        --------
        >>> import numpy as np, spconv
        >>> spconv.Tensor(np.array([[1.0, 5.0], [7.0, 3.0]])).min(axis=1)
        Tensor(array([1., 3.]))
        """
        return self._extreme("min", axis, keepdims)

    def argmax(self, axis: int | None = None) -> Array:
        """Where the largest element along ``axis`` is, the first of equal ones.

        Like a comparison it is of the values: an array of integers, and no Tensor. Without an axis
        it is a place among all elements in row-major order. Raises as :meth:`max` does.

        Examples
        --------
        >>> import numpy as np, spconv
        >>> spconv.Tensor(np.array([[1.0, 5.0], [7.0, 3.0]])).argmax(axis=1)
        array([1, 0])
        """
        return self._data.argmax(axis=_choice("argmax", self._data, axis))

    def _extreme(self, name: str, axis: int | None, keepdims: bool) -> Result:
        a, xp = self._data, array_module(self._data)
        axis = _choice(name, a, axis)
        shape = tuple(1 if axis in (None, i) else n for i, n in enumerate(a.shape))
        if axis is None:
            values = getattr(a, name)()
            same = (a == values) | ((a != a) & (values != values))
            share = 1 / same.sum(dtype=math_type(a.dtype))
        else:
            best = xp.expand_dims(getattr(a, f"arg{name}")(axis=axis), axis)
            places = xp.arange(a.shape[axis]).reshape(-1, *[1] * (a.ndim - axis - 1))
            values, same, share = xp.take_along_axis(a, best, axis), places == best, None

        def backward(gradient: Array) -> tuple[Array]:
            each = gradient.reshape(shape)
            each = each if share is None else (each * share).astype(each.dtype)
            return (xp.where(same, each, each.dtype.type(0)),)

        kept = [n for i, n in enumerate(a.shape) if axis not in (None, i)]
        return self._record(values.reshape(shape if keepdims else kept), (self,), backward)

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Result:
        """Sum along ``axis``, accumulated in float64; without one of all elements, a scalar."""
        return self._reduced(axis, keepdims, mean=False)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Result:
        """Mean along ``axis``, accumulated in float64; without one of all elements, a scalar."""
        return self._reduced(axis, keepdims, mean=True)

    def _reduced(self, axis: Any, keepdims: bool, *, mean: bool) -> Result:
        a = self._data
        total = a.sum(axis=axis, dtype=np.float64, keepdims=True)
        scale = total.size / max(a.size, 1) if mean else 1.0
        shape, dtype, kept = a.shape, a.dtype, total.shape
        factor = math_type(dtype)(scale)

        def backward(gradient: Array) -> tuple[Array]:
            each = (gradient.reshape(kept) * factor).astype(dtype, copy=False)
            return (each + np.zeros_like(each, shape=shape),)

        result = (total * scale).astype(dtype)
        return self._record(result if keepdims else result.squeeze(axis), (self,), backward)


def _choice(name: str, a: Array, axis: int | None) -> int | None:
    """The axis along which one element is chosen, from 0 on; None for all of them."""
    if axis is not None:
        axis = check_int(f"Tensor.{name}", "axis", axis, -a.ndim, a.ndim - 1) % a.ndim
    if (a.size if axis is None else a.shape[axis]) == 0:
        raise ValueError(
            f"Tensor.{name}: expected at least one element to choose from, got shape {a.shape}"
        )
    return axis
