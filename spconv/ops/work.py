"""How many threads the work of a compiled kernel is worth."""

from __future__ import annotations

from spconv.compat import Array
from spconv.threads import threads_for


def conv_threads(num_pairs: int, weight: Array) -> int:
    """At about 50 multiply-adds per nanosecond."""
    return threads_for(num_pairs * weight.shape[-2] * weight.shape[-1] / 50)


def row_threads(num_values: int) -> int:
    """At about 4 values per nanosecond."""
    return threads_for(num_values / 4)


def gate_threads(num_values: int) -> int:
    """At about 4 nanoseconds a value."""
    return threads_for(4.0 * num_values)
