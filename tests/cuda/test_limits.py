"""What is more than a grid holds is refused before a launch, by name and number."""

import numpy as np
import pytest

import spconv
from spconv.geometry import Geometry
from spconv.ops import Ops
from spconv.ops.cuda import CudaOps
from spconv.ops.cuda.tile_map import TileMap, build_tile_map
from spconv.sites import SiteSet

MANY = 65_536


def one_site(extent=8):
    return SiteSet(np.array([[0, 3]], np.int32), (extent,), 1)


def wide_kernel():
    return Geometry.make(1, MANY, submanifold=True)


def test_kernel_offsets_of_a_rulebook_made_on_the_device(emulated):
    x = spconv.SparseConvTensor(np.ones((1, 1), np.float32), [[0, 3]], (8,), 1).to("cuda")
    layer = spconv.SubMConv1d(1, 1, MANY).to("cuda")
    with pytest.raises(ValueError, match=r"SubMConv1d: .*65,535 kernel offsets.*got 65,536; "):
        layer(x)


def map_of_the_specification(scratch, table, offset_starts, tile_rows, counts=None):
    """The kernels' own takes seconds: each of 65,536 offsets finds its rank among all others."""
    table = table.get()
    pairs = (array.astype(np.int32) for array in (table[table >= 0], np.nonzero(table >= 0)[1]))
    tiles = build_tile_map(np, *pairs, offset_starts, table.shape[1], tile_rows)
    return TileMap(**{name: scratch.xp.asarray(array) for name, array in vars(tiles).items()})


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_kernel_offsets_of_a_rulebook_made_on_the_host(emulated, monkeypatch, quick):
    if quick:
        monkeypatch.setattr(spconv.ops.cuda.gemm, "kernel_tile_map", map_of_the_specification)
    ops, book = CudaOps(), Ops(np).build_rulebook(one_site(), wide_kernel(), "test")
    x, w = emulated.ones((1, 1), np.float32), emulated.ones((MANY, 1, 1), np.float32)
    np.testing.assert_array_equal(ops.convolve(x, w, book).get(), [[1.0]])
    with pytest.raises(ValueError, match=r"65,535 kernel offsets in one launch, got 65,536; "):
        ops.weight_gradient(x, x, book)


def test_groups(emulated):
    geometry = Geometry.make(1, 1, submanifold=True)
    ops, book = CudaOps(), Ops(np).build_rulebook(one_site(), geometry, "test")
    x, w = emulated.ones((1, MANY), np.float32), emulated.ones((1, 1, MANY), np.float32)
    with pytest.raises(ValueError, match=r"65,535 groups in one launch, got 65,536; "):
        ops.convolve(x, w, book, groups=MANY)
    with pytest.raises(ValueError, match=r"65,535 groups in one launch, got 65,536; "):
        ops.weight_gradient(x, x, book, groups=MANY)


@pytest.mark.parametrize(
    ("grid", "block"),
    [
        ((1, 65_536), (1,)),
        ((1, 1, 65_536), (1,)),
        ((2**31,), (1,)),
        ((0,), (1,)),
        ((1,), (2048,)),
        ((1,), (32, 64)),
        ((1,), (1, 1, 65)),
    ],
)
def test_the_stand_in_refuses_what_a_device_does(emulated, grid, block):
    module = emulated.RawModule(code='#line 1 "kernels/cuda/convert.cu"')
    with pytest.raises(ValueError, match="CUDA_ERROR_INVALID_VALUE"):
        module.get_function("convert")(grid, block, ())
