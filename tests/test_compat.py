"""Without CuPy or without a device: nothing breaks, and what was asked for is named."""

import sys
import types

import numpy as np
import pytest

import spconv
from spconv import compat
from spconv.ops.cuda import CudaOps
from spconv.testing import assert_sparse_equal


@pytest.fixture
def fresh():
    """Forget what was found out about this machine, before and after."""

    def forget():
        for function in (compat.has_cupy, compat.import_cupy, compat.has_gpu):
            function.cache_clear()

    forget()
    yield
    forget()


@pytest.fixture
def no_cupy(fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(compat.importlib.util, "find_spec", lambda name: None)


class FakeArray:
    """As much of a CuPy array as moving to the host needs."""

    def __init__(self, data):
        self.data = data

    def get(self):
        return self.data


@pytest.fixture
def no_device(fresh, monkeypatch):
    """CuPy can be imported, but no driver answers."""
    cupy = types.ModuleType("cupy")
    cupy.ndarray = FakeArray
    cupy.cuda = types.SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(compat.importlib.util, "find_spec", lambda name: name == "cupy")


def sparse():
    return spconv.from_dense(np.eye(4, dtype=np.float32)[None, None], [0.0])


@pytest.mark.usefixtures("no_cupy")
def test_without_cupy():
    assert not compat.has_cupy()
    assert not compat.has_gpu()
    message = r"CuPy is not installed; install .* 'spconv-standalone\[cuda12\]' or '\[cuda13\]'"
    with pytest.raises(ImportError, match=message):
        sparse().to("cuda")
    layer = spconv.SubMConv2d(1, 2, 3)
    with pytest.raises(ImportError, match=message):
        layer.to("cuda")
    assert layer(sparse().to("cpu")).num_channels == 2  # still works
    with pytest.raises(ImportError, match=message):
        CudaOps()


@pytest.mark.usefixtures("no_device")
def test_without_a_device():
    assert compat.has_cupy()
    assert not compat.has_gpu()
    with pytest.raises(RuntimeError, match="no CUDA device answers; check the driver with"):
        sparse().to("cuda")
    with pytest.raises(RuntimeError, match="or stay on device='cpu'"):
        spconv.Linear(2, 3).to("cuda")
    assert spconv.SubMConv2d(1, 2, 3)(sparse()).device == "cpu"


def test_unknown_devices():
    for device in ("gpu", "cuda:0", None):
        message = f"device must be 'cpu' or 'cuda', got {device!r}"
        with pytest.raises(ValueError, match=message):
            compat.to_device(np.zeros(1), device)
        with pytest.raises(ValueError, match=message):
            sparse().to(device)
        with pytest.raises(ValueError, match=message):
            spconv.Linear(1, 1).to(device)


def test_numpy_arrays_are_numpy_arrays():
    array = np.zeros(3)
    assert not compat.is_cupy(array)
    assert compat.array_module(array) is np
    assert compat.to_device(array, "cpu") is array


@pytest.mark.usefixtures("no_device")
def test_arrays_of_the_other_library():
    array = FakeArray(np.arange(3.0))
    assert compat.is_cupy(array)
    assert compat.array_module(array) is sys.modules["cupy"]
    assert compat.to_device(array, "cpu") is array.data
    assert compat.on_one_device(array, FakeArray(None))
    assert not compat.on_one_device(array, np.zeros(1))
    with pytest.raises(TypeError, match=r"indices live on the host; .* indices.get\(\)"):
        spconv.SparseConvTensor(np.ones((1, 1)), FakeArray(np.zeros((1, 2))), (3,), 1)


def test_has_gpu_without_one():
    if compat.has_gpu():
        pytest.skip("there is a GPU")
    assert compat.has_gpu() is False
    expected = RuntimeError if compat.has_cupy() else ImportError
    with pytest.raises(expected, match="spconv: "):
        sparse().to("cuda")


@pytest.mark.gpu
def test_there_and_back_again():
    if not compat.has_gpu():
        pytest.skip("needs a CUDA device")
    x = sparse().to("cuda")
    assert x.device == "cuda"
    np.testing.assert_array_equal(x.to("cpu").features.data, sparse().features.data)
    layer = spconv.SubMConv2d(1, 2, 3)
    with pytest.raises(TypeError, match=r"call model.to\('cuda'\) or x.to\('cpu'\)"):
        layer(x)
    expected = layer(sparse())
    actual = layer.to("cuda")(x).to("cpu")
    assert_sparse_equal(actual, expected, reduction_length=9)
