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
    with pytest.raises(ValueError, match="parameters must be contiguous to be updated in place"):
        SGD([("w", weight)], lr=1.0).step()
