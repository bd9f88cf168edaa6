"""A stand-in for CuPy on the CPU: NumPy's array code, kernels through the emulation.

It is as strict as CuPy where host code goes wrong: arrays of the two libraries do not mix, results
of reductions are arrays, kernels take scalars of exact types, there is no cuBLAS, and what leaves
the "device" is counted.
"""

from __future__ import annotations

import contextlib
import sys
import types
from typing import ClassVar

import numpy as np
from emulation import emulate

COPIES = {"to_host": 0}


class ndarray(np.ndarray):
    """A NumPy array that says it is CuPy's."""

    def get(self) -> np.ndarray:
        COPIES["to_host"] += 1
        return np.array(self.view(np.ndarray))

    def item(self, *where):
        COPIES["to_host"] += 1
        return self.view(np.ndarray).item(*where)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.ctypes.data)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if ufunc is np.matmul:
            raise ImportError("libcublas is missing: the wheel of CuPy has none")
        targets = () if out is None else out
        inputs = [plain(value) for value in inputs]
        if "where" in options:
            options["where"] = plain(options["where"])
        if targets:
            options["out"] = tuple(plain(target) for target in targets)
        result = getattr(ufunc, method)(*inputs, **options)
        return targets[0] if targets else wrap(result)

    def __array_function__(self, function, types, arguments, options):
        if function in (np.dot, np.einsum, np.tensordot, np.inner):
            raise ImportError("libcublas is missing: the wheel of CuPy has none")
        return wrap(function(*plain_all(arguments), **plain_all(options)))

    def __getitem__(self, where):
        return wrap(self.view(np.ndarray)[plain_all(where)])

    def __setitem__(self, where, value):
        self.view(np.ndarray)[plain_all(where)] = plain(value)

    def __bool__(self):
        COPIES["to_host"] += 1
        return bool(self.view(np.ndarray))

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def sum(self, *arguments, **options):
        return np.sum(self, *arguments, **options)

    def max(self, *arguments, **options):
        return np.max(self, *arguments, **options)

    def any(self, *arguments, **options):
        return np.any(self, *arguments, **options)

    def argmax(self, *arguments, **options):
        return np.argmax(self, *arguments, **options)

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")


def plain(value):
    """NumPy's view of one operand; refuses arrays that are on the host."""
    if isinstance(value, ndarray):
        return value.view(np.ndarray)
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"Unsupported type {type(value)}: a NumPy array among CuPy arrays")
    return value


def plain_all(value):
    if isinstance(value, tuple | list):
        return type(value)(plain_all(entry) for entry in value)
    if isinstance(value, dict):
        return {key: plain_all(entry) for key, entry in value.items()}
    return plain(value)


def wrap(value):
    if isinstance(value, tuple | list):
        return type(value)(wrap(entry) for entry in value)
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value).view(ndarray)
    return value


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
        if not all(0 < size < 2**31 for size in (*grid, *block)):
            raise ValueError(f"CUDA_ERROR_INVALID_VALUE: grid {grid}, block {block}")
        for argument in arguments:
            if isinstance(argument, np.ndarray) and not isinstance(argument, ndarray):
                raise TypeError(f"Unsupported type {type(argument)}: a NumPy array in a launch")
            if argument is None:
                raise TypeError("None becomes no argument at all: pass a null pointer as a number")
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
        )


def asarray(array, dtype=None):
    """Copies from the host, as CuPy does."""
    if isinstance(array, ndarray):
        return array if dtype is None else array.astype(dtype, copy=False)
    return np.array(array, dtype=dtype).view(ndarray)


def ascontiguousarray(array):
    if not isinstance(array, ndarray):
        raise TypeError("ascontiguousarray: a NumPy array")
    return wrap(np.ascontiguousarray(array.view(np.ndarray)))


def make_module() -> types.ModuleType:
    """A module ``cupy`` whose functions are NumPy's, with arrays that are not."""

    class Module(types.ModuleType):
        def __getattr__(self, name):
            value = getattr(np, name)
            if isinstance(value, type) or not callable(value):
                return value
            return lambda *arguments, **options: wrap(
                value(*plain_all(arguments), **plain_all(options))
            )

    cupy = Module("cupy")
    cupy.emulated = True
    cupy.ndarray, cupy.RawModule, cupy.asarray = ndarray, RawModule, asarray
    cupy.array = lambda array, dtype=None: asarray(array, dtype).copy()
    cupy.ascontiguousarray = ascontiguousarray
    cupy.cuda = types.SimpleNamespace(
        is_available=lambda: True,
        compiler=types.SimpleNamespace(CompileException=CompileException),
        runtime=types.SimpleNamespace(
            driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13000,
            getDeviceProperties=lambda number: {"name": b"Imaginary 9"},
        ),
        Device=lambda: types.SimpleNamespace(compute_capability="90", id=0),
    )
    return cupy


@contextlib.contextmanager
def installed(monkeypatch):
    """``import cupy`` gives the stand-in; everything that remembers CuPy forgets it afterwards."""
    from spconv import compat, ops
    from spconv.ops import raw_kernels

    memories = [compat.has_cupy, compat.import_cupy, compat.has_gpu]
    memories += [ops._cuda_ops, raw_kernels._entry, raw_kernels._module]
    cupy = make_module()
    for memory in memories:
        memory.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cupy", cupy)
        patch.setattr(compat, "has_cupy", lambda: True)
        yield cupy
    for memory in memories:
        memory.cache_clear()
