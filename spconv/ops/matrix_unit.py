"""Which products of float32 arrays the CPU's matrix unit computes, and in how many parts."""

from __future__ import annotations

import numpy as np

from spconv.compat import Array
from spconv.ops.settings import get_cpu_precision

PARTS = {"bfloat16": 1, "bfloat16x2": 2, "bfloat16x3": 3}
"""Precision -> numbers of 8 bits that an operand is split into."""
LEAST_CHANNELS = {1: 32, 2: 32, 3: 64}
"""Input and output channels of a group, by parts, from which on AMX can gain on AVX-512: measured
on 3-D surfaces, on one core of a quiet Xeon. With fewer, tiles are padding for a good part.
"""


def num_parts(x_nc: Array, w_kco: Array, groups: int) -> int:
    """Parts of the operands of a convolution, 0 for the vector units."""
    parts = PARTS.get(get_cpu_precision(), 0)
    if not parts or x_nc.dtype != np.float32:
        return 0
    channels = w_kco.shape[1], w_kco.shape[2] // groups
    return parts if min(channels) >= LEAST_CHANNELS[parts] else 0
