"""An engine's operation against the specification, which computes in float64."""

import numpy as np

from spconv.ops import Epilogue, Ops
from spconv.testing import assert_close, tolerance

SPECIFICATION = Ops(np)


def random(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def exactly(argument):
    """The same values for the specification to compute with in float64."""
    if isinstance(argument, Epilogue):
        return Epilogue(*map(exactly, argument))
    return argument.astype(np.float64) if isinstance(argument, np.ndarray) else argument


def compare(ops, dtype, length, name, *arguments, **options):
    actual = getattr(ops, name)(*arguments, **options)
    wide = {option: exactly(value) for option, value in options.items()}
    expected = getattr(SPECIFICATION, name)(*map(exactly, arguments), **wide)
    assert actual.dtype == dtype
    assert_close(actual, expected, tolerance(dtype, length), name)
