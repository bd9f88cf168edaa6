"""Checks of plain arguments; messages name the caller, what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from operator import index
from typing import Any

import numpy as np


def check_int(owner: str, name: str, value: Any, least: int, most: int | None = None) -> int:
    """``value`` as an int.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is smaller than ``least`` or greater than ``most``.

    Examples
    --------
    >>> check_int("Linear", "in_features", 3.0, 1)
    Traceback (most recent call last):
    TypeError: Linear: in_features must be an int, got 3.0
    """
    try:
        number = index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{owner}: {name} must be an int, got {value!r}")
    if number < least or (most is not None and number > most):
        limit = f"at least {least}" if most is None else f"in {least}..{most}"
        raise ValueError(f"{owner}: {name} must be {limit}, got {number}")
    return number


def check_float(
    owner: str,
    name: str,
    value: Any,
    least: float = 0.0,
    below: float = math.inf,
    *,
    positive: bool = False,
) -> float:
    """``value`` as a float in [least, below); infinity and NaN never are.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is outside, or not above 0 although it has to be ``positive``.
    """
    if not isinstance(value, (float, Real)):  # a float without the detour through Real's class
        raise TypeError(f"{owner}: {name} must be a number, got {type_name(value)} {value!r}")
    try:
        value = float(value)
    except OverflowError:  # an integer beyond all floats
        value = math.inf
    if not least <= value < below or (positive and value <= 0):
        limit = f"in [{least:g}, {below:g})"
        if below == math.inf:
            limit = f"finite and {'> 0' if positive else f'>= {least:g}'}"
        raise ValueError(f"{owner}: {name} must be {limit}, got {value!r}")
    return value


def check_bool(owner: str, name: str, value: Any) -> bool:
    """``value`` as a bool.

    Raises
    ------
    TypeError
        If it is anything but True or False, such as the number that follows in another library's
        order of arguments.

    Examples
    --------
    >>> check_bool("Conv2d", "bias", 8)
    Traceback (most recent call last):
    TypeError: Conv2d: bias must be True or False, got 8
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{owner}: {name} must be True or False, got {value!r}")
    return bool(value)


def check_generator(owner: str, rng: Any) -> None:
    """Raise TypeError unless it is a generator of NumPy's."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"{owner}: rng must be a numpy.random.Generator, got {type_name(rng)}; pass "
            "numpy.random.default_rng(seed)"
        )


def check_optional_generator(owner: str, rng: Any) -> None:
    """Raise TypeError unless it is a generator of NumPy's, or None."""
    if not (rng is None or isinstance(rng, np.random.Generator)):
        raise TypeError(
            f"{owner}: rng must be a numpy.random.Generator, got {rng!r}; layers made of one seed "
            "would begin alike: make rng = numpy.random.default_rng(seed) once, and give it to all"
        )


def check_function(owner: str, call: str, value: Any, *, optional: bool = False) -> None:
    """Raise TypeError unless ``value`` can be called, or is None and ``optional``.

    Examples
    --------
    >>> check_function("train", "loss(logits, labels) -> Tensor", 0.5)
    Traceback (most recent call last):
    TypeError: train: loss must be a function, loss(logits, labels) -> Tensor, got float
    """
    if not (callable(value) or (optional and value is None)):
        name = call.partition("(")[0]
        raise TypeError(f"{owner}: {name} must be a function, {call}, got {type_name(value)}")


def check_pair(what: str, batch: Any, hint: str = "") -> tuple[Any, Any]:
    """A batch of inputs and labels.

    Raises
    ------
    TypeError
        If it is no tuple or list of two; ``what`` says who must give one.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise TypeError(f"{what} a pair (inputs, labels), got {type_name(batch)}{size}{hint}")
    inputs, labels = batch
    return inputs, labels


def check_split(owner: str, split: Any) -> None:
    """Raise ValueError for what is no part of a data set."""
    if split not in ("train", "test"):
        raise ValueError(f"{owner}: split must be 'train' or 'test', got {split!r}")


def check_state(owner: str, state: Any) -> None:
    """Raise TypeError unless ``state`` is a mapping, which ``state_dict()`` gives."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"{owner}: expected a dict, as state_dict() returns it, got {type_name(state)}; a file "
            "is loaded by spconv.load(path).restore(model, optimizer)"
        )


def type_name(value: Any) -> str:
    """The type of a value, with the library that it comes from if that is another one.

    >>> import numpy as np
    >>> type_name([1]), type_name(np.zeros(2))
    ('list', 'numpy.ndarray')
    """
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return kind.__name__ if library in ("builtins", "spconv") else f"{library}.{kind.__name__}"
