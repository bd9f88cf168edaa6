"""Cross-entropy: its value and gradient, large logits, errors."""

import numpy as np
import pytest

import spconv
from spconv.functional import cross_entropy
from spconv.testing import assert_gradients, reference


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
        ([0, -1, 2], ValueError, r"labels must be in 0\.\.3, got -1\.\.2"),
        ([0.0, 1.0, 2.0], TypeError, "labels must be integers, got dtype float64"),
    ],
)
def test_labels_are_checked(labels, error, message):
    with pytest.raises(error, match=f"cross_entropy: .*{message}"):
        cross_entropy(spconv.Tensor(np.zeros((3, 4))), labels)


def test_logits_are_checked():
    with pytest.raises(ValueError, match=r"expected logits \(batch_size, num_classes\)"):
        cross_entropy(spconv.Tensor(np.zeros(3)), [0, 1, 2])
