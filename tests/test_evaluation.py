from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from spconv.autograd import Tensor
from spconv.evaluation import Evaluation, evaluate, wilson_interval
from spconv.layers import BatchNorm, Dropout, Linear, SparseSequential
from spconv.optim import SGD
from spconv.train import train


class Identity(Linear):
    """Logits that are the inputs, so that every number can be checked by hand."""

    def __init__(self):
        super().__init__(2, 2)
        self.seen = []

    def forward(self, x):
        self.seen.append(self.training)
        return x


def batch(rows, labels):
    return Tensor(np.array(rows, np.float32)), np.array(labels)


def test_loss_and_error_are_means_over_samples_not_batches():
    batches = [batch([[1, 0], [0, 1], [2, 0]], [0, 0, 1]), batch([[0, 3]], [1])]
    result = evaluate(Identity(), batches)
    margins = np.array([1, -1, -2, 3])
    assert result.loss == pytest.approx(np.log1p(np.exp(-margins)).mean(), rel=1e-6)
    assert (result.num_samples, result.num_errors, result.error) == (4, 2, 0.5)
    assert result.interval == wilson_interval(2, 4)


def test_ignored_labels_count_neither_in_the_loss_nor_in_the_error():
    all_ignored, some = batch([[1, 0], [0, 1]], [7, 7]), batch([[1, 0], [0, 2], [5, 0]], [0, 0, 7])
    result = evaluate(Identity(), [all_ignored, some], ignore_index=7)
    assert result.loss == pytest.approx(np.log1p(np.exp([-1.0, 2.0])).mean(), rel=1e-6)
    assert (result.num_samples, result.num_errors) == (2, 1)


def test_anything_is_counted_as_told():
    targets = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    result = evaluate(
        Identity(),
        [(Tensor(targets + np.float32(0.5)), targets)],
        loss=lambda y, targets: ((y - targets) * (y - targets)).mean(),
        count=lambda y, targets: (int((np.abs(y.data - targets) > 1).any(1).sum()), len(targets)),
    )
    assert result == Evaluation(loss=0.25, error=0.0, num_samples=2, num_errors=0)


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (3, "3"),
        ((1, 2, 3), r"\(1, 2, 3\)"),
        (("1", 2), r"\('1', 2\)"),
        ((np.ones(2), 2), r"\(array\(\[1., 1.\]\), 2\)"),
        (None, "NoneType"),
        (np.ones(3), r"numpy\.ndarray"),
    ],
)
def test_a_count_is_two_numbers(result, got):
    net = Linear(2, 2)
    batches = [(Tensor(np.eye(2, dtype=np.float32)), np.array([0, 1]))]
    expected = rf"count must return \(wrong, of how many\), got {got}$"
    with pytest.raises(TypeError, match=f"^evaluate: {expected}"):
        evaluate(net, batches, count=lambda logits, labels: result)
    sgd = SGD(net.named_parameters(), lr=0.1)
    with pytest.raises(TypeError, match=f"^train: {expected}"):
        train(net, batches, sgd, epochs=1, count=lambda logits, labels: result, progress=False)


@pytest.mark.parametrize(
    "result",
    [(np.nan, 2), (1, np.float32(np.nan)), (np.inf, 2), (-1, 2), (0, -2), (Fraction(-1, 2), 2)],
    ids=repr,
)
def test_counts_are_finite_and_not_negative(result):
    net = Linear(2, 2)
    batches = [(Tensor(np.eye(2, dtype=np.float32)), np.array([0, 1]))]
    expected = r"count must return \(wrong, of how many\), finite and >= 0, got \("
    with pytest.raises(ValueError, match=f"^evaluate: {expected}"):
        evaluate(net, batches, count=lambda logits, labels: result)
    sgd, before = SGD(net.named_parameters(), lr=0.1), net.state_dict()
    with pytest.raises(ValueError, match=f"^train: {expected}"):
        train(net, batches, sgd, epochs=1, count=lambda logits, labels: result, progress=False)
    assert all(np.array_equal(before[name], array) for name, array in net.state_dict().items())


def test_fractions_are_shown_and_written(tmp_path):
    net = Linear(2, 2)
    batches = [(Tensor(np.eye(2, dtype=np.float32)), np.array([0, 1]))]
    history = train(
        net,
        batches,
        SGD(net.named_parameters(), lr=0.1),
        epochs=1,
        evaluate=batches,
        count=lambda logits, labels: (Fraction(1, 2), Fraction(2)),
        log=tmp_path / "log.jsonl",
        checkpoint=tmp_path / "run.npz",
        progress=False,
    )
    assert (history.last.error, history.last.test_error) == (0.25, 0.25)
    assert "error 25.00%" in str(history.last)


@pytest.mark.parametrize("kind", [float, np.float32, np.array, lambda n: Tensor([float(n)])])
def test_counts_may_be_numbers_of_any_kind(kind):
    batches = [(Tensor(np.eye(2, dtype=np.float32)), np.array([0, 1]))]
    result = evaluate(Identity(), batches, count=lambda logits, labels: (kind(1), kind(2)))
    assert (result.error, type(result.num_errors)) in [(0.5, int), (0.5, float)]


@pytest.mark.parametrize(
    "labels",
    [np.array([0.5, 1.0], np.float32), (np.array([0, 1]), np.zeros((2, 3))), {"a": [0, 1]}],
)
def test_other_targets_than_classes_need_a_count(labels):
    def loss(logits, labels):
        return (logits * logits).mean()

    with pytest.raises(ValueError, match=r"integer labels .* pass count="):
        evaluate(Identity(), [(Tensor(np.eye(2, dtype=np.float32)), labels)], loss=loss)


def test_loss_and_prepare_are_used():
    result = evaluate(
        Identity(),
        [batch([[1, 0]], [0])],
        loss=lambda logits, labels: logits.sum(),
        prepare=lambda x: Tensor(x.data * 5),
    )
    assert result == Evaluation(loss=5.0, error=0.0, num_samples=1, num_errors=0)


@pytest.mark.parametrize("name", ["loss", "count", "prepare"])
def test_what_is_no_function_is_refused(name):
    message = rf"evaluate: {name} must be a function, {name}\(.*\).*, got int"
    for value in (0, 3):
        with pytest.raises(TypeError, match=message):
            evaluate(Identity(), [batch([[1, 0]], [0])], **{name: value})


@pytest.mark.parametrize(
    ("model", "got"),
    [
        (lambda x: x, "function"),
        (None, "NoneType"),
        (partial(Identity()), r"functools\.partial"),
        ([Identity()], "list"),
        (Identity, "type"),
    ],
)
def test_a_model_is_a_module(model, got):
    message = f"model must be a Module, got {got}; "
    with pytest.raises(TypeError, match=f"evaluate: {message}.*SparseSequential"):
        evaluate(model, [batch([[1, 0]], [0])])
    with pytest.raises(TypeError, match=f"train: {message}"):
        train(model, [batch([[1, 0]], [0])], SGD(Identity().named_parameters(), lr=1.0), epochs=1)


def test_a_loader_gives_its_epoch_0():
    class Loader:
        def epoch(self, epoch, start=0):
            assert (epoch, start) == (0, 0)
            yield batch([[1, 0]], [1])

    assert evaluate(Identity(), Loader()).num_errors == 1


def test_evaluation_mode_and_the_modes_of_before():
    model = SparseSequential(Linear(2, 2), BatchNorm(2), Dropout(0.5), Identity())
    frozen, identity = model[1], model[3]
    frozen.eval()
    before = model.state_dict()
    evaluate(model, [batch([[1, 0], [3, 4]], [0, 1])])
    assert identity.seen == [False]
    assert [layer.training for layer in (model, frozen, identity)] == [True, False, True]
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())

    def fail(logits, labels):
        raise RuntimeError("loss")

    with pytest.raises(RuntimeError, match="loss"):
        evaluate(model, [batch([[1, 0]], [0])], loss=fail)
    assert model.training


def test_nothing_is_recorded():
    results = []

    def loss(logits, labels):
        results.append(logits.sum())
        return results[-1]

    evaluate(Linear(2, 2), [batch([[1, 0]], [0])], loss=loss)
    assert not results[0].requires_grad


def test_the_loader_is_closed_when_the_model_fails():
    closed = []

    def batches():
        try:
            yield batch([[1, 0]], [0])
            yield batch([[1, 0]], [0])
        finally:
            closed.append(True)

    def fail(logits, labels):
        raise RuntimeError("loss")

    with pytest.raises(RuntimeError):
        evaluate(Identity(), batches(), loss=fail)
    assert closed == [True]


def test_no_samples():
    with pytest.raises(ValueError, match="evaluate: the loader gave no samples"):
        evaluate(Identity(), [])


@pytest.mark.parametrize(
    ("num_errors", "num_samples", "interval"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (29, 29, (0.8830, 1.0)),
    ],
)
def test_wilson_interval(num_errors, num_samples, interval):
    assert wilson_interval(num_errors, num_samples) == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize("counts", [(1, 0), (0, 0), (3, 2), (-1, 2)])
def test_wilson_interval_refuses_impossible_counts(counts):
    with pytest.raises(ValueError, match="wilson_interval: expected 0 <= num_errors"):
        wilson_interval(*counts)
