"""Optimizers: SGD, Adam and AdamW with PyTorch's formulas and defaults.

State is kept by parameter path (``"0.weight"``), has the dtype and the device of the parameter,
and updates it in place; gradients are only read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from spconv.autograd import Parameter, Tensor
from spconv.compat import Array, array_module, to_device

NamedParameters = Iterable[tuple[str, Parameter]]
Slots = dict[str, Array]


class Optimizer:
    """What the optimizers share; a subclass names its numbers and updates one parameter."""

    hyperparameter_names: tuple[str, ...] = ("lr", "weight_decay")
    slot_names: tuple[str, ...] = ()

    def __init__(self, named_parameters: NamedParameters, lr: float, weight_decay: float) -> None:
        self.parameters = _collect(type(self).__name__, named_parameters)
        self._slots: dict[str, Slots] = {}
        self._steps = dict.fromkeys(self.parameters, 0)
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
            If the shape of a gradient is not that of its parameter.
        """
        for path, parameter in self.parameters.items():
            grad = parameter.grad
            if grad is None:
                continue
            if grad.shape != parameter.shape:
                raise ValueError(
                    f"{type(self).__name__}: the gradient of {path} has shape {grad.shape}, the "
                    f"parameter {parameter.shape}; call zero_grad() after replacing a parameter"
                )
            data = parameter.data
            self._steps[path] += 1
            slots, scratch = self._slots_like(path, data), array_module(data).empty_like(data)
            self._update(data, grad, slots, self._steps[path], scratch)
            parameter.data = data

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
        ValueError
            If entries are missing, unexpected or of the wrong shape; nothing is changed then.
        """
        expected = self.state_dict()
        problems = [f"missing {key}" for key in expected if key not in state]
        problems += [f"unexpected {key}" for key in state if key not in expected]
        problems += [
            f"{key} has shape {np.shape(state[key])} instead of {np.shape(expected[key])}"
            for key in expected
            if key in state and np.shape(state[key]) != np.shape(expected[key])
        ]
        name = type(self).__name__
        if problems or state["optimizer"] != name:
            problems = [f"optimizer {state.get('optimizer')}", *problems]
            more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
            raise ValueError(
                f"{name}: the state is of another optimizer or model, build the same ones before "
                f"loading; it has: {'; '.join(problems[:8])}{more}"
            )
        for name in self.hyperparameter_names:
            setattr(self, name, type(expected[name])(state[name]))
        for path, parameter in self.parameters.items():
            self._steps[path] = int(state[f"{path}/step"])
            xp = array_module(parameter.data)
            self._slots[path] = {
                name: xp.array(state[f"{path}/{name}"], dtype=parameter.dtype)
                for name in self.slot_names
            }

    def _update(self, data: Array, grad: Array, slots: Slots, step: int, scratch: Array) -> None:
        """Change ``data`` and ``slots`` in place; ``scratch`` is uninitialized, like ``data``."""
        raise NotImplementedError

    def _slots_like(self, path: str, data: Array) -> Slots:
        """Return the state of a parameter, created or moved to where ``data`` is now."""
        xp = array_module(data)
        slots = self._slots.setdefault(path, {})
        for name in self.slot_names:
            if name not in slots:
                slots[name] = xp.zeros(data.shape, data.dtype)
            elif array_module(slots[name]) is not xp or slots[name].dtype != data.dtype:
                device = "cpu" if xp is np else "cuda"
                slots[name] = to_device(slots[name], device).astype(data.dtype)
        return slots

    def _check(self, name: str, value: float, *, below: float = math.inf) -> float:
        if not 0 <= value < below:
            limit = "finite and >= 0" if below == math.inf else f"in [0, {below:g})"
            raise ValueError(f"{type(self).__name__}: {name} must be {limit}, got {value!r}")
        return float(value)


class SGD(Optimizer):
    r"""Stochastic gradient descent with momentum.

    With the gradient :math:`d` plus ``weight_decay`` times the parameter :math:`p`:
    ``v = momentum * v + d``, then ``p -= lr * v``, or ``p -= lr * (d + momentum * v)`` with
    Nesterov's momentum (Sutskever and others 2013), as in PyTorch.

    Parameters
    ----------
    named_parameters : iterable of (str, Parameter)
        ``model.named_parameters()``.
    lr : float
        Learning rate.
    momentum : float
        Factor that keeps the previous direction.
    nesterov : bool
        Look one step ahead; needs a momentum.
    weight_decay : float
        L2 penalty.

    Raises
    ------
    TypeError
        If bare parameters come instead of (path, parameter) pairs.
    ValueError
        If there are no parameters, a path comes twice, or a number is out of range.

    Examples
    --------
    >>> weight = Parameter(np.array([1.0, 2.0]))
    >>> optimizer = SGD([("weight", weight)], lr=0.5)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    array([0., 0.])
    """

    hyperparameter_names = ("lr", "momentum", "nesterov", "weight_decay")

    def __init__(
        self,
        named_parameters: NamedParameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(named_parameters, lr, weight_decay)
        self.momentum = self._check("momentum", momentum)
        self.nesterov = bool(nesterov)
        self.slot_names = ("momentum",) if momentum else ()
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov=True needs a momentum above 0, got momentum=0")

    def _update(self, data: Array, grad: Array, slots: Slots, step: int, scratch: Array) -> None:
        xp = array_module(data)
        direction = grad
        if self.weight_decay:
            direction = xp.multiply(data, self.weight_decay, out=scratch)
            direction += grad
        if self.momentum:
            velocity = slots["momentum"]
            velocity *= self.momentum
            velocity += direction
            direction = direction + self.momentum * velocity if self.nesterov else velocity
        xp.multiply(direction, self.lr, out=scratch)
        xp.subtract(data, scratch, out=data)


class Adam(Optimizer):
    """Adam with bias correction: Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1.

    Parameters
    ----------
    named_parameters, lr
        As for :class:`SGD`, and so are the errors.
    betas : (float, float)
        Decay of the running means of the gradient and of its square.
    eps : float
        Added to the denominator.
    weight_decay : float
        L2 penalty, added to the gradient; :class:`AdamW` decays the parameters themselves.

    Examples
    --------
    >>> weight = Parameter(np.array([1.0, -2.0]))
    >>> optimizer = Adam([("weight", weight)], lr=0.5)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(6)
    array([ 0.5, -1.5])
    """

    hyperparameter_names = ("lr", "beta1", "beta2", "eps", "weight_decay")
    slot_names = ("mean", "square")

    def __init__(
        self,
        named_parameters: NamedParameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(named_parameters, lr, weight_decay)
        self.beta1 = self._check("betas[0]", betas[0], below=1.0)
        self.beta2 = self._check("betas[1]", betas[1], below=1.0)
        self.eps = self._check("eps", eps)

    def _decay(self, data: Array, grad: Array) -> Array:
        """Apply the weight decay and return the gradient to use; AdamW differs here only."""
        return grad + self.weight_decay * data if self.weight_decay else grad

    def _update(self, data: Array, grad: Array, slots: Slots, step: int, scratch: Array) -> None:
        xp = array_module(data)
        mean, square = slots["mean"], slots["square"]
        grad = self._decay(data, grad)
        mean *= self.beta1
        mean += xp.multiply(grad, 1 - self.beta1, out=scratch)
        square *= self.beta2
        xp.multiply(grad, grad, out=scratch)
        scratch *= 1 - self.beta2
        square += scratch
        xp.sqrt(square, out=scratch)
        scratch /= math.sqrt(1 - self.beta2**step)
        scratch += self.eps
        xp.divide(mean, scratch, out=scratch)
        scratch *= self.lr / (1 - self.beta1**step)
        xp.subtract(data, scratch, out=data)


class AdamW(Adam):
    """Adam with decoupled weight decay: Loshchilov and Hutter 2019 (arXiv 1711.05101).

    Every step first multiplies the parameter by ``1 - lr * weight_decay``. Parameters as
    :class:`Adam`, with PyTorch's default ``weight_decay`` of 0.01.

    >>> weight = Parameter(np.array([1.0]))
    >>> optimizer = AdamW([("weight", weight)], lr=0.5, weight_decay=0.2)
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(6)
    array([0.4])
    """

    def __init__(
        self,
        named_parameters: NamedParameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(named_parameters, lr, betas, eps, weight_decay)

    def _decay(self, data: Array, grad: Array) -> Array:
        data *= 1 - self.lr * self.weight_decay
        return grad


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients together so that their common Euclidean norm is at most ``max_norm``.

    Parameters
    ----------
    parameters : iterable of Tensor
        ``model.parameters()``; those without a gradient are left alone.
    max_norm : float
        Largest norm allowed.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    FloatingPointError
        If the norm is not finite.

    Examples
    --------
    >>> weight = Parameter(np.array([3.0, 4.0]))
    >>> weight.grad = np.array([3.0, 4.0])
    >>> clip_grad_norm([weight], max_norm=1.0), weight.grad.round(3)
    (5.0, array([0.6, 0.8]))
    """
    pairs = _with_gradients("clip_grad_norm", parameters, max_norm)
    squares: Any = 0.0
    for _, grad in pairs:
        squares = squares + (grad.astype(np.float64) ** 2).sum()
    norm = math.sqrt(float(squares))
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"clip_grad_norm: the norm of the gradients is {norm}; lower the learning rate or "
            "look for the operation that overflows"
        )
    scale = max_norm / (norm + 1e-6)
    if scale < 1:
        for tensor, grad in pairs:
            tensor.grad = grad * scale  # out of place: gradient arrays may be shared
    return norm


def clip_grad_value(parameters: Iterable[Tensor], max_value: float) -> None:
    """Clip every element of every gradient to [-``max_value``, ``max_value``].

    >>> weight = Parameter(np.array([3.0, 4.0]))
    >>> weight.grad = np.array([0.5, -4.0])
    >>> clip_grad_value([weight], max_value=1.0)
    >>> weight.grad
    array([ 0.5, -1. ])
    """
    for tensor, grad in _with_gradients("clip_grad_value", parameters, max_value):
        tensor.grad = grad.clip(-max_value, max_value)


def _with_gradients(
    who: str, parameters: Iterable[Tensor], limit: float
) -> list[tuple[Tensor, Array]]:
    if not limit > 0:
        raise ValueError(f"{who}: the limit must be positive, got {limit!r}")
    tensors = list(parameters)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{who}: expected parameters, got {type(tensor).__name__}; pass model.parameters()"
            )
    return [(tensor, tensor.grad) for tensor in tensors if tensor.grad is not None]


def _collect(who: str, named_parameters: NamedParameters) -> dict[str, Parameter]:
    """Check the pairs; a parameter that is shared between layers is kept under its first path."""
    parameters: dict[str, Parameter] = {}
    seen: set[int] = set()
    pairs = named_parameters if isinstance(named_parameters, Iterable) else (named_parameters,)
    for item in pairs:
        path, parameter = item if isinstance(item, tuple) and len(item) == 2 else (None, None)
        if not isinstance(path, str) or not isinstance(parameter, Parameter):
            raise TypeError(
                f"{who}: expected (path, Parameter) pairs, got {type(item).__name__}; pass "
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
