"""CUDA C++ kernels of ``spconv.kernels/cuda``, compiled by NVRTC when they are first used.

The sources need no header of CUDA: includes among them are inlined here, so that CuPy hands NVRTC
one text. CuPy keeps the binaries on disk, keyed by text, options, architecture and compiler
version (``CUPY_CACHE_DIR``, by default ``~/.cupy/kernel_cache``): a process compiles only what no
earlier one has. All entry points are ``extern "C"``, because CuPy before 14.2 does not keep
modules on disk that are looked up by template names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from spconv.compat import check_device, import_cupy

INCLUDE = re.compile(r'^#include "([\w.]+)"$')
OPTIONS = ("-std=c++17",)

NULL = np.intp(0)
"""A null pointer as an argument of a kernel: CuPy hands ``None`` on as no argument at all."""

Macros = tuple[tuple[str, str | int], ...]
"""Pairs (name, value) of what is defined before the source."""

Launch = Callable[..., None]
"""``kernel(grid, block, arguments, shared_mem=0)`` as of ``cupy.RawKernel``."""


def source(file: str) -> str:
    """Text of ``kernels/cuda/FILE`` with its includes put in its place, each one once.

    ``#line`` directives make the compiler's messages name the files of the repository.

    Raises
    ------
    ValueError
        If a file that is included does not exist.

    Examples
    --------
    >>> source("pooling.cu").splitlines()[0]
    '#line 1 "kernels/cuda/pooling.cu"'
    """
    return "\n".join(_lines(file, set())) + "\n"


def _lines(file: str, seen: set[str]) -> list[str]:
    seen.add(file)
    path = files("spconv.kernels") / "cuda" / file
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"spconv: there is no kernels/cuda/{file}") from None
    lines = [f'#line 1 "kernels/cuda/{file}"']
    for number, line in enumerate(text.splitlines(), start=1):
        include = INCLUDE.match(line)
        if include is None:
            if line.strip() != "#pragma once":
                lines.append(line)
            else:
                lines.append("")
            continue
        if include[1] not in seen:
            lines += _lines(include[1], seen)
        lines.append(f'#line {number + 1} "kernels/cuda/{file}"')
    return lines


@cache  # itself, since every launch comes here
def kernel(file: str, entry: str, *options: str, **macros: str | int) -> Launch:
    """Return an entry point of ``kernels/cuda/FILE``, compiled for the current device.

    Parameters
    ----------
    file : str
    entry : str
        Name of an ``extern "C" __global__`` function.
    *options : str
        More options of NVRTC, such as ``"--fmad=false"``.
    **macros : str or int
        What is defined before the source, such as ``STORAGE="float"``.

    Raises
    ------
    ImportError
        If CuPy is not installed.
    RuntimeError
        If no device answers, the driver is too old, or the source does not compile.
    """
    check_device()
    cupy = import_cupy()
    try:
        return _module(file, options, tuple(sorted(macros.items()))).get_function(entry)
    except (ImportError, OSError, RuntimeError) as error:
        if "nvrtc" not in str(error).lower():
            raise
        built = cupy.cuda.runtime.runtimeGetVersion() // 1000
        raise RuntimeError(
            "spconv: NVRTC, which compiles the CUDA kernels, was not found; "
            f"pip install nvidia-cuda-nvrtc{'-cu12' if built == 12 else ''} or, with the other "
            f"libraries of CUDA, 'cupy-cuda{built}x[ctk]'"
        ) from error
    except cupy.cuda.compiler.CompileException as error:
        defined = " ".join(f"{name}={value}" for name, value in macros.items())
        arch = cupy.cuda.Device().compute_capability
        raise RuntimeError(
            f"spconv: kernels/cuda/{file} ({defined}) did not compile for compute capability "
            f"{arch}; please report this:\n{error}"
        ) from error


@cache
def _module(file: str, options: tuple[str, ...], macros: Macros) -> Any:
    defines = tuple(f"-D{name}={value}" for name, value in macros)
    return import_cupy().RawModule(
        code=source(file), options=OPTIONS + options + defines, backend="nvrtc"
    )
