"""What classes come out right: errors, confusion matrices and intersections over unions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spconv.autograd import Tensor
from spconv.checks import check_int, type_name
from spconv.compat import to_device
from spconv.tensor import SparseConvTensor, all_channels


def check_numbers(owner: str, labels: Any) -> None:
    """Raise ValueError for targets that are no one array of numbers, such as those of two tasks."""
    if not hasattr(labels, "dtype") and _numbers(labels)[0] is None:
        raise ValueError(
            f"{owner}: expected labels (N,) of classes, got {type_name(labels)}; for anything else "
            "pass loss=, a function of logits and labels, and count=, one of both that returns how "
            "many of how many are wrong"
        )


def rows_of(logits: Any) -> Any:
    """Of a sparse tensor without a ground state the features, which have a label for each site.

    With zeros for dropped channels: the classes behind them keep their numbers.
    """
    if isinstance(logits, SparseConvTensor) and logits.ground_state is None:
        return all_channels(logits).features
    return logits


def _rows(owner: str, logits: Any, kind: str) -> Any:
    """:func:`rows_of`, and TypeError for a sparse tensor with a ground state."""
    rows = rows_of(logits)
    if isinstance(rows, SparseConvTensor):
        raise TypeError(
            f"{owner}: logits must be {kind}, got SparseConvTensor with a ground state; pass its "
            ".features"
        )
    return rows


def count_errors(logits: Tensor, labels: Any, ignore_index: int | None = None) -> tuple[int, int]:
    """How many labels (N,) are not the largest of their logits (N, classes), and of how many.

    Logits with NaN have no largest one: they are wrong whatever the label is.

    >>> count_errors(Tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), [1, 0, -1], ignore_index=-1)
    (1, 2)
    """
    array, what = _numbers(labels)
    logits = _rows("count_errors", logits, "a Tensor")
    rows = (len(logits),) if isinstance(logits, Tensor) and logits.ndim == 2 else None
    if array is None or array.dtype.kind not in "iub" or array.shape != rows:
        shape = logits.shape if isinstance(logits, Tensor) else type_name(logits)
        raise ValueError(
            "count_errors: expected logits (N, classes) and integer labels (N,), got "
            f"{shape} and {what}; for anything but classes pass count=, a function of both that "
            "returns how many of how many are wrong"
        )
    counted = array != ignore_index
    if logits.shape[1] == 1 and array[counted].any():
        raise ValueError(
            "count_errors: logits of shape (N, 1) tell no classes apart, but not all labels are 0; "
            "for yes-or-no questions pass count=, a function of logits and labels that "
            "returns how many of how many are wrong"
        )
    values = logits.numpy()
    right = (values.argmax(axis=1) == array) & ~np.isnan(values).any(axis=1)
    return int((counted & ~right).sum()), int(counted.sum())


def confusion_matrix(
    logits: Any, labels: Any, num_classes: int, ignore_index: int | None = None
) -> NDArray[np.int64]:
    """How often each class was taken for each: a row for every label, a column for every answer.

    Matrices of batches are added up; :func:`class_iou` and :func:`mean_iou` take the sum.

    Parameters
    ----------
    logits : Tensor, SparseConvTensor or array (N, num_classes), or int array (N,)
        The largest logit is the answer; integers are answers, such as those of
        :meth:`spconv.data.Voxels.to_points`.
    labels : int array_like (N,)
    num_classes : int
    ignore_index : int, optional
        Label of rows that do not count.

    Raises
    ------
    TypeError
        For labels that are no integers, for logits that are no real numbers, and for a sparse
        tensor with a ground state.
    ValueError
        For other shapes, for labels or answers that are no classes, and for NaN among the logits
        of rows that count.

    Examples
    --------
    >>> confusion_matrix([[0.0, 1.0], [2.0, 0.0], [3.0, 0.0]], [1, 1, -1], 2, ignore_index=-1)
    array([[0, 0],
           [1, 1]])

    Of a segmentation, in a loop of one's own or in ``train(on_epoch=...)``:

    >>> import spconv
    >>> net, test = spconv.Linear(1, 3), [(Tensor(np.ones((4, 1))), [0, 1, 2, -1])]
    >>> def measure(epoch):
    ...     net.eval()
    ...     with spconv.no_grad():
    ...         return sum(confusion_matrix(net(x), y, 3, ignore_index=-1) for x, y in test)
    >>> measure(epoch=0).sum()
    np.int64(3)
    """
    owner = "confusion_matrix"
    num_classes = check_int(owner, "num_classes", num_classes, 1)
    if ignore_index is not None:
        ignore_index = check_int(owner, "ignore_index", ignore_index, -(2**63))
    logits = _rows(owner, logits, "a Tensor or an array")
    truth, what = _numbers(labels)
    outputs, got = _numbers(logits.numpy() if isinstance(logits, Tensor) else logits)
    if outputs is None:
        raise TypeError(
            f"{owner}: logits must be real numbers (N, {num_classes}), or integer classes (N,), "
            f"got {got}; make one float array of them"
        )
    classes = outputs.ndim == 1 and outputs.dtype.kind in "iu"
    if truth is None or truth.dtype.kind not in "iu":
        raise TypeError(
            f"{owner}: labels must be integers (N,), got {what}; of one-hot rows pass argmax(1)"
        )
    rows = truth.shape if classes else (*truth.shape, num_classes)
    if truth.ndim != 1 or outputs.shape != rows:
        raise ValueError(
            f"{owner}: expected logits (N, {num_classes}), or their integer classes (N,), and "
            f"labels (N,), got {outputs.dtype} {outputs.shape} and {truth.shape}"
        )
    counted = truth != ignore_index
    truth, outputs = truth[counted], outputs[counted]
    if not classes and (broken := int(np.isnan(outputs).any(axis=1).sum())):
        raise ValueError(
            f"{owner}: logits have NaN in {broken} rows that count, which are no answer; look for "
            "where it comes from, or leave the rows out by ignore_index"
        )
    answers = outputs if classes else outputs.argmax(axis=1)
    for name, values in (("labels", truth), ("answers", answers)):
        if len(values) and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(
                f"{owner}: {name} must be in 0..{num_classes - 1}, got {values.min()}.."
                f"{values.max()}; pass the label of rows that do not count as ignore_index (now "
                f"{ignore_index})"
            )
    cells = truth.astype(np.int64) * num_classes + answers.astype(np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_iou(matrix: Any) -> NDArray[np.float64]:
    """Intersection over union of every class; NaN for one that is neither label nor answer.

    Everingham et al. 2010, *The PASCAL visual object classes challenge*: true positives divided by
    true positives, false positives and false negatives.

    Parameters
    ----------
    matrix : array_like (num_classes, num_classes)
        Of :func:`confusion_matrix`, or a sum of such.

    Examples
    --------
    >>> class_iou([[2, 1, 0], [1, 4, 0], [0, 0, 0]]).round(2)
    array([0.5 , 0.67,  nan])
    """
    counts = _checked(matrix, "class_iou")
    hits = np.diag(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts)
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def mean_iou(matrix: Any) -> float:
    """Mean of :func:`class_iou` over the classes that are a label or an answer, NaN without any.

    Examples
    --------
    >>> mean_iou([[2, 2, 0], [0, 4, 0], [0, 0, 0]])  # (1/2 + 4/6) / 2
    0.5833333333333333
    """
    shares = class_iou(_checked(matrix, "mean_iou"))
    known = shares[~np.isnan(shares)]
    return float(known.mean()) if len(known) else float("nan")


def _checked(matrix: Any, owner: str) -> NDArray[np.int64]:
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.dtype.kind not in "iu":
        raise ValueError(
            f"{owner}: expected a matrix (num_classes, num_classes) of counts, got "
            f"{counts.dtype} {counts.shape}; add up confusion_matrix(logits, labels, num_classes) "
            "of the batches"
        )
    return counts


def _numbers(labels: Any) -> tuple[np.ndarray | None, str]:
    """As an array, None if they are no real numbers, and what they are in a message."""
    try:
        array = np.asarray(to_device(labels, "cpu"))
    except (TypeError, ValueError):  # targets of several shapes
        return None, type_name(labels)
    what, listed = f"{array.dtype} {array.shape}", not hasattr(labels, "dtype")
    if array.dtype.kind not in "fiub":
        return None, type_name(labels) if listed else what
    return array.astype(np.int64) if listed and array.shape == (0,) else array, what
