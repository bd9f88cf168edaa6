"""Where the rows of every sample lie."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from spconv.sites import SiteSet


def slices_of(sites: SiteSet) -> list[tuple[int, slice]] | None:
    """The rows of every sample that has some; None where a sample's do not lie together."""
    samples = sites.indices[:, 0]
    if (samples[1:] < samples[:-1]).any():
        return None
    ends = np.cumsum(sites.rows_per_sample).tolist()
    starts = enumerate(pairwise([0, *ends]))
    return [(sample, slice(start, end)) for sample, (start, end) in starts if end > start]
