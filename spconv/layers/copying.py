"""Copies of networks that use nothing of the original."""

from __future__ import annotations

import copy
from types import CellType, FunctionType, MethodType
from typing import Any, TypeVar

from spconv.layers.enclosing import enclosing, holdings
from spconv.layers.module import Module

AnyModule = TypeVar("AnyModule", bound=Module)


class Memo(dict[int, Any]):
    """Copies by the id of their original, as ``copy.deepcopy`` keeps them.

    Those of methods are made when they are asked for: what a method is bound to may hold it.
    """

    def __init__(self, methods: list[MethodType]) -> None:
        super().__init__()
        self.methods = {id(method): method for method in methods}

    def get(self, key: int, default: Any = None, /) -> Any:
        if key in self.methods and key not in self:
            method = self.methods[key]
            function = copy.deepcopy(method.__func__, self)
            self.setdefault(key, MethodType(function, copy.deepcopy(method.__self__, self)))
        return super().get(key, default)


def copied(model: AnyModule) -> AnyModule:
    """A deep copy, functions included that enclose a part of the network, such as hooks.

    ``copy.deepcopy`` shares functions, and so what they hold of where they were made.

    Raises
    ------
    TypeError
        If something in it cannot be copied.
    """
    held = enclosing(model, holdings(model).holders)
    functions = [entry for entry in held if isinstance(entry, FunctionType)]
    memo = Memo([entry for entry in held if isinstance(entry, MethodType)])
    for function in functions:
        memo[id(function)] = FunctionType(
            function.__code__,
            function.__globals__,
            function.__name__,
            closure=_cells(function, memo),
        )
    copied = copy.deepcopy(model, memo)
    for function in functions:
        _fill(function, memo)
    return copied


def _cells(function: FunctionType, memo: Memo) -> tuple[CellType, ...] | None:
    """Empty cells for a copy; functions that share a variable share that of their copies."""
    if function.__closure__ is None:
        return None
    return tuple([memo.setdefault(id(cell), CellType()) for cell in function.__closure__])


def _fill(function: FunctionType, memo: Memo) -> None:
    """Give a copied function copies of what its original holds."""
    new: FunctionType = memo[id(function)]
    for cell in function.__closure__ or ():
        if cell != CellType():  # of a variable that has a value
            memo[id(cell)].cell_contents = copy.deepcopy(cell.cell_contents, memo)
    new.__defaults__ = copy.deepcopy(function.__defaults__, memo)
    new.__kwdefaults__ = copy.deepcopy(function.__kwdefaults__, memo)
    new.__qualname__, new.__module__ = function.__qualname__, function.__module__
    new.__doc__ = function.__doc__
    vars(new).update(copy.deepcopy(vars(function), memo))
