"""Gradients of scaled losses on the GPU: those of the specification, with one copy to the host."""

import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_cupy import COPIES, RawKernel

from spconv import Parameter
from spconv.ops import get_ops, use_engine
from spconv.optim import SGD, LossScaler

SHAPES = [(), (0, 3), (256,), (300, 5), (1,), (512,), (7, 11, 13)]


def gradients(dtype):
    rng = np.random.default_rng(0)
    return [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in SHAPES]


@pytest.mark.parametrize("dtypes", [["float16"], ["float32"], ["float64"], ["float16", "float32"]])
def test_quotients(cupy, dtypes):
    """Of any sizes, whole blocks and none; all of one type take one launch."""
    given = [gradient for dtype in dtypes for gradient in gradients(dtype)]
    with use_engine("numpy") as specification:
        expected, fine = specification.unscale(given, 2.0**13)
    arrays = [cupy.asarray(gradient) for gradient in given]
    RawKernel.launches.clear()
    before = COPIES["to_host"]
    actual, finite = get_ops(arrays[0]).unscale(arrays, 2.0**13)
    assert (finite, fine) == (True, True)
    if hasattr(cupy, "emulated"):
        assert RawKernel.launches == ["unscale"] * len(dtypes)
        assert COPIES["to_host"] - before == 1
    for one, other in zip(actual, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.flags.c_contiguous
        np.testing.assert_array_equal(one.get(), other)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_one_number_that_is_not_finite(cupy, dtype, bad):
    for where in (0, 3, 5):
        given = gradients(dtype)
        given[where].reshape(-1)[-1] = bad
        arrays = [cupy.asarray(gradient) for gradient in given]
        actual, finite = get_ops(arrays[0]).unscale(arrays, 4.0)
        assert finite is False
        np.testing.assert_array_equal(
            actual[where].get(), given[where] / given[where].dtype.type(4)
        )


def test_transposed_gradients(cupy):
    rows = np.arange(6, dtype=np.float16).reshape(3, 2)
    (result,), finite = get_ops(cupy.asarray(rows)).unscale([cupy.asarray(rows).T], 2.0)
    assert finite
    np.testing.assert_array_equal(result.get(), rows.T / 2)


def test_a_scaler_of_parameters_on_both_devices(cupy):
    """An overflow on one of them holds back all."""
    here, there = Parameter(np.ones(3, np.float16)), Parameter(cupy.asarray(np.ones(3, np.float16)))
    sgd, scaler = SGD([("here", here), ("there", there)], lr=0.5), LossScaler(scale=8.0)
    for bad in ("here", "there", "none"):
        here.grad = np.full(3, np.inf if bad == "here" else scaler.scale, np.float16)
        there.grad = cupy.asarray(
            np.full(3, np.inf if bad == "there" else scaler.scale, np.float16)
        )
        assert scaler.step(sgd) == (bad == "none")
        assert (here.grad.dtype, there.grad.dtype) == (np.float32, np.float32)
    assert scaler.scale == 2.0
    assert here.data.tolist() == there.numpy().tolist() == [0.5] * 3


def test_equal_steps_upload_no_table_again(emulated, monkeypatch):
    """Arrays of equal steps mostly get the same memory again; of others the table is another."""
    uploads = []
    asarray = emulated.asarray
    monkeypatch.setattr(emulated, "asarray", lambda array: uploads.append(1) or asarray(array))
    weight = Parameter(asarray(np.ones(3, np.float32)))
    sgd, kept = SGD([("w", weight)], lr=1.0), [asarray(np.ones(3, np.float32)) for _ in range(2)]
    for gradient, expected in zip([0, 0, 1, 0], [1, 1, 2, 2], strict=True):
        weight.grad = kept[gradient]
        sgd.step()
        assert len(uploads) == expected
    assert weight.numpy().tolist() == [-3.0] * 3


def test_streams_have_tables_of_their_own(emulated, monkeypatch):
    """A kernel on one stream does not wait for what was uploaded on another."""
    uploads, asarray = [], emulated.asarray
    weight = Parameter(asarray(np.ones(3, np.float32)))
    weight.grad = asarray(np.ones(3, np.float32))
    sgd = SGD([("w", weight)], lr=1.0)
    monkeypatch.setattr(emulated, "asarray", lambda array: uploads.append(1) or asarray(array))
    sgd.step()
    with ThreadPoolExecutor(1) as other:
        other.submit(sgd.step).result()
    assert len(uploads) == 2
    stream = types.SimpleNamespace(ptr=5)
    monkeypatch.setattr(emulated.cuda, "get_current_stream", lambda: stream)
    sgd.step()
    sgd.step()
    assert len(uploads) == 3
    assert weight.numpy().tolist() == [-3.0] * 3
