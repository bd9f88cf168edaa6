"""Compiled kernels (Cython) and CUDA sources; see :mod:`spconv.ops` for their callers."""

import os as _os

# OpenMP reads this when the first extension loads. Threads that wait by spinning take the
# processor from the one they wait for: beside one other busy process, layers were ten times
# slower so. Work too small to wake a sleeping thread for stays on one (spconv.threads).
_os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
