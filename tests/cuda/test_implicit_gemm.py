"""The convolution kernels in the emulation, against NumPy in float64."""

from dataclasses import replace

import numpy as np
import pytest
from convolutions import (
    Pairs,
    convolve,
    from_storage,
    kernel_array,
    pack,
    partners,
    random_pairs,
    relative_error,
    to_storage,
    to_tf32,
)
from emulation import ORDERS, EmulationError, emulate
from emulation.build import has_compiler
from launches import convolution_case, run_convolution, tile_map

from spconv.ops.cuda.arithmetic import ARITHMETIC
from spconv.ops.cuda.tiles import choose_tile
from spconv.rulebook import build_rulebook
from spconv.testing.tolerances import tolerance

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs g++")

CASES = [  # kind, cin, cout, groups, volume, density
    ("float16", 64, 64, 1, 27, 0.3),
    ("float16", 40, 64, 1, 8, 0.2),
    ("float16", 13, 183, 1, 8, 0.3),
    ("float16", 1, 3, 1, 27, 0.5),
    ("float16", 6, 20, 3, 8, 0.4),
    ("bfloat16", 7, 96, 1, 125, 0.1),
    ("bfloat16", 32, 32, 2, 1, 0.9),
    ("tf32", 64, 48, 1, 27, 0.3),
    ("tf32", 3, 7, 1, 8, 0.5),
    ("float32", 61, 64, 1, 27, 0.2),
    ("float32", 2, 33, 2, 8, 0.5),
    ("float64", 7, 13, 2, 27, 0.3),
    ("float64", 70, 64, 1, 8, 0.3),
]


def check(rng, case, num_in=90, num_out=150, orders=ORDERS, **options):
    kind, cin, cout, groups, volume, density = case
    pairs = random_pairs(rng, num_in, num_out, volume, density)
    x, _, packed, exact_x, exact_w = convolution_case(rng, kind, pairs, cin, cout, groups)
    tiles = tile_map(pairs)
    expected = convolve(exact_x, exact_w, pairs, groups)
    for order in orders:
        y = run_convolution(kind, x, packed, tiles, cin, cout, groups, order=order, **options)
        assert relative_error(y, expected) <= tolerance(kind, volume * cin), order


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward(rng, case):
    check(rng, case)


@pytest.mark.parametrize("num_out", [1, 63, 64, 65, 130])
def test_tails_of_rows(rng, num_out):
    check(rng, CASES[0], 40, num_out, orders=["random"])


@pytest.mark.parametrize(("cin", "cout"), [(8, 1), (16, 64), (24, 63), (40, 8), (200, 65)])
def test_tails_of_channels(rng, cin, cout):
    tile = choose_tile("float16", 64, 64)
    check(rng, ("float16", cin, cout, 1, 8, 0.4), orders=["reverse"], tile=tile)


def test_rows_without_any_pair_get_the_constant_row(rng):
    """Tiles without an offset, tiles with some rows, and no row at all."""
    init = rng.standard_normal(64).astype(np.float32)
    for density, num_out in ((0, 70), (0.01, 200)):
        pairs = random_pairs(rng, 30, num_out, 27, density)
        x, _, packed, exact_x, exact_w = convolution_case(rng, "float16", pairs, 64, 64)
        y = run_convolution("float16", x, packed, tile_map(pairs), 64, 64, init=init)
        expected = convolve(exact_x, exact_w, pairs) + init
        assert relative_error(y, expected) <= tolerance("float16", 27 * 64)
    pairs = random_pairs(rng, 30, 0, 27, 0)
    x, _, packed, *_ = convolution_case(rng, "float16", pairs, 64, 64)
    assert run_convolution("float16", x, packed, tile_map(pairs), 64, 64).shape == (0, 64)


@pytest.mark.parametrize("kind", ["float16", "float64"])
@pytest.mark.parametrize("slope", [1, 0, 0.1])
@pytest.mark.parametrize(("cout", "groups"), [(64, 1), (33, 2)])
def test_epilogue(rng, kind, slope, cout, groups):
    pairs = random_pairs(rng, 90, 150, 8, 0.4)
    x, _, packed, exact_x, exact_w = convolution_case(rng, kind, pairs, 64, cout, groups)
    width = cout * groups
    init = rng.standard_normal(width) * 10
    residual = to_storage(rng.standard_normal((150, width)) * 10, ARITHMETIC[kind].storage)
    behind = {"init": init, "residual": residual, "slope": slope}
    y = run_convolution(kind, x, packed, tile_map(pairs), 64, cout, groups, **behind)
    expected = convolve(exact_x, exact_w, pairs, groups) + init + from_storage(residual)
    expected = np.where(expected < 0, slope * expected, expected)
    assert relative_error(y, expected) <= tolerance(kind, 8 * 64)


def test_rectifier_keeps_nan_and_loses_infinity():
    pairs = Pairs(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(2, int), 1, 1)
    x, packed = np.zeros((1, 4)), np.zeros((1, 1, 4, 4))
    init = np.array([-np.inf, np.nan, np.inf, -2])
    y = run_convolution("float64", x, packed, tile_map(pairs), 4, 4, init=init, slope=0)
    np.testing.assert_array_equal(y, [[0, np.nan, np.inf, 0]])


def test_input_gradient_is_the_kernel_over_the_inverse_map(rng):
    pairs = random_pairs(rng, 90, 70, 8, 0.5)
    swapped = [(pairs.of(k)[1], pairs.of(k)[0]) for k in range(8)]
    order = [np.argsort(out, kind="stable") for _, out in swapped]
    inverse = Pairs(
        np.concatenate([rows[o] for (rows, _), o in zip(swapped, order, strict=True)]),
        np.concatenate([rows[o] for (_, rows), o in zip(swapped, order, strict=True)]),
        pairs.starts,
        70,
        90,
    )
    w = to_storage(rng.standard_normal((8, 6, 2 * 20)), "float16")
    dy = to_storage(rng.standard_normal((70, 2 * 20)), "float16")
    packed = pack(w, groups=2, transposed=True)
    dx = run_convolution("float16", dy, packed, tile_map(inverse), 20, 6, groups=2)
    expected = np.zeros((90, 2, 6))
    for k in range(8):
        in_rows, out_rows = pairs.of(k)
        part, weight = from_storage(dy)[out_rows], from_storage(w)[k].reshape(6, 2, 20)
        expected[in_rows] += np.einsum("pgo,cgo->pgc", part.reshape(-1, 2, 20), weight)
    assert relative_error(dx, expected.reshape(90, 12)) <= tolerance("float16", 8 * 20)


def test_mirrored_weights_give_the_input_gradient_over_the_forward_map(rng):
    cells = np.flatnonzero(rng.random(225) < 0.4)
    sites = np.stack([cells * 0, cells // 15, cells % 15], axis=1).astype(np.int32)
    book = build_rulebook(sites, (15, 15), 1, 3, submanifold=True)
    assert len(cells) > 64
    pairs = Pairs(book.in_rows, book.out_rows, book.offset_starts, len(cells), len(cells))
    inverse = book.inverse
    back = Pairs(inverse.in_rows, inverse.out_rows, book.offset_starts, len(cells), len(cells))
    w = rng.standard_normal((9, 7, 13))
    dy = rng.standard_normal((len(cells), 13))
    mirrored = pack(w, transposed=True, mirrored=True)
    over_forward = run_convolution("float64", dy, mirrored, tile_map(pairs), 13, 7)
    over_inverse = run_convolution("float64", dy, pack(w, transposed=True), tile_map(back), 13, 7)
    expected = convolve(dy, w.transpose(0, 2, 1), back)
    for dx in (over_forward, over_inverse):
        assert relative_error(dx, expected) <= tolerance("float64", 9 * 13)


@pytest.mark.parametrize(
    ("weight", "storage", "tf32"),
    [("float", "float16", 0), ("double", "double", 0), ("float", "float", 1)],
)
@pytest.mark.parametrize("transposed", [0, 1])
def test_packed_weights(rng, weight, storage, tf32, transposed):
    w = to_storage(rng.standard_normal((27, 5, 2 * 7)), weight)
    for mirrored in (0, 1):
        stored = to_tf32(w) if tf32 else to_storage(w, storage)
        expected = pack(stored, 2, bool(transposed), bool(mirrored))
        packed = np.zeros_like(expected)
        sizes = map(np.int32, (2, 27, 5, 7, transposed, mirrored))
        emulate(
            "pack_weights",
            -(-packed.size // 256),
            256,
            (w, kernel_array(packed), *sizes),
            defines={"STORAGE": storage, "WEIGHT": weight, "ROUND_TF32": tf32},
        )
        np.testing.assert_array_equal(packed, expected)


BUGS = {
    "missing barrier": {"__syncthreads();  // everyone's": "// everyone's"},
    "one copy too few waited for": {"wait<STAGES - 2>": "wait<STAGES - 1>"},
    "wrong swizzle": {"(a_begin ^ step * 32)": "(a_begin ^ step * 32 ^ 16)"},
    "wrong stage": {
        "writing = (STAGES - 1) * STAGE_BYTES;": "writing = (STAGES - 2) * STAGE_BYTES;"
    },
    "copies before the barrier": {
        "copy_async_wait<STAGES - 2>();": "start_copies(source, cursor, copy_begin + writing);\n"
        "copy_async_wait<STAGES - 1>();",
        "has left the stage to fill\n            start_copies(source, cursor, copy_begin + "
        "writing);": "\n",
    },
    "stale rows": {"rows[i] = next_rows[i];": "if (at % 2 == 0) rows[i] = next_rows[i];"},
    "wrong half of a fragment": {"half * 8 + lane / 4": "half * 8 + lane % 8"},
    "the other half of a warp's rows": {"if (groups == 1)": "if (groups == 2)"},
    "groups of the entry before": {"tile_groups[entry + 1]": "tile_groups[entry]"},
    "rows of another warp left out": {">> warp_row / 16": ">> (warp_row ^ WARP_M) / 16"},
}


@pytest.mark.parametrize("bug", BUGS)
def test_injected_bugs_are_caught(rng, bug):
    case = ("float16", 96, 64, 1, 8, 0.05)
    check(rng, case)
    caught = 0
    for order in ORDERS:
        try:
            check(rng, case, orders=[order], replace=BUGS[bug])
        except (AssertionError, EmulationError):
            caught += 1
    assert caught, bug


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(ARITHMETIC))
@pytest.mark.parametrize(("cin", "cout"), partners((1, 2, 3, 4, 7, 8, 13, 16, 32, 96, 183)))
def test_lattice(rng, kind, cin, cout):
    for volume, groups, density in ((1, 1, 1), (8, 2, 0.3), (27, 1, 0.3), (125, 1, 0.1)):
        check(rng, (kind, cin, cout, groups, volume, density), 60, 100, orders=["random"])


@pytest.mark.slow
@pytest.mark.parametrize("stages", [2, 3, 5])
@pytest.mark.parametrize("depth", [32, 64, 128])
def test_depth_and_stages(rng, stages, depth):
    tile = choose_tile("float16", 64, 64)
    macros = tile.macros | {"STAGES": stages, "TILE_K": depth}
    tile = replace(tile, macros=macros, shared_bytes=stages * 128 * depth)
    check(rng, CASES[0], tile=tile)
