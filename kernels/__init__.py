"""Compiled kernels (Cython) and CUDA sources; see :mod:`spconv.ops` for their callers."""
