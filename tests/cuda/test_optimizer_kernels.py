"""Optimizer steps of the GPU engine: those of the specification to the bit."""

import numpy as np
import pytest
from fake_cupy import RawKernel

from spconv import Parameter
from spconv.optim import SGD, Adam, AdamW

KINDS = {
    "sgd": (SGD, {"lr": 0.1}),
    "decay": (SGD, {"lr": 0.1, "weight_decay": 0.01}),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    "nesterov": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam": (Adam, {"lr": 0.01}),
    "adam decay": (Adam, {"lr": 0.01, "weight_decay": 0.1}),
    "adamw": (AdamW, {"lr": 0.01, "weight_decay": 0.1}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_steps(cupy, kind, dtype):
    rng = np.random.default_rng(0)
    make, options = KINDS[kind]
    start = rng.standard_normal((3, 171)).astype(dtype)
    steps = rng.standard_normal((4, 3, 171)).astype(dtype)
    results = []
    for to in (np.array, cupy.asarray):
        weight = Parameter(to(start))
        optimizer = make([("w", weight)], **options)
        RawKernel.launches.clear()
        for gradient in steps:
            weight.grad = to(gradient)
            optimizer.step()
        assert isinstance(weight.data, cupy.ndarray) == (to is not np.array)
        if hasattr(cupy, "emulated"):
            assert len(RawKernel.launches) == (0 if to is np.array else len(steps))
        results.append((weight.numpy(), optimizer.state_dict()))
    (data, state), (device_data, device_state) = results
    np.testing.assert_array_equal(device_data, data)
    assert (data != start).any()
    assert list(device_state) == list(state)
    for key, value in state.items():
        np.testing.assert_array_equal(device_state[key], value, key)


@pytest.mark.parametrize("kind", ["nesterov", "adamw"])
def test_all_parameters_of_a_kind_take_one_launch(cupy, kind):
    """Of any sizes, whole blocks and none, other types beside them, some without a gradient."""
    rng = np.random.default_rng(1)
    make, options = KINDS[kind]
    shapes = [(), (0, 3), (256,), (300, 5), (1,), (512,), (7, 11, 13)]
    dtypes = ["float32"] * 5 + ["float64", "float16"]
    starts = [rng.standard_normal(s).astype(d) for s, d in zip(shapes, dtypes, strict=True)]
    steps = [[rng.standard_normal(s.shape).astype(s.dtype) for s in starts] for _ in range(3)]
    results = []
    for to in (np.array, cupy.asarray):
        weights = [Parameter(to(start)) for start in starts]
        optimizer = make([(str(n), weight) for n, weight in enumerate(weights)], **options)
        for number, gradients in enumerate(steps):
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = to(gradient)
            weights[2].grad = None if number == 1 else weights[2].grad
            RawKernel.launches.clear()
            optimizer.step()
        # Three types, and the parameter that has had one step less.
        expected = 4 if to is cupy.asarray else 0
        assert not hasattr(cupy, "emulated") or len(RawKernel.launches) == expected
        results.append([weight.numpy() for weight in weights])
    for actual, wanted in zip(*reversed(results), strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_gradients_that_a_loss_scaler_widened(cupy):
    weight = Parameter(cupy.asarray(np.ones(5, np.float16)))
    weight.grad = cupy.asarray(np.full(5, 2.0**-12, np.float32))
    sgd = SGD([("w", weight)], lr=1.0)
    sgd.step()
    assert weight.numpy().tolist() == [1.0] * 5
    assert sgd.state_dict()["w/master"].tolist() == [1 - 2.0**-12] * 5


def test_transposed_gradients_and_parameters(cupy):
    """Gradients may have any strides; a parameter is updated in place and must be contiguous."""
    weight = Parameter(cupy.asarray(np.zeros((2, 3), np.float32)))
    gradient = cupy.asarray(np.arange(6, dtype=np.float32).reshape(3, 2)).T
    weight.grad = gradient
    SGD([("w", weight)], lr=1.0).step()
    np.testing.assert_array_equal(weight.numpy(), -gradient.get())
    weight.data = weight.data.T.copy().T
    with pytest.raises(ValueError, match=r"w cannot be updated in place.*\.data\.copy\(\)"):
        SGD([("w", weight)], lr=1.0).step()


@pytest.mark.parametrize("kind", ["nesterov", "adamw"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_state_in_the_order_of_fortran(cupy, kind, dtype):
    make, options = KINDS[kind]
    weights = [Parameter(cupy.asarray(np.ones((3, 2), dtype))) for _ in range(2)]
    optimizers = [make([("w", weight)], **options) for weight in weights]
    gradient = cupy.asarray(np.arange(6).reshape(3, 2).astype(dtype))
    for number in range(3):
        for weight, optimizer in zip(weights, optimizers, strict=True):
            weight.grad = gradient
            optimizer.step()
        state = optimizers[0].state_dict().items()
        kept = {k: np.asfortranarray(v) if np.ndim(v) == 2 else v for k, v in state}
        optimizers[number % 2].load_state_dict(kept)
    np.testing.assert_array_equal(weights[1].numpy(), weights[0].numpy())


@pytest.mark.parametrize("kind", ["nesterov", "adamw"])
def test_values_that_somebody_changes_in_float16(cupy, kind):
    """Those count; of the others the float32 copies do. Nothing is waited for."""
    make, options = KINDS[kind]
    rng = np.random.default_rng(0)
    start = rng.standard_normal(300).astype("float16")
    steps = rng.standard_normal((4, 300)).astype("float16")
    results = []
    for to in (np.array, cupy.asarray):
        weight = Parameter(to(start))
        optimizer = make([("w", weight)], **options)
        for gradient in steps:
            weight.grad = to(gradient)
            optimizer.step()
            weight.data[:7] = 0.25
            weight.data[7] = np.nan
            weight.data *= to(np.where(np.arange(300) % 2, 1, 0.5).astype("float16"))
        results.append((weight.numpy(), optimizer.state_dict()["w/master"]))
    for actual, expected in zip(*reversed(results), strict=True):
        np.testing.assert_array_equal(actual, expected)
