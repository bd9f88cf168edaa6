"""Fractional max-pooling (Graham 2014, arXiv 1412.6071): regions of one, two or three sites.

An axis of N_in sites shrinks to N_out by an increasing sequence a_0, ..., a_N_out whose
increments are one or two; region i is [a_i, a_{i+1}) where regions are disjoint, and
[a_i, a_{i+1}] where they overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spconv.checks import check_float, check_generator, check_int, type_name
from spconv.functional._common import check_sparse
from spconv.functional.pool import _max_pool
from spconv.regions import region_rulebook
from spconv.tensor import SparseConvTensor

Randomness = Literal["pseudorandom", "random"]


def fractional_size(extent: int, ratio: float, owner: str = "fractional_size") -> int:
    """Extent N_in / ratio, rounded, but always smaller than N_in.

    Parameters
    ----------
    extent : int
        N_in, at least 2.
    ratio : float
        1 < ratio <= 2.

    Examples
    --------
    >>> [fractional_size(n, 2**0.5) for n in (35, 24, 16, 10, 6, 3)]  # the paper's for MNIST
    [25, 17, 11, 7, 4, 2]
    """
    extent = check_int(owner, "extent", extent, 0)
    if not 1 < check_float(owner, "ratio", ratio) <= 2:
        raise ValueError(f"{owner}: ratio must be above 1 and at most 2, got {ratio}")
    if extent < 2:
        raise ValueError(f"{owner}: an axis of {extent} site cannot shrink; at least 2 are needed")
    return min(floor(extent / ratio + 0.5), extent - 1)


def draw_regions(
    extent: int,
    size: int,
    overlapping: bool,
    randomness: Randomness,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw the sequence a (size + 1,) of one axis, from 0 to its last site (or beyond it).

    Parameters
    ----------
    extent, size : int
        N_in and N_out; size < extent <= 2 * size (+ 1 if overlapping).
    overlapping : bool
        The last region ends with site a[-1] = extent - 1; disjoint, in front of a[-1] = extent.
    randomness : {"pseudorandom", "random"}
        ``a_i = ceil(alpha (i + u))``, u uniform in (0, 1) and alpha the exact ratio, or the
        increments in random order (section 2 of the paper).
    rng : numpy.random.Generator

    Examples
    --------
    >>> draw_regions(10, 7, False, "pseudorandom", np.random.default_rng(1)).tolist()
    [0, 2, 3, 4, 6, 7, 9, 10]
    """
    extent = check_int("draw_regions", "extent", extent, 1)
    size = check_int("draw_regions", "size", size, 1)
    check_generator("draw_regions", rng)
    if randomness not in ("pseudorandom", "random"):
        raise ValueError(
            f"draw_regions: randomness must be 'pseudorandom' or 'random', got {randomness!r}"
        )
    span = extent - 1 if overlapping else extent
    if not size <= span <= 2 * size:
        raise ValueError(
            f"draw_regions: increments of one and two lead from {size} to {2 * size} steps, not "
            f"to {span}; choose a size with that"
        )
    if randomness == "random":
        steps = np.ones(size, np.int64)
        steps[: span - size] = 2
        return np.concatenate([[0], np.cumsum(rng.permutation(steps))])
    # alpha (i + u) = (span * i + span * u) / size: only ceil(span * u) matters, so that the
    # sequence is exact in integers and ends where it should.
    phase = int(rng.integers(1, span + 1))
    ceilings = -(-(span * np.arange(size + 1, dtype=np.int64) + phase) // size)
    return ceilings - ceilings[0]


def sparse_fractional_max_pool(
    x: SparseConvTensor,
    regions: Sequence[NDArray[np.int64]],
    *,
    overlapping: bool = True,
    owner: str = "sparse_fractional_max_pool",
) -> SparseConvTensor:
    """Largest value of every region that holds an active site; of equal values the first wins.

    With a ground state, regions that hold an inactive site take it into the maximum, exactly
    as pooling the whole grid would; without one, active sites alone count.

    Parameters
    ----------
    x : SparseConvTensor
    regions : sequence of ndim int64 arrays (N_out + 1,)
        As from :func:`draw_regions`.
    overlapping : bool
    """
    arrays = isinstance(regions, tuple | list) and all(
        isinstance(a, np.ndarray) and a.ndim == 1 and a.dtype.kind in "iu" for a in regions
    )
    if not arrays:
        raise TypeError(
            f"{owner}: regions must be a list of integer arrays (N_out + 1,), one for each axis, "
            f"got {type_name(regions)}; draw them with functional.draw_regions"
        )
    check_sparse(owner, x, len(regions))
    for axis, (a, extent) in enumerate(zip(regions, x.spatial_shape, strict=True)):
        end, steps = extent - 1 if overlapping else extent, np.diff(a)
        if len(a) < 2 or a[0] != 0 or a[-1] != end or steps.min() < 1 or steps.max() > 2:
            raise ValueError(
                f"{owner}: the regions of axis {axis} must go from 0 to {end} in steps of one and "
                f"two, got {np.asarray(a).tolist()}"
            )
    rulebook = region_rulebook(x.sites, regions, overlapping)
    features = _max_pool(x.features, x.ground_state, rulebook)
    result = x.derive(features, x.ground_state, rulebook.out_sites, x.channels)
    result.rulebooks = x.rulebooks.branch()  # an input used again would keep them all
    return result
