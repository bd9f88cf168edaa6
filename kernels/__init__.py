"""Compiled kernels (Cython) and CUDA sources; see :mod:`spconv.ops` for their callers."""

import os as _os

# OpenMP reads these when the first extension loads. Threads that wait by spinning for long take
# the processor from the one they wait for (beside one other busy process, layers were ten times
# slower so); threads that sleep at once take 0.1 ms to wake. So: spin for some microseconds.
_os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
_os.environ.setdefault("GOMP_SPINCOUNT", "5000")
