"""Cross-entropy: its value and gradient, large logits, errors."""

import numpy as np
import pytest

import spconv
from spconv.functional import binary_cross_entropy_with_logits, cross_entropy
from spconv.testing import assert_gradients, check_gradients, reference


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("labels", [np.array([0, 4, 2, 2]), [0, 4, 2, 2], np.uint8([0, 4, 2, 2])])
def test_value_and_gradient(labels, scale):
    rng = np.random.default_rng(0)
    values = scale * rng.standard_normal((4, 5))
    logits = spconv.Tensor(values, requires_grad=True)
    loss = cross_entropy(logits, labels)
    assert loss.shape == ()
    np.testing.assert_allclose(loss.item(), reference.cross_entropy(values, labels), rtol=1e-14)
    loss.backward()
    assert_gradients(
        lambda a: reference.cross_entropy(a["logits"], labels),
        {"logits": values},
        {"logits": logits.grad},
        rng=rng,
    )
    np.testing.assert_allclose(logits.grad.sum(1), 0, atol=1e-15)


class Series:
    """Of pandas, as far as it matters: an array that is asked with get(key)."""

    def __init__(self, values):
        self.values = np.array(values)

    def get(self, key, default=None):
        return self.values[key]

    def __array__(self, dtype=None, copy=None):
        return self.values


def test_a_series_is_an_array():
    logits = spconv.Tensor(np.array([[1.0, 2.0], [3.0, 5.0]]))
    loss = cross_entropy(logits, Series([0, 1]), weight=Series([1.0, 2.0]))
    assert loss.item() == cross_entropy(logits, [0, 1], weight=[1.0, 2.0]).item()


@pytest.mark.parametrize("ignored", [255, -1])
def test_rows_that_do_not_count(ignored):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((6, 5))
    values[2] = np.nan  # whatever stands there
    labels = np.array([0, 4, ignored, 2, ignored, 2])
    rows = labels != ignored
    logits = spconv.Tensor(values, requires_grad=True)
    loss = cross_entropy(logits, labels, ignore_index=ignored)
    some = spconv.Tensor(values[rows], requires_grad=True)
    expected = cross_entropy(some, labels[rows])
    assert loss.item() == expected.item()
    loss.backward()
    expected.backward()
    np.testing.assert_array_equal(logits.grad[rows], some.grad)
    np.testing.assert_array_equal(logits.grad[~rows], 0)


def by_definition(logits, labels, ignored, weight, smoothing):
    """The mean over rows of sum_c target_c * -log softmax_c, weighted class by class."""
    total = weighed = 0.0
    for z, label in zip(logits, labels, strict=True):
        if label == ignored:
            continue
        shifted = z - z.real.max()
        minus_log = np.log(np.exp(shifted).sum()) - shifted
        target = np.full(len(z), smoothing / len(z))
        target[label] += 1 - smoothing
        total += (weight * target * minus_log).sum()
        weighed += weight[label]
    return total / weighed


@pytest.mark.parametrize("ignored", [None, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("weight", [None, [1.0, 0.5, 3.0, 0.0, 2.0]])
def test_weights_of_classes_and_smoothing(weight, smoothing, ignored):
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((12, 5)), np.arange(12) % 5
    logits = spconv.Tensor(values, requires_grad=True)
    loss = cross_entropy(logits, labels, ignored, weight, smoothing)
    each = np.ones(5) if weight is None else np.array(weight)
    expected = by_definition(values, labels, ignored, each, smoothing)
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-13)
    loss.backward()
    assert_gradients(
        lambda a: by_definition(a["logits"], labels, ignored, each, smoothing),
        {"logits": values},
        {"logits": logits.grad},
        rng=rng,
    )


def test_weights_and_smoothing_keep_float32_and_half_precision():
    for dtype in (np.float16, np.float32):
        logits = spconv.Tensor(np.zeros((3, 4), dtype), requires_grad=True)
        loss = cross_entropy(logits, [0, 1, 2], weight=[1, 2, 3, 4], label_smoothing=0.1)
        loss.backward()
        assert (loss.dtype, logits.grad.dtype) == (dtype, dtype)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": [1, 2]}, r"weight must be 4 numbers from 0 on.* got \[1, 2\]"),
        ({"weight": [1, 2, 3, -1]}, "weight must be 4 numbers from 0 on"),
        ({"weight": [1, 2, 3, np.nan]}, "weight must be 4 numbers from 0 on"),
        ({"label_smoothing": 1.0}, "label_smoothing must be"),
        ({"label_smoothing": -0.1}, "label_smoothing must be"),
    ],
)
def test_weights_and_smoothing_are_checked(options, message):
    with pytest.raises(ValueError, match=f"cross_entropy: {message}"):
        cross_entropy(spconv.Tensor(np.zeros((1, 4))), [0], **options)


@pytest.mark.parametrize("rows", [0, 3])
def test_no_row_counts(rows):
    logits = spconv.Tensor(np.ones((rows, 4), np.float32), requires_grad=True)
    loss = cross_entropy(logits, np.full(rows, -1), ignore_index=-1)
    assert loss.item() == 0
    loss.backward()
    assert loss.dtype == logits.grad.dtype == np.float32
    np.testing.assert_array_equal(logits.grad, np.zeros((rows, 4)))


def test_a_label_may_be_a_class_and_ignored():
    logits = spconv.Tensor(np.zeros((2, 4)))
    assert cross_entropy(logits, [0, 1], ignore_index=0).item() == pytest.approx(np.log(4))


def test_huge_logits_do_not_overflow():
    logits = spconv.Tensor(np.array([[1e4, 0.0], [0.0, 1e4]], np.float32), requires_grad=True)
    loss = cross_entropy(logits, [0, 0])
    assert loss.item() == 5e3
    loss.backward()
    np.testing.assert_array_equal(logits.grad, [[0, 0], [-0.5, 0.5]])
    assert loss.dtype == logits.grad.dtype == np.float32


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1], ValueError, r"got \(3, 4\) and \(2,\)"),
        ([[0], [1], [2]], ValueError, r"got \(3, 4\) and \(3, 1\)"),
        ([0, 1, 4], ValueError, r"labels must be in 0\.\.3, got 0\.\.4"),
        (
            [0, -1, 2],
            ValueError,
            r"labels must be in 0\.\.3, got -1\.\.2; pass the label",
        ),
        ([0.0, 1.0, 2.0], TypeError, "labels must be integers, got dtype float64"),
    ],
)
def test_labels_are_checked(labels, error, message):
    with pytest.raises(error, match=f"cross_entropy: .*{message}"):
        cross_entropy(spconv.Tensor(np.zeros((3, 4))), labels)


def test_logits_are_checked():
    with pytest.raises(ValueError, match=r"expected logits \(N, num_classes\)"):
        cross_entropy(spconv.Tensor(np.zeros(3)), [0, 1, 2])


def test_yes_or_no_questions():
    rng = np.random.default_rng(0)
    values, targets = 5 * rng.standard_normal((4, 3)), rng.random((4, 3))
    logits = spconv.Tensor(values, requires_grad=True)
    loss = binary_cross_entropy_with_logits(logits, targets)
    p = 1 / (1 + np.exp(-values))
    expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean()
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-13)
    loss.backward()
    np.testing.assert_allclose(logits.grad, (p - targets) / 12, rtol=1e-12)


@pytest.mark.parametrize("kind", [np.asarray, spconv.Tensor])
def test_targets_that_change_before_backward(kind):
    """Labels of cross_entropy are copied as well."""
    targets = np.ones(2)
    logits = spconv.Tensor(np.zeros(2), requires_grad=True)
    loss = binary_cross_entropy_with_logits(logits, kind(targets))
    targets[:] = 0
    loss.backward()
    assert logits.grad.tolist() == [-0.25, -0.25]


def test_yes_or_no_questions_with_huge_logits():
    logits = spconv.Tensor(np.array([1e4, -1e4, 1e4, -1e4], np.float32), requires_grad=True)
    loss = binary_cross_entropy_with_logits(logits, [1, 0, 0, 1])
    loss.backward()
    assert (loss.item(), logits.grad.tolist()) == (5e3, [0, 0, 0.25, -0.25])
    assert loss.dtype == np.float32


def test_yes_or_no_questions_are_checked():
    with pytest.raises(TypeError, match=r"binary_cross_entropy_with_logits: logits .*, got list"):
        binary_cross_entropy_with_logits([1.0], [1])
    with pytest.raises(ValueError, match=r"of shape \(2, 1\), .*got \(2,\)"):
        binary_cross_entropy_with_logits(spconv.Tensor([[1.0], [2.0]]), [1, 0])


def test_labels_may_change_after_the_forward_pass():
    labels = np.array([0, 1])
    logits = spconv.Tensor(np.zeros((2, 3)), requires_grad=True)
    loss = cross_entropy(logits, labels)
    labels[:] = 2
    loss.backward()
    np.testing.assert_array_equal(logits.grad.argmin(axis=1), [0, 1])


def grids(ndim, seed=0):
    rng = np.random.default_rng(seed)
    shape = (3, 4, 5)[:ndim]
    return rng.standard_normal((2, 5, *shape)), rng.integers(0, 5, (2, *shape))


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"ignore_index": 2}, {"weight": [1, 2, 0, 0.5, 3], "label_smoothing": 0.1}],
    ids=["plain", "ignored", "weighted"],
)
def test_grids_are_rows_of_sites(options, channels_last, ndim):
    values, labels = grids(ndim)
    if channels_last:  # as behind a convolution: a view
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 1, -1)), -1, 1)
    logits = spconv.Tensor(values, requires_grad=True)
    rows = spconv.Tensor(np.moveaxis(values, 1, -1).reshape(-1, 5), requires_grad=True)
    loss = cross_entropy(logits, labels, **options)
    expected = cross_entropy(rows, labels.reshape(-1), **options)
    assert loss.item() == expected.item()
    loss.backward()
    expected.backward()
    np.testing.assert_array_equal(np.moveaxis(logits.grad, 1, -1).reshape(-1, 5), rows.grad)
    check_gradients(
        lambda: cross_entropy(logits, labels, **options),
        {"logits": logits},
        rng=np.random.default_rng(1),
    )


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 4, 3), (24,), (2, 5, 3, 4), (2, 1, 3, 4)])
def test_labels_of_grids_are_checked(shape):
    logits = spconv.Tensor(grids(2)[0])
    with pytest.raises(
        ValueError, match=r"cross_entropy: .*of grids .*\(N, \*spatial_shape\), got"
    ):
        cross_entropy(logits, np.zeros(shape, int))
    with pytest.raises(ValueError, match=r"cross_entropy: labels must be in 0\.\.4, got 5\.\.5"):
        cross_entropy(logits, np.full((2, 3, 4), 5))


def test_grids_without_a_site():
    logits = spconv.Tensor(np.zeros((2, 5, 0, 4)), requires_grad=True)
    loss = cross_entropy(logits, np.zeros((2, 0, 4), int))
    loss.backward()
    assert (loss.item(), logits.grad.shape) == (0, (2, 5, 0, 4))


@pytest.mark.parametrize("wrong", [-1, 1.001, 2, np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.array, spconv.Tensor, list])
def test_targets_are_from_0_to_1(kind, wrong):
    logits = spconv.Tensor(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"targets must be from 0 to 1, got .*signs \+ 1"):
        binary_cross_entropy_with_logits(logits, kind([0.0, wrong, 1.0]))
    for right in ([0.0, 0.5, 1.0], [False, True, True], [0, 1, 1]):
        binary_cross_entropy_with_logits(logits, np.array(right))


def test_targets_of_a_tensor():
    logits, targets = spconv.Tensor(np.zeros(2), requires_grad=True), spconv.Tensor([0.0, 1.0])
    binary_cross_entropy_with_logits(logits, targets).backward()
    np.testing.assert_array_equal(logits.grad, [0.25, -0.25])
    with pytest.raises(ValueError, match=r"targets get no gradient; pass targets.detach\(\)"):
        binary_cross_entropy_with_logits(logits, spconv.Parameter(targets.data))
