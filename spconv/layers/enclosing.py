"""What a network holds, and which of that encloses a part of it."""

from __future__ import annotations

import gc
from functools import _lru_cache_wrapper
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from spconv.autograd import Tensor
from spconv.layers.module import Module

ATOMS = (int, float, complex, str, bytes, bool, type(None))


class Holdings(NamedTuple):
    """All that something holds, and the direct holders of each by its id."""

    objects: list[Any]
    holders: dict[int, list[Any]]


def holdings(model: Module) -> Holdings:
    """What the modules of a network hold, directly or not."""
    start: list[Any] = [vars(module) for _, module in model.named_modules()]
    holders: dict[int, list[Any]] = {id(held): [] for held in start}
    objects = list(start)
    for held in objects:  # which grows meanwhile
        for entry in _entries(held):
            if type(entry) in ATOMS:
                continue
            if id(entry) not in holders:
                holders[id(entry)] = []
                objects.append(entry)
            holders[id(entry)].append(held)
    return Holdings(objects, holders)


def _entries(held: Any) -> list[Any]:
    """What an object holds directly.

    Of modules nothing, of functions no globals, of caches no results, of tensors not what they
    were computed from.
    """
    if isinstance(held, FunctionType):
        return [held.__closure__, held.__defaults__, held.__kwdefaults__, vars(held)]
    if isinstance(held, _lru_cache_wrapper):
        return [vars(held)]  # which has what it wraps
    if isinstance(held, Tensor):
        return [held.data]
    if isinstance(held, type | ModuleType | Module):
        return []
    return gc.get_referents(held)


def enclosing(model: Module, holders: dict[int, list[Any]]) -> list[Any]:
    """What of it holds a part of a network, or a variable of a function that does."""
    parameters = list(model.parameters())
    waiting: list[Any] = [module for _, module in model.named_modules()]
    waiting += [*parameters, *(parameter.data for parameter in parameters)]
    waiting += [buffer for _, buffer in model.named_buffers()]
    reached: set[int] = set()
    found: list[Any] = []
    while waiting:
        held = waiting.pop()
        if id(held) in reached:
            continue
        reached.add(id(held))
        found.append(held)
        waiting += holders.get(id(held), ())
        if isinstance(held, FunctionType):
            waiting += held.__closure__ or ()
    return found
