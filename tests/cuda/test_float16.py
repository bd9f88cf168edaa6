"""float16 with sums beyond its range: on the specification, emulated, or on a GPU."""

import float16_range
import numpy as np
import pytest

import spconv

each = pytest.mark.parametrize("check", float16_range.CHECKS, ids=lambda check: check.__name__)


@each
def test_specification(check):
    with spconv.use_engine("numpy"):
        check(np)


@each
def test_cuda(cupy, check):
    check(cupy)
