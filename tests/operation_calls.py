"""One right call of every operation, and for every argument of it what is wrong there."""

import numpy as np

import spconv
from spconv import Tensor, functional
from spconv.geometry import Geometry
from spconv.tensor import KeptChannels

RNG = np.random.default_rng(0)
SITES = [[0, 0, 1], [0, 2, 2], [1, 3, 3]]


def sparse(channels=4, sites=SITES, shape=(4, 4), batch=2, ground=None):
    features = np.random.default_rng(0).standard_normal((len(sites), channels)).astype("float32")
    return spconv.SparseConvTensor(features, sites, shape, batch, ground)


def tensor(*shape):
    return Tensor(np.random.default_rng(1).standard_normal(shape).astype("float32"))


def inverted(weight, **options):
    """Inverts a strided convolution; the key is known then."""
    x = functional.sparse_conv(sparse(), tensor(4, 4, 4), None, TWO, indice_key="down")
    return {"x": x, "weight": weight, "bias": None, "indice_key": "down", **options}


ONE = Geometry.make(2, 3, submanifold=True)
TWO = Geometry.make(2, 2, 2)
DENSE = Geometry.make(2, 3)
LINE = Geometry.make(1, 3)
KEPT = KeptChannels(np.array([0, 2]), 4)
X, Y, ROWS, GRID = sparse(), sparse(), tensor(3, 4), tensor(2, 4, 4, 4)
REGIONS = [np.array([0, 1, 3])] * 2

CALLS = {
    "add": {"x": X, "y": Y, "negative_slope": 0.1},
    "batch_norm": {"x": ROWS, "weight": tensor(4), "bias": tensor(4), "eps": 1e-5},
    "batchwise_dropout": {"x": X, "kept": KEPT},
    "binary_cross_entropy_with_logits": {
        "logits": ROWS,
        "targets": np.zeros((3, 4)),
        "weight": [[1.0], [0.5], [2.0]],
        "pos_weight": tensor(4) * tensor(4),
        "reduction": "sum",
    },
    "concat": {"tensors": [X, Y]},
    "concatenate": {"tensors": [ROWS, tensor(2, 4)], "axis": 0},
    "cross_entropy": {"logits": ROWS, "labels": [0, 1, 2]},
    "dense_conv": {
        "x": GRID,
        "weight": tensor(9, 4, 5),
        "bias": tensor(5),
        "geometry": DENSE,
        "groups": 1,
    },
    "dense_max_pool": {"x": GRID, "geometry": DENSE},
    "draw_channels": {"total": 4, "p": 0.5, "rng": RNG},
    "draw_regions": {
        "extent": 10,
        "size": 7,
        "overlapping": False,
        "randomness": "random",
        "rng": RNG,
    },
    "dropout": {"x": ROWS, "p": 0.5, "rng": RNG},
    "fractional_size": {"extent": 10, "ratio": 1.5},
    "gelu": {"x": X},
    "global_avg_pool": {"x": X},
    "global_max_pool": {"x": X},
    "grid_to_rows": {"x": GRID},
    "group_norm": {"x": X, "num_groups": 2, "weight": tensor(4), "bias": tensor(4), "eps": 1e-5},
    "inverse_conv": inverted(tensor(4, 4, 5)),
    "l1_loss": {"x": ROWS, "targets": np.zeros((3, 4))},
    "layer_norm": {"x": X, "weight": tensor(4), "bias": tensor(4), "eps": 1e-5},
    "leaky_relu": {"x": X, "negative_slope": 0.1},
    "linear": {"x": X, "weight": tensor(4, 5), "bias": tensor(5)},
    "log_sigmoid": {"x": X},
    "log_softmax": {"x": ROWS, "axis": 1},
    "maximum": {"a": ROWS, "b": tensor(4)},
    "minimum": {"a": ROWS, "b": tensor(4)},
    "moments": {"x": ROWS, "ground": tensor(4), "copies": 2},
    "mse_loss": {"x": ROWS, "targets": tensor(3, 4)},
    "normalize": {
        "x": ROWS,
        "statistics": Tensor(np.ones((2, 4), "float32")),
        "weight": tensor(4),
        "bias": tensor(4),
        "eps": 1e-5,
    },
    "on_sites": {"x": X, "sites": np.array([[0, 1, 1], [1, 0, 0]])},
    "prune": {"x": X, "keep": np.array([True, False, True])},
    "relu": {"x": X},
    "rows_to_grid": {"rows": tensor(32, 4), "batch_size": 2, "spatial_shape": (4, 4)},
    "scatter": {"x": ROWS, "rows": [1, -1, 1], "num_rows": 2, "reduce": "max"},
    "sigmoid": {"x": X},
    "silu": {"x": X},
    "smooth_l1_loss": {"x": ROWS, "targets": np.zeros((3, 4)), "beta": 0.5},
    "softmax": {"x": ROWS, "axis": 1},
    "softplus": {"x": X},
    "sparse_avg_pool": {"x": X, "geometry": TWO},
    "sparse_conv": {"x": X, "weight": tensor(9, 4, 5), "bias": tensor(5), "geometry": ONE},
    "sparse_fractional_max_pool": {"x": X, "regions": REGIONS},
    "sparse_max_pool": {"x": X, "geometry": TWO},
    "stack": {"tensors": [ROWS, tensor(3, 4)], "axis": 1},
    "tanh": {"x": X},
    "upsample": {"x": GRID, "factor": 2},
    "where": {"mask": ROWS > 0, "a": ROWS, "b": tensor(4)},
}

NOTHING = [None, "text", 3, [1.0, 2.0], np.ones((3, 4), "float32"), spconv.Linear(4, 4)]
NO_SPARSE = [*NOTHING, ROWS]
NO_TENSOR = [*NOTHING, X]
NO_VECTOR = [*NO_TENSOR, tensor(5), tensor(1, 4), tensor()]
NO_NUMBER = [None, "0.5", [0.5], np.nan, -1.0, tensor(1)]
NO_COUNT = [None, "2", 1.5, [2], -1, tensor(1)]
NO_GEOMETRY = [None, 3, (3, 3), "3", spconv.SubMConv2d(4, 4, 3), LINE]
NO_RNG = [None, 0, np.random, np.random.RandomState(0)]
NO_KEPT = [
    None,
    np.array([0, 2]),
    0.5,
    (np.array([0, 2]), 4),
    KeptChannels(np.array([0, 2]), 6),
    KeptChannels(np.array([0, 4]), 4),
    KeptChannels(np.array([0.0, 1.0]), 4),
    KeptChannels([0, 2], 4),
]
NO_KEY = [3, ("a",), np.ones(2), X]
NO_AXIS = [None, "1", 1.0, 2, -3, (0, 1), X]
NO_OPERAND = [None, "text", spconv.Linear(4, 4), X, tensor(5), np.ones(5), [[1], [1, 2]]]
NO_TARGETS = [None, "text", np.zeros(3), tensor(3, 1), X, [[1, "a"]], [[1], [1, 2]]]
NO_REDUCTION = [None, "Mean", 1, ["mean"], np.array(["mean", "sum"]), X]
NO_FACTORS = [
    "text",
    -1,
    [1, np.nan],
    [1, np.inf, 1, 1],
    np.ones(3),
    np.ones((1, 3, 4)),
    [[1], [1, 2]],
    spconv.Parameter(np.ones(4, "float32")),
    X,
]
NO_REGIONS = [
    None,
    3,
    "ab",
    np.array([0, 1, 3]),
    [np.array([0, 1, 3])],
    [[0.0, 1.0, 3.0]] * 2,
    [np.array([0, 3])] * 2,
    [None, None],
    [np.array([[0, 1, 3]])] * 2,
    REGIONS[0][0],
]

WRONG = {
    "add": {
        "x": [*NO_SPARSE, sparse(5), sparse(ground=np.zeros(4))],
        "y": [*NO_SPARSE, sparse(2)],
        "negative_slope": NO_NUMBER[1:],
    },
    "batch_norm": {
        "x": [*NO_TENSOR, tensor(4), GRID, tensor(3, 5)],
        "weight": NO_VECTOR,
        "bias": NO_VECTOR,
        "eps": NO_NUMBER,
        "negative_slope": NO_NUMBER[1:],
    },
    "batchwise_dropout": {"x": [*NO_SPARSE, sparse(6)], "kept": NO_KEPT},
    "binary_cross_entropy_with_logits": {
        "logits": NO_TENSOR,
        "targets": [
            *NO_TARGETS,
            3,
            np.full((3, 4), 1.5),
            np.full((3, 4), -1),
            np.full((3, 4), np.nan),
            spconv.Parameter(np.zeros((3, 4), "float32")),
        ],
        "weight": NO_FACTORS,
        "pos_weight": NO_FACTORS,
        "reduction": NO_REDUCTION,
    },
    "concat": {
        "tensors": [
            *NO_SPARSE,
            X,
            [],
            [X, None],
            [X, ROWS],
            [ROWS, ROWS],
            [X, sparse(ground=np.zeros(4))],
            [X, sparse(sites=SITES[:2])],
            [X, sparse(shape=(5, 5))],
        ]
    },
    "concatenate": {
        "tensors": [
            *NO_TENSOR,
            ROWS,
            [],
            [ROWS, None],
            [ROWS, ROWS.data],
            [X, X],
            [ROWS, tensor(3, 5)],
            [ROWS, tensor(4)],
            [tensor(), tensor()],
        ],
        "axis": NO_AXIS,
    },
    "cross_entropy": {
        "logits": [*NO_TENSOR, GRID, tensor(3)],
        "labels": [None, "text", 3, [0, 1], [0.0, 1.0, 2.0], [0, 1, 9], np.eye(3, 4), X, ROWS],
        "ignore_index": ["x", 1.5, [1]],
        "weight": ["text", 3, [1, 2], [-1, 0, 0, 0], X],
        "label_smoothing": [*NO_NUMBER, 1.0],
        "reduction": NO_REDUCTION,
    },
    "dense_conv": {
        "x": [*NO_TENSOR, ROWS, tensor(2, 5, 4, 4)],
        "weight": [*NO_TENSOR, tensor(4, 5), tensor(4, 4, 5), tensor(9, 3, 5)],
        "bias": [*NOTHING[1:], X, tensor(4), tensor(1, 5)],
        "geometry": NO_GEOMETRY,
        "groups": [*NO_COUNT, True, 0, 2, 5],
    },
    "dense_max_pool": {"x": [*NO_TENSOR, ROWS], "geometry": NO_GEOMETRY},
    "draw_channels": {"total": [*NO_COUNT, 0], "p": [*NO_NUMBER, 1.5], "rng": NO_RNG},
    "draw_regions": {
        "extent": [*NO_COUNT, 1],
        "size": [*NO_COUNT, 2, 10**6],
        "randomness": [None, "other", 3],
        "rng": NO_RNG,
    },
    "dropout": {"x": NOTHING, "p": [*NO_NUMBER, 1.5], "rng": NO_RNG},
    "fractional_size": {"extent": [*NO_COUNT, 1], "ratio": [*NO_NUMBER, 1.0, 2.5]},
    "gelu": {"x": NOTHING},
    "global_avg_pool": {"x": NO_SPARSE},
    "global_max_pool": {"x": NO_SPARSE},
    "grid_to_rows": {"x": [*NO_TENSOR, tensor(4)]},
    "group_norm": {
        "x": [*NOTHING, tensor(3, 4), sparse(5), tensor(2, 5, 4, 4), sparse(ground=np.zeros(4))],
        "num_groups": [*NO_COUNT, 0, 3, 8],
        "weight": NO_VECTOR,
        "bias": NO_VECTOR,
        "eps": NO_NUMBER,
    },
    "inverse_conv": {
        "x": [*NO_SPARSE, X, sparse(4, [[0, 1]], (4,), 1)],
        "weight": [*NO_TENSOR, tensor(4, 5), tensor(9, 4, 5), tensor(4, 3, 5), tensor()],
        "bias": [*NOTHING[1:], X, tensor(4), tensor(1, 5)],
        "indice_key": [*NO_KEY, None, "up"],
        "kernel_size": [(2,), (3, 3), "2", 1.5, X],
        "groups": [*NO_COUNT, 0, 3],
        "keep": NO_KEPT[1:],
        "negative_slope": NO_NUMBER[1:],
        "residual": [*NO_SPARSE[1:], X],
    },
    "l1_loss": {"x": NO_TENSOR, "targets": NO_TARGETS, "reduction": NO_REDUCTION},
    "layer_norm": {
        "x": [*NOTHING, tensor(4), tensor(3, 5), sparse(5), tensor(2, 5, 4, 4)],
        "weight": NO_VECTOR,
        "bias": NO_VECTOR,
        "eps": NO_NUMBER,
    },
    "leaky_relu": {"x": NOTHING, "negative_slope": NO_NUMBER},
    "linear": {
        "x": [*NOTHING, sparse(5), tensor(3, 5), tensor(4), GRID],
        "weight": [*NO_TENSOR, tensor(4), tensor(), tensor(9, 4, 5), tensor(3, 5)],
        "bias": [*NOTHING[1:], X, tensor(4), tensor(1, 5)],
    },
    "log_sigmoid": {"x": NOTHING},
    "log_softmax": {"x": NO_TENSOR, "axis": NO_AXIS},
    "maximum": {"a": NO_OPERAND, "b": NO_OPERAND},
    "minimum": {"a": NO_OPERAND, "b": NO_OPERAND},
    "moments": {
        "x": [*NO_TENSOR, tensor(4), GRID],
        "ground": NO_VECTOR[1:],
        "copies": NO_COUNT,
    },
    "mse_loss": {"x": NO_TENSOR, "targets": NO_TARGETS, "reduction": NO_REDUCTION},
    "normalize": {
        "x": [*NO_TENSOR, GRID, tensor(3, 5)],
        "statistics": [*NO_TENSOR, tensor(4), tensor(3, 4), tensor(2, 5)],
        "weight": NO_VECTOR,
        "bias": NO_VECTOR,
        "eps": NO_NUMBER,
        "origin": NO_VECTOR[1:],
    },
    "on_sites": {
        "x": NO_SPARSE,
        "sites": [
            None,
            "text",
            3,
            [[0, 1]],
            [[0.0, 1.0, 1.0]],
            [[0, 1, 9]],
            [[0, 1, 1], [0, 1, 1]],
            np.ones(3, int),
            ROWS,
            spconv.Linear(4, 4),
        ],
    },
    "prune": {
        "x": NO_SPARSE,
        "keep": [
            None,
            "text",
            3,
            True,
            [0, 1, 2],
            [True, False],
            [[True], [True, False]],
            [],
            np.ones(3),
            np.array([0, 2]),
            np.ones(2, bool),
            np.ones((3, 1), bool),
            np.ones((), bool),
            ROWS,
            X,
        ],
    },
    "relu": {"x": NOTHING},
    "rows_to_grid": {
        "rows": [*NO_TENSOR, GRID, tensor(31, 4)],
        "batch_size": [*NO_COUNT, 3],
        "spatial_shape": [None, 4, "ab", (4,), (4, 5), (4.0, 4.0), (-4, -4)],
    },
    "scatter": {
        "x": [*NO_TENSOR, GRID],
        "rows": [None, "text", 1, [0.0, 1.0, 1.0], [0, 1], [0, 1, 2], [0, 1, -2], tensor(3)],
        "num_rows": [*NO_COUNT, 1],
        "reduce": [None, "min", 3],
    },
    "sigmoid": {"x": NOTHING},
    "silu": {"x": NOTHING},
    "smooth_l1_loss": {
        "x": NO_TENSOR,
        "targets": NO_TARGETS,
        "beta": NO_NUMBER,
        "reduction": NO_REDUCTION,
    },
    "softmax": {"x": NO_TENSOR, "axis": NO_AXIS},
    "softplus": {"x": NOTHING},
    "sparse_avg_pool": {"x": NO_SPARSE, "geometry": NO_GEOMETRY, "indice_key": NO_KEY},
    "sparse_conv": {
        "x": [*NO_SPARSE, sparse(5), sparse(4, [[0, 1]], (4,), 1)],
        "weight": [*NO_TENSOR, tensor(4, 5), tensor(4, 4, 5), tensor(9, 3, 5), tensor()],
        "bias": [*NOTHING[1:], X, tensor(4), tensor(1, 5)],
        "geometry": NO_GEOMETRY,
        "groups": [*NO_COUNT, 0, 3],
        "indice_key": NO_KEY,
        "keep": NO_KEPT[1:],
        "negative_slope": NO_NUMBER[1:],
        "residual": [*NO_SPARSE[1:], X, sparse(5, SITES[:2])],
    },
    "sparse_fractional_max_pool": {"x": NO_SPARSE, "regions": NO_REGIONS},
    "sparse_max_pool": {"x": NO_SPARSE, "geometry": NO_GEOMETRY, "indice_key": NO_KEY},
    "stack": {
        "tensors": [*NO_TENSOR, [], [ROWS, None], [ROWS, ROWS.data], [X, X], [ROWS, tensor(3, 5)]],
        "axis": [None, "1", 1.0, 3, -4, (0, 1), X],
    },
    "tanh": {"x": NOTHING},
    "upsample": {
        "x": [*NO_TENSOR, ROWS],
        "factor": [None, "2", 1.5, 0, -1, (2,), (2, 2, 2), (2, 1.5), (2, 0), 2**30, X],
    },
    "where": {
        "mask": [None, "text", 3, np.ones((3, 4)), ROWS, np.ones(5, bool), [1, 0, 1, 0], X],
        "a": NO_OPERAND,
        "b": NO_OPERAND,
    },
}
