"""Adam and AdamW, with PyTorch's formulas and defaults."""

from __future__ import annotations

import math
from typing import Any

from spconv.checks import check_float
from spconv.ops import get_ops
from spconv.optim.base import Given, Learning, Optimizer
from spconv.optim.groups import Numbers


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
    >>> import numpy as np
    >>> from spconv import Parameter
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
        named_parameters: Given,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(named_parameters, lr, weight_decay)
        self.beta1: float
        self.beta2: float
        for name, value in self._check_option(type(self).__name__, "betas", betas).items():
            setattr(self, name, value)
        self.eps = eps

    def _check_option(self, owner: str, name: str, value: Any) -> Numbers:
        if name != "betas":
            return super()._check_option(owner, name, value)
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise TypeError(f"{owner}: betas must be a pair of numbers, got {value!r}")
        return {
            f"beta{number + 1}": check_float(owner, f"betas[{number}]", beta, below=1.0)
            for number, beta in enumerate(value)
        }

    def _factors(self, step: int, numbers: Numbers) -> dict[str, float]:
        """The numbers of :meth:`spconv.ops.Ops.adam_step`; AdamW differs here only."""
        beta1, beta2 = numbers["beta1"], numbers["beta2"]
        return {
            "beta1": beta1,
            "rest1": 1 - beta1,
            "beta2": beta2,
            "rest2": 1 - beta2,
            "correction": math.sqrt(1 - beta2**step),
            "eps": numbers["eps"],
            "rate": numbers["lr"] / (1 - beta1**step),
            "decay": numbers["weight_decay"],
            "shrink": 1.0,
        }

    def _update(self, learning: list[Learning], step: int, numbers: Numbers) -> None:
        get_ops(learning[0][0]).adam_step(
            [
                (data, master, grad, slots["mean"], slots["square"])
                for data, master, grad, slots in learning
            ],
            self._factors(step, numbers),
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: Loshchilov and Hutter 2019 (arXiv 1711.05101).

    Every step first multiplies the parameter by ``1 - lr * weight_decay``. Parameters as
    :class:`Adam`, with PyTorch's default ``weight_decay`` of 0.01.

    >>> import numpy as np
    >>> from spconv import Parameter
    >>> weight = Parameter(np.array([1.0]))
    >>> optimizer = AdamW([("weight", weight)], lr=0.5, weight_decay=0.2)
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(6)
    array([0.4])
    """

    def __init__(
        self,
        named_parameters: Given,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(named_parameters, lr, betas, eps, weight_decay)

    def _factors(self, step: int, numbers: Numbers) -> dict[str, float]:
        shrink = 1 - numbers["lr"] * numbers["weight_decay"]
        return {**super()._factors(step, numbers), "decay": 0.0, "shrink": shrink}
