"""Compiles CUDA sources to machine code with NVRTC: no GPU and no driver needed.

The library comes from the wheel ``nvidia-cuda-nvrtc-cu12`` (extra ``cuda-check``).
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from emulation.build import SOURCES

from spconv.ops.cuda.compiler import INCLUDE, source

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
USAGE = re.compile(
    r"Compiling entry function '(?P<kernel>\w+)'.*?(?P<stack>\d+) bytes stack frame, "
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Usage:
    """What the assembler says that one kernel takes."""

    registers: int
    spills: int  # bytes
    stack: int  # bytes
    static_shared: int  # bytes


@cache
def library() -> ctypes.CDLL | None:
    """The NVRTC of the wheel, or None."""
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(place).glob("cuda_nvrtc/lib/libnvrtc.so*")):
            if "builtins" not in path.name and ".alt." not in path.name:
                return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    return None


def compile_kernels(
    name: str,
    architecture: str,
    defines: Mapping[str, object] | None = None,
    folder: Path = SOURCES,
) -> dict[str, Usage]:
    """Compile ``name.cu``; the usage of every kernel in it. RuntimeError with NVRTC's log."""
    nvrtc = library()
    if nvrtc is None:
        raise RuntimeError("compile_kernels: the wheel nvidia-cuda-nvrtc-cu12 is not installed")
    program = ctypes.c_void_p()
    path = folder / f"{name}.cu"
    created = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), path.read_bytes(), path.name.encode(), 0, None, None
    )
    if created:
        raise RuntimeError(f"nvrtcCreateProgram: status {created}")
    try:
        options = ["-std=c++17", f"-arch={architecture}", f"-I{folder}", f"-I{SOURCES}"]
        options += ["--ptxas-options=-v", "-ftz=true"]  # as CuPy
        options += [f"-D{key}={value}" for key, value in (defines or {}).items()]
        status = nvrtc.nvrtcCompileProgram(
            program, len(options), (ctypes.c_char_p * len(options))(*map(str.encode, options))
        )
        log = _log(nvrtc, program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if status:
        raise RuntimeError(f"{name}.cu for {architecture} with {defines}:\n{log}")
    if "warning" in log.lower():
        raise RuntimeError(f"{name}.cu for {architecture} with {defines}: warnings\n{log}")
    return _usages(log)


def one_text(path: Path) -> str:
    """A source with the headers of kernels/cuda put in their place.

    CuPy's cache on disk goes by the text that it is given: it would not see an edited header.
    """
    return re.sub(
        INCLUDE.pattern, lambda found: source(found[1]), path.read_text(), flags=re.MULTILINE
    )


def _log(nvrtc: ctypes.CDLL, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    return log.value.decode()


def _usages(log: str) -> dict[str, Usage]:
    usages = {}
    for found in USAGE.finditer(log):
        shared = re.search(r"(\d+) bytes smem", found["rest"])
        usages[found["kernel"]] = Usage(
            int(found["registers"]),
            int(found["stores"]) + int(found["loads"]),
            int(found["stack"]),
            int(shared[1]) if shared else 0,
        )
    return usages
