"""Arrays that behave as CuPy's do around NumPy's, with their memory on the host.

They are no ``numpy.ndarray``: nothing takes them for one, and nothing turns them into one. Where
the two libraries meet, CuPy's answer is given: scalars of either library are numbers, arrays of the
host, those without axes too, are refused.
"""

from __future__ import annotations

import types
from typing import ClassVar

import numpy as np

COPIES = {"to_host": 0}
REDUCTIONS = {"sum", "prod", "mean", "max", "min", "argmax", "argmin", "any", "all"}
SHAPES = {"ravel", "reshape", "squeeze", "transpose", "view"}
METHODS = REDUCTIONS | SHAPES | {"astype", "copy", "cumsum"}
NEEDS_CUBLAS = {"dot", "einsum", "inner", "matmul", "tensordot", "vdot"}


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """One array of a device: what CuPy's has and the library uses."""

    current_device: ClassVar[list[int]] = [0]
    __array_priority__ = 100

    def __init__(self, array: np.ndarray) -> None:
        self.host = array
        self.device = ndarray.current_device[-1]

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    itemsize = property(lambda self: self.host.itemsize)
    nbytes = property(lambda self: self.host.nbytes)
    strides = property(lambda self: self.host.strides)
    flags = property(lambda self: self.host.flags)
    T = property(lambda self: ndarray(self.host.T))
    data = property(
        lambda self: types.SimpleNamespace(
            ptr=self.host.ctypes.data, mem=allocation(self.host), memset_async=self.set_bytes
        )
    )

    def set_bytes(self, value: int, count: int) -> None:
        self.host.reshape(-1).view(np.uint8)[:count] = value

    def get(self) -> np.ndarray:
        COPIES["to_host"] += 1
        return np.array(self.host)

    def item(self, *where):
        COPIES["to_host"] += 1
        return self.host.item(*where)

    def __getattr__(self, name):
        if name not in METHODS:
            raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")
        return lambda *arguments, **options: call(
            name, getattr(self.host, name), arguments, options
        )

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        if out:
            options["out"] = out
        result = call(ufunc.__name__, getattr(ufunc, method), inputs, options)
        return out[0] if out else result

    def __array_function__(self, function, types, arguments, options):
        return call(function.__name__, function, arguments, options)

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use .get()")

    def __len__(self):
        return len(self.host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, where):
        return wrap(self.host[plain_all(where)])

    def __setitem__(self, where, value):
        self.host[plain_all(where)] = plain(value)

    def __bool__(self):
        return bool(self.item())

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __repr__(self):
        return repr(self.host)


def allocation(array):
    """What a view and the array that it is of have in common."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def call(name, function, arguments, options):
    """A function of NumPy as CuPy's of that name."""
    if name in NEEDS_CUBLAS:
        raise ImportError("libcublas is missing: the wheel of CuPy has none")
    if name.removeprefix("a") in REDUCTIONS and {"initial", "where"} & set(options):
        raise TypeError(f"{name}() got an unexpected keyword argument: {sorted(options)}")
    return wrap(function(*plain_all(arguments), **plain_all(options)))


def plain(value):
    """NumPy's view of one operand; refuses arrays that are on the host, of any shape."""
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, np.ndarray):
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
        return ndarray(np.asarray(value))
    return value
