import numpy as np
import pytest

from spconv.testing import tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [1, 27, 1000])
def test_covers_the_rounding_of_a_sum_with_room_to_spare(dtype, length):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 64, length)).astype(dtype)
    exact = (a.astype(np.longdouble) * b).sum(1)
    plain = np.zeros(64, dtype)
    for column in range(length):
        plain += a[:, column] * b[:, column]
    error = np.abs(plain - exact).max() / max(1, np.abs(exact).max())
    assert error < tolerance(dtype, length) / 2
    assert tolerance(dtype, length) < 3e4 * np.finfo(dtype).eps


def test_lower_precision_allows_more():
    kinds = ["float64", "float32", "tf32", "bfloat16"]
    limits = [tolerance(kind, 100) for kind in kinds]
    assert limits == sorted(limits)
    assert tolerance(np.dtype(np.float16)) == tolerance("float16")


def test_unknown_dtype():
    with pytest.raises(ValueError, match="tolerance: expected one of"):
        tolerance(np.int32)
