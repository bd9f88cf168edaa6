"""Compiles ``kernels/amx_gemm.h`` with the tile instructions emulated, and calls it on arrays.

The libraries are cached in ``build/amx`` by the hash of everything that went into them. What is
emulated is in ``amx_emulated.h``; what cannot be seen here: speed, and the instructions themselves.
``SPCONV_SANITIZE`` adds compiler flags, as it does to ``setup.py``.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from spconv.ops.epilogue import PLAIN

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parents[1] / "kernels"
CACHE = HERE.parents[1] / "build" / "amx"
COMPILER = os.environ.get("CC", "gcc")
HEADERS = (
    *(f"amx_{part}.h" for part in ("tiles", "split", "feed", "gemm")),
    *("clones.h", "pairs.h", "rectifier.h", "vector.h"),
)
FLAGS = [
    *("-std=gnu11", "-O3", "-g", "-fopenmp", "-fPIC", "-ffp-contract=off", "-Wno-psabi"),
    *("-fno-math-errno", "-fno-trapping-math"),
    *os.environ.get("SPCONV_SANITIZE", "").split(),
]
EMULATED = "-DSPCONV_AMX_EMULATED"
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"]
GUARD = 512
LIBRARY = """
#include "amx_gemm.h"

const char *convolve(const amx_convolution *c) {
    emulation_error = 0;
    amx_convolve(c);
    tile_check(!tiles_of_thread.configured, "tiles are left configured");
    return emulation_error;
}
void split(const float *values, int parts, uint16_t *target) {
    split_line(values, 32, parts, 32, target);
}

const char *misuse(int kind, float *sums, const uint16_t *a, const uint16_t *b) {
    tile_shapes shapes = {.palette = 1};
    for (int tile = 0; tile < 8; ++tile) shapes.rows[tile] = 16, shapes.row_bytes[tile] = 64;
    memset(&tiles_of_thread, 0, sizeof tiles_of_thread);
    emulation_error = 0;
    if (kind == 1) tile_zero(0);
    if (kind == 2) shapes.row_bytes[3] = 68;
    if (kind == 3) shapes.rows[3] = 17;
    if (kind == 4) shapes.rows[1] = 8;
    tile_config(&shapes);
    if (kind == 5) tile_zero(8);
    if (kind == 6) tile_config(&shapes);
    if (kind != 7) tile_load(0, sums, 64);
    tile_load(1, a, 64);
    tile_load(2, b, 64);
    tile_dot(0, 1, 2);
    tile_store(0, sums, 64);
    tile_release();
    if (kind == 8) tile_release();
    return emulation_error;
}
"""

# The instructions themselves, on a processor that may have neither AMX nor AVX-512.
TRAPPED = """
#include "amx_gemm.h"

void trap_begin(void);
const char *trap_end(int64_t *count);

const char *convolve(const amx_convolution *c, int64_t *count) {
    trap_begin();
    amx_convolve(c);
    return trap_end(count);
}
"""
WITHOUT_AVX512 = {
    "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16": "avx2",
    "define SPCONV_MASKS 512": "define SPCONV_MASKS 0",
}


class EmulationError(RuntimeError):
    """The kernel did what a processor does not allow, or leaves undefined."""


class Convolution(ctypes.Structure):
    """``amx_convolution``."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("x", "w", "init", "residual", "y")),
        *((name, ctypes.c_void_p) for name in ("in_rows", "out_rows", "starts")),
        *((name, ctypes.c_int64) for name in ("num_out", "volume", "groups")),
        *((name, ctypes.c_int64) for name in ("cin", "cout")),
        *((name, ctypes.c_int64) for name in ("w_offset", "w_group", "w_row", "w_column")),
        ("tiles", ctypes.c_void_p),
        ("range_rows", ctypes.c_int64),
        *((name, ctypes.c_int) for name in ("parts", "rectify", "num_threads")),
        ("slope", ctypes.c_float),
    ]


def why_not() -> str:
    """What this machine lacks to compile the emulation, or ""."""
    if shutil.which(COMPILER) is None:
        return f"needs {COMPILER}"
    machine = platform.machine()
    return "" if machine in ("x86_64", "AMD64") else f"needs x86-64, this is {machine}"


def sources(replace: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers by name, with pieces of text replaced (to inject bugs)."""
    files = {name: (KERNELS / name).read_text() for name in HEADERS}
    for old, new in (replace or {}).items():
        found = sum(text.count(old) for text in files.values())
        if found != 1:
            raise ValueError(f"expected {old!r} once in the sources, found it {found} times")
        files = {name: text.replace(old, new) for name, text in files.items()}
    return files


@cache
def load(replace: tuple[tuple[str, str], ...] = (), trapped: bool = False) -> ctypes.CDLL:
    """The compiled library, whose sources had pieces of text replaced.

    ``trapped``: the compiler's own instructions, which trap and are emulated one by one.
    """
    files = sources({**dict(replace), **(WITHOUT_AVX512 if trapped else {})})
    for name in ("amx_emulated.h", "amx_trap.h"):
        files[name] = (HERE / name).read_text()
    files["library.c"] = TRAPPED if trapped else LIBRARY
    key = hashlib.sha256(repr((sorted(files.items()), FLAGS, COMPILER)).encode()).hexdigest()[:24]
    target = CACHE / f"amx-{key}.so"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            for name, text in files.items():
                Path(folder, name).write_text(text)
            # A library with a bug runs a moment: to optimize it would take longer.
            options = [f"-I{folder}", "-lm", *(["-O1", "-g0"] if replace else WARNINGS)]
            if trapped:
                source, compiled = Path(folder, "trap.c"), Path(folder, "trap.o")
                source.write_text('#include "amx_trap.h"\n')
                compile_c(source, compiled, [EMULATED, "-c", *options])
                options.append(str(compiled))
            else:
                options.append(EMULATED)
            compile_c(Path(folder, "library.c"), Path(folder, "amx.so"), ["-shared", *options])
            os.replace(Path(folder, "amx.so"), target)  # atomic: test runs may share the cache
    library = ctypes.CDLL(str(target))
    library.convolve.restype = ctypes.c_char_p
    if not trapped:
        library.misuse.restype = ctypes.c_char_p
    return library


def compile_c(source: Path, target: Path, options: list[str]) -> None:
    command = [COMPILER, *FLAGS, str(source), *options, "-o", str(target)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"{source.name} does not compile:\n{run.stderr[:6000]}")


def convolve(x, w, book, groups=1, *, transposed=False, epilogue=PLAIN, parts, threads=1,
             range_rows=96, replace=(), trapped=False):  # fmt: skip
    """:meth:`spconv.ops.Ops.convolve` of float32 arrays on emulated tiles."""
    library = load(tuple(replace), trapped)
    init, residual, slope = epilogue
    arrays = [np.ascontiguousarray(a) if a is not None else None for a in (x, w, init, residual)]
    x, w, init, residual = arrays
    width = w.shape[1] * groups if transposed else w.shape[2]
    # Behind the rows of the pairs come more, so that a bug writes to row 0 and not anywhere; behind
    # the features is what must not be read.
    features = np.append(x, np.full(64, np.nan, np.float32))
    more = np.zeros(64, np.int32)
    in_rows, out_rows = np.append(book.in_rows, more), np.append(book.out_rows, more)
    y = np.full((len(book.out_sites), width), np.nan, np.float32)
    c = Convolution(
        **{name: None if a is None else a.ctypes.data
           for name, a in [("x", features), ("w", w), ("init", init), ("residual", residual),
                           ("y", y), ("in_rows", in_rows), ("out_rows", out_rows),
                           ("starts", book.offset_starts)]},
        num_out=len(y), volume=len(w), groups=groups, cin=x.shape[1] // groups,
        cout=width // groups, w_offset=w.shape[1] * w.shape[2], w_group=w.shape[2] // groups,
        w_row=1 if transposed else w.shape[2], w_column=w.shape[2] if transposed else 1,
        range_rows=range_rows, parts=parts, rectify=slope is not None, slope=slope or 0.0,
        num_threads=threads,
    )  # fmt: skip
    # 0x7fff is a NaN: what is read before it is written shows.
    chunks, blocks = -(-c.cin // 32), -(-c.cout // 16)
    tiles = guarded(len(w) * groups * chunks * blocks * parts * 512)
    c.tiles = tiles.ctypes.data + GUARD * 2
    count = ctypes.c_int64()
    error = library.convolve(ctypes.byref(c), *([ctypes.byref(count)] if trapped else []))
    if trapped and not count.value and len(book.in_rows):
        raise EmulationError("no instruction trapped")
    if error:
        raise EmulationError(error.decode())
    if (tiles[:GUARD] != 0x7FFF).any() or (tiles[len(tiles) - GUARD :] != 0x7FFF).any():
        raise EmulationError("wrote outside the buffer")
    return y


def guarded(size: int):
    return np.full(size + 2 * GUARD, 0x7FFF, np.uint16)


def split(values, parts, replace=()):
    """Parts (parts, 32) of 32 float32 numbers, as float32."""
    target = np.zeros((parts, 32), np.uint16)
    values = np.array(values, np.float32)
    source, out = (ctypes.c_void_p(array.ctypes.data) for array in (values, target))
    load(tuple(replace)).split(source, parts, out)
    return (target.astype(np.uint32) << 16).view(np.float32)
