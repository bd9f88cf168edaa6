"""Rows put together by where they belong: points of a voxel, sites of an object."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spconv.autograd import Tensor, record
from spconv.checks import check_int, type_name
from spconv.compat import Array, is_cupy, to_device
from spconv.functional._arguments import check_tensor
from spconv.ops import get_ops

REDUCTIONS = ("sum", "mean", "max")


def scatter(
    x: Tensor, rows: Any, num_rows: int, reduce: Literal["sum", "mean", "max"] = "sum"
) -> Tensor:
    """Sum, mean or maximum of the rows of ``x`` that have the same place, (num_rows, C).

    With the rows of :class:`spconv.data.Voxels` it makes voxels of learned features of points, as
    in PointPillars (Lang et al. 2019, arXiv 1812.05784); ``Voxels.to_points`` is the way back.

    Parameters
    ----------
    x : Tensor (N, C)
    rows : int array (N,)
        Place of each row, in ``0..num_rows - 1``, in any order; -1 leaves it out.
    num_rows : int
    reduce : {"sum", "mean", "max"}
        Places without rows get 0. Of equal values the first has the maximum's gradient. Sums are
        taken in float64 and in the order of the rows; the maximum of a GPU's on the host.

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> x = Tensor(np.array([[1.0], [2.0], [4.0], [8.0]]))
    >>> scatter(x, [1, 1, 0, -1], 3, "mean").data
    array([[4. ],
           [1.5],
           [0. ]])
    """
    check_tensor("scatter", "x", x, "(N, C)", 2)
    num_rows = check_int("scatter", "num_rows", num_rows, 0)
    if reduce not in REDUCTIONS:
        raise ValueError(f"scatter: reduce must be one of {list(REDUCTIONS)}, got {reduce!r}")
    places = _checked_rows(rows, len(x), num_rows)
    kept = np.flatnonzero(places >= 0)
    places = places[kept]
    return (
        _max(x, kept, places, num_rows)
        if reduce == "max"
        else _sum(x, kept, places, num_rows, reduce == "mean")
    )


def _sum(
    x: Tensor, kept: NDArray[np.int64], places: NDArray[np.int64], num_rows: int, mean: bool
) -> Tensor:
    ops, dtype = get_ops(x.data), x.dtype
    xp, num_all = ops.xp, len(x)
    share = None
    if mean:  # counted on the host: CuPy's bincount waits, and refuses no rows
        counts = np.bincount(places, minlength=num_rows)
        share = xp.asarray(1 / np.maximum(counts, 1))[:, None]
    kept, places = xp.asarray(kept), xp.asarray(places)
    data = ops.scatter_add(x.data[kept], places, num_rows)
    if share is not None:
        data = data * share.astype(data.dtype)

    def backward(gradient: Array) -> tuple[Array]:
        if share is not None:
            gradient = gradient * share.astype(gradient.dtype)
        dx = xp.zeros((num_all, gradient.shape[1]), dtype)
        dx[kept] = gradient[places]
        return (dx,)

    return record(data.astype(dtype, copy=False), (x,), backward)


def _max(x: Tensor, kept: NDArray[np.int64], places: NDArray[np.int64], num_rows: int) -> Tensor:
    device = "cuda" if is_cupy(x.data) else "cpu"
    shape, order = x.shape, np.argsort(places, kind="stable")
    kept, places = kept[order], places[order]
    values = to_device(x.data, "cpu")[kept]
    first = np.flatnonzero(np.diff(places, prepend=-1))
    data = np.zeros((num_rows, shape[1]), x.dtype)
    winner = np.full(data.shape, -1)
    if len(first):
        largest = np.maximum.reduceat(values, first, axis=0)
        own = np.repeat(largest, np.diff(first, append=len(places)), axis=0)
        is_largest = (values == own) | (values != values)
        row = np.where(is_largest, kept[:, None], shape[0])
        data[places[first]] = largest
        winner[places[first]] = np.minimum.reduceat(row, first, axis=0)

    def backward(gradient: Array) -> tuple[Array]:
        dx = np.zeros(shape, x.dtype)
        place, channel = np.nonzero(winner >= 0)
        dx[winner[place, channel], channel] = to_device(gradient, "cpu")[place, channel]
        return (to_device(dx, device),)

    return record(to_device(data, device), (x,), backward)


def _checked_rows(rows: Any, count: int, num_rows: int) -> NDArray[np.int64]:
    places = np.asarray(to_device(rows, "cpu"))
    if places.size == 0 and places.ndim == 1:
        places = places.astype(np.int64)
    if places.dtype.kind not in "iu":
        raise TypeError(
            f"scatter: rows must be an array (N,) of integers, got {type_name(rows)} of dtype "
            f"{places.dtype}"
        )
    if places.shape != (count,):
        raise ValueError(
            f"scatter: rows must have shape ({count},), one for each row of x, got {places.shape}"
        )
    wrong = (places < -1) | (places >= num_rows)
    if wrong.any():
        raise ValueError(
            f"scatter: rows must be in 0..{num_rows - 1}, or -1 for none, got "
            f"{places[wrong.argmax()]}"
        )
    return places.astype(np.int64)
