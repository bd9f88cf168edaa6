"""Every plain kernel goes through NVRTC for three architectures; it needs no GPU."""

import pytest
from emulation.build import KERNEL, SAMPLES, SOURCES
from nvrtc import ARCHITECTURES, compile_kernels, library, one_text

pytestmark = pytest.mark.skipif(
    library() is None, reason="the wheel nvidia-cuda-nvrtc-cu12 is not installed"
)

STORAGE = ("float", "double", "float16", "bfloat16")
BY_STORAGE = (
    "activation",
    "column_sums",
    "cross_entropy",
    "normalization",
    "pooling",
    "samples",
    "unscale",
)
KERNELS = [(name, {"STORAGE": storage}) for name in BY_STORAGE for storage in STORAGE]
KERNELS += [
    (name, {"STORAGE": storage, "VECTOR": storage})
    for name in ("column_sums", "normalization")
    for storage in ("float16", "bfloat16")
]
KERNELS += [
    ("optimizer", {"STORAGE": s, "GRADIENT": g, "MASTER": int("16" in s)})
    for s, g in [*zip(STORAGE, STORAGE, strict=True), ("float16", "float")]
]
KERNELS += [("tile_map", {"TILE_ROWS": 64, "KEY": key}) for key in ("u32", "u64")]
KERNELS += [("tasks", {})]
KERNELS += [("convert", {"STORAGE": "bfloat16", "FROM": "float"})]
KERNELS += [("rulebook", {"NDIM": ndim}) for ndim in (1, 2, 3, 4, 8)]


def cases():
    """All of them, in a few seconds those that cover every source on every architecture."""
    for name, defines in KERNELS:
        for architecture in ARCHITECTURES:
            quick = architecture == "sm_90" or defines.get("STORAGE") == "float16"
            label = "-".join(map(str, (name, *defines.values(), architecture)))
            marks = () if quick or defines.get("NDIM") == 3 else pytest.mark.slow
            yield pytest.param(name, defines, architecture, id=label, marks=marks)


@pytest.mark.parametrize(("name", "defines", "architecture"), list(cases()))
def test_kernels_compile(name, defines, architecture):
    """Without a warning, without spilling; threads of 256 may have 255 registers, few need 64."""
    usages = compile_kernels(name, architecture, defines)
    assert set(usages) == set(KERNEL.findall((SOURCES / f"{name}.cu").read_text()))
    for kernel, usage in usages.items():
        assert usage.spills == 0, kernel
        assert usage.registers <= 64, kernel
        assert usage.static_shared <= 8192, kernel


def test_samples_for_a_device_are_one_text():
    """With the headers in it: the key of CuPy's cache is the text."""
    text = one_text(SAMPLES / "tensor.cu")
    assert "#include" not in text
    assert (SOURCES / "ptx.cuh").read_text().splitlines()[0] in text


def test_compiler_errors_show():
    at_its_line = r'\nnormalization.cu\(\d+\): error: identifier "storage" is undefined'
    with pytest.raises(RuntimeError, match=f"(?s)^normalization.cu for sm_90.*{at_its_line}"):
        compile_kernels("normalization", "sm_90")
