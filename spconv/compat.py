"""The one place that tries to import CuPy.

``has_cupy`` says that the library can be imported, ``has_gpu()`` that a device answers.
Neither is evaluated when ``spconv`` is imported: CuPy alone takes longer to import than
all of this package.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A ``numpy.ndarray`` or a ``cupy.ndarray``."""


@cache
def has_cupy() -> bool:
    """Whether CuPy is installed; does not import it."""
    return importlib.util.find_spec("cupy") is not None


@cache
def import_cupy() -> ModuleType:
    """Return the ``cupy`` module.

    Raises
    ------
    ImportError
        If CuPy is not installed; names the extra to install.
    """
    if not has_cupy():
        raise ImportError(
            "spconv: a GPU was asked for but CuPy is not installed; install the extra that "
            "matches the CUDA version: pip install 'spconv-standalone[cuda12]' or '[cuda13]'"
        )
    import cupy

    return cupy


@cache
def has_gpu() -> bool:
    """Whether CuPy is installed and at least one CUDA device answers."""
    return has_cupy() and bool(import_cupy().cuda.is_available())


def check_device() -> None:
    """Raise unless a CUDA device answers and its driver can run what CuPy compiles.

    Raises
    ------
    ImportError
        If CuPy is not installed.
    RuntimeError
        If no device answers, or the driver is older than the CUDA version of the CuPy package.
    """
    cuda = import_cupy().cuda
    if not has_gpu():
        raise RuntimeError(
            "spconv: CuPy is installed but no CUDA device answers; check the driver with "
            "`nvidia-smi`, or stay on device='cpu'"
        )
    driver = cuda.runtime.driverGetVersion() // 1000
    built = cuda.runtime.runtimeGetVersion() // 1000
    if driver < built:
        raise RuntimeError(
            f"spconv: this CuPy is built for CUDA {built}, but the driver goes up to CUDA "
            f"{driver}; update the driver, or uninstall cupy-cuda{built}x and "
            f"pip install 'spconv-standalone[cuda{driver}]'"
        )


def is_cupy(array: object) -> bool:
    """Whether ``array`` is a CuPy array; never imports CuPy."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, cupy.ndarray)


def is_array(value: object) -> bool:
    """Whether ``value`` is an array or a scalar of NumPy's, or an array of CuPy's."""
    return isinstance(value, (np.ndarray, np.generic)) or is_cupy(value)


def array_module(array: object) -> ModuleType:
    """Return ``numpy`` or ``cupy``, whichever ``array`` belongs to.

    >>> import numpy as np
    >>> array_module(np.zeros(3)).__name__
    'numpy'
    """
    return import_cupy() if is_cupy(array) else np


def erfc(array: Array) -> Array:
    """``1 - erf``, the complementary error function, where the array is; of the array's type.

    Neither SciPy's special functions nor CuPy's are imported before.

    >>> import numpy as np
    >>> erfc(np.array([0.0, np.inf]))
    array([1., 0.])
    """
    if is_cupy(array):
        from cupyx.scipy import special
    else:
        from scipy import special
    return special.erfc(array)


def on_one_device(array: Array, other: Array) -> bool:
    """Whether both arrays are on a GPU, or both are not."""
    return type(array) is type(other) or is_cupy(array) == is_cupy(other)


def check_one_device(owner: str, *arrays: Array) -> None:
    """Raise TypeError for arrays of which some are on a GPU."""
    places = ["cuda" if is_cupy(array) else "cpu" for array in arrays]
    if len(set(places)) > 1:
        raise TypeError(
            f"{owner}: expected all on one device, got {' and '.join(places)}; move one of them"
        )


def may_share_memory(array: Array, other: Any) -> bool:
    """Whether two arrays lie in overlapping memory, as far as their first and last bytes tell.

    >>> import numpy as np
    >>> numbers = np.zeros(4)
    >>> may_share_memory(numbers, numbers[1:]), may_share_memory(numbers[:2], numbers[2:])
    (True, False)
    """
    if type(array) is not type(other):
        return False
    if type(array) is np.ndarray or not is_cupy(array):
        return np.may_share_memory(array, other)
    # CuPy itself takes longer than a launch to tell.
    if array.data.mem is not other.data.mem:
        return False
    if not (array.flags.c_contiguous and other.flags.c_contiguous):
        return bool(array_module(array).may_share_memory(array, other))
    begin, other_begin = array.data.ptr, other.data.ptr
    return begin < other_begin + other.nbytes and other_begin < begin + array.nbytes


def to_device(array: Array, device: str) -> Array:
    """Copy ``array`` to ``device`` ("cpu" or "cuda"); returns it unchanged if it is there.

    Raises
    ------
    ValueError
        If ``device`` is neither "cpu" nor "cuda".
    RuntimeError
        If no CUDA device answers.
    """
    if device == "cpu":
        return array.get() if is_cupy(array) else array
    if device != "cuda":
        raise ValueError(f"device must be 'cpu' or 'cuda', got {device!r}")
    if not is_cupy(array):
        check_device()
    return import_cupy().asarray(array)
