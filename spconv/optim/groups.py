"""Which parameters an optimizer updates, and with which options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from spconv.autograd import Parameter
from spconv.checks import check_float, type_name

NamedParameters = Iterable[tuple[str, Parameter]]
Number = float | bool
Numbers = dict[str, Number]
"""Hyperparameters by name."""

_PARAMS = "params"


class Group:
    """Some of an optimizer's parameters, and the options in which they differ from the others.

    Attributes
    ----------
    paths : tuple of str
    lr_scale : float
        The group's learning rate is ``lr_scale * optimizer.lr``; assignable.
    options : dict
        Options of its own other than the rate; for the others those of the optimizer count. They
        are checked in every step.
    owner : str
        For messages.
    """

    def __init__(
        self, owner: str, paths: Iterable[str], options: Numbers, lr_scale: float = 1.0
    ) -> None:
        self.owner = owner
        self.paths = tuple(paths)
        self.options = options
        self.lr_scale = lr_scale

    def __setattr__(self, name: str, value: Any) -> None:
        """An attribute that nothing reads would be a setting that is lost."""
        if name not in ("owner", "paths", "options", "lr_scale", "_lr_scale"):
            instead = "set its lr_scale" if name == "lr" else f"options are options[{name!r}]"
            raise AttributeError(f"{self.owner}: a group has no attribute {name!r}; {instead}")
        super().__setattr__(name, value)

    @property
    def lr_scale(self) -> float:
        return self._lr_scale

    @lr_scale.setter
    def lr_scale(self, value: float) -> None:
        self._lr_scale = check_float(self.owner, "lr_scale", value)

    def state(self) -> dict[str, Any]:
        """Plain values of everything."""
        return {"paths": list(self.paths), "lr_scale": self.lr_scale, **self.options}

    def __repr__(self) -> str:
        numbers = {"lr_scale": self.lr_scale, **self.options}
        text = ", ".join(f"{name}={value}" for name, value in numbers.items())
        return f"Group({len(self.paths)} parameters, {text})"


def collect(
    owner: str,
    given: NamedParameters | Iterable[Mapping[str, Any]],
    check_option: Callable[[str, str, Any], Numbers],
) -> tuple[dict[str, Parameter], list[Group], list[float | None]]:
    """Check pairs, or groups of them.

    A parameter that is shared between layers is kept under its first path.

    Parameters
    ----------
    owner : str
        For messages.
    given : iterable
        (path, Parameter) pairs, or dicts with those as ``"params"`` and options beside them.
    check_option : callable
        ``check_option(owner, name, value)`` gives the hyperparameters that an option means.

    Returns
    -------
    parameters : dict of str to Parameter
    groups : list of Group
    rates : list of float or None
        The groups' own learning rates.
    """
    used_up = isinstance(given, Iterator)
    is_group = isinstance(given, Mapping) and _PARAMS in given
    if is_group or not isinstance(given, Iterable):
        what = "a group alone" if is_group else type_name(given)
        raise TypeError(
            f"{owner}: expected (path, Parameter) pairs or a list of groups, got {what}; pass "
            'model.named_parameters(), or [{"params": pairs, "lr": 0.1}, ...]'
        )
    items = list(given)
    grouped = any(isinstance(item, Mapping) for item in items)
    parameters: dict[str, Parameter] = {}
    groups: list[Group] = []
    rates: list[float | None] = []
    homes: dict[int, tuple[int, str]] = {}
    for number, group in enumerate(items if grouped else [{_PARAMS: items}]):
        who = f"{owner}: group {number}" if grouped else owner
        pairs, options = _split(who, group, check_option)
        paths = []
        for path, parameter in pairs:
            home, first = homes.setdefault(id(parameter), (number, path))
            if home != number:
                raise ValueError(
                    f"{who}: {path} is the parameter {first} of group {home}; every parameter "
                    "belongs to one group"
                )
            if path in parameters:
                raise ValueError(
                    f"{owner}: the path {path!r} comes twice; paths must be unique: choose from "
                    "model.named_parameters(), or prefix those of a part with "
                    'part.named_parameters("part")'
                )
            if path == first:
                parameters[path] = parameter
                paths.append(path)
        rate = options.pop("lr", None)
        rates.append(None if rate is None else float(rate))
        groups.append(Group(who, paths, options))
    if not parameters:
        why = "was the iterator read before? call" if used_up else "is the model empty? Pass"
        raise ValueError(
            f"{owner}: there are no parameters to optimize; {why} model.named_parameters()"
        )
    return parameters, groups, rates


def _split(
    who: str, group: Any, check_option: Callable[[str, str, Any], Numbers]
) -> tuple[list[tuple[str, Parameter]], Numbers]:
    """The pairs of a group and its options."""
    if not isinstance(group, Mapping):
        raise TypeError(
            f"{who} must be a dict as the others are, got {type_name(group)}; pass "
            '[{"params": pairs, "lr": 0.1}, ...]'
        )
    if _PARAMS not in group:
        raise ValueError(f'{who} has no "params", got {list(group)}; they are its pairs')
    given = group[_PARAMS]
    pairs = list(given) if isinstance(given, Iterable) else [given]
    if not pairs and isinstance(given, Iterator):
        raise ValueError(
            f"{who} has an iterator that gives no parameters; was it read before? Call "
            "named_parameters() again for every group, or pass a list if there may be none"
        )
    for pair in pairs:
        path, parameter = pair if isinstance(pair, tuple) and len(pair) == 2 else (None, None)
        if not isinstance(path, str) or not isinstance(parameter, Parameter):
            raise TypeError(
                f"{who}: expected (path, Parameter) pairs, got {type_name(pair)}; pass "
                "model.named_parameters()"
            )
    options: Numbers = {}
    for name, value in group.items():
        if name != _PARAMS:
            options.update(check_option(who, name, value))
    return pairs, options
