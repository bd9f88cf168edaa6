"""Checks of plain arguments: what passes, and what the others are told."""

import fractions
import math

import numpy as np
import pytest

from spconv.checks import check_float, check_function, check_int, check_state, type_name


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), True + 2])
def test_integers_of_all_kinds(value):
    number = check_int("owner", "name", value, 3)
    assert number == 3
    assert type(number) is int


@pytest.mark.parametrize("value", [3.0, "3", None, np.float32(3), [3], np.array([3, 4])])
def test_what_is_no_integer(value):
    with pytest.raises(TypeError, match="owner: name must be an int, got"):
        check_int("owner", "name", value, 0)


def test_integers_out_of_range():
    with pytest.raises(ValueError, match="owner: name must be at least 1, got 0"):
        check_int("owner", "name", 0, 1)
    assert [check_int("owner", "name", number, 1, 2) for number in (1, 2)] == [1, 2]
    for number in (0, 3):
        with pytest.raises(ValueError, match=rf"owner: name must be in 1\.\.2, got {number}"):
            check_int("owner", "name", number, 1, 2)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), fractions.Fraction(1, 2), 0, np.int8(0)])
def test_numbers_of_all_kinds(value):
    number = check_float("owner", "name", value, below=1)
    assert number == value
    assert type(number) is float


@pytest.mark.parametrize("value", ["0.5", None, 1j, np.array([0.5])])
def test_what_is_no_number(value):
    with pytest.raises(TypeError, match="owner: name must be a number, got"):
        check_float("owner", "name", value)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, -math.inf])
def test_numbers_out_of_range(value):
    with pytest.raises(ValueError, match="owner: name must be finite and >= 0, got"):
        check_float("owner", "name", value)
    with pytest.raises(ValueError, match=r"owner: name must be in \[0, 1\), got"):
        check_float("owner", "name", value, below=1)


def test_positive_numbers():
    assert check_float("owner", "name", 5e-324, positive=True) > 0
    for value in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="owner: name must be finite and > 0, got"):
            check_float("owner", "name", value, positive=True)


@pytest.mark.parametrize("state", [None, [("a", 1)], "a.npz"])
def test_what_is_no_state(state):
    check_state("owner", {})
    with pytest.raises(TypeError, match=r"owner: expected a dict, as state_dict\(\)"):
        check_state("owner", state)


def test_types_are_named_with_their_library():
    assert type_name(1.0) == "float"
    assert type_name(np.zeros(2)) == "numpy.ndarray"
    assert type_name(fractions.Fraction(1)) == "fractions.Fraction"


def test_functions():
    for value in (len, lambda: None, int, {}.get):
        check_function("owner", "name(x)", value)
    check_function("owner", "name(x)", None, optional=True)
    for value in (None, 0, "name", [len]):
        with pytest.raises(TypeError, match=r"owner: name must be a function, name\(x\), got "):
            check_function("owner", "name(x)", value)
