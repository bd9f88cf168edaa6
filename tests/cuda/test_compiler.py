"""The loader of CUDA sources, without a device: what it hands to CuPy, and what it says."""

import re
import sys
import types
from pathlib import Path

import pytest

from spconv import compat
from spconv.ops.cuda import compiler
from spconv.ops.cuda.compiler import kernel, source

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path.name for path in (ROOT / "kernels" / "cuda").glob("*.cu"))


class CompileError(Exception):
    pass


class Device:
    compute_capability = "90"


@pytest.fixture
def cupy(monkeypatch):
    """As much of CuPy as the loader touches; ``made`` lists the modules that were compiled."""
    module = types.ModuleType("cupy")
    module.made = []

    class RawModule:
        def __init__(self, **options):
            self.options = options
            module.made.append(options)

        def get_function(self, entry):
            if entry == "no compiler":
                raise RuntimeError('Failure finding "libnvrtc.so.12": No such file')
            if entry == "no memory":
                raise RuntimeError("out of memory")
            if entry == "broken":
                raise CompileError('kernels/cuda/pooling.cu(7): error: identifier "x" is undefined')
            return entry, self.options["options"]

    module.RawModule = RawModule
    module.versions = {"driver": 13000, "runtime": 13000}
    module.cuda = types.SimpleNamespace(
        is_available=lambda: True,
        Device=Device,
        compiler=types.SimpleNamespace(CompileException=CompileError),
        runtime=types.SimpleNamespace(
            driverGetVersion=lambda: module.versions["driver"],
            runtimeGetVersion=lambda: module.versions["runtime"],
        ),
    )
    memories = [compat.has_cupy, compat.import_cupy, compat.has_gpu]
    memories += [compiler.kernel, compiler._module]
    for memory in memories:
        memory.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cupy", module)
        patch.setattr(compat, "has_cupy", lambda: True)
        yield module
    for memory in memories:
        memory.cache_clear()


@pytest.mark.parametrize("file", SOURCES)
def test_sources_are_whole(file):
    """Every include is resolved once, and every line knows where it came from."""
    text = source(file)
    assert text.startswith(f'#line 1 "kernels/cuda/{file}"\n')
    assert "#include" not in text
    assert "#pragma once" not in text
    found = re.findall(r'^#line 1 "kernels/cuda/(.*)"$', text, re.MULTILINE)
    assert len(found) == len(set(found))
    place, number, seen = None, 0, set()
    for line in text.splitlines():
        directive = re.fullmatch(r'#line (\d+) "(kernels/cuda/.*)"', line)
        if directive:
            number, place = int(directive[1]), directive[2]
            continue
        original = (ROOT / place).read_text().splitlines()[number - 1]
        assert line == ("" if original == "#pragma once" else original), (place, number)
        seen.add((place, number))
        number += 1
    for name in found:
        lines = (ROOT / "kernels" / "cuda" / name).read_text().splitlines()
        missing = [
            line
            for number, line in enumerate(lines, start=1)
            if (f"kernels/cuda/{name}", number) not in seen and not line.startswith("#include")
        ]
        assert not missing


def test_headers_are_compiled_too():
    assert "thread_index" in source("pooling.cu")
    assert source("pooling.cu").count("typedef STORAGE storage;") == 1


def test_unknown_sources():
    with pytest.raises(ValueError, match=r"spconv: there is no kernels/cuda/other\.cu"):
        source("other.cu")


def test_one_module_for_each_set_of_macros(cupy):
    entry, options = kernel("pooling.cu", "sum_table", "--fmad=false", STORAGE="float", B=2)
    assert entry == "sum_table"
    assert options == ("-std=c++17", "--fmad=false", "-DB=2", "-DSTORAGE=float")
    assert kernel("pooling.cu", "sum_table", "--fmad=false", B=2, STORAGE="float")[0] == entry
    kernel("pooling.cu", "max_table", "--fmad=false", STORAGE="float", B=2)
    assert len(cupy.made) == 1, "entry points of one source share a module"
    assert cupy.made[0]["backend"] == "nvrtc"
    assert cupy.made[0]["code"] == source("pooling.cu")
    kernel("pooling.cu", "sum_table", STORAGE="double")
    assert len(cupy.made) == 2


def test_compiler_errors_name_the_source(cupy):
    message = (
        r"kernels/cuda/pooling\.cu \(STORAGE=float\) did not compile for compute capability 90; "
        r'.*\n.*pooling\.cu\(7\): error: identifier "x" is undefined'
    )
    for _ in range(2):  # errors are not remembered
        with pytest.raises(RuntimeError, match=message):
            kernel("pooling.cu", "broken", STORAGE="float")


def test_no_compiler(cupy):
    with pytest.raises(RuntimeError, match=r"NVRTC.* was not found; .*'cupy-cuda13x\[ctk\]'"):
        kernel("pooling.cu", "no compiler", STORAGE="float")
    with pytest.raises(RuntimeError, match=r"^out of memory$"):
        kernel("pooling.cu", "no memory", STORAGE="float")


def test_a_driver_that_is_too_old(cupy):
    cupy.versions["driver"] = 12080
    message = (
        r"CuPy is built for CUDA 13, but the driver goes up to CUDA 12; .*"
        r"pip install 'spconv-standalone\[cuda12\]'"
    )
    with pytest.raises(RuntimeError, match=message):
        kernel("pooling.cu", "sum_table", STORAGE="float")
    cupy.versions["driver"] = 13010
    kernel("pooling.cu", "sum_table", STORAGE="float")


def test_no_device(cupy):
    cupy.cuda.is_available = lambda: False
    with pytest.raises(RuntimeError, match="no CUDA device answers; check the driver"):
        kernel("pooling.cu", "sum_table", STORAGE="float")


def test_no_cupy(monkeypatch):
    monkeypatch.setattr(compat, "has_cupy", lambda: False)
    compat.import_cupy.cache_clear()
    with pytest.raises(ImportError, match=r"'spconv-standalone\[cuda12\]' or '\[cuda13\]'"):
        kernel("pooling.cu", "sum_table", STORAGE="float")
