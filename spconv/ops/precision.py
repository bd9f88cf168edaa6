"""How matrix products of float32 arrays are computed on a GPU."""

from __future__ import annotations

from contextvars import ContextVar

CUDA_PRECISIONS = ("float32", "tf32", "bfloat16")
_precision = ContextVar("cuda_precision", default="float32")


def set_cuda_precision(precision: str) -> None:
    """Choose how matrix products of float32 arrays are computed on a GPU.

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
        neither a copy of the weights nor a loss scaler. Other dtypes have no choice. Nothing has
        been timed on a device yet.

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
    if precision not in CUDA_PRECISIONS:
        raise ValueError(
            f"set_cuda_precision: expected one of {CUDA_PRECISIONS}, got {precision!r}"
        )
    _precision.set(precision)


def get_cuda_precision() -> str:
    """How matrix products of float32 arrays are computed on a GPU: one of ``CUDA_PRECISIONS``."""
    return _precision.get()
