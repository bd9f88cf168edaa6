"""The convolution kernels go through NVRTC in every tile of the tables; it needs no GPU."""

from itertools import product

import pytest
from nvrtc import ARCHITECTURES, compile_kernels, library

from spconv.ops.cuda.arithmetic import ARITHMETIC
from spconv.ops.cuda.tiles import (
    candidate_gradient_tiles,
    candidate_tiles,
    choose_gradient_tile,
    choose_tile,
)

pytestmark = pytest.mark.skipif(
    library() is None, reason="the wheel nvidia-cuda-nvrtc-cu12 is not installed"
)

CHANNELS = (1, 2, 4, 8, 16, 32, 64, 96, 128, 183, 256)
REGISTERS = 65536
SHARED = {"sm_80": 164, "sm_90": 228, "sm_100": 228}
"""Of one multiprocessor, kilobytes; one goes to the system for each block."""


def cases():
    """Every tile on every architecture; in the short run three shapes and mostly one of them."""
    seen = set()
    shapes = [
        (64, 64),
        (32, 183),
        (13, 128),
        *zip(CHANNELS, CHANNELS[4:] + CHANNELS[:4], strict=True),
    ]
    for candidates in (candidate_tiles, candidate_gradient_tiles):
        for (number, (cin, cout)), kind in product(enumerate(shapes), sorted(ARITHMETIC)):
            for tile in candidates(kind, cin, cout):
                macros, chosen = [tile.macros], tile == candidates(kind, cin, cout)[0]
                if kind == "bfloat16" and candidates is candidate_tiles:  # of float32 arrays
                    macros.append(tile.macros | {"OUTPUT": "float"})
                for defines, architecture in product(macros, ARCHITECTURES):
                    key = (tile.kernel, *sorted(defines.items()), architecture)
                    if key in seen:
                        continue
                    seen.add(key)
                    wide = number == 0 and kind in ("float16", "float32")
                    quick = chosen and (wide or (number < 3 and architecture == "sm_90"))
                    output = defines.get("OUTPUT", defines["STORAGE"])
                    label = f"{tile.label}-{kind}-{output}-{cin}-{cout}-{architecture}"
                    marks = () if quick else pytest.mark.slow
                    yield pytest.param(tile, defines, architecture, id=label, marks=marks)


@pytest.mark.parametrize(("tile", "defines", "architecture"), list(cases()))
def test_tiles_compile(tile, defines, architecture):
    """Without a warning or spilling, and two blocks fit a multiprocessor."""
    usages = compile_kernels(tile.kernel, architecture, defines)
    assert set(usages) == {tile.kernel}
    usage = usages[tile.kernel]
    assert usage.spills == usage.stack == 0
    assert usage.registers <= 255
    assert 2 * tile.block * -(-usage.registers // 8) * 8 <= REGISTERS
    shared = tile.shared_bytes + usage.static_shared
    assert usage.static_shared <= 48 * 1024
    assert 2 * (shared / 1024 + 1) <= SHARED[architecture]


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "tf32"])
def test_devices_without_these_tensor_cores(kind):
    defines = {"STORAGE": ARITHMETIC[kind].storage, "WEIGHT": "float"}
    assert compile_kernels("pack_weights", "sm_75", defines)["pack_weights"].spills == 0
    for choose in (choose_tile, choose_gradient_tile):
        tile = choose(kind, 32, 32, architecture=75)
        assert compile_kernels(tile.kernel, "sm_75", tile.macros)[tile.kernel].spills == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_helpers_compile(architecture):
    for storage in ("float", "double", "float16", "bfloat16"):
        defines = {"STORAGE": storage, "WEIGHT": storage}
        assert compile_kernels("pack_weights", architecture, defines)["pack_weights"].spills == 0
        rounded = {**defines, "ROUND_TF32": int(storage == "float")}
        assert compile_kernels("pack_weights", architecture, rounded)["pack_weights"].spills == 0
        usage = compile_kernels("reduce_partials", architecture, {"STORAGE": storage})
        assert usage["reduce_partials"].spills == 0
