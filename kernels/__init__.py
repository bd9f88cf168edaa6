"""Compiled kernels (Cython) and CUDA sources; see :mod:`spconv.ops` for their callers."""

import os as _os

# OpenMP reads this when the first extension loads. Threads that wait by spinning take the
# processor from the one they wait for: beside one other busy process, a network's layers were
# ten times slower so.
_os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
