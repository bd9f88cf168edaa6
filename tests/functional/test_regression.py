"""Losses of numbers against their definitions; gradients of both sides, kinks, dtypes."""

import numpy as np
import pytest

from spconv import Tensor
from spconv.functional import l1_loss, mse_loss, smooth_l1_loss
from spconv.testing import check_gradients


def smooth(d, beta):
    d = np.abs(d)
    return np.where(d < beta, d * d / 2 / beta, d - beta / 2)


LOSSES = {
    "mse": (mse_loss, lambda d: d * d),
    "l1": (l1_loss, np.abs),
    "smooth": (smooth_l1_loss, lambda d: smooth(d, 1.0)),
    "smooth 0.3": (lambda x, t: smooth_l1_loss(x, t, 0.3), lambda d: smooth(d, 0.3)),
    "smooth 2": (lambda x, t: smooth_l1_loss(x, t, beta=2), lambda d: smooth(d, 2)),
    "smooth 0": (lambda x, t: smooth_l1_loss(x, t, beta=0), np.abs),
}


def leaf(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True)


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients(name):
    loss, definition = LOSSES[name]
    x, t = leaf(4, 3), leaf(4, 3, seed=1)
    expected = definition(x.data - t.data).mean()
    for targets in (t, t.data, t.data.tolist()):
        result = loss(x, targets)
        assert result.shape == ()
        assert result.item() == pytest.approx(expected, rel=1e-14)
    rng = np.random.default_rng(2)
    check_gradients(lambda: loss(x, t), {"x": x, "t": t}, rng=rng)
    check_gradients(lambda: loss(x, t.data), {"x": x}, rng=rng)
    check_gradients(lambda: loss(x.detach(), t), {"t": t}, rng=rng)


@pytest.mark.parametrize(
    ("name", "slopes"),
    [
        ("mse", [-4, 0, 4]),
        ("l1", [-1, 0, 1]),
        ("smooth", [-1, 0, 1]),
        ("smooth 2", [-1, 0, 1]),
        ("smooth 0", [-1, 0, 1]),
    ],
)
def test_kinks(name, slopes):
    x = Tensor(np.array([-2.0, 0.0, 2.0]), requires_grad=True)
    LOSSES[name][0](x, np.zeros(3)).backward()
    np.testing.assert_allclose(x.grad, np.array(slopes) / 3)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_dtypes(name, dtype):
    """Squares of half precision leave its range, their mean does not."""
    x = Tensor(np.full(70_000, 200, dtype), requires_grad=True)
    t = np.zeros(70_000, dtype)
    t[1:] = 199.9
    loss = LOSSES[name][0](x, t)
    loss.backward()
    assert loss.dtype == x.grad.dtype == dtype
    expected = LOSSES[name][1](x.data.astype("f8") - t).mean()
    np.testing.assert_allclose(loss.item(), expected, rtol=2e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_of_nothing(name):
    x = leaf(0, 3)
    loss = LOSSES[name][0](x, np.zeros((0, 3)))
    loss.backward()
    assert loss.item() == 0
    assert x.grad.shape == (0, 3)


def test_targets_of_other_types():
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    for targets in (np.zeros((2, 3), int), np.zeros((2, 3), bool), np.zeros((2, 3))):
        loss = mse_loss(x, targets)
        assert (loss.item(), loss.dtype) == (1, np.float32)
    loss = mse_loss(x, Tensor(np.zeros((2, 3))))
    assert loss.dtype == np.float64
    loss.backward()
    assert x.grad.dtype == np.float32


@pytest.mark.parametrize("beta", [0, 5e-324, 1e-46, 1e-39, 1e-38, 1e-20, 1.0, 1e20, 1e30])
def test_smooth_l1_is_finite_for_all_differences_and_betas(beta):
    values = [0, 1e-45, 1e-38, 1e-20, 1, 1e15, 1e30, 1e38]
    x = Tensor(np.array([*values, *(-v for v in values)], "f4"), requires_grad=True)
    losses = smooth_l1_loss(x, np.zeros(16, "f4"), beta, reduction="none")
    losses.sum().backward()
    exact = x.data.astype("f8")
    expected = smooth(exact, beta) if beta > 1e-300 else np.abs(exact)
    assert np.allclose(losses.data, expected, rtol=1e-6, atol=1e-38)
    slopes = np.clip(exact / beta, -1, 1) if beta > 1e-40 else np.sign(exact)
    assert np.allclose(x.grad, slopes, rtol=1e-6, atol=1e-6 if beta > 1e-38 else 1)
    assert (abs(x.grad) <= 1).all()
