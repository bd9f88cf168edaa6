import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spconv.ops.cuda.arithmetic import ARITHMETIC
from spconv.ops.cuda.tiles import (
    MAX_PARTIALS,
    TARGET_TASKS,
    TILE_ROWS,
    candidate_gradient_tiles,
    candidate_tiles,
    choose_gradient_tile,
    choose_tile,
    copy_width,
    longest_task,
    split_pairs,
)

channels = st.integers(1, 600)


@given(kind=st.sampled_from(sorted(ARITHMETIC)), cin=channels, cout=channels)
def test_tiles_satisfy_the_kernels(kind, cin, cout):
    """What the static assertions of the sources demand, and shared memory that sm_86 has."""
    forward, gradient = candidate_tiles(kind, cin, cout), candidate_gradient_tiles(kind, cin, cout)
    assert forward[0] == choose_tile(kind, cin, cout)
    assert gradient[0] == choose_gradient_tile(kind, cin, cout)
    for tile in (*forward, *gradient):
        macros = tile.macros
        assert (tile.rows, tile.columns) == (macros["TILE_M"], macros["TILE_N"])
        assert tile.shared_bytes <= 99 * 1024
        if "WARPS_M" not in macros:
            assert tile.block == 256
            assert tile.kernel.endswith("simt")
            continue
        assert tile.block == 32 * macros["WARPS_M"] * macros["WARPS_N"]
        assert tile.rows // macros["WARPS_M"] % 16 == 0
        assert tile.columns // macros["WARPS_N"] % 16 == 0
        assert cin * ARITHMETIC[kind].size % macros["X_WIDTH"] == 0
    for tiles in (forward, gradient):
        assert len({tile.label for tile in tiles}) == len(tiles) <= 8
    # What would change bits is the same in all of them.
    assert {tile.rows for tile in forward} == {TILE_ROWS}
    for tiles in (forward, gradient):
        for name in ("STORAGE", "MULTIPLY"):
            assert len({tile.macros.get(name) for tile in tiles}) == 1


def test_split_products_get_the_smaller_tile():
    """64 x 128 sums would spill beside the fragments that they are added from."""
    tile = choose_gradient_tile("float32", 256, 256)
    assert (tile.rows, tile.columns) == (64, 64)
    tile = choose_gradient_tile("tf32", 256, 256)
    assert (tile.rows, tile.columns) == (64, 128)


def test_without_tensor_cores():
    assert choose_tile("float64", 8, 8).kernel == "implicit_gemm_simt"
    assert choose_tile("float16", 8, 8, architecture=75).kernel == "implicit_gemm_simt"
    assert choose_gradient_tile("float64", 8, 8).kernel == "weight_gradient_simt"
    with pytest.raises(ValueError, match=r"choose_tile: expected one of .*, got 'int8'"):
        choose_tile("int8", 8, 8)


@pytest.mark.parametrize(("row_bytes", "width"), [(32, 16), (8, 8), (12, 4), (366, 2), (2, 2)])
def test_copy_width(row_bytes, width):
    assert copy_width(row_bytes) == width


@given(
    counts=st.lists(st.integers(0, 20000), min_size=1, max_size=30),
    size=st.sampled_from([1, 9, 4096, 2**20, 2**25]),
)
def test_tasks_cover_every_pair_once(counts, size):
    starts = np.concatenate([[0], np.cumsum(counts)])
    task_starts, offset_tasks = split_pairs(starts, longest_task(int(starts[-1]), size))
    assert task_starts.dtype == np.int64
    assert offset_tasks.dtype == np.int32
    np.testing.assert_array_equal(task_starts[offset_tasks], starts)
    assert (np.diff(task_starts) > 0).all()
    room = max(1, min(TARGET_TASKS, MAX_PARTIALS // size))
    assert len(task_starts) - 1 <= room + len(counts)
