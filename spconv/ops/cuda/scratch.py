"""Memory that a kernel needs while it runs."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from spconv.compat import Array


class Scratch:
    """Sums and counts for the time of one launch, kept for each stream of each device.

    Launches on one stream run one after the other, whoever makes them: none finds what another one
    needs. Only what a single launch writes and reads may be here.

    Parameters
    ----------
    xp : module
        ``cupy``.
    """

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp
        self._kept: dict[tuple[int, int], tuple[Array, Array]] = {}

    def of(self, num_sums: int, num_counts: int) -> tuple[Array, Array]:
        """float64 sums, undefined, and uint32 counts, all zero and to be left so."""
        xp, cuda = self.xp, self.xp.cuda
        where = cuda.runtime.getDevice(), cuda.get_current_stream().ptr
        sums, counts = self._kept.get(where, ((), ()))
        if len(sums) < num_sums or len(counts) < num_counts:
            sums = xp.empty(max(num_sums, len(sums)), np.float64)
            counts = xp.zeros(max(num_counts, len(counts)), np.uint32)
            self._kept[where] = sums, counts
        return sums, counts
