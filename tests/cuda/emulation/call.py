"""Launches an emulated kernel on NumPy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emulation.build import SOURCES, build

ORDERS = ("forward", "reverse", "random")
GUARD = 4096
POISON = 0xFF


class EmulationError(RuntimeError):
    """The kernel did what a device does not allow, or leaves undefined."""


class Range(ctypes.Structure):
    _fields_ = [("begin", ctypes.c_void_p), ("end", ctypes.c_void_p)]


class Launch(ctypes.Structure):
    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("order", ctypes.c_uint),
        ("num_ranges", ctypes.c_uint),
        ("truncating", ctypes.c_uint64),
        ("shared_bytes", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("ranges", ctypes.POINTER(Range)),
    ]


class Guarded:
    """A copy of an array between guard bytes, aligned as the array is, at best to 16 bytes."""

    def __init__(self, array: NDArray) -> None:
        self.array = array
        self.buffer = np.full(array.nbytes + 2 * GUARD + 256, POISON, np.uint8)
        self.start = GUARD + -(self.buffer.ctypes.data + GUARD) % 256 + array.ctypes.data % 16
        self.inside = self.buffer[self.start : self.start + array.nbytes]
        self.inside[:] = array.reshape(-1).view(np.uint8)
        self.address = self.buffer.ctypes.data + self.start

    def take_back(self, name: str) -> None:
        before, after = self.buffer[: self.start], self.buffer[self.start + self.array.nbytes :]
        if (before != POISON).any() or (after != POISON).any():
            raise EmulationError(f"{name}: wrote outside an array of shape {self.array.shape}")
        if self.array.flags.writeable:
            self.array.reshape(-1).view(np.uint8)[:] = self.inside
        elif (self.array.reshape(-1).view(np.uint8) != self.inside).any():
            raise EmulationError(f"{name}: changed a read-only array of shape {self.array.shape}")


def emulate(
    name: str,
    grid: int | Sequence[int],
    block: int | Sequence[int],
    args: Sequence[object],
    *,
    defines: Mapping[str, object] | None = None,
    shared: int = 0,
    order: str = "forward",
    seed: int = 0,
    truncating: bool = False,
    kernel: str | None = None,
    replace: Mapping[str, str] | None = None,
    folder: Path = SOURCES,
) -> None:
    """Run a kernel of ``kernels/cuda/name.cu``; see the package's docstring.

    ``replace`` changes pieces of the sources first: a test injects bugs with it.
    """
    library = build(name, defines, replace, folder)
    kernel = kernel or name
    signature = getattr(library, f"emulated_signature_{kernel}")
    signature.restype = ctypes.c_char_p
    types = signature().decode().split(",")[:-1]
    if len(types) != len(args):
        raise TypeError(f"{kernel}: expected {len(types)} arguments {types}, got {len(args)}")
    guarded: list[Guarded] = []
    values = [
        _argument(kernel, i, kind, argument, guarded)
        for i, (kind, argument) in enumerate(zip(types, args, strict=True))
    ]
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    ranges = (Range * max(len(guarded), 1))(
        *(Range(g.address, g.address + g.array.nbytes) for g in guarded)
    )
    sizes = _three(grid), _three(block)
    launch = Launch(*sizes, ORDERS.index(order), len(guarded), truncating, shared, seed, ranges)
    run = getattr(library, f"emulated_run_{kernel}")
    run.restype = ctypes.c_char_p
    problem = run(ctypes.byref(launch), pointers)
    if problem:
        raise EmulationError(f"{kernel}: {problem.decode()}")
    for copy in guarded:
        copy.take_back(kernel)


def _three(size: int | Sequence[int]) -> tuple[int, ...]:
    sizes = (size,) if isinstance(size, int | np.integer) else tuple(size)
    return (*map(int, sizes), 1, 1)[:3]


def _argument(kernel: str, i: int, kind: str, argument: object, guarded: list[Guarded]):
    """The bytes of one argument, as a ctypes object."""
    if "*" in kind:
        if isinstance(argument, np.intp) and argument == 0:
            return ctypes.c_void_p(0)
        if argument is None:  # CuPy would hand the driver no argument at all
            raise TypeError(f"{kernel}: argument {i} is None; the null pointer is np.intp(0)")
        if not isinstance(argument, np.ndarray) or not argument.flags.c_contiguous:
            raise TypeError(f"{kernel}: argument {i} must be a contiguous array ({kind})")
        code, size = kind.split("*")[1][0], int(kind.split("*")[1][1:])
        same_kind = code == "V" or argument.dtype.kind in {"u": "ub"}.get(code, code)
        if (argument.itemsize != size or not same_kind) and kind.split("*")[1] != "V1":
            raise TypeError(f"{kernel}: argument {i} is {argument.dtype}, the kernel has {kind}")
        if not kind.startswith("const") and not argument.flags.writeable:
            raise TypeError(f"{kernel}: argument {i} is written, the array is read-only")
        copy = next((g for g in guarded if g.array is argument), None)
        if copy is None:
            copy = Guarded(argument)
            guarded.append(copy)
        return ctypes.c_void_p(copy.address)
    if not isinstance(argument, np.generic) or kind != argument.dtype.kind + str(argument.itemsize):
        raise TypeError(
            f"{kernel}: argument {i} must be a NumPy scalar of type {kind}, got "
            f"{getattr(argument, 'dtype', type(argument))}"
        )
    return (ctypes.c_char * argument.itemsize).from_buffer_copy(argument.tobytes())
