"""The rulebook of regions that differ in size, against a plain definition."""

import itertools

import numpy as np
import pytest

from spconv import functional, regions
from spconv.testing import random_sparse_tensor


@pytest.mark.parametrize("table", [0, 64], ids=["sorted", "table"])
@pytest.mark.parametrize("overlapping", [True, False])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_pairs(ndim, overlapping, table, monkeypatch):
    monkeypatch.setattr(regions, "TABLE_CELLS_PER_KEY", table)
    rng = np.random.default_rng(ndim)
    shape = (9, 7, 5)[:ndim]
    x = random_sparse_tensor(rng, shape, 3, density=0.4, shuffle=True, empty_samples=[1])
    cuts = [
        functional.draw_regions(n, functional.fractional_size(n, 1.5), overlapping, "random", rng)
        for n in shape
    ]
    book = regions.region_rulebook(x.sites, cuts, overlapping)
    assert book.volume == (3 if overlapping else 2) ** ndim
    expected = set()
    for row, (sample, *site) in enumerate(x.indices.tolist()):
        along = [
            [i for i in range(len(a) - 1) if a[i] <= c < a[i + 1] + overlapping]
            for a, c in zip(cuts, site, strict=True)
        ]
        expected |= {(row, (sample, *region)) for region in itertools.product(*along)}
    out = [tuple(site) for site in book.out_indices.tolist()]
    assert out == sorted(set(out)) == sorted({site for _, site in expected})
    pairs = [
        (m, out[n]) for m, n in zip(book.in_rows.tolist(), book.out_rows.tolist(), strict=True)
    ]
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == expected
    for offset in range(book.volume):
        in_rows, out_rows = book.pairs(offset)
        assert (np.diff(out_rows) > 0).all()
        assert len(set(in_rows.tolist())) == len(in_rows)
    for region, size in zip(out, book.region_sizes, strict=True):
        along = [a[i + 1] + overlapping - a[i] for a, i in zip(cuts, region[1:], strict=True)]
        assert size == np.prod(along)
    inverse = book.inverse
    assert inverse.num_pairs == book.num_pairs
    assert inverse.inverse is book
