"""Checks of plain arguments; messages name the caller, what was expected and what came."""

from __future__ import annotations

import math
from numbers import Real
from operator import index
from typing import Any


def whole(owner: str, name: str, value: Any, least: int) -> int:
    """``value`` as an int.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is smaller than ``least``.

    Examples
    --------
    >>> whole("Linear", "in_features", 3.0, 1)
    Traceback (most recent call last):
    TypeError: Linear: in_features must be an int, got 3.0
    """
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{owner}: {name} must be an int, got {value!r}") from None
    if number < least:
        raise ValueError(f"{owner}: {name} must be at least {least}, got {number}")
    return number


def real(owner: str, name: str, value: Any, least: float = 0.0, below: float = math.inf) -> float:
    """``value`` as a float in [least, below); infinity and NaN never are.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is outside.
    """
    if not isinstance(value, Real):
        raise TypeError(f"{owner}: {name} must be a number, got {type_name(value)} {value!r}")
    value = float(value)
    if not least <= value < below:
        limit = f"finite and >= {least:g}" if below == math.inf else f"in [{least:g}, {below:g})"
        raise ValueError(f"{owner}: {name} must be {limit}, got {value!r}")
    return value


def type_name(value: Any) -> str:
    """The type of a value, with the library that it comes from if that is another one.

    >>> import numpy as np
    >>> type_name([1]), type_name(np.zeros(2))
    ('list', 'numpy.ndarray')
    """
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return kind.__name__ if library in ("builtins", "spconv") else f"{library}.{kind.__name__}"
