import numpy as np
import pytest

import spconv
from spconv import Tensor, evaluation
from spconv.metrics import class_iou, confusion_matrix, count_errors, mean_iou
from spconv.train import train


@pytest.mark.parametrize(
    ("outputs", "labels", "got"),
    [
        (Tensor(np.zeros((2, 3))), np.zeros((2, 3)), r"\(2, 3\) and float64 \(2, 3\)"),
        (Tensor(np.zeros((2, 3))), None, r"\(2, 3\) and NoneType"),
        (Tensor(np.zeros((2, 1))), np.array([0.5, 1.5]), r"\(2, 1\) and float64 \(2,\)"),
        (Tensor(np.zeros((2, 3))), ([0, 1], np.zeros((2, 3))), r"\(2, 3\) and tuple"),
        (Tensor(np.zeros((2, 3))), {"shape": [0, 1]}, r"\(2, 3\) and dict"),
        (Tensor(np.zeros((2, 3))), ["cat", "dog"], r"\(2, 3\) and list"),
        ((Tensor(np.zeros((2, 3))),), [1, 2], r"tuple and int64 \(2,\)"),
        (Tensor(np.zeros((2, 3))), np.array(["cat", "dog"]), r"\(2, 3\) and <U3 \(2,\)"),
    ],
)
def test_what_is_no_classification_needs_a_count(outputs, labels, got):
    with pytest.raises(ValueError, match=rf"count_errors: .* got {got}; .* pass count="):
        count_errors(outputs, labels)


def test_logits_with_nan_are_wrong_whatever_the_label_is():
    nan = np.nan
    logits = Tensor(np.array([[nan, nan], [1, nan], [nan, 1], [0, 1], [nan, nan]]))
    assert count_errors(logits, [0, 1, 0, 1, -1], ignore_index=-1) == (3, 4)


def test_yes_or_no_questions_need_a_count():
    logits = Tensor(np.zeros((2, 1)))
    assert count_errors(logits, [0, 0]) == (0, 2)
    for labels in ([0, 1], np.array([True, False])):
        with pytest.raises(ValueError, match=r"count_errors: .*\(N, 1\) .* pass count="):
            count_errors(logits, labels)


def plain_matrix(answers, labels, num_classes, ignore_index):
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for answer, label in zip(answers, labels, strict=True):
        if label != ignore_index:
            matrix[label, answer] += 1
    return matrix


@pytest.mark.parametrize("ignore_index", [None, -1, 2, 255])
def test_confusion_matrix(ignore_index):
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((50, 4)).astype(np.float32)
    labels = rng.integers(4, size=50)
    if ignore_index is not None:
        labels[::7] = ignore_index
    expected = plain_matrix(logits.argmax(1), labels, 4, ignore_index)
    for outputs in (Tensor(logits), logits, logits.argmax(1), logits.argmax(1).astype(np.uint8)):
        for kind in (np.int64, np.int16):
            matrix = confusion_matrix(outputs, labels.astype(kind), 4, ignore_index)
            np.testing.assert_array_equal(matrix, expected)
            assert matrix.dtype == np.int64
    parts = [confusion_matrix(logits[i::3], labels[i::3], 4, ignore_index) for i in range(3)]
    np.testing.assert_array_equal(sum(parts), expected)


def test_confusion_matrix_of_nothing():
    assert confusion_matrix(np.zeros((0, 2)), np.zeros(0, int), 2).tolist() == [[0, 0], [0, 0]]
    for value in (0, np.nan):  # whatever stands there
        logits = np.full((1, 2), value)
        assert confusion_matrix(logits, [-1], 2, -1).tolist() == [[0, 0], [0, 0]]
    for logits in ([], np.zeros(0, int), np.zeros((0, 3)), Tensor(np.zeros((0, 3)))):
        for labels in ([], (), np.zeros(0, int)):
            assert confusion_matrix(logits, labels, 3).tolist() == np.zeros((3, 3)).tolist()
    assert count_errors(Tensor(np.zeros((0, 3))), []) == (0, 0)


def test_many_classes_of_small_integers():
    """Numbers of cells do not fit into the labels' own type."""
    labels = np.array([199, 0], np.uint8)
    assert confusion_matrix(labels, labels, 200).nonzero()[0].tolist() == [0, 199]


def test_iou_by_hand():
    answers, labels = np.array([0, 0, 1, 1, 1, 3]), np.array([0, 1, 1, 1, 0, 1])
    shares = class_iou(confusion_matrix(answers, labels, 5))
    np.testing.assert_array_equal(shares, [1 / 3, 2 / 5, np.nan, 0, np.nan])
    assert mean_iou(confusion_matrix(answers, labels, 5)) == pytest.approx((1 / 3 + 2 / 5) / 3)
    assert np.isnan(mean_iou(np.zeros((2, 2), int)))
    assert mean_iou(np.diag([3, 4, 0])) == 1


def test_in_a_training():
    net = spconv.Linear(3, 3, rng=np.random.default_rng(0))
    batches = [
        (Tensor(np.eye(3, dtype=np.float32)[rows]), np.array(rows)) for rows in ([0, 1], [2])
    ]
    shares = []

    def measure(epoch):
        net.eval()
        with spconv.no_grad():
            shares.append(mean_iou(sum(confusion_matrix(net(x), y, 3) for x, y in batches)))
        return shares[-1] == 1

    sgd = spconv.optim.SGD(net.named_parameters(), lr=1.0)
    history = train(net, batches, sgd, epochs=50, progress=False, on_epoch=measure)
    assert shares[-1] == 1
    assert len(shares) == len(history.epochs) < 50


def test_sparse_logits_have_a_row_for_every_site():
    x = spconv.SparseConvTensor(np.eye(4, dtype="f4"), [[0, i, i] for i in range(4)], (4, 4), 1)
    labels = np.array([0, 1, 1, -1])
    net = spconv.SparseSequential(spconv.Linear(4, 2))
    y = net(x)
    assert count_errors(y, labels, -1) == count_errors(y.features, labels, -1)
    of_rows = confusion_matrix(y.features, labels, 2, ignore_index=-1)
    assert np.array_equal(confusion_matrix(y, labels, 2, ignore_index=-1), of_rows)
    sgd = spconv.optim.SGD(net.named_parameters(), lr=1.0)
    history = train(net, [(x, labels)], sgd, epochs=30, ignore_index=-1, progress=False)
    assert history.last.error == 0
    found = evaluation.evaluate(net, [(x, labels)], ignore_index=-1)
    assert (found.num_samples, found.error) == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((2, 3)), [0, 1], 2), ValueError, r"logits \(N, 2\).* float64 \(2, 3\) and \(2,"),
        ((np.zeros(2), [0, 1], 2), ValueError, r"got float64 \(2,\) and \(2,\)"),
        ((np.zeros((1, 2)), [[0]], 2), ValueError, r"got float64 \(1, 2\) and \(1, 1\)"),
        ((np.zeros((2, 2)), [0.0, 1.0], 2), TypeError, r"integers \(N,\), got float64 \(2,\)"),
        ((np.zeros((2, 2)), {"a": 1}, 2), TypeError, r"integers \(N,\), got dict"),
        (
            (np.zeros((2, 2)), [0, 2], 2),
            ValueError,
            r"labels must be in 0..1, got 0..2; pass",
        ),
        ((np.zeros((2, 2)), [0, -1], 2), ValueError, r"labels must be in 0..1, got -1..0"),
        (
            (np.array([[0, np.nan], [1, 0], [np.nan, 0]]), [0, 1, 1], 2),
            ValueError,
            "logits have NaN in 2 rows that count, which are no answer; look for",
        ),
        (
            (spconv.SparseConvTensor(np.zeros((1, 2)), [[0, 1]], (3,), 1, [0, 0]), [0], 2),
            TypeError,
            r"logits .* an array, got SparseConvTensor with a ground state; pass its \.features",
        ),
        (([0, 2], [0, 1], 2), ValueError, r"answers must be in 0..1, got 0..2"),
        (
            (np.zeros((2, 2), complex), [0, 1], 2),
            TypeError,
            r"logits must be real numbers \(N, 2\), .*got complex128 \(2, 2\); make",
        ),
        (
            ([[1.0, 2], [3.0]], [0, 1], 2),
            TypeError,
            "logits must be real numbers .* got list; make",
        ),
        (([["a", "b"]], [0], 2), TypeError, "logits must be real numbers .* got list; make"),
        ((None, [0], 2), TypeError, "logits must be real numbers .* got NoneType; make"),
        ((np.zeros(0), [], 2), ValueError, r"got float64 \(0,\) and \(0,\)"),
        ((np.zeros((0, 2)), np.zeros(0), 2), TypeError, r"integers \(N,\), got float64 \(0,\)"),
        ((np.zeros((2, 2)), [0, 1], 0), ValueError, "num_classes must be at least 1, got 0"),
        ((np.zeros((2, 2)), [0, 1], 2, 0.5), TypeError, r"ignore_index must be an int, got 0\.5"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=f"confusion_matrix: .*{message}"):
        confusion_matrix(*arguments)


def test_of_a_ground_state_both_say_what_to_pass():
    x = spconv.SparseConvTensor(np.zeros((1, 2)), [[0, 1]], (3,), 1, [0, 0])
    message = r"logits must be a Tensor.* got SparseConvTensor with a ground state; pass its \.fe"
    with pytest.raises(TypeError, match=f"count_errors: {message}"):
        count_errors(x, [0])
    with pytest.raises(TypeError, match=f"confusion_matrix: {message}"):
        confusion_matrix(x, [0], 2)
    net = spconv.SparseSequential(spconv.Linear(2, 2))
    net = net.astype(np.float64)
    with pytest.raises(TypeError, match=f"count_errors: {message}"):
        evaluation.evaluate(net, [(x, [0])])
    sgd = spconv.optim.SGD(net.named_parameters(), lr=1.0)
    with pytest.raises(
        TypeError, match=r"logits must be a Tensor .*SparseConvTensor; pass its \.fe"
    ):
        train(net, [(x, [0])], sgd, epochs=1, progress=False)


def test_classes_behind_dropped_channels_keep_their_numbers():
    x = spconv.SparseConvTensor(np.eye(4), [[0, i, i] for i in range(4)], (4, 4), 1)
    kept = spconv.tensor.KeptChannels(np.array([0, 2, 3]), 4)
    y = spconv.functional.batchwise_dropout(x, kept)
    assert y.features.shape == (4, 3)
    labels = [0, 0, 2, 3]  # of a row of zeros the first class is the answer
    assert count_errors(y, labels) == (0, 4)
    assert confusion_matrix(y, labels, 4).tolist() == np.diag([2, 0, 1, 1]).tolist()
    logits = spconv.Tensor(y.dense().data[0, :, range(4), range(4)])
    expected = spconv.functional.cross_entropy(logits, labels).item()
    assert evaluation.evaluate(spconv.layers.Identity(), [(y, labels)]).loss == expected


@pytest.mark.parametrize("function", [class_iou, mean_iou])
@pytest.mark.parametrize("matrix", [[1, 2], [[1, 2, 3], [1, 2, 3]], [[0.5]], 0])
def test_what_is_no_matrix(function, matrix):
    with pytest.raises(ValueError, match=rf"{function.__name__}: expected a matrix .* add up"):
        function(matrix)


def test_they_are_found_beside_evaluate():
    assert evaluation.confusion_matrix is confusion_matrix
    assert evaluation.mean_iou is mean_iou
