"""What is more than a grid holds is refused before a launch, by name and number."""

import numpy as np
import pytest

import spconv
from spconv.geometry import Geometry
from spconv.ops import Ops
from spconv.ops.cuda import CudaOps
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


def test_kernel_offsets_of_a_rulebook_made_on_the_host(emulated):
    ops, book = CudaOps(), Ops(np).build_rulebook(one_site(), wide_kernel(), "test")
    x, w = emulated.ones((1, 8), np.float32), emulated.ones((MANY, 8, 8), np.float32)
    np.testing.assert_array_equal(ops.convolve(x, w, book).get(), np.full((1, 8), 8.0))
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
