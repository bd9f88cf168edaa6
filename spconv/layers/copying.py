"""Copies of networks that use nothing of the original."""

from __future__ import annotations

import copy
from functools import WRAPPER_ASSIGNMENTS, _lru_cache_wrapper, lru_cache
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

from spconv.layers.enclosing import enclosing, holdings
from spconv.layers.module import Module

AnyModule = TypeVar("AnyModule", bound=Module)


class Memo(dict[int, Any]):
    """Copies by the id of their original, as ``copy.deepcopy`` keeps them.

    Those of methods and caches are made when they are asked for: what they run may hold them.
    """

    def __init__(self, late: list[MethodType | _lru_cache_wrapper[Any]]) -> None:
        super().__init__()
        self.late = {id(held): held for held in late}

    def get(self, key: int, default: Any = None, /) -> Any:
        if key in self.late and key not in self:
            held = self.late[key]
            new = self._method(held) if isinstance(held, MethodType) else self._cache(held)
            self.setdefault(key, new)  # unless making it asked for it
        return super().get(key, default)

    def _method(self, method: MethodType) -> MethodType:
        function = copy.deepcopy(method.__func__, self)
        return MethodType(function, copy.deepcopy(method.__self__, self))

    def _cache(self, cached: _lru_cache_wrapper[Any]) -> _lru_cache_wrapper[Any]:
        """An empty one: results are those of the original."""
        return lru_cache(**cached.cache_parameters())(copy.deepcopy(cached.__wrapped__, self))


def copied(model: AnyModule) -> AnyModule:
    """A deep copy, functions included that enclose a part of the network, such as hooks.

    ``copy.deepcopy`` shares functions, and so what they hold of where they were made.

    Raises
    ------
    TypeError
        If something in it cannot be copied.
    """
    objects, holders = holdings(model)
    held = enclosing(model, holders)
    functions = [entry for entry in held if isinstance(entry, FunctionType)]
    caches = [entry for entry in held if isinstance(entry, _lru_cache_wrapper)]
    memo = Memo([*caches, *(entry for entry in held if isinstance(entry, MethodType))])
    memo.update((id(entry), entry) for entry in objects if isinstance(entry, ModuleType))
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
    for entry in [*functions, *caches]:
        vars(memo.get(id(entry))).update(_part(entry, "attributes", vars(entry), memo))
    return copied


def _cells(function: FunctionType, memo: Memo) -> tuple[CellType, ...] | None:
    """Empty cells for a copy; functions that share a variable share that of their copies."""
    if function.__closure__ is None:
        return None
    return tuple([memo.setdefault(id(cell), CellType()) for cell in function.__closure__])


def _fill(function: FunctionType, memo: Memo) -> None:
    """Give a copied function copies of what its original holds."""
    new: FunctionType = memo[id(function)]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != CellType():  # of a variable that has a value
            held = _part(function, f"variable {name}", cell.cell_contents, memo)
            memo[id(cell)].cell_contents = held
    new.__defaults__ = _part(function, "defaults", function.__defaults__, memo)
    new.__kwdefaults__ = _part(function, "defaults", function.__kwdefaults__, memo)
    for name in WRAPPER_ASSIGNMENTS:  # its name, annotations and the like
        setattr(new, name, copy.copy(getattr(function, name)))


def _part(owner: Any, name: str, held: Any, memo: Memo) -> Any:
    """A copy of what a function holds; errors say where that is."""
    try:
        return copy.deepcopy(held, memo)
    except TypeError as error:
        where = getattr(owner, "__qualname__", repr(owner))
        raise TypeError(f"{error}, in the {name} of {where}") from error
