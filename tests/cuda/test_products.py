"""Convolutions and products of the GPU engine against the specification: emulated, or on a GPU."""

import numpy as np
import pytest
from emulation import EmulationError
from engine_checks import SPECIFICATION, exactly
from fake_cupy import COPIES, RawKernel

import spconv
from spconv.geometry import Geometry
from spconv.ops import Epilogue
from spconv.ops.cuda import CudaOps
from spconv.ops.cuda.gemm import TILES
from spconv.ops.settings import CUDA_PRECISIONS
from spconv.sites import SiteSet
from spconv.testing import assert_close, tolerance

KINDS = ["float32", "tf32", "bfloat16", "float64", "float16"]


@pytest.fixture
def ops(cupy):
    return CudaOps()


@pytest.fixture(params=KINDS)
def kind(request):
    """Name of the arithmetic; sets the precision of float32."""
    if request.param in CUDA_PRECISIONS:
        spconv.set_cuda_precision(request.param)
    yield request.param
    spconv.set_cuda_precision("float32")


def dtype_of(kind):
    return np.dtype("float32" if kind in CUDA_PRECISIONS else kind)


def sites(count=2, shape=(7, 6), density=0.4, seed=0):
    rng = np.random.default_rng(seed)
    indices = rng.permutation(np.argwhere(rng.random((count, *shape)) < density))
    return SiteSet(np.ascontiguousarray(indices, np.int32), shape, count)


GEOMETRIES = {
    "submanifold": Geometry.make(2, 3, submanifold=True),
    "asymmetric": Geometry.make(2, (2, 3), submanifold=True),
    "down": Geometry.make(2, 2, 2),
    "regular": Geometry.make(2, 3, 1, 1),
}


def random(dtype, *shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def on_device(ops, argument):
    if isinstance(argument, Epilogue):
        return Epilogue(*(on_device(ops, part) for part in argument))
    return ops.xp.asarray(argument) if isinstance(argument, np.ndarray) else argument


def compare(ops, kind, length, name, *arguments, **options):
    device = {option: on_device(ops, value) for option, value in options.items()}
    wide = {option: exactly(value) for option, value in options.items()}
    actual = getattr(ops, name)(*(on_device(ops, a) for a in arguments), **device)
    expected = getattr(SPECIFICATION, name)(*map(exactly, arguments), **wide)
    assert isinstance(actual, ops.xp.ndarray)
    assert actual.dtype == dtype_of(kind)
    assert_close(actual.get(), expected, tolerance(kind, length), name)


def check_convolution(ops, kind, book, cin, cout, groups=1):
    dtype = dtype_of(kind)
    x = random(dtype, len(book.in_sites), cin)
    dy = random(dtype, len(book.out_sites), cout, seed=1)
    w, init = random(dtype, book.volume, cin // groups, cout, seed=2), random(dtype, cout, seed=3)
    residual = random(dtype, *dy.shape, seed=4)
    for epilogue in (Epilogue(), Epilogue(init), Epilogue(init, residual)):
        length = book.volume * cin
        compare(ops, kind, length, "convolve", x, w, book, groups, epilogue=epilogue)
    length = book.volume * cout
    compare(ops, kind, length, "convolve", dy, w, book.inverse, groups, transposed=True)
    compare(ops, kind, len(x), "weight_gradient", x, dy, book, groups)


# Every other pair of widths compiles kernels anew: test_implicit_gemm.py has many of them.


@pytest.mark.parametrize("name", GEOMETRIES)
def test_convolution(ops, kind, name):
    book = ops.build_rulebook(sites(1), GEOMETRIES[name], "test")
    check_convolution(ops, kind, book, 8, 16)


@pytest.mark.slow
@pytest.mark.parametrize(("cin", "cout"), [(1, 1), (33, 65), (183, 8), (8, 183)])
def test_widths(ops, kind, cin, cout):
    book = ops.build_rulebook(sites(1), GEOMETRIES["submanifold"], "test")
    check_convolution(ops, kind, book, cin, cout)


@pytest.mark.parametrize(("cin", "cout", "groups"), [(16, 32, 2), (8, 16, 1)])
def test_groups(ops, cin, cout, groups):
    book = ops.build_rulebook(sites(1), GEOMETRIES["regular"], "test")
    check_convolution(ops, "float32", book, cin, cout, groups)


@pytest.mark.parametrize("built_on", ["host", "device"])
def test_rulebooks_without_pairs_or_sites(ops, built_on):
    builder = SPECIFICATION.build_rulebook if built_on == "host" else ops.build_rulebook
    apart = SiteSet(np.array([[0, 1, 1], [1, 4, 4]], np.int32), (7, 6), 2)
    for input_sites in (sites(density=0), apart):
        book = builder(input_sites, Geometry.make(2, 1, 3), "test")
        assert book.num_pairs == 0
        check_convolution(ops, "float32", book, 8, 16)
        book = builder(input_sites, GEOMETRIES["submanifold"], "test")
        check_convolution(ops, "float32", book, 8, 16)


def test_rulebooks_of_the_host(ops):
    for geometry in GEOMETRIES.values():
        book = SPECIFICATION.build_rulebook(sites(1), geometry, "test")
        check_convolution(ops, "float32", book, 8, 16)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 130])
def test_matrices(ops, kind, count):
    dtype = dtype_of(kind)
    for cin, cout in [(8, 16)]:
        x, w = random(dtype, count, cin), random(dtype, cin, cout, seed=1)
        dy, init = random(dtype, count, cout, seed=2), random(dtype, cout, seed=3)
        compare(ops, kind, cin, "matmul", x, w)
        compare(ops, kind, cin, "matmul", x, w, init)
        compare(ops, kind, cout, "matmul", dy, w.T)
        compare(ops, kind, count, "matmul_gradient", x, dy)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_small_matrices(ops, dtype):
    for groups, rows, cin, cout in [(1, 1, 7, 5), (3, 1, 4, 6), (2, 8, 1, 3)]:
        a, b = random(dtype, groups, rows, cin), random(dtype, groups, cin, cout, seed=1)
        compare(ops, dtype, cin, "small_matmul", a, b)
        transposed = random(dtype, groups, cin, rows).transpose(0, 2, 1)
        compare(ops, dtype, cin, "small_matmul", transposed, b)


def test_any_strides(ops):
    book = ops.build_rulebook(sites(), GEOMETRIES["down"], "test")
    x = random(np.float32, 2 * len(book.in_sites), 16)[::2, ::2]
    w = random(np.float32, 16, 8, book.volume).transpose(2, 1, 0)
    init = random(np.float32, 32)[::2]
    residual = random(np.float32, 16, len(book.out_sites)).T
    for epilogue in (Epilogue(init), Epilogue(init, residual)):
        compare(ops, "float32", 32, "convolve", x, w, book, epilogue=epilogue)


def test_arrays_that_begin_anywhere(ops, monkeypatch):
    """Views into larger arrays are aligned to their elements alone; wide copies need 16 bytes."""
    book = ops.build_rulebook(sites(), GEOMETRIES["down"], "test")
    x, dy = (random("float16", 4 + 8 * len(s)) for s in (book.in_sites, book.out_sites))
    w = random("float16", book.volume, 8, 8)
    expected = SPECIFICATION.convolve(*(a.astype(float) for a in (x[4:].reshape(-1, 8), w)), book)
    device_x, device_dy = (ops.xp.asarray(a)[4:].reshape(-1, 8) for a in (x, dy))
    assert device_x.data.ptr % 16 == 8

    def run():
        y = ops.convolve(device_x, ops.xp.asarray(w), book)
        ops.weight_gradient(device_x, device_dy, book)
        return y

    assert_close(run().get(), expected, tolerance("float16", 32), "view")
    if hasattr(ops.xp, "emulated"):
        monkeypatch.setattr(ops._gemm, "_aligned", ops._gemm._dense)
        with pytest.raises(EmulationError, match="the source is not aligned to 16 bytes"):
            run()


def mapped(ops, *books):
    """Those that have a tile map."""
    return [book for book in books if ops._gemm._memo.has(book, TILES)]


def test_one_tile_map_for_both_directions_of_a_submanifold_layer(ops):
    book = ops.build_rulebook(sites(), GEOMETRIES["submanifold"], "test")
    check_convolution(ops, "float32", book, 8, 16)
    assert mapped(ops, book, book.inverse) == [book]
    down = ops.build_rulebook(sites(), GEOMETRIES["down"], "test")
    check_convolution(ops, "float32", down, 8, 16)
    assert mapped(ops, book, book.inverse, down, down.inverse) == [book, down, down.inverse]


def test_nothing_is_made_twice(emulated):
    """The second step on a rulebook launches products only and reads nothing back."""
    ops = CudaOps()
    book = ops.build_rulebook(sites(), GEOMETRIES["regular"], "test")
    x, dy = (
        ops.xp.asarray(random("float32", len(sites), channels))
        for sites, channels in ((book.in_sites, 8), (book.out_sites, 16))
    )
    w = ops.xp.asarray(random("float32", book.volume, 8, 16))

    def step():
        RawKernel.launches.clear()
        before = COPIES["to_host"]
        results = (
            ops.convolve(x, w, book),
            ops.convolve(dy, w, book.inverse, transposed=True),
            ops.weight_gradient(x, dy, book),
        )
        return results, list(RawKernel.launches), COPIES["to_host"] - before

    first, _, _ = step()
    second, launches, copies = step()
    # The input gradient takes the weights as they are.
    assert sorted(launches) == sorted(
        ["pack_weights", "implicit_gemm", "implicit_gemm", "weight_gradient", "reduce_partials"]
    )
    assert copies == 0
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.get(), two.get())


@pytest.mark.parametrize("slope", [0.0, 1 / 3])
def test_the_rectifier_is_part_of_the_convolution(ops, kind, slope):
    book = ops.build_rulebook(sites(1), GEOMETRIES["down"], "test")
    x = random(dtype_of(kind), len(book.in_sites), 8)
    w = random(dtype_of(kind), book.volume, 8, 16, seed=2)
    init = random(dtype_of(kind), 16, seed=3)
    RawKernel.launches.clear()
    compare(ops, kind, 32, "convolve", x, w, book, epilogue=Epilogue(init, slope=slope))
    assert "leaky_relu" not in RawKernel.launches


@pytest.mark.parametrize("slope", [None, 0.0, 1 / 3])
def test_the_residual_is_part_of_the_convolution(ops, kind, slope):
    book = ops.build_rulebook(sites(1), GEOMETRIES["down"], "test")
    x = random(dtype_of(kind), len(book.in_sites), 8)
    w = random(dtype_of(kind), book.volume, 8, 16, seed=2)
    residual = random(dtype_of(kind), len(book.out_sites), 16, seed=3)
    RawKernel.launches.clear()
    epilogue = Epilogue(residual=residual, slope=slope)
    compare(ops, kind, 32, "convolve", x, w, book, epilogue=epilogue)
    launches = [name for name in RawKernel.launches if name.startswith(("implicit", "leaky"))]
    assert len(launches) == (1 if hasattr(ops.xp, "emulated") else 0)


def test_bfloat16_leaves_no_bits_of_its_own(emulated):
    """Features, results and gradients are float32 arrays; what the kernels read is half as big."""
    ops = CudaOps()
    spconv.set_cuda_precision("bfloat16")
    try:
        book = ops.build_rulebook(sites(1), GEOMETRIES["submanifold"], "test")
        x = ops.xp.asarray(random("float32", len(book.in_sites), 5))
        w = ops.xp.asarray(random("float32", 9, 5, 7))
        RawKernel.launches.clear()
        y = ops.convolve(x, w, book)
        dw = ops.weight_gradient(x, y, book)
        assert (y.dtype, dw.dtype) == (np.float32, np.float32)
        assert RawKernel.launches.count("convert") == 3
    finally:
        spconv.set_cuda_precision("float32")


def test_precision():
    assert spconv.get_cuda_precision() == "float32"
    with pytest.raises(ValueError, match=r"expected one of .*'tf32'.*, got 'fast'"):
        spconv.set_cuda_precision("fast")
    assert spconv.get_cuda_precision() == "float32"


def test_precisions_are_what_they_say(ops):
    """And float32 is about as good as arithmetic in float32 can be."""
    x, w = random("float32", 64, 8), random("float32", 8, 16, seed=1)
    exact = x.astype(np.float64) @ w
    errors = {}
    for precision in CUDA_PRECISIONS:
        spconv.set_cuda_precision(precision)
        y = ops.matmul(ops.xp.asarray(x), ops.xp.asarray(w)).get()
        errors[precision] = np.abs(y - exact).max() / np.abs(exact).max()
    spconv.set_cuda_precision("float32")
    assert errors["float32"] < 2.0**-21
    assert 2.0**-14 < errors["tf32"] < 2.0**-10
    assert 2.0**-11 < errors["bfloat16"] < 2.0**-7
