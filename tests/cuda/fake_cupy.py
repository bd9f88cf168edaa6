"""A stand-in for CuPy on the CPU: NumPy's array code, kernels through the emulation.

It is as strict as CuPy where host code goes wrong: arrays of the two libraries do not mix, results
of reductions are arrays, kernels take scalars of exact types, tensor cores truncate, there is no
cuBLAS, and what leaves the "device" is counted.
"""

from __future__ import annotations

import contextlib
import sys
import types
from typing import ClassVar

import numpy as np
from emulation import emulate
from fake_array import COPIES, call, ndarray, plain
from scipy import special

__all__ = ["COPIES", "RawKernel", "RawModule", "installed", "make_module", "ndarray"]


MAX_GRID = 2**31 - 1, 65535, 65535
MAX_BLOCK = 1024, 1024, 64


class CompileException(Exception):
    pass


class RawModule:
    """The kernels of one source, run by the emulation."""

    def __init__(self, code=None, *, options=(), backend="nvrtc", **others):
        if others or backend != "nvrtc" or not isinstance(options, tuple):
            raise TypeError("RawModule: unexpected arguments")
        self.name = code.splitlines()[0].split('"')[1].split("/")[-1].removesuffix(".cu")
        macros = (option[2:].split("=", 1) for option in options if option.startswith("-D"))
        self.defines = dict(macros)

    def get_function(self, entry):
        return RawKernel(self, entry)


class RawKernel:
    launches: ClassVar[list[str]] = []
    order = "forward"

    def __init__(self, module, entry):
        self.module, self.entry = module, entry
        self.max_dynamic_shared_size_bytes = 49152

    def __call__(self, grid, block, arguments, *, shared_mem=0):
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise ValueError("CUDA_ERROR_INVALID_VALUE: more shared memory than was asked for")
        check_sizes("grid", grid, MAX_GRID)
        check_sizes("block", block, MAX_BLOCK)
        if np.prod(block) > 1024:
            raise ValueError(f"CUDA_ERROR_INVALID_VALUE: block {block}")
        for argument in arguments:
            if argument is None:
                raise TypeError("None becomes no argument at all: pass a null pointer as a number")
            if isinstance(argument, ndarray) and argument.device != device():
                raise ValueError("CUDA_ERROR_ILLEGAL_ADDRESS: an array of another device")
        RawKernel.launches.append(self.entry)
        emulate(
            self.module.name,
            grid,
            block,
            [plain(argument) for argument in arguments],
            defines=self.module.defines,
            shared=shared_mem,
            kernel=self.entry,
            order=RawKernel.order,
            truncating=True,
        )


def check_sizes(what, sizes, limits):
    if not all(0 < size <= limit for size, limit in zip(sizes, limits, strict=False)):
        raise ValueError(f"CUDA_ERROR_INVALID_VALUE: {what} {sizes}, at most {limits}")


def device():
    """Number of the current device."""
    return ndarray.current_device[-1]


class Device:
    """``with Device(1):`` makes arrays and launches those of that device."""

    compute_capability = "90"

    def __init__(self, number=None):
        self.id = device() if number is None else number

    def __enter__(self):
        ndarray.current_device.append(self.id)
        return self

    def __exit__(self, *error):
        ndarray.current_device.pop()


def asarray(array, dtype=None):
    """Copies from the host, as CuPy does."""
    if isinstance(array, ndarray):
        return array if dtype is None else array.astype(dtype, copy=False)
    return ndarray(np.array(array, dtype=dtype))


def ascontiguousarray(array):
    if not isinstance(array, ndarray):
        raise TypeError("ascontiguousarray: a NumPy array")
    dense = np.ascontiguousarray(array.host)
    return array if dense is array.host else ndarray(dense)


def empty(shape, dtype=float):
    """Of bytes that no kernel takes for a result: freed memory would still have the last one's."""
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[:] = 0xFF
    return ndarray(array)


def bincount(x, weights=None, minlength=None):
    """Waits for the smallest and for the largest number, of which there has to be one."""
    if not x.size:
        raise ValueError("zero-size array to reduction operation cupy_max which has no identity")
    COPIES["to_host"] += 2
    return call("bincount", np.bincount, (x, weights, minlength), {})


def make_module() -> types.ModuleType:
    """A module ``cupy`` whose functions are NumPy's, with arrays that are not."""

    class Module(types.ModuleType):
        def __getattr__(self, name):
            value = getattr(np, name)
            if isinstance(value, type) or not callable(value):
                return value
            return lambda *arguments, **options: call(name, value, arguments, options)

    cupy = Module("cupy")
    cupy.emulated = True
    cupy.ndarray, cupy.RawModule, cupy.asarray = ndarray, RawModule, asarray
    cupy.array = lambda array, dtype=None, order="K": asarray(array, dtype).copy(order)
    cupy.ascontiguousarray, cupy.bincount, cupy.empty = ascontiguousarray, bincount, empty
    cupy.cuda = types.SimpleNamespace(
        is_available=lambda: True,
        compiler=types.SimpleNamespace(CompileException=CompileException),
        runtime=types.SimpleNamespace(
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13000,
            getDeviceProperties=lambda number: {"name": b"Imaginary 9"},
            getDevice=device,
        ),
        Device=Device,
        get_current_stream=lambda: types.SimpleNamespace(ptr=0),
    )
    return cupy


def make_extension() -> types.ModuleType:
    """``cupyx.scipy`` with the special functions that the library uses."""
    scipy = types.ModuleType("cupyx.scipy")
    scipy.special = types.SimpleNamespace(
        erfc=lambda *arguments: call("erfc", special.erfc, arguments, {})
    )
    return scipy


@contextlib.contextmanager
def installed(monkeypatch):
    """``import cupy`` gives the stand-in; everything that remembers CuPy forgets it afterwards."""
    from spconv import compat, ops
    from spconv.ops.cuda import compiler

    memories = [compat.has_cupy, compat.import_cupy, compat.has_gpu]
    memories += [ops._cuda_ops, compiler.kernel, compiler._module]
    cupy = make_module()
    for memory in memories:
        memory.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cupy", cupy)
        patch.setitem(sys.modules, "cupyx", types.ModuleType("cupyx"))
        patch.setitem(sys.modules, "cupyx.scipy", make_extension())
        patch.setattr(compat, "has_cupy", lambda: True)
        yield cupy
    for memory in memories:
        memory.cache_clear()
