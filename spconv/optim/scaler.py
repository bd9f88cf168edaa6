"""Loss scaling: keeps the small gradients of float16 networks from vanishing."""

from __future__ import annotations

from typing import Any

import numpy as np

from spconv.autograd import Tensor
from spconv.compat import array_module
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
        First scale, a power of two.
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
        for name, value in (("scale", scale), ("max_scale", max_scale)):
            if not value > 0 or np.frexp(value)[0] != 0.5:
                raise ValueError(f"LossScaler: {name} must be a power of two, got {value!r}")
        if interval < 1:
            raise ValueError(f"LossScaler: interval must be at least 1, got {interval}")
        self.scale = float(min(scale, max_scale))
        self.interval = int(interval)
        self.max_scale = float(max_scale)
        self.good_steps = 0

    def backward(self, loss: Tensor) -> None:
        """Run backward from ``scale`` times the loss."""
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
        finite: Any = True
        for parameter in optimizer.parameters.values():
            if parameter.grad is not None:
                wide = np.result_type(parameter.grad.dtype, np.float32)
                parameter.grad = parameter.grad.astype(wide) / wide.type(self.scale)
                finite = finite & array_module(parameter.grad).isfinite(parameter.grad).all()
        if not bool(finite):
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
        """Take over what :meth:`state_dict` returned."""
        self.scale, self.good_steps = float(state["scale"]), int(state["good_steps"])
