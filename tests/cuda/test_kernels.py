"""Every plain kernel, through the GPU engine, against the specification: emulated, or on a GPU."""

import numpy as np
import pytest
from emulation import ORDERS
from fake_cupy import RawKernel

import spconv
from spconv.dtypes import math_type
from spconv.ops import Ops
from spconv.ops.cuda import CudaOps
from spconv.testing import assert_close, tolerance

DTYPES = ["float32", "float64", "float16"]
SPECIFICATION = Ops(np)


@pytest.fixture
def ops(cupy):
    return CudaOps()


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


def make_book(kind="regular"):
    rng = np.random.default_rng(0)
    indices = rng.permutation(np.argwhere(rng.random((2, 9, 7)) < 0.35))
    if kind == "down":
        return spconv.build_rulebook(indices, (9, 7), 2, 2, 3)
    if kind == "no pairs":
        return spconv.build_rulebook([[0, 1, 1], [1, 4, 4]], (9, 7), 2, 1, 3)
    if kind == "no sites":
        return spconv.build_rulebook([], (9, 7), 2, 3, submanifold=True)
    return spconv.build_rulebook(indices, (9, 7), 2, (3, 2), padding=1)


BOOKS = {kind: make_book(kind) for kind in ("regular", "down", "no pairs", "no sites")}
each_book = pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS.keys())


def random(dtype, *shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def up(array):
    """In float64, for the specification to compute with."""
    floating = isinstance(array, np.ndarray) and array.dtype.kind == "f"
    return array.astype(np.float64) if floating else array


SUMS = {"sum_pairs", "sum_rows", "sum_centred_squares", "sum_centred_products"}
SUMS |= {"max_ground_gradient"}


def compare(ops, dtype, length, name, *arguments):
    device = [ops.xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    actual = getattr(ops, name)(*device)
    expected = getattr(SPECIFICATION, name)(*map(up, arguments))
    assert isinstance(actual, ops.xp.ndarray)
    assert actual.dtype == (math_type(dtype) if name in SUMS else dtype)
    assert_close(actual.get(), expected, tolerance(dtype, length), name)
    return actual.get()


@each_book
@pytest.mark.parametrize("channels", [1, 33])
def test_sum_pairs(ops, dtype, book, channels):
    compare(ops, dtype, book.volume, "sum_pairs", random(dtype, len(book.in_sites), channels), book)


@each_book
@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("channels", [1, 7])
def test_max_pairs(ops, dtype, book, channels, ground):
    """Small negative integers: there are ties, and 0 is no floor. NaN and infinities go through."""
    rng = np.random.default_rng(0)
    x = rng.integers(-9, -3, (len(book.in_sites), channels)).astype(dtype)
    x[::7, 0], x[3::11, 0], x[4::13, 0] = np.nan, np.inf, -np.inf
    g = rng.integers(-9, -3, channels).astype(dtype) if ground else None
    y, winner = ops.max_pairs(ops.xp.asarray(x), book, None if g is None else ops.xp.asarray(g))
    expected, expected_winner = SPECIFICATION.max_pairs(x, book, g)
    assert (y.dtype, winner.dtype) == (dtype, np.int32)
    np.testing.assert_array_equal(y.get(), expected)
    np.testing.assert_array_equal(winner.get(), expected_winner)
    dy = random(dtype, *y.shape)
    compare(ops, dtype, book.volume, "max_pairs_gradient", dy, expected_winner, book)
    compare(ops, dtype, 1, "max_ground_gradient", dy, expected_winner)


@pytest.mark.parametrize("slope", [0.0, 1 / 3, 2.0])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 171)])
def test_leaky_relu(ops, dtype, shape, slope):
    x, dy = random(dtype, *shape), random(dtype, *shape, seed=1)
    y = compare(ops, dtype, 1, "leaky_relu", x, slope)
    compare(ops, dtype, 1, "leaky_relu_gradient", y, dy, slope)
    assert y.shape == shape


@pytest.mark.parametrize("slope", [0.0, 1 / 3, 2.0])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 171)])
def test_rectified_sums(ops, dtype, shape, slope):
    """Those of the two operations, to the bit: the sum is rounded before it is rectified."""
    a, b = (ops.xp.asarray(random(dtype, *shape, seed=seed)) for seed in (2, 3))
    y = ops.add_rectified(a, b, slope)
    assert (y.shape, y.dtype) == (shape, dtype)
    np.testing.assert_array_equal(y.get(), ops.leaky_relu(a + b, slope).get())


def test_rectified_sums_of_other_types(ops):
    a, b = ops.xp.asarray(random("float32", 3, 5)), ops.xp.asarray(random("float64", 3, 5))
    y = ops.add_rectified(a, b, 0.5)
    np.testing.assert_array_equal(y.get(), ops.leaky_relu(a + b, 0.5).get())


@pytest.mark.parametrize("kind", ["silu", "gelu"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 171)])
def test_gates(ops, dtype, shape, kind):
    x, dy = np.asarray(4 * random(dtype, *shape), dtype), random(dtype, *shape, seed=1)
    assert compare(ops, dtype, 16, "gate", x, kind).shape == shape
    compare(ops, dtype, 16, "gate_gradient", x, dy, kind)


@pytest.mark.parametrize("kind", ["silu", "gelu"])
def test_gates_of_anything(ops, kind):
    big = np.float32(1e30)
    x = np.array([np.nan, np.inf, -np.inf, 0.0, big, -big], np.float32)
    x = ops.xp.asarray(x)
    np.testing.assert_array_equal(ops.gate(x, kind).get(), [np.nan, np.inf, 0, 0, big, 0])
    slopes = ops.gate_gradient(x, ops.xp.ones_like(x), kind).get()
    np.testing.assert_array_equal(slopes, [np.nan, 1, 0, 0.5, 1, 0])


@pytest.mark.parametrize("slope", [0.0, 1 / 3])
def test_leaky_relu_of_anything(ops, slope):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -7.25], np.float32)
    dy = np.array([1, 2, 3, 4, 5, np.nan, np.inf], np.float32)
    y, dx = SPECIFICATION.leaky_relu(x, slope), None
    with np.errstate(invalid="ignore"):
        dx = SPECIFICATION.leaky_relu_gradient(y, dy, slope)
    device = [ops.xp.asarray(array) for array in (x, y, dy)]
    np.testing.assert_array_equal(ops.leaky_relu(device[0], slope).get(), y)
    np.testing.assert_array_equal(ops.leaky_relu_gradient(*device[1:], slope).get(), dx)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 183), (129, 33), (1000, 2)])
def test_column_sums(ops, dtype, shape):
    x, dy = random(dtype, *shape), random(dtype, *shape, seed=1)
    mean = random(dtype, shape[1], seed=2)
    length = 1 if dtype != "float64" else len(x)  # they add up in float64
    compare(ops, dtype, length, "sum_rows", x)
    compare(ops, dtype, length, "sum_rows", np.asfortranarray(x))
    length = len(x) if dtype == "float64" else 16  # the differences are rounded to float32
    compare(ops, dtype, length, "sum_centred_squares", x, mean)
    compare(ops, dtype, length, "sum_centred_products", dy, x, mean)


def test_parts_are_as_many_as_fit_one_wave_of_additions(ops, monkeypatch):
    """More rows than MAX_PARTS x MIN_ROWS_PER_PART make parts longer, not more."""
    monkeypatch.setattr("spconv.ops.cuda.launch.MAX_PARTS", 3)
    compare(ops, "float32", 1, "sum_rows", random("float32", 1000, 5))


@pytest.mark.parametrize("shape", [(0, 3), (5, 1), (37, 33)])
def test_normalization(ops, dtype, shape):
    x = random(dtype, *shape)
    vectors = [random(dtype, shape[1], seed=seed) for seed in (1, 2, 3)]
    compare(ops, dtype, 4, "normalize", x, *vectors)
    compare(ops, dtype, 4, "moments_gradient", x, *vectors)


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("slope", [None, 0.0, 0.3])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 183), (300, 33)])
def test_batch_norm(ops, dtype, shape, slope, narrow):
    """Weights of the type of rows, or of that of sums."""
    x, dy = random(dtype, *shape), random(dtype, *shape, seed=1)
    wide = math_type(np.dtype(dtype))
    own = dtype if narrow else wide
    weight, bias = (random(own, shape[1], seed=seed) for seed in (2, 3))
    device = [ops.xp.asarray(array) for array in (x, weight, bias, dy)]
    exact = [array.astype(np.float64) for array in (x, weight, bias, dy)]
    y, moments = ops.batch_norm(*device[:3], 0.1, slope)
    expected, statistics = SPECIFICATION.batch_norm(*exact[:3], 0.1, slope)
    assert (y.dtype, moments.dtype) == (dtype, wide)
    assert_close(y.get(), expected, tolerance(dtype, 16), "result")
    assert_close(moments.get(), statistics, tolerance(wide, 16), "moments")
    arguments = device[3], device[0], y, device[1], moments, 0.1, slope
    wanted = exact[3], exact[0], y.get().astype(float), exact[1], statistics, 0.1, slope
    gradients = ops.batch_norm_gradient(*arguments)
    for actual, known, kind in zip(
        gradients, SPECIFICATION.batch_norm_gradient(*wanted), (dtype, own, own), strict=True
    ):
        assert actual.dtype == kind
        assert_close(actual.get(), known, tolerance(kind, max(len(x), 16)), "gradients")


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 183), (300, 33)])
def test_layer_norm(ops, dtype, shape):
    """Array code here, but for the sums over rows."""
    x, dy = random(dtype, *shape), random(dtype, *shape, seed=1)
    wide = math_type(np.dtype(dtype))
    weight, bias = (random(wide, shape[1], seed=seed) for seed in (2, 3))
    device = [ops.xp.asarray(array) for array in (x, weight, bias, dy)]
    exact = [array.astype(np.float64) for array in (x, weight, bias, dy)]
    y, statistics = ops.layer_norm(*device[:3], 0.1)
    expected, known = SPECIFICATION.layer_norm(*exact[:3], 0.1)
    assert y.dtype == dtype
    assert_close(y.get(), expected, tolerance(dtype, 16), "result")
    gradients = ops.layer_norm_gradient(device[3], device[0], device[1], statistics)
    exact = SPECIFICATION.layer_norm_gradient(exact[3], exact[0], exact[1], known)
    for actual, wanted, kind in zip(gradients, exact, (dtype, wide, wide), strict=True):
        assert actual.dtype == kind
        assert_close(actual.get(), wanted, tolerance(kind, max(len(x), 16)), "gradients")


@pytest.mark.parametrize("channels", [37, 300, 0])
def test_track(ops, channels):
    arrays = [random("float32", channels, seed=seed) for seed in range(4)]
    for kind in (np.float32, np.float64):
        running, batch = tuple(a.astype(kind) for a in arrays[:2]), tuple(arrays[2:])
        expected = SPECIFICATION.track(running, batch, 0.1, 1.25)
        device = [tuple(map(ops.xp.asarray, pair)) for pair in (running, batch)]
        for actual, exact in zip(ops.track(*device, 0.1, 1.25), expected, strict=True):
            assert actual.dtype == exact.dtype == kind
            np.testing.assert_array_equal(actual.get(), exact)


@pytest.mark.parametrize("slope", [None, 0.0, 0.3])
@pytest.mark.parametrize("shape", [(0, 3), (5, 1), (300, 33)])
def test_normalization_with_a_rectifier(ops, dtype, shape, slope):
    x, dy = random(dtype, *shape), random(dtype, *shape, seed=1)
    mean, scale, shift, factor = (random(dtype, shape[1], seed=seed) for seed in (2, 3, 4, 5))
    y = compare(ops, dtype, 4, "normalize", x, mean, scale, shift, slope)
    compare(ops, dtype, 4, "normalize_gradient", dy, x, y, mean, scale, shift, factor, slope)
    length = len(x) if dtype == "float64" else 16  # the differences are rounded to float32
    arrays = dy, x, y, mean
    expected = SPECIFICATION.normalize_sums(*(a.astype(np.float64) for a in arrays), slope)
    sums = ops.normalize_sums(*(ops.xp.asarray(array) for array in arrays), slope)
    for actual, exact in zip(sums, expected, strict=True):
        assert actual.dtype == math_type(dtype)
        assert_close(actual.get(), exact, tolerance(dtype, length), "normalize_sums")


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 171)])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_drops_what_the_specification_drops(ops, dtype, shape, p):
    x, key = random(dtype, *shape), (3_000_000_000, 4_000_000_000)
    expected = SPECIFICATION.dropout(x, round(p * 2**32), 1.5, key)
    y = ops.dropout(ops.xp.asarray(x), round(p * 2**32), 1.5, key)
    np.testing.assert_array_equal(y.get(), expected)


@pytest.mark.parametrize("shape", [(0, 4), (0, 0), (1, 1), (3, 10), (9, 183)])
def test_cross_entropy(ops, dtype, shape):
    logits = 3 * random(dtype, *shape)
    labels = np.random.default_rng(1).integers(0, max(shape[1], 1), shape[0])
    losses, probability = ops.cross_entropy(ops.xp.asarray(logits), ops.xp.asarray(labels))
    expected, expected_probability = SPECIFICATION.cross_entropy(up(logits), labels)
    bound = tolerance(dtype, shape[1])
    assert (losses.dtype, probability.dtype) == (math_type(dtype), dtype)
    assert_close(losses.get(), expected, bound, "losses")
    assert_close(probability.get(), expected_probability, bound, "softmax")
    scale = np.array(0.25, dtype)
    compare(ops, dtype, 1, "cross_entropy_gradient", probability.get(), labels, scale.reshape(1))


def test_cross_entropy_of_infinities(ops):
    logits = np.array([[1, np.nan, 2], [np.inf, 1, 2], [-np.inf, 1, 2]], np.float32)
    labels = np.array([0, 1, 1])
    losses, _ = ops.cross_entropy(ops.xp.asarray(logits), ops.xp.asarray(labels))
    with np.errstate(invalid="ignore"):
        expected, _ = SPECIFICATION.cross_entropy(logits, labels)
    assert np.isnan(expected).tolist() == [True, True, False]
    np.testing.assert_allclose(losses.get(), expected, rtol=tolerance("float32", 3))


@pytest.mark.parametrize("order", ORDERS)
def test_no_order_of_threads_matters(ops, order, monkeypatch):
    x, book = random("float32", 300, 33), BOOKS["regular"]
    labels = ops.xp.asarray(np.arange(300) % 33)
    pooled = random("float32", len(book.in_sites), 5)
    results = []
    for turn in ("forward", order):
        monkeypatch.setattr(RawKernel, "order", turn)
        sums = ops.sum_rows(ops.xp.asarray(x))
        losses, _ = ops.cross_entropy(ops.xp.asarray(x), labels)
        results.append((sums, losses, *ops.max_pairs(ops.xp.asarray(pooled), book)))
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first.get(), second.get())


def test_unknown_dtypes(ops):
    with pytest.raises(TypeError, match=r"expected arrays of float16, .* got dtype int32"):
        ops.leaky_relu(ops.xp.zeros(3, np.int32), 0.5)
