"""An engine's operation against the specification, which computes in float64."""

import numpy as np

from spconv.ops import Ops
from spconv.testing import assert_close, tolerance

SPECIFICATION = Ops(np)


def random(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def exactly(*arrays):
    """The same values for the specification to compute with in float64."""
    return [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arrays]


def compare(ops, dtype, length, name, *arguments, **options):
    actual = getattr(ops, name)(*arguments, **options)
    expected = getattr(SPECIFICATION, name)(*exactly(*arguments), **options)
    assert actual.dtype == dtype
    assert_close(actual, expected, tolerance(dtype, length), name)
