"""Grids that are repeated, and a neck of two scales that joins them."""

import numpy as np
import pytest

import spconv
from spconv import Tensor, functional
from spconv.functional import upsample
from spconv.testing import check_gradients


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    ("shape", "factor"),
    [((4,), 3), ((4, 3), 2), ((4, 3), (1, 3)), ((2, 3, 2), (2, 1, 3)), ((2, 0), 2), ((2, 3), 1)],
)
def test_every_site_becomes_a_block(shape, factor, channels_last):
    values = np.random.default_rng(0).standard_normal((2, 3, *shape))
    expected = values
    for axis, times in enumerate(np.broadcast_to(factor, len(shape))):
        expected = np.repeat(expected, times, axis=2 + axis)
    if channels_last:  # as behind a convolution: a view
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)
    x = Tensor(values, requires_grad=True)
    y = upsample(x, factor)
    np.testing.assert_array_equal(y.data, expected)
    assert np.moveaxis(y.data, 1, -1).flags.c_contiguous or factor == 1
    check_gradients(lambda: upsample(x, factor), {"x": x}, rng=np.random.default_rng(1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_gradients_keep_their_digits_and_dtype(dtype):
    x = Tensor(np.ones((1, 1, 1, 1), dtype), requires_grad=True)
    gradient = np.full((1, 1, 200, 300), 0.5, dtype)
    upsample(x, (200, 300)).backward(gradient)
    assert (x.grad.dtype, x.grad.item()) == (dtype, 30_000)


def test_gradients_are_sums_in_float64():
    """What float32 loses beside large numbers is there when those have cancelled."""
    x = Tensor(np.ones((1, 1, 1), np.float32), requires_grad=True)
    upsample(x, 3).backward(np.array([[[2.0**30, 2.0**-6, -(2.0**30)]]], np.float32))
    assert x.grad.item() == 2.0**-6


class Neck(spconv.Module):
    """Of a detector of objects in a bird's-eye view: two scales, joined at the finer one."""

    def __init__(self, rng):
        self.stem = spconv.Conv2d(3, 4, 3, padding=1, rng=rng)
        self.down = spconv.Conv2d(4, 6, 3, stride=2, padding=1, rng=rng)
        self.up = spconv.ConvTranspose2d(6, 4, 2, stride=2, rng=rng)
        self.head = spconv.Conv2d(14, 5, 1, rng=rng)

    def forward(self, x):
        fine = functional.tanh(self.stem(x))
        coarse = functional.tanh(self.down(fine))
        parts = [fine, self.up(coarse), upsample(coarse, 2)]
        return self.head(functional.concatenate(parts, axis=1))


@pytest.mark.usefixtures("engine")
def test_a_neck_with_losses_of_classes_and_boxes():
    rng = np.random.default_rng(0)
    neck = Neck(rng).astype(np.float64)
    x = Tensor(rng.standard_normal((2, 3, 6, 4)), requires_grad=True)
    labels, boxes = rng.integers(0, 3, (2, 6, 4)), rng.standard_normal((2, 2, 6, 4))

    def loss():
        y = neck(x)
        classes = functional.cross_entropy(y[:, :3], labels, ignore_index=2)
        return classes + functional.smooth_l1_loss(y[:, 3:], boxes, beta=0.5)

    inputs = {"x": x, **dict(neck.named_parameters())}
    check_gradients(loss, inputs, rng=rng)
