"""The number of threads of everything that computes: kernels, NumPy's BLAS and PyTorch."""

from __future__ import annotations

import os
import sys

import spconv
from harness.pytorch import set_torch_threads

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def use_threads(num_threads: int | None, *, restart: bool) -> None:
    """Have everything use so many threads, or as many as the kernels do (None).

    Parameters
    ----------
    num_threads : int, optional
    restart : bool
        Start this command again where NumPy's BLAS has been loaded with another number: BLAS
        libraries read it when they are loaded, and never again.
    """
    if num_threads is not None and restart:
        _restart_with_threads(num_threads)
    # A number that is chosen: what else the machine does must not change it between two timings.
    spconv.set_num_threads(num_threads or spconv.get_num_threads())
    set_torch_threads(spconv.get_num_threads())


def thread_variables(num_threads: int) -> dict[str, str]:
    """What a process has to find in its environment to compute with so many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(num_threads))


def _restart_with_threads(num_threads: int) -> None:
    wanted = thread_variables(num_threads)
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        sys.stdout.flush()
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **wanted})
