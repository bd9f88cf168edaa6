"""Operations on tensors: one function each, its backward right beneath its forward."""

from spconv.functional.activation import leaky_relu, relu, sigmoid, tanh
from spconv.functional.conv import inverse_conv, sparse_conv
from spconv.functional.dense import dense_conv, dense_max_pool, grid_to_rows, rows_to_grid
from spconv.functional.dropout import batchwise_dropout, draw_channels, dropout
from spconv.functional.fractional import (
    draw_regions,
    fractional_size,
    sparse_fractional_max_pool,
)
from spconv.functional.join import add, concat
from spconv.functional.linear import linear
from spconv.functional.loss import binary_cross_entropy, cross_entropy
from spconv.functional.norm import batch_norm, moments, normalize
from spconv.functional.pool import (
    global_avg_pool,
    global_max_pool,
    sparse_avg_pool,
    sparse_max_pool,
)

__all__ = [
    "add",
    "batch_norm",
    "batchwise_dropout",
    "binary_cross_entropy",
    "concat",
    "cross_entropy",
    "dense_conv",
    "dense_max_pool",
    "draw_channels",
    "draw_regions",
    "dropout",
    "fractional_size",
    "global_avg_pool",
    "global_max_pool",
    "grid_to_rows",
    "inverse_conv",
    "leaky_relu",
    "linear",
    "moments",
    "normalize",
    "relu",
    "rows_to_grid",
    "sigmoid",
    "sparse_avg_pool",
    "sparse_conv",
    "sparse_fractional_max_pool",
    "sparse_max_pool",
    "tanh",
]
