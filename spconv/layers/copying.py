"""Copies of networks that use nothing of the original."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from types import CellType, FunctionType, ModuleType
from typing import Any, TypeVar

from spconv.autograd import Tensor
from spconv.layers.module import Module

AnyModule = TypeVar("AnyModule", bound=Module)
Memo = dict[int, Any]
"""Copies by the id of their original, as ``copy.deepcopy`` keeps them."""


def copied(model: AnyModule) -> AnyModule:
    """A deep copy, functions included that enclose a part of the network, such as hooks.

    ``copy.deepcopy`` shares functions, and so what they hold of where they were made.

    Raises
    ------
    TypeError
        If something in it cannot be copied.
    """
    memo: Memo = {}
    functions = _enclosing(model)
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


def _enclosing(model: Module) -> list[FunctionType]:
    """The functions of a network that hold a part of it, or share a variable with one that does."""
    learned = [*model.parameters(), *(parameter.data for parameter in model.parameters())]
    own = {id(part) for part in [*(module for _, module in model.named_modules()), *learned]}
    held = [vars(module) for _, module in model.named_modules()]
    functions = [f for f in _reachable(held) if isinstance(f, FunctionType)]
    enclosing: list[FunctionType] = []
    while True:
        found = [f for f in functions if any(id(part) in own for part in _reachable(f))]
        if not found:
            return enclosing
        functions = [f for f in functions if f not in found]
        own |= {id(cell) for f in found for cell in f.__closure__ or ()}
        enclosing += found


def _reachable(start: Any) -> Iterator[Any]:
    """An object and what it holds, directly or not.

    Of modules nothing, of functions no globals, of tensors not what they were computed from.
    """
    stack, seen = [start], {id(start)}
    while stack:
        held = stack.pop()
        yield held
        if isinstance(held, FunctionType):
            found = [held.__closure__, held.__defaults__, held.__kwdefaults__, vars(held)]
        elif isinstance(held, Tensor):
            found = [held.data]
        elif isinstance(held, type | ModuleType | Module):
            continue
        else:
            found = gc.get_referents(held)
        stack += [entry for entry in found if id(entry) not in seen]
        seen.update(map(id, found))


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
