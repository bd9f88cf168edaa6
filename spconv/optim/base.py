"""What the optimizers share.

State is kept by parameter path (``"0.weight"``), has the dtype and the device of the parameter,
and updates it in place; gradients are only read. Parameters of two bytes are updated in float32:
their state is float32, and so is a copy of the parameter itself, the slot ``"master"``, from which
the parameter is rounded (Micikevicius and others 2018, arXiv 1710.03740, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from spconv.autograd import Parameter
from spconv.checks import check_float, check_state, type_name
from spconv.compat import Array, array_module, to_device

NamedParameters = Iterable[tuple[str, Parameter]]
Slots = dict[str, Array]
MASTER = "master"
"""Name of the float32 copy of a parameter of two bytes."""


class Optimizer:
    """What the optimizers share; a subclass names its numbers and updates one parameter."""

    hyperparameter_names: tuple[str, ...] = ("lr", "weight_decay")
    slot_names: tuple[str, ...] = ()

    def __init__(self, named_parameters: NamedParameters, lr: float, weight_decay: float) -> None:
        self.parameters = _collect(type(self).__name__, named_parameters)
        self._slots: dict[str, Slots] = {}
        self._steps = dict.fromkeys(self.parameters, 0)
        # As the last step left them, if their slots are as well.
        self._updated: dict[str, Array] = {}
        self.lr = lr
        self.weight_decay = self._check("weight_decay", weight_decay)

    @property
    def lr(self) -> float:
        """Learning rate of the next step; assign to change it."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = self._check("lr", value)

    @property
    def hyperparameters(self) -> dict[str, float | bool]:
        """The constructor's numbers by name, with the learning rate as it is now."""
        return {name: getattr(self, name) for name in self.hyperparameter_names}

    def step(self) -> None:
        """Update every parameter that has a gradient; the others stay, and so does their state.

        Raises
        ------
        ValueError
            If the shape of a gradient is not that of its parameter; nothing is updated then.
        """
        learning = [(p, t, t.grad) for p, t in self.parameters.items() if t.grad is not None]
        for path, parameter, grad in learning:
            if grad.shape != parameter.shape:
                raise ValueError(
                    f"{type(self).__name__}: the gradient of {path} has shape {grad.shape}, the "
                    f"parameter {parameter.shape}; call zero_grad() after replacing a parameter"
                )
        for path, parameter, grad in learning:
            data, step = parameter.data, self._steps[path] + 1
            slots = self._slots_like(path, data)
            self._update(data, slots.get(MASTER), grad, slots, step)
            self._steps[path] = step
            parameter.changed_in_place()
            self._updated[path] = data

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
            number of its updates, and ``"path/<state>"``, a NumPy array (zeros before the first).
        """
        state: dict[str, Any] = {"optimizer": type(self).__name__, **self.hyperparameters}
        for path, parameter in self.parameters.items():
            state[f"{path}/step"] = self._steps[path]
            for name, array in self._slots_like(path, parameter.data).items():
                state[f"{path}/{name}"] = np.array(to_device(array, "cpu"))
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned, hyperparameters and learning rate included.

        Raises
        ------
        TypeError
            For what is no mapping; nothing is changed then.
        ValueError
            If entries are missing, unexpected or of the wrong shape; nothing is changed then.
        """
        name = type(self).__name__
        check_state(f"{name}.load_state_dict", state)
        expected = self.state_dict()
        problems = [f"missing {key}" for key in expected if key not in state]
        problems += [f"unexpected {key}" for key in state if key not in expected]
        problems += [
            f"{key} has shape {np.shape(state[key])} instead of {np.shape(expected[key])}"
            for key in expected
            if key in state and np.shape(state[key]) != np.shape(expected[key])
        ]
        problems += [
            f"{key} is {state[key]}"
            for key in expected
            if key in state and key.endswith("/step") and int(state[key]) < 0
        ]
        if problems or state["optimizer"] != name:
            problems = [f"optimizer {state.get('optimizer')}", *problems]
            more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
            raise ValueError(
                f"{name}: the state is of another optimizer or model, build the same ones before "
                f"loading; it has: {'; '.join(problems[:8])}{more}"
            )
        numbers = {
            number: type(expected[number])(check_float(name, number, state[number]))
            for number in self.hyperparameter_names
        }
        slots = {
            path: {
                slot: array_module(parameter.data).array(
                    state[f"{path}/{slot}"], dtype=_state_dtype(parameter.dtype)
                )
                for slot in self._names(parameter.data)
            }
            for path, parameter in self.parameters.items()
        }
        for number, value in numbers.items():
            setattr(self, number, value)
        self._steps = {path: int(state[f"{path}/step"]) for path in self.parameters}
        self._slots = slots
        self._updated.clear()

    def _update(
        self, data: Array, master: Array | None, grad: Array, slots: Slots, step: int
    ) -> None:
        """Change ``data``, ``master`` if there is one, and ``slots`` in place."""
        raise NotImplementedError

    def _names(self, data: Array) -> tuple[str, ...]:
        return self.slot_names + ((MASTER,) if data.itemsize == 2 else ())

    def _slots_like(self, path: str, data: Array) -> Slots:
        """Return the state of a parameter, created or moved to where ``data`` is now."""
        if self._updated.get(path) is data:
            return self._slots[path]
        xp, dtype = array_module(data), _state_dtype(data.dtype)
        slots = self._slots.setdefault(path, {})
        names = self._names(data)
        for name in names:
            if name not in slots:
                slots[name] = data.astype(dtype) if name == MASTER else xp.zeros(data.shape, dtype)
            elif array_module(slots[name]) is not xp or slots[name].dtype != dtype:
                device = "cpu" if xp is np else "cuda"
                slots[name] = to_device(slots[name], device).astype(dtype)
        if MASTER not in names:
            slots.pop(MASTER, None)
        elif not (slots[MASTER].astype(data.dtype) == data).all():
            # Somebody has put other values there: they count.
            slots[MASTER] = data.astype(dtype)
        self._updated.pop(path, None)
        return slots

    def _check(self, name: str, value: float, *, below: float = math.inf) -> float:
        return check_float(type(self).__name__, name, value, below=below)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value}" for name, value in self.hyperparameters.items())
        return f"{type(self).__name__}({len(self.parameters)} parameters, {numbers})"


def _state_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def _collect(who: str, named_parameters: NamedParameters) -> dict[str, Parameter]:
    """Check the pairs; a parameter that is shared between layers is kept under its first path."""
    parameters: dict[str, Parameter] = {}
    seen: set[int] = set()
    pairs = named_parameters if isinstance(named_parameters, Iterable) else (named_parameters,)
    for item in pairs:
        path, parameter = item if isinstance(item, tuple) and len(item) == 2 else (None, None)
        if not isinstance(path, str) or not isinstance(parameter, Parameter):
            raise TypeError(
                f"{who}: expected (path, Parameter) pairs, got {type_name(item)}; pass "
                "model.named_parameters()"
            )
        if path in parameters:
            raise ValueError(f"{who}: the path {path!r} comes twice; paths must be unique")
        if id(parameter) not in seen:
            seen.add(id(parameter))
            parameters[path] = parameter
    if not parameters:
        raise ValueError(f"{who}: there are no parameters to optimize; is the model empty?")
    return parameters
