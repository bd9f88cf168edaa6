"""Compiled kernels (Cython) and CUDA sources; see :mod:`spconv.ops` for their callers."""

import os as _os

# OpenMP reads these when the first extension loads. Waking a sleeping thread takes 0.1 to 0.2 ms in
# a virtual machine, as long as many a layer, so threads spin for about a millisecond before they
# sleep (GNU's library only; a spin is a pause instruction, 30 ns here). Longer, and they take the
# processor from the one they wait for: spinning without end made layers ten times slower beside
# one other busy process. Who has chosen a policy gets it.
if "OMP_WAIT_POLICY" not in _os.environ:
    _os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    _os.environ.setdefault("GOMP_SPINCOUNT", "35000")
