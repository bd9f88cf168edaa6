"""The CPU engine with its convolutions on emulated tiles, down to training whole layers."""

import numpy as np
import pytest
from amx_engine import emulated_module
from bounds import check
from engine_checks import SPECIFICATION, exactly
from test_amx_kernel import BOOKS, layer

import spconv
from spconv import functional
from spconv.ops import CpuOps, Epilogue, get_ops
from spconv.ops.cpu import convolution
from spconv.ops.matrix_unit import LEAST_CHANNELS, PARTS
from spconv.testing import assert_close, tolerance


@pytest.fixture
def calls(monkeypatch):
    """The emulated module in place of the real one, for products of any width.

    Gives the numbers of parts that it was called with.
    """
    pytest.importorskip("Cython", reason="needs Cython to compile the adapter")
    module, found = emulated_module(), []

    class Counting:
        missing = staticmethod(module.missing)

        @staticmethod
        def convolve(*arguments):
            found.append(arguments[-2])
            module.convolve(*arguments)

    monkeypatch.setattr(spconv.ops.cpu, "amx", Counting)
    monkeypatch.setattr(spconv.ops.settings, "amx", Counting)
    for parts in LEAST_CHANNELS:
        monkeypatch.setitem(LEAST_CHANNELS, parts, 0)
    threads = spconv.get_num_threads()
    yield found
    spconv.set_cpu_precision("float32")
    spconv.set_num_threads(threads)


@pytest.fixture(params=list(PARTS))
def precision(request, calls):
    spconv.set_cpu_precision(request.param)
    assert spconv.get_cpu_precision() == request.param
    return request.param


@pytest.mark.parametrize("kind", BOOKS)
def test_convolutions_and_input_gradients(precision, calls, kind):
    parts, book, ops = PARTS[precision], BOOKS[kind], CpuOps()
    for cin, cout, groups in [(16, 17, 1), (66, 34, 2)]:
        x, w, *_ = layer(book, cin, cout, groups)
        dy, _, inverse, _ = layer(book.inverse, cout, cin, groups, seed=1)
        residual, init = layer(book.inverse, cout, 1, seed=2)[0], w[0, 0]
        check(ops.convolve(x, w, book, groups), x, w, book, groups, parts=parts)
        epilogue = Epilogue(init, residual, 0.25)
        y = ops.convolve(x, w, book, groups, epilogue=epilogue)
        check(y, x, w, book, groups, epilogue=epilogue, parts=parts)
        back = ops.convolve(dy, w, inverse, groups, transposed=True)
        check(back, dy, w, inverse, groups, transposed=True, parts=parts)
    assert calls == 6 * [parts]


def test_any_strides_and_read_only_arrays(precision, calls):
    rng = np.random.default_rng(0)
    book = BOOKS["regular"]
    x = rng.standard_normal((2 * len(book.in_sites), 40)).astype(np.float32)[::2, ::2]
    w = rng.standard_normal((7, 20, book.volume)).astype(np.float32).transpose(2, 1, 0)
    init = rng.standard_normal(14).astype(np.float32)[::2]
    for array in (x, w, init):
        array.flags.writeable = False
    epilogue = Epilogue(init)
    y = CpuOps().convolve(x, w, book, epilogue=epilogue)
    check(y, x, w, book, epilogue=epilogue, parts=PARTS[precision])
    assert len(calls) == 1


@pytest.mark.parametrize("count", [0, 1, 17, 200])
def test_products(precision, calls, count):
    rng = np.random.default_rng(count)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((count, 40), (40, 18)))
    y = CpuOps().matmul(x, w, w[0])
    assert_close(y, SPECIFICATION.matmul(*map(exactly, (x, w, w[0]))), tolerance(precision, 40), "")
    assert len(calls) == 1


def test_no_channels(precision, calls):
    book = BOOKS["pointwise"]
    x, w = np.zeros((len(book.in_sites), 16), np.float32), np.zeros((1, 16, 0), np.float32)
    assert CpuOps().convolve(x, w, book).shape == (len(book.out_sites), 0)
    assert calls


def test_what_stays_on_the_vector_units(precision, calls):
    """float64, engines of one instruction set, weight gradients, "float32"."""
    book, ops = BOOKS["regular"], CpuOps()
    x, w, *_ = layer(book, 32, 6)
    ops.convolve(exactly(x), exactly(w), book)
    ops.weight_gradient(x, ops.convolve(exactly(x), exactly(w), book).astype(np.float32), book)
    CpuOps("portable").convolve(x, w, book)
    with spconv.ops.use_engine("portable") as held:
        held.convolve(x, w, book)
    spconv.set_cpu_precision("float32")
    ops.convolve(x, w, book)
    assert calls == []


def test_narrow_groups_stay_on_the_vector_units(precision, calls, monkeypatch):
    parts, book, ops = PARTS[precision], BOOKS["pointwise"], CpuOps()
    monkeypatch.setitem(LEAST_CHANNELS, parts, 20)
    for cin, cout, groups in [(19, 40, 1), (40, 19, 1), (40, 38, 2), (20, 20, 1), (40, 60, 2)]:
        x, w, *_ = layer(book, cin, cout, groups)
        ops.convolve(x, w, book, groups)
        ops.convolve(ops.convolve(x, w, book, groups), w, book.inverse, groups, transposed=True)
    assert calls == 6 * [parts]


def train(seed=0):
    """Loss and gradients of a small network: strided, grouped, inverse, ground states."""
    rng = np.random.default_rng(seed)
    indices = np.argwhere(rng.random((2, 17, 15)) < 0.3).astype(np.int32)
    features = rng.standard_normal((len(indices), 16)).astype(np.float32)
    layers = spconv.SparseSequential(
        spconv.SubMConv2d(16, 32, 3, rng=rng),
        spconv.ReLU(),
        spconv.SparseConv2d(32, 40, 3, stride=2, indice_key="down", rng=rng),
        spconv.LeakyReLU(),
        spconv.SparseConv2d(40, 32, 3, padding=1, groups=2, rng=rng),
        spconv.SparseGlobalAvgPool(),
        spconv.Linear(32, 5, rng=rng),
    )
    ground = rng.standard_normal(16).astype(np.float32)
    x = spconv.SparseConvTensor(features, indices, (17, 15), 2, ground_state=ground)
    loss = functional.cross_entropy(layers(x), np.array([1, 3]))
    loss.backward()
    gradients = {name: p.grad for name, p in layers.named_parameters()}
    return {"loss": np.asarray(loss.data), **gradients}


def test_training_a_network(calls):
    expected = train()
    assert calls == []
    spconv.set_cpu_precision("bfloat16x3")
    actual = train()
    assert set(calls) == {3}
    for name, array in expected.items():
        assert_close(actual[name], array, tolerance("float32", 1000), name)
    spconv.set_cpu_precision("bfloat16")
    coarse = train()
    assert set(calls) == {3, 1}
    assert abs(coarse["loss"] - expected["loss"]) < 0.02


def test_the_number_of_threads_changes_no_bit(precision, monkeypatch):
    monkeypatch.setattr("spconv.threads.WORTH_WAKING", 0)
    results = []
    for threads in (1, 2, 5):
        spconv.set_num_threads(threads)
        results.append({name: array.tobytes() for name, array in train().items()})
    assert results[0] == results[1] == results[2]


def test_the_engine_follows_the_precision_of_the_call(calls):
    """Not the one when it was made."""
    x, w, book, _ = layer(BOOKS["regular"], 32, 6)
    for precision in ("bfloat16x2", "float32", "bfloat16"):
        spconv.set_cpu_precision(precision)
        get_ops(x).convolve(x, w, book)
    assert calls == [2, 1]
    assert convolution.best_isa() == get_ops(x).isa
