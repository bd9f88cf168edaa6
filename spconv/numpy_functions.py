"""What NumPy's functions do with tensors: they get the values, but no gradient is lost unseen.

``np.sum(x)`` computes with an array, and what comes of it is off the tape. For a tensor that
requires a gradient that is an error, unless the result has none: comparisons, shapes, positions.
Ufuncs (``np.exp(x)``, ``np.isnan(x)``) take no tensors, but where an array's operator calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

CHANGE_SHAPE = "x.reshape(...)"
CHANGE_ORDER = "x.permute(*axes)"
JOIN = "spconv.functional.concatenate"
CHOOSE = "an index, x[...]"
NORM = "(x * x).sum(axis).sqrt()"

INSTEAD = {
    "amax": "x.max(axis)",
    "amin": "x.min(axis)",
    "append": f"{JOIN}([x, y])",
    "atleast_1d": CHANGE_SHAPE,
    "atleast_2d": CHANGE_SHAPE,
    "average": "(weight * x).sum(axis) / weight.sum()",
    "clip": "x.clip(min, max)",
    "column_stack": f"{JOIN}([x, y], axis=1)",
    "concatenate": f"{JOIN}([x, y], axis)",
    "dot": "x @ y",
    "einsum": "x @ y, or (x * y).sum(axis)",
    "expand_dims": CHANGE_SHAPE,
    "hstack": f"{JOIN}([x, y], axis=1)",
    "inner": "x @ y.T",
    "max": "x.max(axis)",
    "mean": "x.mean(axis)",
    "min": "x.min(axis)",
    "moveaxis": CHANGE_ORDER,
    "norm": NORM,
    "outer": "x[:, None] * y",
    "ravel": "x.flatten()",
    "repeat": "spconv.functional.upsample of a grid, or an index with repeated rows",
    "reshape": CHANGE_SHAPE,
    "split": CHOOSE,
    "squeeze": CHANGE_SHAPE,
    "stack": "spconv.functional.stack([x, y], axis)",
    "std": "((x - x.mean()) ** 2).mean().sqrt()",
    "sum": "x.sum(axis)",
    "swapaxes": CHANGE_ORDER,
    "take": CHOOSE,
    "take_along_axis": CHOOSE,
    "tensordot": "x @ y",
    "transpose": f"{CHANGE_ORDER}, or x.T of a matrix",
    "var": "((x - x.mean()) ** 2).mean()",
    "vstack": f"{JOIN}([x, y])",
    "where": "spconv.functional.where(mask, x, y)",
}
"""The library's own way, by the name of NumPy's function."""

OF_UFUNCS = {
    "absolute": "abs(x)",
    "add": "x + y",
    "divide": "x / y",
    "equal": "x == y",
    "exp": "x.exp()",
    "exp2": "2**x",
    "expit": "spconv.functional.sigmoid(x)",
    "greater": "x > y",
    "greater_equal": "x >= y",
    "less": "x < y",
    "less_equal": "x <= y",
    "log": "x.log()",
    "log_expit": "spconv.functional.log_sigmoid(x)",
    "matmul": "x @ y",
    "maximum": "spconv.functional.maximum(x, y)",
    "minimum": "spconv.functional.minimum(x, y)",
    "multiply": "x * y",
    "negative": "-x",
    "not_equal": "x != y",
    "power": "x**number",
    "reciprocal": "1 / x",
    "sqrt": "x.sqrt()",
    "square": "x * x",
    "subtract": "x - y",
    "tanh": "spconv.functional.tanh(x)",
}
"""The same by the name of a ufunc, SciPy's too."""
REFLECTED = {
    np.add: "__radd__",
    np.divide: "__rtruediv__",
    np.equal: "__eq__",
    np.greater: "__lt__",
    np.greater_equal: "__le__",
    np.less: "__gt__",
    np.less_equal: "__ge__",
    np.matmul: "__rmatmul__",
    np.multiply: "__rmul__",
    np.not_equal: "__ne__",
    np.power: "__rpow__",
    np.subtract: "__rsub__",
}
"""What an array's operator with a tensor on its right calls, and the tensor's method for it."""

OF_SHAPE = (np.shape, np.ndim, np.size)
"""Functions that need no values, which may lie on a GPU."""
OF_VALUES = (
    np.copy,
    np.empty_like,
    np.full_like,
    np.histogram,
    np.ones_like,
    np.zeros_like,
)
"""Functions that make arrays of their own, and say so."""


class AskedOfTheClass:
    """An ``__array_ufunc__`` that instances do not have: there it is None.

    NumPy looks it up on the class. Arrays of other kinds, CuPy's and masked ones, ask the right
    operand of an operator, and leave the operator to it if they find None.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __get__(self, instance: Any, owner: type) -> Callable[..., Any] | None:
        return self.function if instance is None else None


def refused(function: np.ufunc, method: str) -> TypeError:
    """Of a ufunc that was called with a tensor."""
    name = function.__name__
    use = OF_UFUNCS.get(name) if method == "__call__" else None
    full = f"numpy.{name}" if getattr(np, name, None) is function else name
    full += "" if method == "__call__" else f".{method}"
    values = f"{full} of x.data"
    return TypeError(
        f"{full}: got a Tensor, of which a ufunc has no gradient; use "
        f"{f'{use}, or {values} for' if use else f'{values}, which are'} the values alone"
    )


def call(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    kind: Any,
    recording: bool,
) -> Any:
    """``function`` of NumPy with the values of tensors.

    Parameters
    ----------
    function : callable
        That NumPy was called by.
    arguments, options : sequence, mapping
        What it was called with; tensors may stand in lists and tuples.
    kind : class
        Of a tensor, an array with ``numpy()`` and ``requires_grad``.
    recording : bool
        Whether operations are recorded now; a gradient can be lost then.

    Raises
    ------
    TypeError
        If the result holds real or complex numbers and a tensor requires a gradient.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.Tensor(np.ones(2), requires_grad=True)
    >>> np.allclose(x, [1, 1])
    True
    >>> np.sum(x)
    Traceback (most recent call last):
    TypeError: numpy.sum: got a Tensor that requires a gradient, which NumPy would lose; use \
x.sum(axis), or x.data for the values alone
    """
    lost = False

    def values(argument: Any) -> Any:
        nonlocal lost
        if isinstance(argument, kind):
            lost |= argument.requires_grad and recording
            if function in OF_SHAPE:
                return np.broadcast_to(np.zeros((), argument.dtype), argument.shape)
            return argument.numpy()
        if type(argument) in (list, tuple):
            return type(argument)(values(entry) for entry in argument)
        return argument

    result = function(
        *[values(argument) for argument in arguments],
        **{name: values(option) for name, option in options.items()},
    )
    if lost and function not in OF_VALUES and _has_floats(result):
        name = function.__name__
        use = INSTEAD.get(name, "the tensor's methods and spconv.functional")
        module = (getattr(function, "__module__", None) or "numpy").partition("._")[0]
        raise TypeError(
            f"{module}.{name}: got a Tensor that requires a gradient, which NumPy would lose; use "
            f"{use}, or x.data for the values alone"
        )
    return result


def _has_floats(result: Any) -> bool:
    if isinstance(result, list | tuple):
        return any(map(_has_floats, result))
    return np.issubdtype(getattr(result, "dtype", type(result)), np.inexact)
