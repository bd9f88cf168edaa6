"""The compiled engine, on every instruction set of this processor, against the specification."""

import inspect

import numpy as np
import pytest
from engine_checks import SPECIFICATION, compare, random
from example_books import KINDS, make_book

import spconv
from spconv.ops import ENGINES, CpuOps, Epilogue, Ops, get_ops, use_engine
from spconv.ops.cpu import convolution
from spconv.ops.cuda import CudaOps

CHANNELS = [1, 3, 7, 13, 16, 17, 32, 33, 60, 183]

BOOKS = {kind: make_book(kind) for kind in KINDS}
BOOKS["inverse"] = BOOKS["down"].inverse  # some outputs have no pair
each_book = pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS.keys())


def check_convolution(ops, dtype, book, cin, cout, groups=1, seed=0):
    """Forward with and without what is added to it, input gradient, weight gradient."""
    rng = np.random.default_rng(seed)
    x = random(rng, dtype, len(book.in_sites), cin)
    dy = random(rng, dtype, len(book.out_sites), cout)
    w = random(rng, dtype, book.volume, cin // groups, cout)
    init, residual = random(rng, dtype, cout), random(rng, dtype, len(book.out_sites), cout)
    length = book.volume * cin // groups
    for epilogue in (
        Epilogue(),
        Epilogue(init),
        Epilogue(init, slope=0.0),
        Epilogue(init, slope=0.25),
        Epilogue(init, residual),
        Epilogue(residual=residual, slope=0.25),
    ):
        compare(ops, dtype, length, "convolve", x, w, book, groups, epilogue=epilogue)
    length = book.volume * cout // groups
    compare(ops, dtype, length, "convolve", dy, w, book.inverse, groups, transposed=True)
    compare(ops, dtype, len(x), "weight_gradient", x, dy, book, groups)


@pytest.mark.parametrize("cin", CHANNELS)
def test_every_pair_of_widths(ops, dtype, cin):
    for cout in CHANNELS:
        check_convolution(ops, dtype, BOOKS["regular"], cin, cout)


@each_book
def test_every_kind_of_rulebook(ops, dtype, book):
    for cin, cout in [(1, 1), (13, 17), (33, 7)]:
        check_convolution(ops, dtype, book, cin, cout)


WIDE = [(64, 64, 1), (183, 96, 1), (144, 130, 2)]
"""Layers whose weight gradient gathers rows: whole and broken vectors and cache lines."""


@each_book
def test_gathered_rows(ops, dtype, book):
    for cin, cout, groups in WIDE:
        check_convolution(ops, dtype, book, cin, cout, groups)


@pytest.mark.parametrize(("cin", "cout", "groups"), WIDE)
def test_threads_share_a_wide_weight_gradient(ops, dtype, cin, cout, groups):
    """More of them than offsets: each has some input channels of its own."""
    book, rng = BOOKS["pointwise"], np.random.default_rng(0)
    x = random(rng, dtype, len(book.in_sites), cin)
    dy = random(rng, dtype, len(book.out_sites), cout)
    pairs = (book.in_rows, book.out_rows, book.offset_starts)
    results = []
    for threads in (1, 2, 5):
        dw = np.zeros((1, cin // groups, cout), dtype)
        convolution.weight_gradient(x, dy, *pairs, dw, groups, ops.isa, threads)
        results.append(dw)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("cin", "cout", "groups"),
    [(4, 6, 2), (14, 26, 2), (34, 66, 2), (9, 51, 3), (7, 7, 7), (60, 60, 60), (7, 21, 7)],
)
def test_groups(ops, dtype, cin, cout, groups):
    for book in BOOKS.values():
        check_convolution(ops, dtype, book, cin, cout, groups)


@pytest.mark.parametrize("threads", [1, 5])
def test_number_of_threads(ops, dtype, threads):
    spconv.set_num_threads(threads)
    try:
        for cin, cout, groups in [(7, 13, 1), (60, 33, 1), (60, 30, 2)]:
            check_convolution(ops, dtype, BOOKS["regular"], cin, cout, groups)
            check_convolution(ops, dtype, BOOKS["pointwise"], cin, cout, groups)
    finally:
        spconv.set_num_threads(None)


@pytest.mark.parametrize("count", [0, 1, 5, 12, 95, 96, 97, 200])
def test_products(ops, dtype, count):
    rng = np.random.default_rng(count)
    for cin, cout in [(1, 1), (3, 7), (16, 32), (17, 33), (183, 60)]:
        x, w = random(rng, dtype, count, cin), random(rng, dtype, cin, cout)
        dy, init = random(rng, dtype, count, cout), random(rng, dtype, cout)
        compare(ops, dtype, cin, "matmul", x, w)
        compare(ops, dtype, cin, "matmul", x, w, init)
        compare(ops, dtype, count, "matmul_gradient", x, dy)


def test_any_strides_and_read_only_arrays(ops, dtype):
    rng = np.random.default_rng(0)
    book = BOOKS["regular"]
    x = random(rng, dtype, 2 * len(book.in_sites), 10)[::2, ::2]
    w = random(rng, dtype, 7, 5, book.volume).transpose(2, 1, 0)
    dy = np.asfortranarray(random(rng, dtype, len(book.out_sites), 7))
    init = random(rng, dtype, 14)[::2]
    for array in (x, w, dy, init):
        array.flags.writeable = False
    compare(ops, dtype, 30, "convolve", x, w, book, epilogue=Epilogue(init))
    compare(ops, dtype, 42, "convolve", dy, w, book.inverse, transposed=True)
    compare(ops, dtype, len(x), "weight_gradient", x, dy, book)
    compare(ops, dtype, 5, "matmul", x, w[0], init)
    compare(ops, dtype, len(x), "matmul_gradient", x, x)


@pytest.mark.parametrize("cout", CHANNELS)
def test_nothing_is_written_behind_the_end(ops, dtype, cout):
    """The last lanes of the last row are the last bytes that the kernel may touch."""
    book = BOOKS["pointwise"]
    rows = len(book.out_sites)
    x, w = np.ones((rows, 3), dtype), np.ones((1, 3, cout), dtype)
    buffer = np.full(rows * cout + 64, -7, dtype)
    y = buffer[: rows * cout].reshape(rows, cout)
    pairs = (book.in_rows, book.out_rows, book.offset_starts)
    convolution.convolve(x, w, y, None, None, *pairs, 1, False, True, 0.5, ops.isa, 1)
    assert (y == 3).all()
    assert (buffer[rows * cout :] == -7).all()
    buffer = np.full(3 * cout + 64, -7, dtype)
    dw = buffer[: 3 * cout].reshape(1, 3, cout)
    dw[...] = 0
    convolution.weight_gradient(x, y, *pairs, dw, 1, ops.isa, 1)
    assert (dw == 3 * rows).all()
    assert (buffer[3 * cout :] == -7).all()


ON_THE_CPU_PARTS_OF_OTHERS = {"normalize_gradient", "sum_centred_products", "sum_centred_squares"}
"""What the specification's operations are made of, and the engine's have inside."""
PLAIN_ON_THE_CPU = ON_THE_CPU_PARTS_OF_OTHERS | {
    "add_rectified",
    "build_rulebook",
    "cross_entropy",
    "cross_entropy_gradient",
    "max_samples",
    "max_samples_gradient",
    "rows_among",
    "sample_counts",
    "spread_samples",
    "track",
    "union_sites",
    "unscale",
}
"""What the compiled engine does not override."""

CPU = CpuOps()


@pytest.mark.parametrize(("groups", "cin", "cout"), [(1, 1, 1), (2, 7, 13), (1, 183, 60)])
def test_small_matmul(dtype, groups, cin, cout):
    rng = np.random.default_rng(0)
    a, b = random(rng, dtype, groups, 1, cin), random(rng, dtype, groups, cin, cout)
    compare(CPU, dtype, cin, "small_matmul", a, b)
    compare(CPU, dtype, cout, "small_matmul", a, random(rng, dtype, groups, cout, cin).mT)


@each_book
@pytest.mark.parametrize("channels", [1, 7, 33, 183])
def test_sum_pairs(dtype, book, channels):
    x = random(np.random.default_rng(0), dtype, len(book.in_sites), channels)
    compare(CPU, dtype, book.volume, "sum_pairs", x, book)


@pytest.mark.parametrize("kind", [kind for kind in BOOKS if kind != "inverse"])
@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("channels", [1, 7, 8, 16, 24, 32, 33, 183])
def test_max_pairs(dtype, kind, channels, ground):
    """Small integers, so that there are ties; negative ones, so that 0 is no floor."""
    book, rng = BOOKS[kind], np.random.default_rng(0)
    x = rng.integers(-9, -3, (len(book.in_sites), channels)).astype(dtype)
    g = rng.integers(-9, -3, channels).astype(dtype) if ground else None
    y, winner = CPU.max_pairs(x, book, g)
    expected, expected_winner = SPECIFICATION.max_pairs(x, book, g)
    assert (y.dtype, winner.dtype) == (dtype, np.int32)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(winner, expected_winner)
    dy = random(rng, dtype, *y.shape)
    compare(CPU, dtype, book.volume, "max_pairs_gradient", dy, winner, book)
    compare(CPU, dtype, len(dy), "max_ground_gradient", dy, winner)


@pytest.mark.parametrize("channels", [5, 48])
@pytest.mark.parametrize("size", [(8, 4), (11, 3), (9, 9)])
def test_pooling_over_more_offsets_than_are_followed_at_once(dtype, size, channels):
    """32, 33 and 81 of them; many windows have no pair in the first 32."""
    rng = np.random.default_rng(0)
    indices = np.argwhere(rng.random((2, 40, 40)) < 0.02)
    book = spconv.build_rulebook(indices, (40, 40), 2, size, 2, 4)
    x = random(rng, dtype, len(book.in_sites), channels)
    compare(CPU, dtype, book.volume, "sum_pairs", x, book)
    for ground in (None, random(rng, dtype, channels)):
        results = CPU.max_pairs(x, book, ground), SPECIFICATION.max_pairs(x, book, ground)
        for result, expected in zip(*results, strict=True):
            np.testing.assert_array_equal(result, expected)
        dy = random(rng, dtype, *results[0][0].shape)
        compare(CPU, dtype, book.volume, "max_pairs_gradient", dy, results[0][1], book)


@pytest.mark.parametrize("channels", [5, 8, 48])
def test_max_pairs_of_nan_and_signed_zeros(dtype, channels):
    """The first NaN of a window wins, of two zeros the first; gradients to the sign of zero."""
    book, rng = BOOKS["regular"], np.random.default_rng(0)
    x = rng.choice([-1.0, -0.0, 0.0, np.nan], (len(book.in_sites), channels)).astype(dtype)
    y, winner = CPU.max_pairs(x, book)
    expected, expected_winner = SPECIFICATION.max_pairs(x, book)
    np.testing.assert_array_equal(winner, expected_winner)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(np.signbit(y), np.signbit(expected))
    dx = CPU.max_pairs_gradient(np.full_like(y, -0.0), winner, book)
    np.testing.assert_array_equal(dx, 0)
    assert not np.signbit(dx).any()  # sums start from zero


def test_max_pairs_specification():
    """By hand: of equal values the first offset wins, the ground only where it is larger."""
    book = spconv.build_rulebook([[0, 0], [0, 1], [0, 2]], (4,), 1, 2, 2)
    x = np.array([[5.0, 1.0], [5.0, 2.0], [3.0, 4.0]])
    for ops in (SPECIFICATION, CPU):
        y, winner = ops.max_pairs(x, book)
        assert (y.tolist(), winner.tolist()) == ([[5, 2], [3, 4]], [[0, 1], [2, 2]])
        y, winner = ops.max_pairs(x, book, np.array([9.0, 4.0]))
        assert (y.tolist(), winner.tolist()) == ([[5, 2], [9, 4]], [[0, 1], [-1, 2]])


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 7), (300, 111)])
@pytest.mark.parametrize("slope", [0.0, 1 / 3, 2.0])
def test_leaky_relu(dtype, shape, slope):
    rng = np.random.default_rng(0)
    x, dy = random(rng, dtype, *shape), random(rng, dtype, *shape)
    y = CPU.leaky_relu(x, slope)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    np.testing.assert_array_equal(y, SPECIFICATION.leaky_relu(x, slope))
    expected = SPECIFICATION.leaky_relu_gradient(y, dy, slope)
    np.testing.assert_array_equal(CPU.leaky_relu_gradient(y, dy, slope), expected)
    np.testing.assert_array_equal(CPU.leaky_relu(x.T, slope), y.T)


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (7, 13), (300, 111)])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_drops_what_the_specification_drops(dtype, shape, p):
    x = random(np.random.default_rng(0), dtype, *shape)
    for values in (x, x.T):
        arguments = values, round(p * 2**32), 1.5, (3_000_000_000, 17)
        np.testing.assert_array_equal(CPU.dropout(*arguments), SPECIFICATION.dropout(*arguments))


def test_dropped_entries_are_a_fair_and_independent_share():
    """Within five standard deviations: the share, and how often neighbours and layers agree."""
    ones, threshold = np.ones(100_000), round(0.3 * 2**32)
    first, second, near = (
        CPU.dropout(ones, threshold, 1.0, key) == 0 for key in ((5, 6), (5, 7), (4, 6))
    )
    for dropped, share in (
        (first, 0.3),
        (first[1:] & first[:-1], 0.09),
        (first & second, 0.09),
        (first & near, 0.09),
    ):
        assert abs(dropped.mean() - share) < 5 * np.sqrt(share * (1 - share) / len(dropped))


@pytest.mark.parametrize(("rows", "channels"), [(0, 3), (200, 1), (200, 17), (5, 0)])
def test_scatter_add(dtype, rows, channels):
    rng = np.random.default_rng(0)
    x, places = random(rng, dtype, rows, channels), rng.integers(0, 9, rows)
    y, expected = (ops.scatter_add(x, places, 11) for ops in (CPU, SPECIFICATION))
    assert (y.dtype, expected.dtype) == (dtype, dtype)
    np.testing.assert_array_equal(y, expected, "both add in float64, in the order of the rows")


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_sgd_step_is_the_specification_bit_for_bit(dtype, momentum, nesterov, decay):
    rng = np.random.default_rng(0)
    grad = random(rng, dtype, 111, 300)
    mine = [random(rng, dtype, 111, 300), random(rng, dtype, 111, 300) if momentum else None]
    theirs = [None if array is None else array.copy() for array in mine]
    for _ in range(3):
        for ops, (data, velocity) in ((CPU, mine), (SPECIFICATION, theirs)):
            learning = [(data, None, grad.T.copy().T, velocity)]
            ops.sgd_step(learning, 0.03, momentum, nesterov, decay)
    np.testing.assert_array_equal(mine[0], theirs[0])
    if momentum:
        np.testing.assert_array_equal(mine[1], theirs[1])


@pytest.mark.parametrize(("decay", "shrink"), [(0.0, 1.0), (0.01, 1.0), (0.0, 0.99)])
def test_adam_step_is_the_specification_bit_for_bit(dtype, decay, shrink):
    rng = np.random.default_rng(0)
    grad, mine = random(rng, dtype, 111, 300), [random(rng, dtype, 111, 300) for _ in range(3)]
    mine[2] **= 2
    theirs = [array.copy() for array in mine]
    factors = {"beta1": 0.9, "rest1": 0.1, "beta2": 0.999, "rest2": 0.001, "correction": 0.3}
    factors |= {"eps": 1e-8, "rate": 0.002, "decay": decay, "shrink": shrink}
    for ops, (data, mean, square) in ((CPU, mine), (SPECIFICATION, theirs)):
        ops.adam_step([(data, None, grad, mean, square)], factors)
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


PLAIN_ON_A_GPU = {"mean_and_squares", "layer_norm", "layer_norm_gradient", "normalize_samples"}
"""Made of the engine's other operations, or of array code."""


@pytest.mark.parametrize(
    ("engine", "plain"), [(CpuOps, PLAIN_ON_THE_CPU), (CudaOps, PLAIN_ON_A_GPU)]
)
def test_overrides_have_the_signatures_of_the_specification(engine, plain):
    classes = engine.__mro__[: engine.__mro__.index(Ops)]
    overridden = {name for own in classes for name in vars(own) if not name.startswith("_")}
    for name in overridden:
        assert hasattr(Ops, name), f"{engine.__name__}.{name} is not in the specification"
        assert inspect.signature(getattr(engine, name)) == inspect.signature(getattr(Ops, name))
    public = {name for name in vars(Ops) if not name.startswith("_")}
    assert overridden == public - plain


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_a_fused_rectifier_is_the_rectifier_bit_for_bit(ops, dtype, slope):
    """NaN and infinities included, whatever the engine's block of channels."""
    rng = np.random.default_rng(0)
    book = BOOKS["regular"]
    for channels in (5, 16, 64, 83):
        x = random(rng, dtype, len(book.in_sites), 3)
        x[0], x[1], x[2] = np.nan, np.inf, -np.inf
        w = random(rng, dtype, book.volume, 3, channels)
        with np.errstate(invalid="ignore"):
            plain = SPECIFICATION.leaky_relu(ops.convolve(x, w, book), slope)
        fused = ops.convolve(x, w, book, epilogue=Epilogue(slope=slope))
        np.testing.assert_array_equal(fused, plain)


def test_engines_nest_and_are_put_back():
    array = np.zeros(1)
    default = get_ops(array)
    assert type(default) is CpuOps
    assert default.isa == convolution.best_isa()
    with use_engine("numpy") as outer:
        assert type(outer) is Ops
        assert get_ops(array) is outer
        with use_engine("portable") as inner:
            assert (type(inner), inner.isa) == (CpuOps, 0)
            assert get_ops(array) is inner
        assert get_ops(array) is outer
        with pytest.raises(KeyError), use_engine("cpu"):
            raise KeyError
        assert get_ops(array) is outer
    assert get_ops(array) is default


def test_unknown_engines():
    assert ENGINES == ("numpy", "cpu", "portable", "avx2", "avx512")
    message = r"use_engine: expected one of \('numpy', .*\), got 'blas'"
    with pytest.raises(ValueError, match=message), use_engine("blas"):
        pass
    assert type(get_ops(np.zeros(1))) is CpuOps
    with pytest.raises(ValueError, match=r"instruction_set must be one of .* got 'sse'"):
        CpuOps("sse")


def test_instruction_sets_that_the_processor_lacks(monkeypatch):
    monkeypatch.setattr(spconv.ops.cpu.convolution, "best_isa", lambda: 0)
    assert CpuOps().isa == 0
    with pytest.raises(ValueError, match="no avx2; its best instruction set is 'portable'"):
        CpuOps("avx2")
