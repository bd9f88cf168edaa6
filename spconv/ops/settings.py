"""How the engines compute products: settings of the whole process, as the number of threads is."""

from __future__ import annotations

from spconv.kernels import amx

CPU_PRECISIONS = ("float32", "bfloat16x3", "bfloat16x2", "bfloat16")
CUDA_PRECISIONS = ("float32", "tf32", "bfloat16")

_cpu_precision = "float32"
_cuda_precision = "float32"
_cuda_tuning = False


def set_cpu_precision(precision: str) -> None:
    """Choose how convolutions of float32 arrays are computed on the CPU, in all threads.

    The choice is between the vector units and, on Linux on a processor that has it, the matrix
    unit AMX, which multiplies bfloat16 numbers of 8 bits and adds in float32. It holds for the
    forward pass and the input gradient of convolutions and for the forward pass of linear layers.
    Weight gradients, groups of fewer than 32 input or output channels (64 in three parts), where
    AVX-512 is faster, other dtypes and engines held to one instruction set stay on the vector
    units.

    Parameters
    ----------
    precision : {"float32", "bfloat16x3", "bfloat16x2", "bfloat16"}
        "float32", the default, takes the vector units. "bfloat16x3" splits each operand into three
        numbers of 8 bits and takes six products for one: with S the sum of ``|x| |w|`` in an
        output, what is left out is at most 2^-23 S, and sums round as float32's. "bfloat16x2"
        takes two numbers and three products, and leaves out at most 3 * 2^-16 S; "bfloat16" takes
        one of each, at most 2^-7 S. In all three the unit takes parts and partial sums below 2^-126
        for zero, and outputs that an infinity or a NaN reaches are infinite or NaN, more often NaN
        than in float32. Results are the same bits for any number of threads.

    Raises
    ------
    ValueError
        For other names, and where there is no AMX for one of the last three.

    Notes
    -----
    On one core of an Intel Xeon, submanifold layers of 64 to 128 channels take 0.7 to 1.4 times as
    long in "bfloat16x3" as in "float32" on AVX-512, 0.5 to 0.9 times in "bfloat16x2" and 0.3 to 0.6
    times in "bfloat16": the less, the more channels and the less other processes do to the caches.
    So the default is "float32".

    Examples
    --------
    >>> set_cpu_precision("float32")
    >>> get_cpu_precision()
    'float32'
    """
    global _cpu_precision
    if precision not in CPU_PRECISIONS:
        raise ValueError(f"set_cpu_precision: expected one of {CPU_PRECISIONS}, got {precision!r}")
    if precision != "float32" and (missing := amx.missing()):
        raise ValueError(
            f"set_cpu_precision: {precision!r} needs a processor with AMX, and {missing}; "
            'stay with "float32"'
        )
    _cpu_precision = precision


def get_cpu_precision() -> str:
    """How convolutions of float32 arrays are computed on the CPU: one of ``CPU_PRECISIONS``."""
    return _cpu_precision


def set_cuda_precision(precision: str) -> None:
    """Choose how matrix products of float32 arrays are computed on a GPU, in all threads.

    Parameters
    ----------
    precision : {"float32", "tf32", "bfloat16"}
        "float32", the default, takes three products of the tensor cores for one: each operand is
        split into two numbers of 11 bits, and eight products at a time are added to sums outside
        the tensor cores, which cut where float32 arithmetic rounds; so the error is that of
        float32 arithmetic. "tf32" takes one product: operands are rounded to 11 bits, sums are
        the tensor cores'. "bfloat16" stores operands in half the memory while a product is
        computed: rounded to 8 bits, with float32's range and the tensor cores' sums. Features,
        weights and gradients stay float32 arrays in all of them, so that an optimizer needs
        neither a copy of the weights nor a loss scaler. Other dtypes have no choice.

    Raises
    ------
    ValueError
        For other names.

    Examples
    --------
    >>> set_cuda_precision("tf32")
    >>> get_cuda_precision()
    'tf32'
    >>> set_cuda_precision("float32")
    """
    global _cuda_precision
    if precision not in CUDA_PRECISIONS:
        raise ValueError(
            f"set_cuda_precision: expected one of {CUDA_PRECISIONS}, got {precision!r}"
        )
    _cuda_precision = precision


def get_cuda_precision() -> str:
    """How matrix products of float32 arrays are computed on a GPU: one of ``CUDA_PRECISIONS``."""
    return _cuda_precision


def set_cuda_tuning(enabled: bool) -> None:
    """Choose tiles of GPU products by timing them, instead of from a table; in all threads.

    The first product of every shape is run with up to eight tiles; the fastest is remembered, also
    on disk, beside CuPy's kernels (``$CUPY_CACHE_DIR``, by default ``~/.cupy/kernel_cache``).
    Results have the same bits with and without.

    Raises
    ------
    TypeError
        For anything but True or False.

    Examples
    --------
    >>> set_cuda_tuning(True)
    >>> get_cuda_tuning()
    True
    >>> set_cuda_tuning(False)
    """
    global _cuda_tuning
    if not isinstance(enabled, bool):
        raise TypeError(f"set_cuda_tuning: expected True or False, got {enabled!r}")
    _cuda_tuning = enabled


def get_cuda_tuning() -> bool:
    """Whether tiles of GPU products are chosen by timing them."""
    return _cuda_tuning
