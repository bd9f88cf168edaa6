"""Operators that sparse tensors do not have, and what to write in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from spconv.checks import type_name

INSTEAD = "compute with x.features, and x.replace_feature(result) puts them back on its sites"


def _refused(sign: str) -> Callable[..., Any]:
    def refuse(self: Any, other: Any = None) -> NoReturn:
        raise TypeError(
            f"SparseConvTensor {sign}: the one operator is + of two sparse tensors, got "
            f"{type_name(self)}{'' if other is None else f' and {type_name(other)}'}; {INSTEAD}"
        )

    return refuse


class NoArithmetic:
    """What an operator would make of inactive sites only the caller knows."""

    __slots__ = ()

    __add__ = __radd__ = _refused("+")
    __sub__ = __rsub__ = __neg__ = _refused("-")
    __mul__ = __rmul__ = _refused("*")
    __truediv__ = __rtruediv__ = _refused("/")
    __pow__ = __rpow__ = _refused("**")
    __matmul__ = __rmatmul__ = _refused("@")
    __abs__ = _refused("abs")

    def __array_ufunc__(self, function: Any, *arguments: Any, **options: Any) -> NoReturn:
        raise TypeError(f"numpy.{function.__name__}: got a {type_name(self)}; {INSTEAD}")

    __array_function__ = __array_ufunc__
