"""Stochastic gradient descent, with PyTorch's formulas and defaults."""

from __future__ import annotations

from typing import Any

import numpy as np

from spconv.ops import get_ops
from spconv.optim.base import Given, Learning, Optimizer
from spconv.optim.groups import Group, Numbers


class SGD(Optimizer):
    r"""Stochastic gradient descent with momentum.

    With the gradient :math:`d` plus ``weight_decay`` times the parameter :math:`p`:
    ``v = momentum * v + d``, then ``p -= lr * v``, or ``p -= lr * (d + momentum * v)`` with
    Nesterov's momentum (Sutskever and others 2013), as in PyTorch.

    Parameters
    ----------
    named_parameters : iterable of (str, Parameter), or list of dicts
        ``model.named_parameters()``, or groups of them: ``"params"``, and beside them the options
        that differ from those given here.
    lr : float
        Learning rate. A group with one of its own keeps its ratio to this one, whatever is
        assigned to ``optimizer.lr``, by a schedule for instance; where every group has its own,
        ``optimizer.lr`` is the largest of them.
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
        If there are no parameters, a path comes twice, a parameter is in two groups, or a number
        is out of range.

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

    No decay for biases and batch normalization, and a slower start for them:

    >>> from spconv import BatchNorm, SparseSequential, SubMConv2d
    >>> net = SparseSequential(SubMConv2d(1, 4, 3), BatchNorm(4))
    >>> vectors = [(path, p) for path, p in net.named_parameters() if p.ndim == 1]
    >>> others = [(path, p) for path, p in net.named_parameters() if p.ndim > 1]
    >>> groups = [{"params": others}, {"params": vectors, "weight_decay": 0.0, "lr": 0.05}]
    >>> optimizer = SGD(groups, lr=0.1, weight_decay=1e-4)
    >>> optimizer.lr = 0.02
    >>> optimizer.groups[1]
    Group(3 parameters, lr_scale=0.5, weight_decay=0.0)
    """

    hyperparameter_names = ("lr", "momentum", "nesterov", "weight_decay")

    def __init__(
        self,
        named_parameters: Given,
        lr: float = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(named_parameters, lr, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov
        for group in self.groups:
            self._numbers(group, self.hyperparameters)

    @property
    def slot_names(self) -> tuple[str, ...]:
        momenta = [group.options.get("momentum", self.momentum) for group in self.groups]
        return ("momentum",) if any(momenta) else ()

    def _check_option(self, owner: str, name: str, value: Any) -> Numbers:
        if name != "nesterov":
            return super()._check_option(owner, name, value)
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{owner}: nesterov must be True or False, got {value!r}")
        return {name: bool(value)}

    def _numbers(self, group: Group, own: Numbers) -> Numbers:
        numbers = super()._numbers(group, own)
        if numbers["nesterov"] and not numbers["momentum"]:
            raise ValueError("SGD: nesterov=True needs a momentum above 0, got momentum=0")
        return numbers

    def _update(self, learning: list[Learning], step: int, numbers: Numbers) -> None:
        get_ops(learning[0][0]).sgd_step(
            [(data, master, grad, slots.get("momentum")) for data, master, grad, slots in learning],
            numbers["lr"],
            numbers["momentum"],
            bool(numbers["nesterov"]),
            numbers["weight_decay"],
        )
