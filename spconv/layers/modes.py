"""Training and evaluation of modules, those that decide for themselves included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spconv.layers.module import Module

Modes = list[tuple[Module, bool]]
"""Modules, outer ones first, and whether they train."""


@contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """Afterwards every module trains or evaluates as it did before."""
    before = _modes(model)
    try:
        yield
    finally:
        _set(before)


def let_decide(model: Module) -> None:
    """Have the modules with a ``train`` of their own, of those that train, say which do.

    Whoever made them may not have called it. What evaluates goes on evaluating.
    """
    before = _modes(model)
    for module, training in before:
        if training and module.decides_its_mode():
            module.train()
    _set([(module, training and module.training) for module, training in before])


def trains(model: Module) -> bool:
    """Whether it is to learn: one that decides for itself, if any part of it is."""
    return model.training or (model.decides_its_mode() and any(mode for _, mode in _modes(model)))


def _modes(model: Module) -> Modes:
    return [(module, module.training) for _, module in model.named_modules()]


def _set(modes: Modes) -> None:
    """The given modes; what else a ``train`` of a module's own switches follows it."""
    for module, training in modes:
        if module.decides_its_mode() and module.training != training:
            module.train(training)
    for module, training in modes:
        module.training = training
