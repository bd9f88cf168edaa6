"""The emulation is a package in this folder, not of the library: put the folder on the path."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))


@pytest.fixture(scope="session", autouse=True)
def memory_without_a_pool():
    """With SPCONV_NO_POOL=1 every array is an allocation of its own, for compute-sanitizer."""
    from spconv.compat import has_gpu, import_cupy

    if os.environ.get("SPCONV_NO_POOL") == "1" and has_gpu():
        import_cupy().cuda.set_allocator(None)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def emulated(monkeypatch):
    """A stand-in for CuPy whose kernels run in the emulation."""
    from emulation.build import has_compiler
    from fake_cupy import installed

    if not has_compiler():
        pytest.skip("needs g++")
    with installed(monkeypatch) as module:
        yield module


@pytest.fixture
def inject(emulated, monkeypatch):
    """Call it with pieces of text to replace in the sources of kernels that run from then on."""
    from emulation import emulate

    def into_sources(replace):
        def broken(*arguments, **options):
            emulate(*arguments, **options, replace=replace)

        monkeypatch.setattr("fake_cupy.emulate", broken)

    return into_sources


@pytest.fixture(params=["emulated", pytest.param("device", marks=pytest.mark.gpu)])
def cupy(request):
    """The stand-in, and CuPy itself where there is a device: the same tests run on both."""
    if request.param == "emulated":
        return request.getfixturevalue("emulated")
    from spconv.compat import has_gpu, import_cupy

    if not has_gpu():
        pytest.skip("needs a CUDA device")
    return import_cupy()
