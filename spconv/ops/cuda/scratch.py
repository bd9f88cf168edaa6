"""Memory that a kernel needs while it runs."""

from __future__ import annotations

import threading
from types import ModuleType

import numpy as np

from spconv.compat import Array


class Scratch:
    """Sums and counts for the time of one launch, kept for each thread, device and stream.

    Launches of a thread on one stream run one after the other, so that none finds what another one
    needs. (The stream that each thread has by default is called the same in all.) Only what a
    single launch writes and reads may be here.

    Parameters
    ----------
    xp : module
        ``cupy``.
    """

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp
        self._of_thread = threading.local()

    def of(self, num_sums: int, num_counts: int) -> tuple[Array, Array]:
        """float64 sums, undefined, and uint32 counts, all zero and to be left so."""
        xp, cuda = self.xp, self.xp.cuda
        kept = vars(self._of_thread).setdefault("kept", {})
        where = cuda.runtime.getDevice(), cuda.get_current_stream().ptr
        sums, counts = kept.get(where, ((), ()))
        if len(sums) < num_sums or len(counts) < num_counts:
            sums = xp.empty(max(num_sums, len(sums)), np.float64)
            counts = xp.zeros(max(num_counts, len(counts)), np.uint32)
            kept[where] = sums, counts
        return sums, counts
