"""Residuals within convolutions on CUDA arrays, emulated or real, against the CPU's."""

import numpy as np
import pytest
from fake_cupy import COPIES, RawKernel

import spconv
from spconv import functional
from spconv.inference import freeze
from spconv.models import ResidualBlock
from spconv.testing import assert_close, tolerance


def example(device, ground=True, dtype="float64"):
    rng = np.random.default_rng(1)
    indices = rng.permutation(np.argwhere(rng.random((2, 7, 6)) < 0.4)).astype(np.int32)
    features = rng.standard_normal((len(indices), 8)).astype(dtype)
    state = rng.standard_normal(8).astype(dtype) if ground else None
    x = spconv.SparseConvTensor(features, indices, (7, 6), 2, state).to(device)
    g = None if state is None else spconv.Parameter(x.ground_state.data)
    return x.derive(spconv.Parameter(x.features.data), g)


def make_block(preactivation, device, dtype="float64"):
    block = ResidualBlock(2, 8, preactivation, rng=np.random.default_rng(0))
    for parameter in block.parameters():
        parameter.data = parameter.data.astype(dtype)
    return block.to(device)


def refuse(*inputs, **options):
    raise AssertionError("a sum of its own")


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("preactivation", [True, False])
def test_a_block_in_training_and_frozen(cupy, monkeypatch, preactivation, ground):
    results = []
    for device in ("cpu", "cuda"):
        block, x = make_block(preactivation, device), example(device, ground)
        before = COPIES["to_host"]
        with monkeypatch.context() as patch:
            if preactivation:
                patch.setattr(functional, "add", refuse)
            y = block(x)
        loss = functional.leaky_relu(y, 0.5).features.sum()
        loss.backward()
        if hasattr(cupy, "emulated"):
            assert COPIES["to_host"] - before == (device == "cuda")  # the rulebook's count
        frozen = freeze(block.eval())
        with monkeypatch.context() as patch:
            patch.setattr(functional, "add", refuse)
            RawKernel.launches.clear()
            z = frozen(x)
        if device == "cuda" and hasattr(cupy, "emulated") and not preactivation:
            products = ["pack_weights", "implicit_gemm_simt"] * 2
            rectified_ground_states = ["leaky_relu"] * (2 if ground else 0)
            assert sorted(RawKernel.launches) == sorted(products + rectified_ground_states)
        states = [] if not ground else [y.ground_state, z.ground_state]
        values = [t.numpy() for t in (y.features, z.features, block(x).features, *states)]
        leaves = [x.features, *([x.ground_state] if ground else []), *block.parameters()]
        grads = [t.grad if device == "cpu" else t.grad.get() for t in leaves if t.grad is not None]
        results.append([*values, *grads])
    for expected, actual in zip(*results, strict=True):
        assert_close(actual, expected, tolerance("float64", 1000))
    assert_close(results[1][1], results[1][2], tolerance("float64", 1000), "frozen")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_residuals_of_float32_keep_their_bits(cupy, precision):
    """Whatever the products are made of: with weights of zero it comes out as it went in."""
    x = example("cuda", dtype="float32")
    layer = spconv.SubMConv2d(8, 8, 3).to("cuda")
    layer.weight.data = layer.weight.data * np.float32(0)
    spconv.set_cuda_precision(precision)
    try:
        y = layer(x, residual=x)
    finally:
        spconv.set_cuda_precision("float32")
    np.testing.assert_array_equal(y.features.numpy(), x.features.numpy())
    np.testing.assert_array_equal(y.ground_state.numpy(), x.ground_state.numpy())


def test_float16(cupy):
    results = []
    for device, dtype in (("cpu", np.float64), ("cuda", np.float16)):
        layer, x = spconv.SubMConv2d(8, 8, 3, rng=np.random.default_rng(0)), example("cpu", False)
        for parameter in layer.parameters():
            parameter.data = parameter.data.astype(np.float16).astype(dtype)
        layer.to(device)
        values = x.features.data.astype(np.float16).astype(dtype)
        x = x.to(device)
        x = x.derive(spconv.Tensor(cupy.asarray(values) if device == "cuda" else values), None)
        y = layer(x, negative_slope=0.0, residual=x)
        assert y.features.dtype == dtype
        results.append(y.features.numpy())
    assert_close(results[1], results[0], tolerance("float16", 72))


def test_a_residual_on_another_device_is_refused(cupy):
    layer = spconv.SubMConv2d(8, 8, 3)
    here, there = example("cpu", False), example("cuda", False)
    with pytest.raises(TypeError, match=r"the residual on cuda; call residual.to\('cpu'\)"):
        layer(here, residual=there)
    with pytest.raises(TypeError, match=r"the residual on cpu; call residual.to\('cuda'\)"):
        layer.to("cuda")(there, residual=here)
