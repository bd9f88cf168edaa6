"""Whether the GPU engine times tiles (:mod:`spconv.ops.tuner`)."""

from __future__ import annotations

from contextvars import ContextVar

_tuning = ContextVar("cuda_tuning", default=False)


def set_cuda_tuning(enabled: bool) -> None:
    """Choose tiles of GPU products by timing them, instead of from a table.

    The first product of every shape is run with up to eight tiles; the fastest is remembered, also
    on disk, beside CuPy's kernels (``$CUPY_CACHE_DIR``, by default ``~/.cupy/kernel_cache``).
    Results have the same bits with and without. Not yet tried on a device.

    Examples
    --------
    >>> set_cuda_tuning(True)
    >>> get_cuda_tuning()
    True
    >>> set_cuda_tuning(False)
    """
    if not isinstance(enabled, bool):
        raise TypeError(f"set_cuda_tuning: expected True or False, got {enabled!r}")
    _tuning.set(enabled)


def get_cuda_tuning() -> bool:
    """Whether tiles of GPU products are chosen by timing them."""
    return _tuning.get()
