"""Fixtures and the Hypothesis profile of all tests."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import spconv.ops

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)

settings.register_profile(
    "spconv",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("spconv")


@pytest.fixture(params=["numpy", "cpu"])
def engine(request):
    """Run the test once on the specification (NumPy) and once on the compiled engine."""
    with spconv.ops.use_engine(request.param):
        yield request.param
