"""How much freed memory the compiled engine keeps for its next arrays.

Touching a fresh page costs more than the arithmetic on it, and every training step asks for the
same sizes again; so memory is kept, up to a limit, instead of going back to the system.
"""

from __future__ import annotations

import numpy as np

from spconv.checks import check_int
from spconv.compat import Array, array_module
from spconv.kernels import memory

WORTH_KEEPING = 16 * 1024
"""Bytes from which on an array has kept memory."""


def set_memory_cache(num_bytes: int) -> None:
    """Set how many bytes are kept for later arrays; what is more is freed at once.

    Parameters
    ----------
    num_bytes : int
        1 GiB until it is set; 0 keeps nothing.

    Raises
    ------
    ValueError
        If ``num_bytes`` is negative.

    Examples
    --------
    >>> set_memory_cache(0)
    >>> get_memory_cache()
    0
    >>> set_memory_cache(2**30)
    """
    memory.set_idle_limit(check_int("set_memory_cache", "num_bytes", num_bytes, 0))


def get_memory_cache() -> int:
    """Bytes that are kept now and belong to no array."""
    return memory.idle_bytes()


def combined(function: np.ufunc, a: Array, b: Array) -> Array:
    """``function(a, b)``; large results of C-ordered arrays get kept memory.

    Parameters
    ----------
    function : numpy.ufunc
        Of two arrays.
    a, b : ndarray
        NumPy's, or another library's, whose own memory is used then.

    Examples
    --------
    >>> import numpy as np
    >>> combined(np.subtract, np.ones((2, 2)), np.array([0.0, 1.0]))
    array([[1., 0.],
           [1., 0.]])
    """
    if not isinstance(a, np.ndarray):  # twice as fast as by way of NumPy's function
        return getattr(array_module(a), function.__name__)(a, b)
    fits = isinstance(b, np.ndarray) and b.dtype == a.dtype
    if fits and a.shape[a.ndim - b.ndim :] == b.shape and _is_large(a):
        return function(a, b, out=memory.empty(a.shape, a.dtype))
    return function(a, b)


def copied(array: Array) -> Array:
    """A copy; of large C-ordered arrays in kept memory."""
    if not _is_large(array):
        return array.copy()
    copy = memory.empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def _is_large(array: Array) -> bool:
    return (
        isinstance(array, np.ndarray) and array.nbytes >= WORTH_KEEPING and array.flags.c_contiguous
    )
