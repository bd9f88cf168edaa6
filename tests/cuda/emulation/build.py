"""Compiles a ``.cu`` file together with the emulation into a shared library."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
SOURCES = ROOT / "kernels" / "cuda"
SAMPLES = HERE / "samples"
CACHE = ROOT / "build" / "emulation"
COMPILER = os.environ.get("CXX", "g++")
FLAGS = [
    *("-std=c++17", "-fPIC", "-fvisibility=hidden"),
    *("-ffp-contract=off", "-fno-strict-aliasing"),
    *("-Wall", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function", "-Wno-unused-variable"),
]

RUNTIME = ("runtime", "tensor_core")
"""Compiled once and linked into every kernel's library; kernels see the headers alone."""

KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^\n]*?\)\s+)?(\w+)\s*\('
)
DYNAMIC_SHARED = re.compile(
    r"extern\s+__shared__\s+(?P<align>__align__\(\w+\)\s+)?(?P<type>[\w ]+?)\s+(?P<name>\w+)\[\];"
)
LAUNCHER = """
#include "launcher.h"
EMULATED_KERNELS_BEGIN
#include "{name}.cu"
EMULATED_KERNELS_END
"""


def has_compiler() -> bool:
    return shutil.which(COMPILER) is not None


def headers_of(text: str, folder: Path, found: dict[str, str]) -> dict[str, str]:
    """All quoted headers that a source includes, directly or through others."""
    for name in re.findall(r'^\s*#include "([^"]+)"', text, re.MULTILINE):
        path = next((f / name for f in (folder, SOURCES) if (f / name).exists()), None)
        if name not in found and path:
            found[name] = path.read_text()
            headers_of(found[name], folder, found)
    return found


def read_sources(
    name: str, replace: Mapping[str, str] | None, folder: Path = SOURCES
) -> dict[str, str]:
    """A source and its headers by file name, with pieces of text replaced (to inject bugs)."""
    text = (folder / f"{name}.cu").read_text()
    files = {f"{name}.cu": text} | headers_of(text, folder, {})
    for old, new in (replace or {}).items():
        holders = [file for file, text in files.items() if old in text]
        if not holders:
            raise ValueError(f"{name}: no source contains {old!r}")
        for file in holders:
            files[file] = files[file].replace(old, new)
    return files


def build(
    name: str,
    defines: Mapping[str, object] | None = None,
    replace: Mapping[str, str] | None = None,
    folder: Path = SOURCES,
) -> ctypes.CDLL:
    """Compile ``folder/name.cu`` with macros; the library is cached by content."""
    macros = tuple(f"-D{key}={value}" for key, value in (defines or {}).items())
    return _build(name, macros, tuple((replace or {}).items()), folder)


@cache
def _build(
    name: str, macros: tuple[str, ...], replace: tuple[tuple[str, str], ...], folder: Path
) -> ctypes.CDLL:
    """As :func:`build`; a process reads and hashes the sources of one library once."""
    files = read_sources(name, dict(replace), folder)
    key = _key(sorted(files.items()), macros, LAUNCHER, _runtime_key())
    library = CACHE / f"{name}-{key}.so"
    if not library.exists():
        _compile(name, files, macros, library)
    return _load(str(library))


def _key(*parts: object) -> str:
    return hashlib.sha256(repr((parts, FLAGS)).encode()).hexdigest()[:24]


@cache
def _runtime_key() -> str:
    paths = sorted([*HERE.glob("*.h"), *HERE.glob("*.cpp")])
    return _key([(path.name, path.read_text()) for path in paths])


@cache
def _runtime_objects() -> list[str]:
    """The scheduler, the warp operations and the copies: half of what there is to compile."""
    objects = []
    for part in RUNTIME:
        target = CACHE / f"{part}-{_runtime_key()}.o"
        if not target.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                out = Path(folder, "part.o")
                _run_compiler(part, ["-O2", "-c", str(HERE / f"{part}.cpp"), "-o", str(out)])
                os.replace(out, target)
        objects.append(str(target))
    return objects


def _run_compiler(what: str, arguments: list[str]) -> None:
    run = subprocess.run([COMPILER, *FLAGS, *arguments], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{what} does not compile:\n{run.stderr[:6000]}")


@cache
def _load(path: str) -> ctypes.CDLL:
    return ctypes.CDLL(path)


def _compile(name: str, files: dict[str, str], macros: tuple[str, ...], library: Path) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        for file, text in files.items():
            Path(folder, file).write_text(_with_dynamic_shared(text))
        kernels = KERNEL.findall(files[f"{name}.cu"])
        if not kernels:
            raise ValueError(f'{name}.cu: expected extern "C" __global__ void kernels, found none')
        exports = "".join(f"EMULATED_KERNEL({kernel})\n" for kernel in kernels)
        main = Path(folder, "main.cpp")
        main.write_text(LAUNCHER.format(name=name) + exports)
        out = Path(folder, "kernel.so")
        options = ["-O1", "-shared", "-DSPCONV_EMULATION", *macros, f"-I{folder}", f"-I{HERE}"]
        objects = _runtime_objects()
        _run_compiler(f"{name}.cu with {macros}", [*options, str(main), *objects, "-o", str(out)])
        os.replace(out, library)  # atomic, so that parallel test runs may share the cache


def _with_dynamic_shared(text: str) -> str:
    """``extern __shared__ T name[];`` has no meaning in C++: point into the arena instead."""
    return DYNAMIC_SHARED.sub(r"\g<type>* \g<name> = (\g<type>*)emulation::dynamic_shared;", text)
