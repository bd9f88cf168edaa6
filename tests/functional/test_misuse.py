"""Every public operation, called with what it does not take, says its name and what to do."""

import inspect

import numpy as np
import pytest
from operation_calls import CALLS, DENSE, GRID, KEPT, LINE, ONE, RNG, ROWS, WRONG, X, Y, tensor

import spconv
from spconv import functional
from spconv.autograd import Tensor
from spconv.ops import use_engine
from spconv.tensor import KeptChannels

HALF = Tensor(np.ones((3, 4), np.float16))

# Options that mean what they look like: bools, the name for messages.
LEFT_OUT = {"owner", "union", "overlapping"}


def test_every_operation_and_every_argument_is_there():
    assert sorted(CALLS) == sorted(WRONG) == functional.__all__
    for name in functional.__all__:
        arguments = set(inspect.signature(getattr(functional, name)).parameters)
        assert arguments - LEFT_OUT == set(WRONG[name]), name


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_are_right_otherwise(name):
    getattr(functional, name)(**CALLS[name])


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        pytest.param(name, argument, value, id=f"{name}-{argument}-{number}")
        for name, arguments in WRONG.items()
        for argument, values in arguments.items()
        for number, value in enumerate(values)
    ],
)
def test_what_is_wrong_is_named(name, argument, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name}: "):
        getattr(functional, name)(**{**CALLS[name], argument: value})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: functional.relu(np.ones(3)), TypeError, "wrap an array in spconv.Tensor"),
        (lambda: functional.dropout(np.ones(3), 0.5, RNG), TypeError, "wrap an array in spconv.T"),
        (lambda: functional.linear(np.ones((3, 4)), ROWS), TypeError, "wrap an array in spconv.T"),
        (
            lambda: functional.linear(X, np.ones((4, 5))),
            TypeError,
            "weight must be a Tensor .*, got",
        ),
        (lambda: functional.linear(X, X), TypeError, r"got SparseConvTensor; pass its \.features"),
        (lambda: functional.linear(GRID, tensor(4, 5)), ValueError, r"use Flatten\(\) first"),
        (lambda: functional.global_avg_pool(GRID), TypeError, "of a grid with spconv.from_dense"),
        (
            lambda: functional.add(X, ROWS),
            TypeError,
            "expected a SparseConvTensor, got Tensor; make",
        ),
        (lambda: functional.concat(X), TypeError, r"call concat\(\[x, y\]\)"),
        (lambda: functional.concat(ROWS), TypeError, r"call concat\(\[x, y\]\)"),
        (
            lambda: functional.sparse_conv(GRID, tensor(9, 4, 5), None, ONE),
            TypeError,
            "expected a SparseConvTensor, got Tensor; .* spconv.from_dense",
        ),
        (
            lambda: functional.sparse_conv(X, np.ones((9, 4, 5)), None, ONE),
            TypeError,
            r"weight must be a Tensor \(K, C_in / groups, C_out\), got numpy\.ndarray; wrap",
        ),
        (
            lambda: functional.sparse_conv(X, tensor(9, 4, 5), None, 3),
            TypeError,
            r"geometry must be a Geometry, got int; make one with spconv\.geometry\.Geometry\.make",
        ),
        (
            lambda: functional.sparse_conv(X, tensor(3, 4, 5), None, LINE),
            ValueError,
            r"expected a 1-dimensional tensor, got a 2-.* take the layer for 2 dim",
        ),
        (
            lambda: functional.sparse_conv(X, tensor(9, 4, 5), None, ONE, keep=0.5),
            TypeError,
            r"keep must be KeptChannels, got float; draw them with functional\.draw_channels",
        ),
        (
            lambda: functional.batchwise_dropout(X, KeptChannels(np.arange(2), 6)),
            ValueError,
            r"kept must be of the 4 channels there are, got 2 of 6; draw them with func",
        ),
        (
            lambda: functional.dense_conv(X, tensor(9, 4, 5), None, DENSE),
            TypeError,
            r"expected a Tensor, got SparseConvTensor; use x\.dense\(\)",
        ),
        (
            lambda: functional.dense_max_pool(np.ones((1, 4, 4, 4)), DENSE),
            TypeError,
            r"expected a Tensor, got numpy\.ndarray; wrap an array in spconv\.Tensor",
        ),
        (
            lambda: functional.sparse_max_pool(GRID, ONE),
            TypeError,
            r"got Tensor; make .* spconv\.from_dense; of grids there are MaxPool2d and MaxPool3d$",
        ),
        (
            lambda: functional.sparse_max_pool(np.ones(3), ONE),
            TypeError,
            r"got numpy\.ndarray; make .* spconv\.from_dense$",
        ),
        (
            lambda: functional.upsample(X, 2),
            TypeError,
            r"x must be a Tensor \(batch_size, C, .*, got SparseConvTensor; pass its \.dense\(\)",
        ),
        (
            lambda: functional.grid_to_rows(X),
            TypeError,
            r"x must be a Tensor \(batch_size, C, .*, got SparseConvTensor; pass its \.dense\(\)",
        ),
        (
            lambda: functional.dropout(ROWS, 0.5, 0),
            TypeError,
            r"rng must be a numpy\.random\.Generator, got int; pass numpy\.random\.default_rng",
        ),
        (
            lambda: functional.cross_entropy(X, [0, 1, 2]),
            TypeError,
            r"logits must be a Tensor \(N, .*\), got SparseConvTensor; pass its \.features",
        ),
        (
            lambda: functional.cross_entropy(ROWS, np.eye(3, 4)),
            ValueError,
            r"got \(3, 4\) and \(3, 4\); labels are numbers of classes, of one-hot rows argm",
        ),
        (
            lambda: functional.cross_entropy(GRID, np.zeros((2, 4), int)),
            ValueError,
            r"of grids \(N, num_classes, \*spatial_shape\) .* got \(2, 4, 4, 4\) and \(2, 4\)",
        ),
        (
            lambda: functional.binary_cross_entropy_with_logits(ROWS, np.full((3, 4), 2)),
            ValueError,
            r"targets must be from 0 to 1, got 2\.\.2; numbers of classes are for cross_entropy",
        ),
        (
            lambda: functional.mse_loss(ROWS, np.ones(4)),
            ValueError,
            r"targets of shape \(3, 4\), one for each element, got \(4,\); reshape one of them",
        ),
        (
            lambda: functional.concatenate([X, X]),
            TypeError,
            "got SparseConvTensor; join sparse tensors with concat",
        ),
        (
            lambda: functional.concat([ROWS, ROWS]),
            TypeError,
            "got Tensor; join Tensors with concatenate",
        ),
        (
            lambda: functional.maximum(1.0, 2.0),
            TypeError,
            "expected a Tensor and another one, an array or a number, got float and float",
        ),
        (
            lambda: functional.maximum(ROWS, np.arange(4)),
            TypeError,
            r"got numpy\.ndarray of int64; convert it with \.astype\('float32'\)",
        ),
        (lambda: functional.minimum(ROWS, X), TypeError, r"SparseConvTensor; pass its \.features"),
        (
            lambda: functional.where(ROWS, ROWS, 0),
            TypeError,
            "mask must be an array of bools, got Tensor of dtype float32; a comparison such as",
        ),
        (
            lambda: functional.batch_norm(X, tensor(4), tensor(4), 1e-5),
            TypeError,
            r"x must be a Tensor \(N, C\), got SparseConvTensor; pass its \.features",
        ),
        (
            lambda: functional.batch_norm(ROWS, tensor(5), tensor(4), 1e-5),
            ValueError,
            r"weight must have shape \(4,\), one for each channel, got \(5,\)",
        ),
        (
            lambda: functional.prune(X, np.array([0, 2])),
            TypeError,
            r"keep must be an array \(N,\) of bools, got numpy\.ndarray of dtype int64; a compari",
        ),
        (
            lambda: functional.prune(X, [0, 2]),
            TypeError,
            r"keep must be an array \(N,\) of bools, got list of dtype int64; a comparison",
        ),
        (
            lambda: functional.prune(X, X.features > 0),
            ValueError,
            r"keep must have shape \(3,\), one for each site, got \(3, 4\)",
        ),
        (
            lambda: functional.group_norm(X.derive(X.features, tensor(4)), 2, tensor(4), tensor(4)),
            ValueError,
            "without a ground state: .* another vector in each; normalize with LayerNorm or Batch",
        ),
        (
            lambda: functional.group_norm(X, 3, tensor(4), tensor(4)),
            ValueError,
            "num_groups=3 must divide the 4 channels",
        ),
        (
            lambda: functional.layer_norm(tensor(4), tensor(4), tensor(4)),
            ValueError,
            r"expected rows \(N, C\) or a grid \(N, C, \*spatial_shape\), got shape \(4,\)",
        ),
        (
            lambda: functional.layer_norm(X, tensor(5), tensor(5)),
            ValueError,
            r"expected 5 input channels, got 4 in features of shape \(3, 4\)",
        ),
        (
            lambda: functional.linear(HALF, Tensor(np.ones((4, 2), "f2"))),
            TypeError,
            r"linear: on the CPU .* must be float32 or float64, got float16; make the features",
        ),
        (
            lambda: functional.batch_norm(HALF, HALF[0], HALF[1], 1e-5),
            TypeError,
            "batch_norm: on the CPU .* must be float32 or float64, got float16",
        ),
        (
            lambda: functional.moments(HALF),
            TypeError,
            "moments: on the CPU .* must be float32 or float64, got float16",
        ),
        (
            lambda: spconv.BatchNorm(4).astype("f2").eval()(HALF.detach()),
            TypeError,
            "normalize: on the CPU .* must be float32 or float64, got float16",
        ),
        (
            lambda: spconv.Conv2d(4, 1, 1).astype("f2")(HALF.reshape(1, 4, 3, 1)),
            TypeError,
            "Conv2d: on the CPU .* must be float32 or float64, got float16",
        ),
        (
            lambda: functional.rows_to_grid(tensor(31, 4), 2, (4, 4)),
            ValueError,
            r"expected 2 \* 16 = 32 rows for batch_size 2 and spatial_shape \(4, 4\), got 31",
        ),
        (
            lambda: functional.draw_regions(10, 7, False, "other", RNG),
            ValueError,
            "randomness must be 'pseudorandom' or 'random', got 'other'",
        ),
    ],
)
def test_the_fix_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_plain_engine_takes_half_precision():
    with use_engine("numpy"):
        assert functional.linear(HALF, Tensor(np.ones((4, 2), "f2"))).dtype == np.float16
        assert spconv.BatchNorm(4).astype("f2")(HALF).dtype == np.float16


def test_channels_dropped_before_are_those_dropped_now():
    dropped = functional.batchwise_dropout(X, KEPT)
    with pytest.raises(ValueError, match=r"batchwise_dropout: .* dropped other channels before"):
        functional.batchwise_dropout(dropped, KeptChannels(np.array([1, 3]), 4))
    same = functional.batchwise_dropout(dropped, KeptChannels(np.array([0, 2]), 4))
    np.testing.assert_array_equal(same.features.data, 2 * dropped.features.data)


@pytest.mark.parametrize("kind", [tuple, iter])
def test_any_iterable_of_tensors_is_joined(kind):
    assert functional.concat(kind([X, Y])).num_channels == 8
