"""How much freed memory the compiled engine keeps for its next arrays.

Touching a fresh page costs more than the arithmetic on it, and every training step asks for the
same sizes again; so memory is kept, up to a limit, instead of going back to the system.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spconv.checks import check_int
from spconv.compat import Array, array_module
from spconv.kernels import elementwise, memory
from spconv.threads import threads_for

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
    fits = isinstance(b, np.ndarray) and b.dtype == a.dtype and a.flags.c_contiguous
    if not (fits and a.shape[a.ndim - b.ndim :] == b.shape and _is_large(a)):
        return function(a, b)
    out, threads = memory.empty(a.shape, a.dtype), threads_for(a.nbytes / 8)
    kind = a.dtype
    compiled = function in (np.add, np.subtract) and kind.char in "fd" and kind.isnative
    # NumPy is slow with narrow rows, and has one thread.
    gains = (threads > 1 or b.ndim < a.ndim) and b.size > 1
    if not (compiled and gains and b.flags.c_contiguous):
        return function(a, b, out=out)
    elementwise.add(a.ravel(), b.ravel(), function is np.subtract, out.ravel(), threads)
    return out


def joined(arrays: Sequence[Array], axis: int, dtype: np.dtype) -> Array:
    """Arrays one after another along an axis; large ones in kept memory."""
    first = arrays[0]
    if not isinstance(first, np.ndarray):
        return array_module(first).concatenate(arrays, axis=axis).astype(dtype, copy=False)
    shape = list(first.shape)
    shape[axis] = sum(array.shape[axis] for array in arrays)
    return np.concatenate(arrays, axis=axis, out=memory.empty(tuple(shape), dtype))


def copied(array: Array) -> Array:
    """A C-ordered copy; of large arrays in kept memory."""
    if not _is_large(array):
        return array.copy()
    copy = memory.empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def _is_large(array: Array) -> bool:
    return isinstance(array, np.ndarray) and array.nbytes >= WORTH_KEEPING
