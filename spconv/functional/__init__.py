"""Operations on tensors: one function each, its backward right beneath its forward."""

from spconv.functional.activation import (
    gelu,
    leaky_relu,
    log_sigmoid,
    relu,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from spconv.functional.conv import inverse_conv, sparse_conv
from spconv.functional.dense import dense_conv, dense_max_pool, grid_to_rows, rows_to_grid
from spconv.functional.dropout import batchwise_dropout, draw_channels, dropout
from spconv.functional.elementwise import maximum, minimum, where
from spconv.functional.fractional import (
    draw_regions,
    fractional_size,
    sparse_fractional_max_pool,
)
from spconv.functional.group_norm import group_norm
from spconv.functional.join import add, concat, concatenate, stack
from spconv.functional.layer_norm import layer_norm
from spconv.functional.linear import linear
from spconv.functional.loss import binary_cross_entropy_with_logits, cross_entropy
from spconv.functional.norm import batch_norm, moments, normalize
from spconv.functional.on_sites import on_sites
from spconv.functional.pool import (
    global_avg_pool,
    global_max_pool,
    sparse_avg_pool,
    sparse_max_pool,
)
from spconv.functional.prune import prune
from spconv.functional.regression import l1_loss, mse_loss, smooth_l1_loss
from spconv.functional.scatter import scatter
from spconv.functional.softmax import log_softmax, softmax
from spconv.functional.upsample import upsample

__all__ = [
    "add",
    "batch_norm",
    "batchwise_dropout",
    "binary_cross_entropy_with_logits",
    "concat",
    "concatenate",
    "cross_entropy",
    "dense_conv",
    "dense_max_pool",
    "draw_channels",
    "draw_regions",
    "dropout",
    "fractional_size",
    "gelu",
    "global_avg_pool",
    "global_max_pool",
    "grid_to_rows",
    "group_norm",
    "inverse_conv",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "maximum",
    "minimum",
    "moments",
    "mse_loss",
    "normalize",
    "on_sites",
    "prune",
    "relu",
    "rows_to_grid",
    "scatter",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "sparse_avg_pool",
    "sparse_conv",
    "sparse_fractional_max_pool",
    "sparse_max_pool",
    "stack",
    "tanh",
    "upsample",
    "where",
]
