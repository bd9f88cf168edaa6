"""Dense definitions of every layer in plain NumPy: slow, obvious, and right in float64.

Nothing here knows the sparse code. Functions take a :class:`Grid` (values on the whole grid, the
mask of active sites, the ground state) and return one, so that a sparse result can be compared
at *all* sites.
"""

from spconv.testing.reference.conv import (
    convolution,
    inverse_convolution,
    submanifold,
    transposed_convolution,
)
from spconv.testing.reference.grid import Grid, full_grid, only_where, scatter
from spconv.testing.reference.pointwise import (
    add,
    batch_norm,
    batch_statistics,
    concat,
    cross_entropy,
    gelu,
    group_norm,
    layer_norm,
    leaky_relu,
    linear,
    pointwise,
    relu,
    sigmoid,
    silu,
    tanh,
)
from spconv.testing.reference.pool import (
    avg_pool,
    fractional_max_pool,
    global_avg_pool,
    global_max_pool,
    max_pool,
)

__all__ = [
    "Grid",
    "add",
    "avg_pool",
    "batch_norm",
    "batch_statistics",
    "concat",
    "convolution",
    "cross_entropy",
    "fractional_max_pool",
    "full_grid",
    "gelu",
    "global_avg_pool",
    "global_max_pool",
    "group_norm",
    "inverse_convolution",
    "layer_norm",
    "leaky_relu",
    "linear",
    "max_pool",
    "only_where",
    "pointwise",
    "relu",
    "scatter",
    "sigmoid",
    "silu",
    "submanifold",
    "tanh",
    "transposed_convolution",
]
