"""Fixtures and the Hypothesis profile of all tests."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import spconv.ops
from spconv.threads import available_cpus

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

MOST_WORKERS = 4
"""Each collects all tests, ten seconds that no further one shortens, and takes up to 1.2 GB."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Plain ``python -m pytest`` shares the files out to one worker for each processor.

    Whoever names files or tests, asks for slow ones, a device, a debugger or a number of workers,
    or is without pytest-xdist, gets what pytest does.
    """
    option, workers = config.option, min(available_cpus(), MOST_WORKERS)
    plain = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not option.keyword
    # Nor do the workers, which would have workers of their own.
    plain = plain and option.markexpr == "not slow" and "PYTEST_XDIST_WORKER" not in os.environ
    watched = option.usepdb or option.trace or option.collectonly or option.capture == "no"
    if plain and not watched and workers > 1 and getattr(option, "numprocesses", 0) is None:
        option.numprocesses, option.dist = workers, "loadfile"
        # There are as many of them as processors: each thread of BLAS would wait for another's.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(params=["numpy", "cpu"])
def engine(request):
    """Run the test once on the specification (NumPy) and once on the compiled engine."""
    with spconv.ops.use_engine(request.param):
        yield request.param
