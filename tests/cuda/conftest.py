"""The emulation is a package in this folder, not of the library: put the folder on the path."""

import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def cupy(monkeypatch):
    """A stand-in for CuPy whose kernels run in the emulation."""
    from fake_cupy import installed

    with installed(monkeypatch) as module:
        yield module
