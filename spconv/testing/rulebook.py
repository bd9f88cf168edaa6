"""The oracle of the rulebook: dictionaries and plain loops."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from spconv.testing.reference.grid import ntuple


class ReferenceRulebook(NamedTuple):
    """The same fields in the same order as :class:`spconv.rulebook.Rulebook`."""

    in_rows: np.ndarray
    out_rows: np.ndarray
    offset_starts: np.ndarray
    out_indices: np.ndarray
    out_spatial_shape: tuple[int, ...]


def reference_rulebook(
    indices,
    spatial_shape,
    batch_size,
    kernel_size,
    stride=1,
    padding=0,
    dilation=1,
    *,
    submanifold=False,
    transposed=False,
    output_padding=0,
) -> ReferenceRulebook:
    """All pairs (input row, output row) of every kernel offset, by looking up every tap.

    Pairs are grouped by kernel offset (row-major) and sorted by output row inside one. Output
    sites are sorted by (batch, coordinates), those of a submanifold convolution are the input's
    in the input's order. `batch_size` is accepted for the sake of the signature alone.
    """
    ndim = len(spatial_shape)
    kernel_size, stride, padding, dilation, output_padding = (
        ntuple(v, ndim) for v in (kernel_size, stride, padding, dilation, output_padding)
    )
    if submanifold:
        stride = (1,) * ndim
        padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel_size, strict=True))
    out_shape = _out_shape(
        spatial_shape,
        kernel_size,
        stride,
        padding,
        dilation,
        submanifold,
        transposed,
        output_padding,
    )
    hits = []  # (offset number, input row, output site)
    for k, offset in enumerate(itertools.product(*map(range, kernel_size))):
        for row, (batch, *site) in enumerate(np.asarray(indices).tolist()):
            found = []
            for x, o, s, p, d, n in zip(
                site, offset, stride, padding, dilation, out_shape, strict=True
            ):
                if transposed:
                    y, remainder = x * s - p + o * d, 0
                else:
                    y, remainder = divmod(x + p - o * d, s)
                if remainder == 0 and 0 <= y < n:
                    found.append(y)
            if len(found) == ndim:
                hits.append((k, row, (batch, *found)))
    if submanifold:
        out_sites = [tuple(site) for site in np.asarray(indices).tolist()]
        known = set(out_sites)
        hits = [hit for hit in hits if hit[2] in known]
    else:
        out_sites = sorted({site for _, _, site in hits})
    out_row = {site: row for row, site in enumerate(out_sites)}
    pairs = sorted((k, out_row[site], row) for k, row, site in hits)
    table = np.array(pairs, np.int64).reshape(-1, 3)
    num_offsets = int(np.prod(kernel_size))
    return ReferenceRulebook(
        table[:, 2].astype(np.int32),
        table[:, 1].astype(np.int32),
        np.searchsorted(table[:, 0], np.arange(num_offsets + 1)).astype(np.int64),
        np.array(out_sites, np.int32).reshape(-1, 1 + ndim),
        out_shape,
    )


def _out_shape(shape, kernel_size, stride, padding, dilation, submanifold, transposed, extra):
    if submanifold:
        return tuple(shape)
    axes = zip(shape, kernel_size, stride, padding, dilation, extra, strict=True)
    if transposed:
        return tuple((n - 1) * s - 2 * p + d * (k - 1) + o + 1 for n, k, s, p, d, o in axes)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in axes)
