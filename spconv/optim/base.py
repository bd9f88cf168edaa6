"""What the optimizers share.

State is kept by parameter path (``"0.weight"``), has the dtype and the device of the parameter,
and updates it in place; gradients are only read. Parameters of two bytes are updated in float32:
their state is float32, and so is a copy of the parameter itself, the slot ``"master"``, from which
the parameter is rounded (Micikevicius and others 2018, arXiv 1710.03740, section 3.1). An element
that is not what the copy is rounded to was changed by somebody, and counts instead of the copy's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from spconv.checks import check_float, check_int, check_state
from spconv.compat import Array, array_module, is_cupy, to_device
from spconv.dtypes import as_numbers
from spconv.optim.groups import Group, NamedParameters, Numbers, collect

Given = NamedParameters | Iterable[Mapping[str, Any]]
"""What an optimizer is made of: (path, Parameter) pairs, or groups of them."""
Slots = dict[str, Array]
Learning = tuple[Array, Array | None, Array, Slots]
"""Data of a parameter, its master copy if there is one, its gradient and its state."""
MASTER = "master"
"""Name of the float32 copy of a parameter of two bytes."""


class Optimizer:
    """What the optimizers share; a subclass names its numbers and updates one parameter.

    Attributes
    ----------
    lr : float
        Learning rate of the next step; assign to change it, and with it those of all groups. It is
        the constructor's, or the largest of the groups' where each has one of its own. A group
        keeps its ratio to it, :attr:`Group.lr_scale`. The other numbers of the constructor are
        attributes as well, checked when they are assigned.
    parameters : dict of str to Parameter
        By path, those of all groups.
    groups : list of Group
        One, if none was given.
    """

    hyperparameter_names: tuple[str, ...] = ("lr", "weight_decay")

    def __init__(self, named_parameters: Given, lr: float, weight_decay: float) -> None:
        owner = type(self).__name__
        self.parameters, self.groups, rates = collect(owner, named_parameters, self._check_option)
        self._group_of = {path: n for n, group in enumerate(self.groups) for path in group.paths}
        self._slots: dict[str, Slots] = {}
        self._steps = dict.fromkeys(self.parameters, 0)
        # Data and names of state that the slots are known to fit.
        self._fitted: dict[str, tuple[Array, tuple[str, ...]]] = {}
        self.lr = lr
        own = [rate for rate, group in zip(rates, self.groups, strict=True) if group.paths]
        each_has_one = None not in own
        if each_has_one:
            self.lr = max(rate for rate in own if rate is not None)
        for group, rate in zip(self.groups, rates, strict=True):
            if rate and not self.lr:
                raise ValueError(
                    f"{owner}: a group has the learning rate {rate}, the constructor lr=0, which "
                    "nothing keeps a ratio to; give the constructor a rate above 0, the others "
                    'a group with "lr": 0'
                )
            if rate is not None and not (each_has_one and rate == self.lr):
                group.lr_scale = rate / self.lr if rate else 0.0
        self.weight_decay = weight_decay

    def __setattr__(self, name: str, value: Any) -> None:
        """Check the hyperparameters, whoever assigns them."""
        if name in self.hyperparameter_names:
            value = self._check_option(type(self).__name__, name, value)[name]
        object.__setattr__(self, name, value)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Names of the state of every parameter."""
        return ()

    @property
    def hyperparameters(self) -> Numbers:
        """The constructor's numbers by name, with the learning rate as it is now."""
        return {name: getattr(self, name) for name in self.hyperparameter_names}

    def step(self) -> None:
        """Update every parameter that has a gradient; the others stay, and so does their state.

        Raises
        ------
        ValueError
            If the shape of a gradient is not that of its parameter, or a parameter cannot be
            updated in place; nothing is updated then.
        """
        own, names = self.hyperparameters, self.slot_names
        numbers = [self._numbers(group, own) for group in self.groups]
        learning = [
            (p, t, t.data, t.grad) for p, t in self.parameters.items() if t.grad is not None
        ]
        # What has the same numbers is updated together: a GPU needs one launch for it.
        together: dict[tuple[int, int, bool], list[Learning]] = {}
        for path, _, data, grad in learning:
            on_gpu = is_cupy(data)
            if grad.shape != data.shape:
                raise ValueError(
                    f"{type(self).__name__}: the gradient of {path} has shape {grad.shape}, the "
                    f"parameter {data.shape}; call zero_grad() after replacing a parameter"
                )
            if not (data.flags.c_contiguous if on_gpu else data.flags.writeable):
                raise ValueError(
                    f"{type(self).__name__}: {path} cannot be updated in place, its array is "
                    f"{'not contiguous' if on_gpu else 'read-only'}; assign a copy, "
                    "parameter.data = parameter.data.copy()"
                )
            slots = self._slots_like(path, data, names)
            key = self._group_of[path], self._steps[path] + 1, on_gpu
            together.setdefault(key, []).append((data, slots.get(MASTER), grad, slots))
        for (group, step, _), some in together.items():
            self._update(some, step, numbers[group])
        for path, parameter, _, _ in learning:
            self._steps[path] += 1
            parameter.changed_in_place()

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return copies of everything that the next step depends on, except for the parameters.

        Returns
        -------
        dict
            The optimizer's name, the hyperparameters, and for each parameter ``"path/step"``, the
            number of its updates, and ``"path/<state>"``, a NumPy array (zeros before the first);
            ``"groups"`` if their options differ.
        """
        state: dict[str, Any] = {"optimizer": type(self).__name__, **self.hyperparameters}
        if self.groups_differ:
            state["groups"] = [group.state() for group in self.groups]
        for path, parameter in self.parameters.items():
            state[f"{path}/step"] = self._steps[path]
            slots = self._slots_like(path, parameter.data, self.slot_names)
            for name, array in slots.items():
                state[f"{path}/{name}"] = np.array(to_device(array, "cpu"))
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned, hyperparameters and learning rate included.

        Raises
        ------
        TypeError
            For what is no mapping, and entries of other types; nothing is changed then.
        ValueError
            If entries are missing, unexpected, out of range or of the wrong shape; nothing is
            changed then.
        """
        name = type(self).__name__
        check_state(f"{name}.load_state_dict", state)
        expected = self.state_dict()
        if "groups" in state:  # their ratios may have become others since they were made
            expected["groups"] = [group.state() for group in self.groups]
        problems = [f"missing {key}" for key in expected if key not in state]
        problems += [f"unexpected {key}" for key in state if key not in expected]
        problems += [
            f"{key} has shape {np.shape(state[key])} instead of {np.shape(expected[key])}"
            for key in expected
            if key in state and np.shape(state[key]) != np.shape(expected[key])
        ]
        if problems or state["optimizer"] != name:
            problems = [f"optimizer {state.get('optimizer')}", *problems]
            more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
            raise ValueError(
                f"{name}: the state is of another optimizer or model, build the same ones before "
                f"loading; it has: {'; '.join(problems[:8])}{more}"
            )
        groups = self._loaded_groups(state["groups"]) if "groups" in state else self.groups
        numbers: Numbers = {}
        for number in self.hyperparameter_names:
            numbers.update(self._check_option(name, number, state[number]))
        for group in groups:
            self._numbers(group, numbers)
        steps = {
            path: check_int(name, f"{path}/step", state[f"{path}/step"], 0)
            for path in self.parameters
        }
        slots = {
            path: {
                slot: array_module(parameter.data).array(
                    as_numbers(name, f"{path}/{slot}", state[f"{path}/{slot}"]),
                    dtype=_state_dtype(parameter.dtype),
                    order="C",
                )
                for slot in self._slots_like(path, parameter.data, self.slot_names)
            }
            for path, parameter in self.parameters.items()
        }
        for number, value in numbers.items():
            setattr(self, number, value)
        self.groups, self._steps, self._slots = groups, steps, slots

    @property
    def groups_differ(self) -> bool:
        """Whether there are groups with options of their own."""
        return any(group.options or group.lr_scale != 1 for group in self.groups)

    def _update(self, learning: list[Learning], step: int, numbers: Numbers) -> None:
        """Change data, masters and slots in place.

        ``step`` counts the updates of these parameters, this one included; ``numbers`` are the
        hyperparameters of their group.
        """
        raise NotImplementedError

    def _numbers(self, group: Group, own: Numbers) -> Numbers:
        """Hyperparameters of a group of an optimizer whose own are these."""
        numbers = {**own, "lr": own["lr"] * group.lr_scale}
        for name, value in group.options.items():
            numbers.update(self._check_option(group.owner, name, value))
        return numbers

    def _check_option(self, owner: str, name: str, value: Any) -> Numbers:
        """The hyperparameters that an option of a group means."""
        if name not in self.hyperparameter_names:
            raise ValueError(
                f'{owner} has the option {name!r}; expected "params" and some of '
                f"{', '.join(self.hyperparameter_names)}"
            )
        below = 1.0 if name.startswith("beta") else math.inf
        return {name: check_float(owner, name, value, below=below)}

    def _slots_like(self, path: str, data: Array, names: tuple[str, ...]) -> Slots:
        """Return the state of a parameter, created or moved to where ``data`` is now."""
        fitted, known = self._fitted.get(path, (None, ()))
        if fitted is data and known == names:
            return self._slots[path]
        xp, dtype = array_module(data), _state_dtype(data.dtype)
        device = "cpu" if xp is np else "cuda"
        before = self._slots.get(path, {})
        slots = {
            name: before[name] if name in before else xp.zeros(data.shape, dtype) for name in names
        }
        if data.itemsize == 2:
            slots[MASTER] = before.get(MASTER, data)
        slots = {n: to_device(slot, device).astype(dtype, copy=False) for n, slot in slots.items()}
        self._slots[path], self._fitted[path] = slots, (data, names)
        return slots

    def _loaded_groups(self, saved: Any) -> list[Group]:
        groups = []
        for number, (entry, own) in enumerate(zip(saved, self.groups, strict=True)):
            owner = f"{type(self).__name__}: group {number}"
            if not isinstance(entry, Mapping) or entry.get("paths") != list(own.paths):
                raise ValueError(
                    f"{owner} of the state is of other parameters; build the same groups before "
                    "loading"
                )
            options = {name: entry[name] for name in self.hyperparameter_names if name in entry}
            groups.append(Group(owner, own.paths, options, entry.get("lr_scale", 1.0)))
        return groups

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value}" for name, value in self.hyperparameters.items())
        groups = f" in {len(self.groups)} groups" if len(self.groups) > 1 else ""
        return f"{type(self).__name__}({len(self.parameters)} parameters{groups}, {numbers})"


def _state_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype
