"""The convolution on tiles with a bug in it: the tests of the kernel must fail."""

import pytest
from amx_library import EmulationError
from test_amx_kernel import BOOKS, both_ways, check_parts

BUGS = [  # what goes wrong, text, bug
    ("a product dropped", "{1, 1}, {1, 0},", "{1, 0}, {1, 0},"),
    ("a part of x kept too long", "[i][0] != order[i - 1][0]", "[i][0] > order[i - 1][0]"),
    ("a part of w kept too long", "[i][1] != order[i - 1][1]", "[i][1] > order[i - 1][1]"),
    ("the chunk before kept", "if (!i || order[i][1]", "if ((!chunk && !i) || order[i][1]"),
    ("the wrong part of x", "a + order[i][0] * 2 * AMX_TILE", "a + order[i][1] * 2 * AMX_TILE"),
    ("the wrong part of w", "b + order[i][1] * AMX_TILE", "b + order[i][0] * AMX_TILE"),
    ("a stride too short", "tile_load(4, left, 64)", "tile_load(4, left, 32)"),
    ("a stride too long", "tile_load(6, right, 64)", "tile_load(6, right, 128)"),
    ("sums not cleared", "tile_zero(2);", ""),
    ("sums of the block before", "tile_zero(0);", "if (p->chunks > 1) tile_zero(0);"),
    ("no configuration", "tile_config(&shapes);", ""),
    ("no release", "tile_release();", ""),
    ("a configuration too large", "shapes.row_bytes[tile] = 64", "shapes.row_bytes[tile] = 128"),
    ("tiles of 8 rows", "shapes.rows[tile] = 16", "shapes.rows[tile] = 8"),
    ("a tile of the other half", "tile_dot(3, 5, 7)", "tile_dot(3, 4, 7)"),
    ("a tile of sums twice", "tile_dot(3, 5, 7)", "tile_dot(2, 5, 7)"),
    ("a block of weights back", "right + p->block_size", "right"),
    ("sums of the other half", "sums + AMX_PAIRS * AMX_COLUMNS, s->channels",
     "sums + AMX_COLUMNS * AMX_COLUMNS, s->channels"),
    ("a row too few", "pairs < AMX_PAIRS ? pairs :", "pairs < AMX_PAIRS ? pairs - 1 :"),
    ("rows not split", "(rows.pieces + times * columns - 1)", "(rows.pieces)"),
    ("rows split into the tiles in use", "tiles[!turn]", "tiles[turn]"),
    ("sums not added", "(AMX_PAIRS + times - 1) / times", "AMX_PAIRS / (times + 1)"),
    ("the last sums forgotten", "    amx_add_some(&sums, sums.pieces);", ""),
    ("channels of the next row", "r->channels - done, parts", "AMX_LINE, parts"),
    ("channels swapped", "c + 2 * line + i % 2", "c + 2 * line + 1 - i % 2"),
    ("the third part forgotten", "p < parts; ++p, target += part_stride",
     "p < (parts < 2 ? parts : 2); ++p, target += part_stride"),
    ("nothing taken off", "values[i] - rounded", "values[i]"),
    ("cut off, not rounded", "bits + 0x7fff + (bits >> 16 & 1)", "bits"),
    ("chunks of one strip", "chunk += AMX_STRIP", "chunk += amx_chunks(c->cin)"),
    ("weights of the first strip", "step.chunk * c->parts * AMX_TILE;", "0;"),
    ("rows of the first strip", ".x = x + s->chunk * AMX_LINE", ".x = x"),
    ("the first pair of a range", "s->pair = lower_bound(", "s->pair = 1 + lower_bound("),
    ("weights of another group", "(group * c->volume + step.offset)", "step.offset"),
]  # fmt: skip


def checks(**options):
    both_ways(BOOKS["down"], 30, 14, 2, 3, **options)
    both_ways(BOOKS["pointwise"], 140, 40, 1, 3, **options)
    both_ways(BOOKS["27"], 33, 18, 1, 2, **options)
    check_parts(**options)


def test_it_passes_without_a_bug():
    checks()


@pytest.mark.parametrize(("text", "bug"), [b[1:] for b in BUGS], ids=[b[0] for b in BUGS])
def test_bugs_are_caught(text, bug):
    with pytest.raises((AssertionError, EmulationError)):
        checks(replace=((text, bug),))
