"""How much freed memory the compiled engine keeps for its next arrays.

Touching a fresh page costs more than the arithmetic on it, and every training step asks for the
same sizes again; so memory is kept, up to a limit, instead of going back to the system.
"""

from __future__ import annotations

from operator import index

from spconv.kernels import memory


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
    if index(num_bytes) < 0:
        raise ValueError(f"set_memory_cache: expected a number of bytes >= 0, got {num_bytes}")
    memory.set_idle_limit(index(num_bytes))


def get_memory_cache() -> int:
    """Bytes that are kept now and belong to no array."""
    return memory.idle_bytes()
