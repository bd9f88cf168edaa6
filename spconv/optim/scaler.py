"""Loss scaling: keeps the small gradients of float16 networks from vanishing."""

from __future__ import annotations

import math

from spconv.autograd import Tensor
from spconv.checks import check_float, check_int, check_state, type_name
from spconv.compat import array_module, is_cupy
from spconv.ops import get_ops
from spconv.optim.base import Optimizer
from spconv.optim.clip import clip_grad_norm


class LossScaler:
    """Multiplies the loss before backward and divides the gradients before the step.

    Micikevicius and others 2018 (arXiv 1710.03740), section 3.2, with a scale that adapts: a step
    with a gradient that is not finite is left out and the scale lowered, and it is raised after
    ``interval`` steps in a row without one. Scales are powers of two, so that no gradient loses
    bits to them.

    Parameters
    ----------
    scale : float
        First scale, a power of two; at most ``max_scale`` is taken.
    interval : int
        Number of good steps after which the scale doubles.
    max_scale : float
        2^15 is the largest power of two of float16, the dtype of the loss of a float16 network.

    Raises
    ------
    ValueError
        If a scale is no power of two, or ``interval`` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from spconv import Parameter
    >>> from spconv.optim import SGD
    >>> weight = Parameter(np.array([1.0], np.float16))
    >>> scaler, sgd = LossScaler(scale=1024.0), SGD([("weight", weight)], lr=0.5)
    >>> scaler.backward((weight * weight).sum())
    >>> scaler.step(sgd), weight.data
    (True, array([0.], dtype=float16))
    """

    def __init__(
        self, scale: float = 2.0**15, interval: int = 2000, max_scale: float = 2.0**15
    ) -> None:
        self.max_scale = _power_of_two("LossScaler", "max_scale", max_scale)
        self.scale = min(_power_of_two("LossScaler", "scale", scale), self.max_scale)
        self.interval = check_int("LossScaler", "interval", interval, 1)
        self.good_steps = 0

    def backward(self, loss: Tensor) -> None:
        """Run backward from ``scale`` times the loss."""
        if not isinstance(loss, Tensor):
            raise TypeError(f"LossScaler.backward: expected the loss, got {type_name(loss)}")
        xp = array_module(loss.data)
        loss.backward(xp.full(loss.shape, self.scale, loss.dtype))

    def step(self, optimizer: Optimizer, clip_norm: float | None = None) -> bool:
        """Divide the gradients by the scale, in float32 at least, and update the parameters.

        Parameters
        ----------
        optimizer : Optimizer
        clip_norm : float, optional
            Largest norm of the gradients after the division, as in :func:`clip_grad_norm`.

        Returns
        -------
        bool
            False if a gradient was not finite: nothing is updated then, and the scale is halved.
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"LossScaler.step: expected an Optimizer, got {type_name(optimizer)}; call "
                "scaler.step(optimizer) in the place of optimizer.step()"
            )
        finite = True
        learning = [p for p in optimizer.parameters.values() if p.grad is not None]
        for on_gpu in (False, True):
            here = [p for p in learning if is_cupy(p.grad) == on_gpu]
            if not here:
                continue
            ops = get_ops(here[0].grad)
            gradients, fine = ops.unscale([p.grad for p in here], self.scale)
            for parameter, gradient in zip(here, gradients, strict=True):
                parameter.grad = gradient
            finite = finite and fine
        if not finite:
            self.scale, self.good_steps = max(self.scale / 2, 2.0**-24), 0
            return False
        if clip_norm is not None:
            clip_grad_norm(optimizer.parameters.values(), clip_norm)
        optimizer.step()
        self.good_steps += 1
        if self.good_steps >= self.interval:
            self.scale, self.good_steps = min(2 * self.scale, self.max_scale), 0
        return True

    def state_dict(self) -> dict[str, float]:
        """What the next step depends on."""
        return {"scale": self.scale, "good_steps": self.good_steps}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take over what :meth:`state_dict` returned, the scale up to ``max_scale``.

        Raises
        ------
        TypeError, ValueError
            For anything else; nothing is changed then.
        """
        owner = "LossScaler.load_state_dict"
        check_state(owner, state)
        if set(state) != set(self.state_dict()):
            raise ValueError(f"{owner}: expected scale and good_steps, got {sorted(state)}")
        scale = _power_of_two(owner, "scale", state["scale"])
        self.good_steps = check_int(owner, "good_steps", state["good_steps"], 0)
        self.scale = min(scale, self.max_scale)

    def __repr__(self) -> str:
        return (
            f"LossScaler(scale={self.scale}, interval={self.interval}, "
            f"max_scale={self.max_scale}, good_steps={self.good_steps})"
        )


def _power_of_two(owner: str, name: str, value: float) -> float:
    number = check_float(owner, name, value, positive=True)
    if math.frexp(number)[0] != 0.5:
        raise ValueError(f"{owner}: {name} must be a power of two, got {value!r}")
    return number
