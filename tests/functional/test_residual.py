"""A residual within a convolution is a sum behind it, in values, gradients and refusals."""

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.autograd import record
from spconv.geometry import Geometry
from spconv.tensor import KeptChannels
from spconv.testing import (
    assert_sparse_equal,
    assert_twin,
    check_gradients,
    random_sparse_tensor,
    randomize,
    reference,
)

with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])
every_ndim = pytest.mark.parametrize("ndim", [1, 2, 3, 4])
every_slope = pytest.mark.parametrize("slope", [None, 0.0, 0.3])
KINDS = ["regular", "submanifold", "transposed", "transposed-strided"]


def make_geometry(kind, ndim):
    stride = 2 if kind in ("regular", "transposed-strided") else 1
    submanifold, transposed = kind == "submanifold", kind.startswith("transposed")
    padding = 1 if kind == "regular" else 0
    return Geometry.make(ndim, 2, stride, padding, submanifold=submanifold, transposed=transposed)


def example(rng, ndim, ground, channels=4):
    """A tensor whose features and ground state want gradients, and these by name."""
    shape = (7, 5, 4, 3)[:ndim]
    x = random_sparse_tensor(rng, shape, 3, channels, ground=ground, shuffle=True)
    return leaves(x, x.features.data, None if not ground else x.ground_state.data, "")


def leaves(like, features, ground, prefix):
    inputs = {f"{prefix}features": spconv.Parameter(features)}
    if ground is not None:
        inputs[f"{prefix}ground"] = spconv.Parameter(ground)
    return again(like, inputs, prefix), inputs


def again(like, inputs, prefix=""):
    """``like`` on the current values of the leaves."""
    ground = inputs.get(f"{prefix}ground")
    return like.derive(inputs[f"{prefix}features"], ground)


def residual_of(rng, y, ground, prefix="residual "):
    shape = y.features.shape
    values = rng.standard_normal(shape), rng.standard_normal(shape[1]) if ground else None
    return leaves(y, *values, prefix)


def behind(y, residual, slope):
    total = functional.add(residual, y)
    return total if slope is None else functional.leaky_relu(total, slope)


def whole(x):
    """Everything of a sparse tensor that a loss can see, as one row."""
    dense = x.dense().reshape(-1)
    return dense if x.ground_state is None else dense * x.ground_state.sum() + dense


def problem(kind, ndim, ground, groups, bias):
    """The convolution as a function of a residual and a slope, and all leaves."""
    rng = np.random.default_rng(1)
    geometry = make_geometry(kind, ndim)
    x, inputs = example(rng, ndim, ground)
    inputs["weight"] = spconv.Parameter(rng.standard_normal((2**ndim, 4 // groups, 6)))
    inputs["bias"] = spconv.Parameter(rng.standard_normal(6)) if bias else None

    def convolve(**options):
        weight, b = inputs["weight"], inputs["bias"]
        return functional.sparse_conv(
            again(x, inputs), weight, b, geometry, groups=groups, **options
        )

    residual, more = residual_of(rng, convolve(), ground)
    given = {name: leaf for name, leaf in inputs.items() if leaf is not None}
    return convolve, residual, given | more, rng


@pytest.mark.usefixtures("engine")
@every_ndim
@with_or_without_ground
@every_slope
@pytest.mark.parametrize(("groups", "bias"), [(1, True), (1, False), (2, True)])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_add(kind, groups, bias, slope, ground, ndim):
    convolve, residual, inputs, rng = problem(kind, ndim, ground, groups, bias)
    results, seed = [], rng.integers(2**16)
    for fused in (True, False):
        for tensor in inputs.values():
            tensor.grad = None
        if fused:
            y = convolve(residual=residual, negative_slope=slope)
        else:
            y = behind(convolve(), residual, slope)
        loss = whole(y)
        loss.backward(np.random.default_rng(seed).standard_normal(loss.shape))
        results.append((y, {name: tensor.grad for name, tensor in inputs.items()}))
    (actual, gradients), (expected, expected_gradients) = results
    assert_sparse_equal(actual, expected, tolerance=1e-12)
    for name, gradient in expected_gradients.items():
        scale = max(np.abs(gradient).max(), 1)
        np.testing.assert_allclose(gradients[name], gradient, atol=1e-12 * scale, err_msg=name)


@pytest.mark.usefixtures("engine")
@with_or_without_ground
@every_slope
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_central_differences(kind, slope, ground):
    convolve, residual, inputs, rng = problem(kind, 2, ground, 2, True)

    def run():
        current = again(residual, inputs, "residual ")
        return whole(convolve(residual=current, negative_slope=slope))

    check_gradients(run, inputs, rng=rng)


@pytest.mark.usefixtures("engine")
@with_or_without_ground
@every_ndim
def test_equals_the_dense_definition(ndim, ground):
    """The input is the residual, as in a residual block."""
    rng = np.random.default_rng(2)
    x = random_sparse_tensor(rng, (6, 5, 4, 3)[:ndim], 2, 4, ground=ground, shuffle=True)
    layer = getattr(spconv, f"SubMConv{ndim}d")(4, 4, 3)

    def twin(grid, p):
        inner = reference.submanifold(grid, p["weight"], p["bias"], kernel_size=3)
        total = reference.add(grid, inner)
        return reference.pointwise(total, lambda v: reference.leaky_relu(v, 0.3))

    parameters = randomize(layer, rng, scale=0.5)

    def run(x):
        return layer(x, negative_slope=0.3, residual=x)

    assert_twin(run, twin, x, parameters, rng=rng, keeps_sites=True)


@pytest.mark.usefixtures("engine")
@with_or_without_ground
@every_slope
def test_the_way_back_up_with_a_skip(slope, ground):
    rng = np.random.default_rng(3)
    x, inputs = example(rng, 2, ground)
    geometry = Geometry.make(2, 3, 2, 1)
    for name in ("down", "up"):
        inputs[name] = spconv.Parameter(rng.standard_normal((9, 4, 4)))
    inputs["bias"] = spconv.Parameter(rng.standard_normal(4))

    def run(fused=True):
        skip = again(x, inputs)
        y = functional.sparse_conv(skip, inputs["down"], None, geometry, indice_key="a")
        arguments = y, inputs["up"], inputs["bias"], "a"
        if fused:
            return functional.inverse_conv(*arguments, negative_slope=slope, residual=skip)
        return behind(functional.inverse_conv(*arguments), skip, slope)

    assert_sparse_equal(run(), run(False), tolerance=1e-12)
    check_gradients(lambda: whole(run()), inputs, rng=rng)


def subm(x, channels=3, residual=None, **options):
    weight = spconv.Tensor(np.random.default_rng(4).standard_normal((9, 3, channels)))
    geometry = Geometry.make(2, 3, submanifold=True)
    return functional.sparse_conv(x, weight, None, geometry, residual=residual, **options)


def plain(ground=False, density=0.4, **options):
    rng = np.random.default_rng(5)
    shape = (5, 6)
    return random_sparse_tensor(rng, shape, 2, 3, density, ground=ground, shuffle=True, **options)


@with_or_without_ground
def test_a_residual_with_dropped_channels(ground):
    x = plain(ground=ground)
    kept = functional.draw_channels(3, 0.5, np.random.default_rng(1))
    dropped = functional.batchwise_dropout(x, kept)
    assert 0 < dropped.num_channels < 3
    y = subm(x, residual=dropped)
    assert y.channels is None
    assert_sparse_equal(y, functional.add(dropped, subm(x)), tolerance=1e-12)
    y = subm(dropped, residual=x)
    assert_sparse_equal(y, functional.add(x, subm(dropped)), tolerance=1e-12)


@pytest.mark.parametrize("slope", [None, 0.5])
def test_the_gradient_is_handed_on_without_a_copy(slope):
    x, seen = plain(), []
    leaf = spconv.Parameter(np.ones(x.features.shape))

    def backward(gradient):
        seen.append(gradient)
        return (gradient,)

    residual = x.derive(record(leaf.data, (leaf,), backward), None)
    y = subm(x, residual=residual, negative_slope=slope)
    gradient = np.random.default_rng(0).standard_normal(y.features.shape)
    before = gradient.copy()
    y.features.backward(gradient)
    np.testing.assert_array_equal(gradient, before)
    if slope is None:
        assert np.shares_memory(seen[0], gradient)
    expected = gradient if slope is None else np.where(y.features.data > 0, 1, slope) * gradient
    np.testing.assert_array_equal(leaf.grad, expected)


def test_constants_want_no_gradient():
    x = plain()
    assert not subm(x, residual=x).features.requires_grad
    with spconv.no_grad():
        leaf = x.derive(spconv.Parameter(x.features.data), None)
        assert not subm(x, residual=leaf).features.requires_grad


@pytest.mark.parametrize("wide", ["features", "residual"])
def test_the_wider_type_is_the_result_s(wide):
    x = plain(dtype=np.float32)
    layer = spconv.SubMConv2d(3, 3, 3, rng=np.random.default_rng(0))
    x64 = x.derive(spconv.Parameter(x.features.data.astype(np.float64)), None)
    x32 = x.derive(spconv.Parameter(x.features.data), None)
    x, residual = (x64, x32) if wide == "features" else (x32, x64)
    y = layer(x, residual=residual)
    assert y.features.dtype == np.float64
    y.features.sum().backward()
    assert x32.features.grad.dtype == np.float32
    assert x64.features.grad.dtype == np.float64
    assert layer.weight.grad.dtype == np.float32


def test_sites_and_rulebooks_are_the_residual_s():
    """As of ``add(residual, result)``: what is behind finds the rulebooks of the skip."""
    x, other = plain(), plain()
    total = subm(other, residual=x)
    assert total.sites is x.sites
    assert total.rulebooks is x.rulebooks


def test_no_sites():
    x = plain(density=0)
    y = subm(x, residual=x, negative_slope=0.0)
    assert y.features.shape == (0, 3)


def shuffled(x):
    order = np.arange(len(x))[::-1]
    return spconv.SparseConvTensor(
        x.features.data[order], x.indices[order], x.spatial_shape, x.batch_size
    )


X, GROUNDED = plain(), plain(ground=True)
REFUSED = {
    "array": (
        X,
        X.features.data,
        TypeError,
        "expected a SparseConvTensor, got numpy.ndarray",
    ),
    "channels": (X, subm(X, 5), ValueError, "residual with the output's 3 channels, got 5"),
    "sites": (
        X,
        random_sparse_tensor(np.random.default_rng(9), (5, 6), 2, 3, 0.3, ground=False),
        ValueError,
        r"on the output's sites, \d+ sites in batch_size 2 .*, got \d+ sites.*union=True",
    ),
    "order": (X, shuffled(X), ValueError, "or the same in another order"),
    "grid": (
        X,
        spconv.SparseConvTensor(X.features.data, X.indices, (7, 7), 2),
        ValueError,
        r"spatial_shape \(5, 6\), got .* spatial_shape \(7, 7\)",
    ),
    "ground": (
        X,
        X.derive(X.features, spconv.Tensor(np.ones(3))),
        ValueError,
        "the residual has a ground state and the input has none; give both or neither",
    ),
    "bare": (
        GROUNDED,
        GROUNDED.derive(GROUNDED.features, None),
        ValueError,
        "the input has a ground state and the residual has none; give both or neither",
    ),
}


@pytest.mark.parametrize(("x", "residual", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(x, residual, error, message):
    with pytest.raises(error, match=f"sparse_conv: .*{message}|sparse_conv: {message}"):
        subm(x, residual=residual)
    with pytest.raises(error, match=f"SubMConv2d: .*{message}|SubMConv2d: {message}"):
        spconv.SubMConv2d(3, 3, 3)(x, residual=residual)


def test_kept_channels_beside_a_residual_are_refused():
    keep = KeptChannels(np.array([0, 2]), 3)
    with pytest.raises(ValueError, match=r"expected keep or a residual, .*functional.add"):
        subm(X, residual=X, keep=keep)


def test_a_negative_slope_is_refused():
    for residual in (None, X):
        with pytest.raises(ValueError, match="sparse_conv: negative_slope must be finite and >= 0"):
            subm(X, residual=residual, negative_slope=-1.0)
