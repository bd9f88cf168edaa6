"""Tile maps made by kernels are those of the specification; nothing comes back to the host."""

import numpy as np
import pytest
from convolutions import random_pairs
from emulation import EmulationError
from fake_cupy import COPIES

from spconv.ops.cuda.kernel_tile_map import kernel_tile_map
from spconv.ops.cuda.scratch import Scratch
from spconv.ops.cuda.store import RulebookStore
from spconv.ops.cuda.tile_map import build_tile_map
from spconv.rulebook import build_rulebook


def table_of(pairs):
    store = RulebookStore(np)
    return store.table_of_pairs(pairs.in_rows, pairs.out_rows, pairs.starts, pairs.num_out)


def check(cupy, pairs, tile_rows=64):
    expected = build_tile_map(
        np, pairs.in_rows, pairs.out_rows, pairs.starts, pairs.num_out, tile_rows
    )
    table = cupy.asarray(table_of(pairs))
    before = COPIES["to_host"]
    counts = cupy.asarray(np.diff(pairs.starts).astype(np.int32)) if tile_rows == 64 else None
    tiles = kernel_tile_map(Scratch(cupy), table, pairs.starts, tile_rows, counts)
    assert COPIES["to_host"] == before
    assert tiles.num_tiles == expected.num_tiles
    assert tiles.tile_rows == tile_rows
    for name in ("out_rows", "starts"):
        value = getattr(tiles, name)
        assert value.dtype == np.int32
        np.testing.assert_array_equal(value.get(), getattr(expected, name), name)
    for name in ("offsets", "in_rows", "groups"):
        value, wanted = getattr(tiles, name), getattr(expected, name)
        assert value.dtype == wanted.dtype
        # What lies behind the last entry was never written: initcheck watches copies of it.
        np.testing.assert_array_equal(value[: len(wanted)].get(), wanted, name)


@pytest.mark.parametrize("volume", [1, 8, 27, 64, 65, 130])
@pytest.mark.parametrize("num_out", [0, 1, 63, 64, 65, 200])
def test_as_the_specification(cupy, rng, volume, num_out):
    for density in (0, 0.05, 0.6, 1):
        check(cupy, random_pairs(rng, 99, num_out, volume, density))


@pytest.mark.parametrize("tile_rows", [32, 64, 128])
def test_other_tiles(cupy, rng, tile_rows):
    check(cupy, random_pairs(rng, 300, 300, 27, 0.2), tile_rows)


def test_a_real_rulebook(cupy, rng):
    sites = np.argwhere(rng.random((2, 20, 20)) < 0.3)
    book = build_rulebook(sites, (20, 20), 2, 3, submanifold=True)
    tiles = kernel_tile_map(
        Scratch(cupy), cupy.asarray(np.ascontiguousarray(book.table.T)), book.offset_starts, 64
    )
    rows = (tiles.in_rows[: int(tiles.starts.get()[-1])].get() >= 0).sum()
    assert rows == book.num_pairs


def test_more_tiles_than_one_block_adds_up_at_once(cupy, rng):
    check(cupy, random_pairs(rng, 50, 32 * 1100 + 5, 2, 0.5), tile_rows=32)


BUGS = {
    "rows behind the last one": {"rows[i] < 0 ?": "rows[i] < -1 ?"},
    "the first row lost": {"rows[i] < 0 ?": "rows[i] < 1 ?"},
    "ties the other way": {"other < k);": "other > k);"},
    "groups of the other half": {"(there & 0xFFFF)": "(there & 0xFFFF0000)"},
    "parity of the lowest word lost": {"mask ^= parity;": "mask ^= parity & 0;"},
    "one entry late": {"starts[blockIdx.x];": "starts[blockIdx.x] + 1;"},
}


@pytest.mark.parametrize("bug", BUGS)
def test_injected_bugs_are_caught(emulated, inject, rng, bug):
    pairs = random_pairs(rng, 99, 200, 65, 0.3)
    check(emulated, pairs)
    inject(BUGS[bug])
    with pytest.raises((AssertionError, EmulationError, IndexError)):
        check(emulated, pairs)
