"""Checks of point clouds and of what their points have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spconv.autograd import Tensor
from spconv.checks import type_name


def check_clouds(owner: str, points: Sequence[Any]) -> list[NDArray]:
    """Arrays (N_i, ndim) of floats, one for each cloud.

    Raises
    ------
    TypeError
        For what is no sequence, and points that are no float32 or float64.
    ValueError
        For no cloud at all, for other shapes, and for clouds of several ndim.
    """
    if not isinstance(points, Iterable):
        raise TypeError(
            f"{owner}: points must be a sequence of arrays (N, ndim), one for each cloud, got "
            f"{type_name(points)}"
        )
    clouds = [np.asarray(cloud) for cloud in points]
    if not clouds or any(cloud.ndim != 2 or not cloud.shape[1] for cloud in clouds):
        raise ValueError(
            f"{owner}: points must be a sequence of arrays (N, ndim), one for each cloud, got "
            f"arrays of shapes {few([cloud.shape for cloud in clouds])}; put a single cloud into "
            "a list"
        )
    if len({cloud.shape[1] for cloud in clouds}) > 1:
        raise ValueError(
            f"{owner}: all clouds must have the same number of dimensions, got "
            f"{[cloud.shape[1] for cloud in clouds]}"
        )
    for cloud in clouds:
        check_floats(owner, "points", cloud)
    return clouds


def check_features(
    owner: str, features: Sequence[Any] | None, lengths: tuple[int, ...]
) -> NDArray[Any]:
    """Features (N, C) of the points of all clouds; the one feature 1 where there are none."""
    if features is None:
        return np.ones((sum(lengths), 1), np.float32)
    for part in features:
        if isinstance(part, Tensor) and part.requires_grad:
            raise TypeError(
                f"{owner}: features must be arrays, got a Tensor that requires a gradient, which "
                "would end here; leave them out, and put learned features together with "
                'spconv.functional.scatter(features, voxels.rows, len(voxels), "max")'
            )
    parts = [np.asarray(part) for part in features]
    shapes = [part.shape for part in parts]
    if [shape[:1] for shape in shapes] != [(n,) for n in lengths] or any(
        len(shape) != 2 or shape[1] != shapes[0][1] for shape in shapes
    ):
        raise ValueError(
            f"{owner}: features must be arrays (N, C), one for each cloud, of {few(lengths)} "
            f"points, got shapes {few(shapes)}"
        )
    for part in parts:
        check_floats(owner, "features", part)
    return np.concatenate(parts)


def check_floats(owner: str, name: str, array: NDArray) -> None:
    """Raise TypeError unless an array is float32 or float64."""
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{owner}: {name} must be float32 or float64, got {array.dtype}; convert them with "
            ".astype('float32')"
        )


def few(values: Sequence[Any]) -> str:
    """The first three of a list, for messages.

    >>> few([1, 2, 3, 4])
    '[1, 2, 3, ...]'
    """
    return f"[{', '.join(map(str, values[:3]))}{', ...' if len(values) > 3 else ''}]"
