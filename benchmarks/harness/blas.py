"""NumPy's BLAS, whose rate the convolutions are compared with, at its best."""

from __future__ import annotations

from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def one_fast_core() -> dict[str, str]:
    """What OpenBLAS has to find in its environment to use one thread, and AVX-512 if there is.

    It knows processors by name, and takes its AVX2 kernels on AMD's that are newer than itself: on
    a Zen 5 at half the rate.
    """
    wanted = {"OPENBLAS_NUM_THREADS": "1"}
    about = CPU_INFO.read_text() if CPU_INFO.exists() else ""
    if "AuthenticAMD" in about and "avx512f" in about:
        wanted["OPENBLAS_CORETYPE"] = "SkylakeX"
    return wanted
