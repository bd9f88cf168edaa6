"""Every plain kernel with a bug in it: the comparison with the specification must fail.

The convolution kernels and the tile map have such tests beside their own.
"""

import numpy as np
import pytest
from emulation import ORDERS, EmulationError, emulate
from fake_cupy import RawKernel

import spconv
from spconv import Parameter
from spconv.geometry import Geometry
from spconv.ops import Ops
from spconv.ops.cuda import CudaOps
from spconv.ops.cuda.compiler import kernel
from spconv.rulebook import build
from spconv.sites import SiteSet
from spconv.testing import assert_close, tolerance

SPECIFICATION = Ops(np)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def sites():
    indices = np.random.default_rng(0).permutation(
        np.argwhere(np.random.default_rng(1).random((3, 9, 8)) < 0.4)
    )
    return SiteSet(np.ascontiguousarray(indices, np.int32), (9, 8), 3)


BOOK = build(sites(), Geometry.make(2, 3, 2, 1), "test")


def same(name, *arguments):
    """An operation of the engine against the specification, in float64."""

    def check(ops):
        actual = getattr(ops, name)(
            *(ops.xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments)
        )
        expected = getattr(SPECIFICATION, name)(*arguments)
        for one, two in zip(_tuple(actual), _tuple(expected), strict=True):
            assert_close(one.get(), two, tolerance("float64", 1000), name)

    return check


def _tuple(value):
    return value if isinstance(value, tuple) else (value,)


def step(ops):
    """Parameters of less than one block, of none, of whole ones and of more."""
    sizes = 70, 0, 256, 700, 1
    results = []
    for to in (np.array, ops.xp.asarray):
        weights = [Parameter(to(random(size, seed=size))) for size in sizes]
        named = [(str(number), weight) for number, weight in enumerate(weights)]
        sgd = spconv.optim.SGD(named, lr=0.1, momentum=0.9, nesterov=True)
        for seed in (1, 2):
            for weight in weights:
                weight.grad = to(random(len(weight), seed=len(weight) + seed))
            sgd.step()
        results.append(weights)
    for weight, expected in zip(*reversed(results), strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy())


def quotients(ops):
    """Gradients of less than one block, of none, of whole ones and of more."""
    gradients = [random(size, seed=size) for size in (70, 0, 256, 700, 1)]
    expected, _ = SPECIFICATION.unscale(gradients, 8.0)
    actual, finite = ops.unscale([ops.xp.asarray(gradient) for gradient in gradients], 8.0)
    assert finite
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one.get(), other)
    for bad in (np.inf, np.nan):
        gradients[3][600] = bad
        assert not ops.unscale([ops.xp.asarray(gradient) for gradient in gradients], 8.0)[1]


def moving_average(ops):
    arrays = random(4, 37)
    expected = SPECIFICATION.track(tuple(arrays[:2]), tuple(arrays[2:]), 0.1, 2.0)
    device = [ops.xp.asarray(array) for array in arrays]
    actual = ops.track(tuple(device[:2]), tuple(device[2:]), 0.1, 2.0)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one.get(), other)


def rulebook(ops):
    geometry = Geometry.make(2, 3, 2, 1)
    actual = ops.build_rulebook(sites(), geometry, "test")
    np.testing.assert_array_equal(actual.in_rows, BOOK.in_rows)
    np.testing.assert_array_equal(actual.out_rows, BOOK.out_rows)
    np.testing.assert_array_equal(actual.inverse.table, BOOK.inverse.table)


def counted(ops):
    actual = ops.build_rulebook(sites(), Geometry.make(2, 3, submanifold=True), "test")
    assert actual.offset_starts[-1] == (actual.table >= 0).sum()


def same_pairs(ops):
    for geometry in (Geometry.make(2, 3, submanifold=True), Geometry.make(2, 3, 2, 1)):
        actual = ops.build_rulebook(large_sites(), geometry, "test")
        expected = build(large_sites(), geometry, "test")
        np.testing.assert_array_equal(actual.in_rows, expected.in_rows)
        np.testing.assert_array_equal(actual.out_rows, expected.out_rows)


def same_cells(ops):
    """Outputs among more cells than one block of threads looks at."""
    where = np.random.default_rng(3).random((1, 60, 700)) < 0.05
    some = SiteSet(np.ascontiguousarray(np.argwhere(where), np.int32), (60, 700), 1)
    geometry = Geometry.make(2, 3, 1, 1)
    actual = ops.build_rulebook(some, geometry, "test")
    expected = build(some, geometry, "test")
    np.testing.assert_array_equal(actual.out_indices, expected.out_indices)
    np.testing.assert_array_equal(actual.offset_starts, expected.offset_starts)


def cells_of_bits(ops):
    """The kernels alone, with room around the result for what a bug writes."""
    xp, marked = ops.xp, np.random.default_rng(3).random(700 * 32) < 0.1
    bits = np.packbits(marked, bitorder="little").view("<u4")
    ends, cells = xp.zeros(3, np.int64), xp.zeros(1 << 22, np.int64)[1 << 21 :]
    words, shape = np.int64(len(bits)), ((3, 1), (256,))
    arguments = xp.asarray(bits), ends, xp.zeros(1, np.uint32), words
    kernel("rulebook.cu", "tally_cells", NDIM=1)(*shape, arguments)
    expected = [part.sum() for part in np.array_split(marked, [256 * 32, 512 * 32])]
    np.testing.assert_array_equal(ends.get(), np.cumsum(expected))
    kernel("rulebook.cu", "list_cells", NDIM=1)(*shape, (xp.asarray(bits), ends, cells, words))
    np.testing.assert_array_equal(cells.get()[: marked.sum()], np.flatnonzero(marked))


def large_sites():
    """More than one block of them."""
    where = np.random.default_rng(2).random((2, 30, 31)) < 0.4
    return SiteSet(np.ascontiguousarray(np.argwhere(where), np.int32), (30, 31), 2)


ROWS, LABELS = len(BOOK.in_sites), np.arange(40) % 45
BATCH_GRADIENT = same(
    "batch_norm_gradient", *random(3, 300, 40), random(40), np.abs(random(2, 40)), 0.1, 0.5
)
MAX_GRADIENT = same(
    "max_pairs_gradient",
    random(len(BOOK.out_sites), 3),
    SPECIFICATION.max_pairs(random(ROWS, 3), BOOK)[1],
    BOOK,
)
TIES = np.random.default_rng(0).integers(0, 3, (ROWS, 33)).astype(float)
WEIGHTS = random(9, 5, 7)
CONVOLVE = same("convolve", random(ROWS, 5), WEIGHTS, BOOK)
GRADIENT = same("weight_gradient", random(ROWS, 5), random(len(BOOK.out_sites), 7), BOOK)

BUGS = [  # what goes wrong, check, kernel's text, bug
    ("sign of the wrong array", same("leaky_relu_gradient", random(99), random(99, seed=1), 0.5),
     "widen(y[i]), widen(dy[i]), slope), dx", "widen(dy[i]), widen(dy[i]), slope), dx"),
    ("one of two summands", same("add_rectified", random(99), random(99, seed=1), 0.5),
     "widen(a[i]) + widen(b[i])", "widen(a[i]) + widen(a[i])"),
    ("a drop per warp", same("dropout", random(99), 1 << 31, 2.0, (5, 6)), "(unsigned)i ^ key",
     "(unsigned)(i >> 5) ^ key"),
    ("two sums in one place", BATCH_GRADIENT, "__syncthreads();\n    return add_all(others",
     "return add_all(others"),
    ("the last block but one", same("sum_rows", random(300, 40)), "== blocks - 1", "== blocks - 2"),
    ("counts for the next launch", same("batch_norm", random(300, 40), *random(2, 40), 0.1, None),
     "if (last) *finished = 0;", ""),
    ("variances of a sum", same("batch_norm", random(300, 40), *random(2, 40), 0.1, None),
     "variance = sum / count", "variance = sum"),
    ("means of a sum", same("batch_norm", random(300, 40), *random(2, 40), 0.1, None),
     "= sum / count;\n}", "= sum;\n}"),
    ("old for new", moving_average, "keep * widen(old_mean[c])", "share * widen(old_mean[c])"),
    ("the mean's place", moving_average, "result[channels + c]", "result[c]"),
    ("a rectifier too many", same("normalize_gradient", *random(3, 9, 4), *random(4, 4), None),
     "rectify ? rectified_gradient", "true ? rectified_gradient"),
    ("no barrier in sums", same("sum_rows", random(300, 40)), "__syncthreads();", ""),
    ("a lane of a sum lost", same("sum_rows", random(300, 40)), "int lane = 1;", "int lane = 2;"),
    ("channels of another row", same("normalize", random(9, 4), *random(3, 4)),
     "i - quotient(i, channels) * channels", "quotient(i, rows) % channels"),
    ("the table transposed", same("sum_pairs", random(ROWS, 3), BOOK),
     "table[k * out_rows + n]", "table[n * volume + k]"),
    ("the last of equal maxima", same("max_pairs", TIES, BOOK), "!(value <= best)",
     "!(value < best)"),
    ("every output counts as won", MAX_GRADIENT, "== m)", ">= 0)"),
    ("half a butterfly", same("cross_entropy", random(40, 45), LABELS), "step >>= 1", "step >>= 2"),
    ("labels of another row", same("cross_entropy_gradient", random(40, 45), LABELS, np.ones(1)),
     "labels[n]", "labels[n / 2]"),
    ("momentum forgotten", step, "direction + momentum * kept", "direction + kept"),
    ("the parameter before", step, "ends[middle] <= value", "ends[middle] < value"),
    ("blocks of all parameters", step, "blockIdx.x - (tensor ? table[tensor - 1] : 0)",
     "blockIdx.x"),
    ("the gradient for the momentum", step, "tensors, STATE, at", "tensors, GRADIENTS, at"),
    ("quotients of the first rows", quotients, "ADDRESSES + 1, at)[at.element]",
     "ADDRESSES + 1, at)[at.element % 256]"),
    ("infinities are numbers", quotients, "value - value != 0", "value != value"),
    ("the last task forgotten", GRADIENT, "task < offset_tasks[blockIdx.y + 1]",
     "task + 1 < offset_tasks[blockIdx.y + 1]"),
    ("weights of another column", CONVOLVE, "const int c = transposed ? row : column",
     "const int c = transposed ? column : row % cin"),
    ("no barrier behind a slice", CONVOLVE,
     "w_tile[c][column + j * 16];\n            __syncthreads();", "w_tile[c][column + j * 16];"),
    ("no barrier before a slice", GRADIENT, ": 0;\n        __syncthreads();", ": 0;"),
    ("the key behind", rulebook, "keys[middle] < key", "keys[middle] <= key"),
    ("a bound too low", rulebook, "most = low + (key - sought)", "most = low + (key - sought) / 2"),
    ("pairs of one warp counted", counted, "__syncthreads_count(row >= 0)",
     "__popc(__ballot_sync(0xFFFFFFFFu, row >= 0))"),
    ("strides ignored", rulebook, "if (y % stride) return -1;", ""),
    ("pairs one place late", rulebook, "(1u << lane) - 1", "(2u << lane) - 1"),
    ("pairs of another block", same_pairs, "ends[block - 1]", "ends[block - 1] - 1"),
    ("an output for every input", same_cells, "!(atomicOr(bits + (key >> 5), bit) & bit)",
     "(atomicOr(bits + (key >> 5), bit), true)"),
    ("pairs of the first offset", same_cells, "counts + blockIdx.y, feed", "counts, feed"),
    ("cells of another block", cells_of_bits, "ends[blockIdx.x - 1]", "ends[0]"),
    ("the cells of a word too late", cells_of_bits, "sums[t] - __popc(word)", "sums[t] - 1"),
    ("a scan with one barrier", cells_of_bits, "before;\n        __syncthreads();", "before;"),
    ("sums without a barrier", cells_of_bits, "sum = 0;\n    __syncthreads();", "sum = 0;"),
    ("sums too early", cells_of_bits, "__popc(bits[w]));\n    __syncthreads();",
     "__popc(bits[w]));"),
    ("pairs without a barrier", same_pairs, "__popc(there);\n    __syncthreads();",
     "__popc(there);"),
    ("the last of equal rows", same("max_samples", TIES, sites()), "from < row)", "from > row)"),
    ("no barrier in maxima", same("max_samples", TIES, sites()),
     "= best;\n    __syncthreads();", "= best;"),
    ("a row of the next sample", same("sum_samples", random(ROWS, 3), sites()),
     "end < last ? end : last", "end < last ? end : last + 1"),
    ("positions taken for rows", same("sum_samples", random(ROWS, 3), sites()),
     "(order ? order[at] : at)", "at"),
    ("samples of positions", same("spread_samples", random(3, 5), sites()), "keys[n] / cells",
     "n * 3 / rows"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("check", "text", "bug"), [bug[1:] for bug in BUGS],
                         ids=[bug[0] for bug in BUGS])  # fmt: skip
def test_bugs_are_caught(emulated, monkeypatch, check, text, bug):
    monkeypatch.setattr(RawKernel, "order", "random")
    check(CudaOps())
    found = []

    def broken(name, *arguments, **options):
        try:
            emulate(name, *arguments, **options, replace={text: bug})
        except ValueError as error:
            if "no source contains" not in str(error):
                raise
            emulate(name, *arguments, **options)
        else:
            found.append(name)

    monkeypatch.setattr("fake_cupy.emulate", broken)
    caught = 0
    for order in ORDERS:
        monkeypatch.setattr(RawKernel, "order", order)
        try:
            check(CudaOps())
        except (AssertionError, EmulationError, IndexError):
            caught += 1
    assert found, "no kernel that ran has this text"
    assert caught
