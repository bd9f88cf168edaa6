"""Stochastic gradient descent, with PyTorch's formulas and defaults."""

from __future__ import annotations

from spconv.compat import Array
from spconv.ops import get_ops
from spconv.optim.base import NamedParameters, Optimizer, Slots


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
    >>> import numpy as np
    >>> from spconv import Parameter
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

    def _update(
        self, data: Array, master: Array | None, grad: Array, slots: Slots, step: int
    ) -> None:
        get_ops(data).sgd_step(
            data,
            master,
            grad,
            slots.get("momentum"),
            self.lr,
            self.momentum,
            self.nesterov,
            self.weight_decay,
        )
