"""Losses as a mean, a sum or one by one, and what elements of yes-or-no questions weigh."""

import numpy as np
import pytest

from spconv import Parameter, Tensor
from spconv.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from spconv.testing import check_gradients

REDUCED = {"mean": np.mean, "sum": np.sum, "none": lambda losses: losses}


def leaf(*shape, seed=0, dtype=np.float64):
    values = np.random.default_rng(seed).standard_normal(shape)
    return Tensor(values.astype(dtype), requires_grad=True)


NUMBERS = {
    "mse": (mse_loss, lambda d: d * d),
    "l1": (l1_loss, np.abs),
    "smooth": (
        lambda *a, **o: smooth_l1_loss(*a, beta=0.5, **o),
        lambda d: np.where(abs(d) < 0.5, d * d, abs(d) - 0.25),
    ),
}


@pytest.mark.parametrize("reduction", REDUCED)
@pytest.mark.parametrize("name", NUMBERS)
def test_losses_of_numbers(name, reduction):
    loss, definition = NUMBERS[name]
    x, t = leaf(4, 3), leaf(4, 3, seed=1)
    expected = REDUCED[reduction](definition(x.data - t.data))
    y = loss(x, t, reduction=reduction)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, rtol=1e-14)
    rng = np.random.default_rng(2)
    check_gradients(lambda: loss(x, t, reduction=reduction), {"x": x, "t": t}, rng=rng)


def entropies(logits, labels, ignored, weight, smoothing):
    """Of rows (N, C): losses one by one, and the weights of the mean."""
    losses, weights = np.zeros(len(labels)), np.zeros(len(labels))
    for row, (z, label) in enumerate(zip(logits, labels, strict=True)):
        if label == ignored:
            continue
        shifted = z - z.max()
        minus_log = np.log(np.exp(shifted).sum()) - shifted
        target = np.full(len(z), smoothing / len(z))
        target[label] += 1 - smoothing
        losses[row], weights[row] = (weight * target * minus_log).sum(), weight[label]
    return losses, weights


@pytest.mark.parametrize("reduction", REDUCED)
@pytest.mark.parametrize("ignored", [None, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, [1.0, 0.5, 3.0, 0.0, 2.0]])
@pytest.mark.parametrize("shape", [(12,), (2, 3), (2, 3, 2)], ids=["rows", "lines", "grids"])
def test_cross_entropy(shape, weight, smoothing, ignored, reduction):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, shape)
    labels.flat[0] = 2
    logits = leaf(shape[0], 5, *shape[1:])
    each = np.ones(5) if weight is None else np.array(weight)
    rows = np.moveaxis(logits.data, 1, -1).reshape(-1, 5)
    losses, weights = entropies(rows, labels.reshape(-1), ignored, each, smoothing)
    expected = {
        "mean": losses.sum() / weights.sum(),
        "sum": losses.sum(),
        "none": losses.reshape(shape),
    }[reduction]

    def run():
        return cross_entropy(logits, labels, ignored, weight, smoothing, reduction)

    y = run()
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, rtol=1e-13, atol=1e-15)
    check_gradients(run, {"logits": logits}, rng=rng)


def test_what_is_ignored_is_0_and_has_no_gradient_of_anything():
    values = np.ones((3, 4))
    values[1] = np.nan
    logits = Tensor(values, requires_grad=True)
    losses = cross_entropy(logits, [0, -1, 2], ignore_index=-1, reduction="none")
    assert losses.data[1] == 0
    losses.backward(np.array([1.0, np.nan, 2.0]))
    np.testing.assert_array_equal(logits.grad[1], 0)
    np.testing.assert_allclose(logits.grad[2], [0.5, 0.5, -1.5, 0.5])


@pytest.mark.parametrize("reduction", REDUCED)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_dtypes_stay(dtype, reduction):
    losses = {
        "cross_entropy": lambda x: cross_entropy(x, [0, 1, 2], reduction=reduction),
        "yes or no": lambda x: binary_cross_entropy_with_logits(
            x, np.ones((3, 4)), np.ones(4), np.float64(2), reduction
        ),
        "mse": lambda x: mse_loss(x, np.ones((3, 4)), reduction),
    }
    for loss in losses.values():
        x = leaf(3, 4, dtype=dtype)
        y = loss(x)
        y.sum().backward()
        assert (y.dtype, x.grad.dtype) == (dtype, dtype)


@pytest.mark.parametrize("reduction", REDUCED)
def test_of_nothing(reduction):
    x = leaf(0, 3)
    expected = np.zeros((0, 3)) if reduction == "none" else 0
    for loss in (mse_loss, binary_cross_entropy_with_logits):
        np.testing.assert_array_equal(loss(x, x.data, reduction=reduction).data, expected)
    y = cross_entropy(x, np.zeros(0, int), reduction=reduction)
    np.testing.assert_array_equal(y.data, np.zeros(0) if reduction == "none" else 0)
    y.sum().backward()
    assert x.grad.shape == (0, 3)


WEIGHTS = {
    "none": (None, None),
    "a number": (2.5, np.float32(3)),
    "of classes": (None, [0.5, 1, 4]),
    "of rows": ([[1.0], [0.0], [3.0], [2.0]], None),
    "of elements": (np.arange(12.0).reshape(4, 3), np.arange(12.0)[::-1].reshape(4, 3)),
    "tensors": (Tensor(np.array([1.0, 2.0, 0.0])), Tensor(np.array([[2.0]] * 4))),
}


@pytest.mark.parametrize("reduction", REDUCED)
@pytest.mark.parametrize("name", WEIGHTS)
def test_what_yes_or_no_questions_weigh(name, reduction):
    weight, pos_weight = WEIGHTS[name]
    rng = np.random.default_rng(0)
    logits, targets = leaf(4, 3), rng.random((4, 3))
    targets[0] = [0, 1, 0.5]
    p = 1 / (1 + np.exp(-logits.data))
    each, yes = (1 if w is None else np.asarray(w) for w in (weight, pos_weight))
    losses = -each * (yes * targets * np.log(p) + (1 - targets) * np.log(1 - p))
    expected = REDUCED[reduction](losses)

    def run():
        return binary_cross_entropy_with_logits(logits, targets, weight, pos_weight, reduction)

    y = run()
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, rtol=1e-12)
    check_gradients(run, {"logits": logits}, rng=rng)


def test_weights_of_the_channels_of_a_grid():
    logits, targets, weight = leaf(2, 3, 4, 5), np.ones((2, 3, 4, 5)), np.array([1.0, 2.0, 5.0])
    plain = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    y = binary_cross_entropy_with_logits(
        logits, targets, pos_weight=weight[:, None, None], reduction="none"
    )
    np.testing.assert_allclose(y.data, weight[:, None, None] * plain.data, rtol=1e-14)


@pytest.mark.parametrize("pos_weight", [None, 3.0])
def test_large_logits_keep_their_digits(pos_weight):
    """Of rare answers too: a loss of exp(-90) is none of 90 less 90."""
    z, t = np.array([90.0, -90.0, 1e4, -1e4, 90.0]), np.array([1.0, 0.0, 0.0, 1.0, 0.5])
    logits = Tensor(z, requires_grad=True)
    y = binary_cross_entropy_with_logits(logits, t, None, pos_weight, "none")
    yes = 1 if pos_weight is None else pos_weight
    small = np.exp(-90)
    np.testing.assert_allclose(y.data, [yes * small, small, 1e4, yes * 1e4, 45], rtol=1e-14)
    y.sum().backward()
    np.testing.assert_allclose(logits.grad, [0, small, 1, -yes, 0.5], atol=1e-15)


def test_infinite_logits():
    """Where PyTorch's loss is infinite it is, and the gradient is finite everywhere."""
    logits = Tensor(np.array([np.inf, -np.inf]), requires_grad=True)
    y = binary_cross_entropy_with_logits(logits, [0, 1], pos_weight=2.0, reduction="none")
    np.testing.assert_array_equal(y.data, [np.inf, np.inf])
    y.sum().backward()
    np.testing.assert_array_equal(logits.grad, [1, -2])


def test_weights_may_change_after_the_forward_pass():
    weight, pos_weight = np.ones(2), np.ones(2)
    logits = Tensor(np.zeros(2), requires_grad=True)
    loss = binary_cross_entropy_with_logits(logits, [1, 1], weight, pos_weight)
    weight[:] = pos_weight[:] = 7
    loss.backward()
    assert logits.grad.tolist() == [-0.25, -0.25]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weight": "text"}, TypeError, "weight must be a Tensor, an array of numbers or a number"),
        ({"weight": -1}, ValueError, r"weight must be finite numbers from 0 on, got -1\.\.-1"),
        ({"pos_weight": [1, 2, np.inf]}, ValueError, r"pos_weight must be finite .* got 1\.\.inf"),
        ({"pos_weight": [1, 2]}, ValueError, r"to the shape \(4, 3\), got \(2,\); .*\(C, 1, 1\)"),
        ({"weight": np.ones((2, 4, 3))}, ValueError, r"the shape \(4, 3\), got \(2, 4, 3\)"),
        ({"pos_weight": Parameter([1.0])}, ValueError, r"no gradient; pass pos_weight.detach\(\)"),
        (
            {"reduction": "Mean"},
            ValueError,
            "reduction must be 'mean', 'sum' or 'none', got 'Mean'",
        ),
        ({"reduction": None}, ValueError, "got None; 'none' gives the losses one by one"),
    ],
)
def test_what_is_refused(options, error, message):
    with pytest.raises(error, match=f"binary_cross_entropy_with_logits: .*{message}"):
        binary_cross_entropy_with_logits(leaf(4, 3), np.ones((4, 3)), **options)
