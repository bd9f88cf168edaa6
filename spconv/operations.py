"""What a tensor computes beside arithmetic: comparisons, functions of elements, products."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan, log, nan, prod
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from spconv.checks import check_int, type_name
from spconv.compat import Array, array_module, check_one_device, is_cupy
from spconv.dtypes import math_type
from spconv.ops import get_ops
from spconv.reductions import Reductions

Result = TypeVar("Result", bound="Operations")


class Operations(Reductions[Result]):
    """Methods of :class:`spconv.autograd.Tensor`, which brings the way onto the tape."""

    __slots__ = ()
    requires_grad: bool

    def _operand(self, value: Any) -> Result:
        raise NotImplementedError

    # Comparisons are of the values, arrays of bools; a tensor is hashed by identity.
    __hash__ = object.__hash__

    def __eq__(self, other: Any) -> Any:
        return self._data == values_of(other)

    def __ne__(self, other: Any) -> Any:
        return self._data != values_of(other)

    def __lt__(self, other: Any) -> Any:
        return self._data < values_of(other)

    def __le__(self, other: Any) -> Any:
        return self._data <= values_of(other)

    def __gt__(self, other: Any) -> Any:
        return self._data > values_of(other)

    def __ge__(self, other: Any) -> Any:
        return self._data >= values_of(other)

    def __pow__(self, exponent: float) -> Result:
        if not isinstance(exponent, Real):
            raise TypeError(
                f"Tensor **: the exponent must be a number, got {type_name(exponent)}; of positive "
                "elements (x.log() * exponent).exp() is the power"
            )
        a, power = self._data, float(exponent)

        def backward(gradient: Array) -> tuple[Array]:
            # x ** 0 is constant, also at 0, where 0 ** -1 is infinite.
            return (gradient * power * a ** (power - 1) if power else np.zeros_like(gradient),)

        return self._record(a**power, (self,), backward)

    def __rpow__(self, base: float) -> Result:
        if not isinstance(base, Real):
            raise TypeError(
                f"Tensor **: the base of a power with a Tensor must be a number, got "
                f"{type_name(base)}; of positive elements (x * base.log()).exp() is the power"
            )
        a, number, xp = self._data, float(base), array_module(self._data)
        values = number**a

        def backward(gradient: Array) -> tuple[Array]:
            if not number:  # 0 ** x is constant from 0 on
                return (gradient * xp.where(a >= 0, 0, -inf),)
            return (gradient * values * (log(number) if number > 0 else nan),)

        return self._record(values, (self,), backward)

    def exp(self) -> Result:
        """e to the power of every element."""
        values = array_module(self._data).exp(self._data)
        return self._record(values, (self,), lambda gradient: (gradient * values,))

    def log(self) -> Result:
        """Natural logarithm of every element."""
        a = self._data
        return self._record(array_module(a).log(a), (self,), lambda gradient: (gradient / a,))

    def sqrt(self) -> Result:
        """Square root of every element; the gradient at 0 is infinite.

        Examples
        --------
        >>> import numpy as np, spconv
        >>> spconv.Tensor(np.array([4.0, 9.0])).sqrt()
        Tensor(array([2., 3.]))
        """
        values = array_module(self._data).sqrt(self._data)
        return self._record(values, (self,), lambda gradient: (gradient / (2 * values),))

    def abs(self) -> Result:
        """Absolute value of every element, also ``abs(x)``; the gradient at 0 is 0.

        Examples
        --------
        >>> import numpy as np, spconv
        >>> spconv.Tensor(np.array([-2.0, 3.0])).abs()
        Tensor(array([2., 3.]))
        """
        a = self._data

        def backward(gradient: Array) -> tuple[Array]:
            return (gradient * array_module(a).sign(a),)

        return self._record(abs(a), (self,), backward)

    def __abs__(self) -> Result:
        return self.abs()

    def clip(self, min: float | None = None, max: float | None = None) -> Result:
        """Every element, but none below ``min`` and none above ``max``.

        Elements inside and on the bounds pass the gradient on, others do not.

        Parameters
        ----------
        min, max : float, optional
            One of them at least. For bounds that are tensors there are
            :func:`spconv.functional.maximum` and ``minimum``.

        Raises
        ------
        TypeError
            If a bound is no number.
        ValueError
            If there is none, or ``min`` is above ``max``.

        Examples
        --------
        >>> import numpy as np, spconv
        >>> spconv.Tensor(np.array([-2.0, 0.5, 3.0])).clip(0, 1)
        Tensor(array([0. , 0.5, 1. ]))
        """
        low, high = _bound("min", min, -np.inf), _bound("max", max, np.inf)
        if (min is None and max is None) or low > high:
            raise ValueError(
                f"Tensor.clip: expected bounds min <= max, one of them at least, got min={min} and "
                f"max={max}"
            )
        a, xp = self._data, array_module(self._data)
        with np.errstate(over="ignore"):  # a bound that the type does not reach is infinite there
            least, most = np.array([low, high]).astype(a.dtype)
        below, above = a < least, a > most
        values = xp.where(below, least, xp.where(above, most, a))
        outside = below | above | (a != a)

        def backward(gradient: Array) -> tuple[Array]:
            return (xp.where(outside, gradient.dtype.type(0), gradient),)

        return self._record(values, (self,), backward)

    def reshape(self, *shape: int | tuple[int, ...]) -> Result:
        """The same elements, in row-major order, as an array of another shape."""
        before = self._data.shape

        def backward(gradient: Array) -> tuple[Array]:
            return (gradient.reshape(before),)

        return self._record(self._data.reshape(*shape), (self,), backward)

    def flatten(self, start_axis: int = 0) -> Result:
        """The axes from ``start_axis`` on as one, all of them by default.

        Raises
        ------
        TypeError, ValueError
            If there is no such axis.

        Examples
        --------
        >>> import numpy as np, spconv
        >>> x = spconv.Tensor(np.zeros((2, 3, 4)))
        >>> x.flatten().shape, x.flatten(1).shape
        ((24,), (2, 12))
        """
        shape = self._data.shape or (1,)  # a scalar is a row of one
        axis = check_int(
            "Tensor.flatten", "start_axis", start_axis, -len(shape), len(shape) - 1
        ) % len(shape)
        return self.reshape(*shape[:axis], prod(shape[axis:]))

    def permute(self, *axes: int) -> Result:
        """The axes in another order, a view: axis i of the result is ``axes[i]`` of the tensor.

        There is no ``transpose``, which means two things: NumPy's takes all axes, as this does,
        PyTorch's the two to swap.

        Raises
        ------
        TypeError, ValueError
            If these are not all axes, each of them once.

        Examples
        --------
        >>> import numpy as np, spconv
        >>> spconv.Tensor(np.zeros((2, 3, 4))).permute(0, 2, 1).shape
        (2, 4, 3)
        """
        given = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
        ndim = self._data.ndim
        order = [check_int("Tensor.permute", "axis", a, -ndim, ndim - 1) % ndim for a in given]
        if sorted(order) != list(range(ndim)):
            raise ValueError(
                f"Tensor.permute: expected each of the {ndim} axes of shape {self._data.shape} "
                f"once, got {tuple(given)}"
            )
        back = tuple(np.argsort(order).tolist())

        def backward(gradient: Array) -> tuple[Array]:
            return (gradient.transpose(back),)

        return self._record(self._data.transpose(tuple(order)), (self,), backward)

    @property
    def T(self) -> Result:
        """A matrix with rows and columns exchanged."""
        if self._data.ndim != 2:
            raise ValueError(
                f"Tensor.T: expected a matrix, got shape {self._data.shape}; use permute(*axes)"
            )
        return self.permute(1, 0)

    def __matmul__(self, other: Any) -> Result:
        """Product of matrices (..., N, C) and (C, O), or (..., C, O) with equal leading axes.

        A vector is a row on the left and a column on the right. One matrix on the right is one
        product, a stack of them one for each.
        """
        right = self._operand(other)
        a, b = self._data, right._data
        check_one_device("Tensor @", a, b)
        if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2:][0]:
            raise _no_product(a, b)
        *lead, rows, inner = (1, *a.shape) if a.ndim == 1 else a.shape
        if a.ndim == 1:
            return (self.reshape(1, inner) @ right).reshape(b.shape[1:])
        if b.ndim == 1:
            return (self @ right.reshape(inner, 1)).reshape(a.shape[:-1])
        if b.ndim == 2 and lead:
            flat = self.reshape(prod(lead) * rows, inner) @ right
            return flat.reshape(*lead, rows, b.shape[1])
        if tuple(lead) != b.shape[:-2]:
            raise _no_product(a, b)
        return self._stacked_product(right)

    def __rmatmul__(self, other: Any) -> Result:
        return self._operand(other) @ self

    def _stacked_product(self, right: Result) -> Result:
        dtype = np.result_type(self._data.dtype, right._data.dtype)
        # The processor's kernels have no half precision.
        wide = dtype if is_cupy(self._data) else math_type(dtype)
        a, b = (_stack(t._data.astype(wide, copy=False)) for t in (self, right))
        ops, wanted = get_ops(a), (self.requires_grad, right.requires_grad)
        shapes = self._data.shape, right._data.shape

        def backward(gradient: Array) -> tuple[Array | None, ...]:
            dy = _stack(gradient.astype(wide, copy=False))
            da = _products(ops.matmul, dy, b.transpose(0, 2, 1), shapes[0]) if wanted[0] else None
            db = _products(ops.matmul_gradient, a, dy, shapes[1]) if wanted[1] else None
            return da, db

        data = _products(ops.matmul, a, b, (*shapes[0][:-1], shapes[1][-1]))
        return self._record(data.astype(dtype, copy=False), (self, right), backward)


def _bound(name: str, value: Any, default: float) -> float:
    if value is None:
        return default
    if not isinstance(value, Real):
        raise TypeError(
            f"Tensor.clip: {name} must be a number or None, got {type_name(value)}; bounds for "
            "each element are spconv.functional.maximum and minimum"
        )
    if isnan(value):
        raise ValueError(f"Tensor.clip: {name} must be a number or None, got {value}")
    return float(value)


def _stack(array: Array) -> Array:
    """Matrices (G, N, C)."""
    return array.reshape(prod(array.shape[:-2]), *array.shape[-2:])


def _products(
    product: Callable[[Array, Array], Array], a: Array, b: Array, shape: tuple[int, ...]
) -> Array:
    """One product for each pair of matrices, as an array of ``shape``."""
    xp = array_module(a)
    if not (a.size and b.size):
        return xp.zeros(shape, a.dtype)
    if len(a) == 1:
        return product(a[0], b[0]).reshape(shape)
    y = xp.empty((len(a), *shape[-2:]), a.dtype)
    for matrix, (left, right) in enumerate(zip(a, b, strict=True)):
        y[matrix] = product(left, right)
    return y.reshape(shape)


def _no_product(a: Array, b: Array) -> ValueError:
    return ValueError(
        "Tensor @: expected (..., N, C) @ (C, O), or (..., C, O) with equal leading axes, got "
        f"shapes {a.shape} and {b.shape}"
    )


def values_of(value: Any) -> Any:
    """A tensor's array; anything else as it is."""
    return value._data if isinstance(value, Operations) else value
