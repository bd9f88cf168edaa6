"""The adapter ``kernels/amx.pyx`` with the tile instructions emulated, as a module of its own."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from amx_library import CACHE, COMPILER, EMULATED, FLAGS, HEADERS, HERE, KERNELS, compile_c

SOURCES = [KERNELS / name for name in ("amx.pyx", "amx_detect.h", "ranges.h", *HEADERS)]
SOURCES.append(HERE / "amx_emulated.h")
DIRECTIVES = ("boundscheck=False", "wraparound=False", "initializedcheck=False", "cdivision=True")


@cache
def emulated_module() -> ModuleType:
    """What ``spconv.kernels.amx`` would be on a processor with AMX."""
    parts = [path.read_text() for path in SOURCES], FLAGS, COMPILER, sys.version, np.__version__
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
    target = CACHE / f"engine-{key}.so"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            source, library = Path(folder, "amx.c"), Path(folder, "amx.so")
            options = [option for directive in DIRECTIVES for option in ("-X", directive)]
            command = [sys.executable, "-m", "cython", "-3", *options, str(KERNELS / "amx.pyx")]
            subprocess.run([*command, "-o", str(source)], check=True, cwd=folder)
            folders = [sysconfig.get_path("include"), np.get_include(), str(KERNELS), str(HERE)]
            options = ["-shared", EMULATED, *(f"-I{path}" for path in folders), "-O2", "-g0", "-lm"]
            compile_c(source, library, options)
            os.replace(library, target)
    loader = importlib.machinery.ExtensionFileLoader("spconv.kernels.amx", str(target))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
