import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spconv.ops.cuda.tile_map import build_tile_map, identity_tile_map


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def random_pairs(rng, num_in, num_out, volume, density):
    """Pairs of a random rulebook, and its table (N_out, K)."""
    table = np.full((num_out, volume), -1, np.int32)
    here = rng.random((num_out, volume)) < density
    table[here] = rng.integers(0, max(num_in, 1), here.sum())
    offset, out_rows = np.nonzero(here.T)
    starts = np.searchsorted(offset, np.arange(volume + 1))
    return table[out_rows, offset], out_rows.astype(np.int32), starts, table


def table_of(tiles, volume):
    table = np.full((len(tiles.out_rows), volume), -1, np.int32)
    for tile in range(tiles.num_tiles):
        rows = tiles.out_rows[tile * tiles.tile_rows : (tile + 1) * tiles.tile_rows]
        entries = slice(tiles.starts[tile], tiles.starts[tile + 1])
        for offset, in_rows in zip(tiles.offsets[entries], tiles.in_rows[entries], strict=True):
            assert (table[rows, offset] == -1).all(), "an offset occurs twice in a tile"
            assert (in_rows[len(rows) :] == -1).all(), "rows behind the last one"
            table[rows, offset] = in_rows[: len(rows)]
    return table


@given(
    num_out=st.integers(0, 150),
    volume=st.sampled_from([1, 2, 8, 27, 64, 65, 125, 130]),
    density=st.sampled_from([0, 0.05, 0.4, 1]),
    tile_rows=st.sampled_from([16, 64, 128]),
    seed=st.integers(0, 2**16),
)
def test_every_pair_is_there_exactly_once(num_out, volume, density, tile_rows, seed):
    rng = np.random.default_rng(seed)
    in_rows, out_rows, starts, table = random_pairs(rng, 99, num_out, volume, density)
    tiles = build_tile_map(np, in_rows, out_rows, starts, num_out, tile_rows)
    assert sorted(tiles.out_rows.tolist()) == list(range(num_out))
    assert tiles.num_tiles == -(-num_out // tile_rows)
    assert tiles.starts[0] == 0
    assert tiles.starts[-1] == len(tiles.offsets) == len(tiles.in_rows) == len(tiles.groups)
    np.testing.assert_array_equal(table_of(tiles, volume), table)
    assert (tiles.in_rows >= 0).any(axis=1).all(), "an entry without a row"
    groups = (tiles.in_rows.reshape(-1, tile_rows // 16, 16) >= 0).any(axis=2)
    for i in range(tile_rows // 16):
        np.testing.assert_array_equal(tiles.groups >> i & 1, groups[:, i])
    for name in ("out_rows", "starts", "offsets", "in_rows"):
        assert getattr(tiles, name).dtype == np.int32
    assert tiles.groups.dtype == np.uint32


def gray_rank(bits):
    """Place in the binary-reflected Gray code of a sequence of bits, highest first."""
    rank, parity = 0, 0
    for bit in bits:
        parity ^= int(bit)
        rank = rank * 2 + parity
    return rank


@pytest.mark.parametrize("volume", [3, 27, 64, 70, 130])
def test_rows_are_in_gray_order_with_the_rarest_offset_first(volume, rng):
    density = rng.random(volume) ** 3
    in_rows, out_rows, starts, table = random_pairs(rng, 50, 400, volume, density)
    tiles = build_tile_map(np, in_rows, out_rows, starts, 400, 16)
    by_rarity = np.argsort(-np.diff(starts), kind="stable")[::-1]
    ranks = [gray_rank(row) for row in (table >= 0)[tiles.out_rows][:, by_rarity]]
    assert ranks == sorted(ranks)
    equal = np.diff(np.array(ranks, object)) == 0
    assert (np.diff(tiles.out_rows)[equal.astype(bool)] > 0).all(), "ties keep their order"


@pytest.mark.parametrize("rows", [0, 1, 16, 17, 64, 65, 128, 200])
@pytest.mark.parametrize("tile_rows", [16, 64])
def test_identity(rows, tile_rows):
    count = np.arange(rows, dtype=np.int32)
    expected = build_tile_map(np, count, count, np.array([0, rows]), rows, tile_rows)
    actual = identity_tile_map(np, rows, tile_rows)
    for name in ("out_rows", "starts", "offsets", "in_rows", "groups"):
        value = getattr(actual, name)
        np.testing.assert_array_equal(value, getattr(expected, name), name)
        assert value.dtype == getattr(expected, name).dtype


def test_sorting_saves_multiplications(rng):
    in_rows, out_rows, starts, table = random_pairs(rng, 999, 2000, 8, 0.3)
    tiles = build_tile_map(np, in_rows, out_rows, starts, 2000, 16)
    unsorted = sum((table[i : i + 16] >= 0).any(axis=0).sum() for i in range(0, 2000, 16))
    assert len(tiles.offsets) < 0.5 * unsorted


@pytest.mark.parametrize("tile_rows", [0, 8, 24, 528])
def test_tile_rows(tile_rows):
    none = np.zeros(0, np.int32)
    with pytest.raises(ValueError, match="tile_rows must be a multiple of 16 up to 512"):
        build_tile_map(np, none, none, np.zeros(2, np.int64), 0, tile_rows)
