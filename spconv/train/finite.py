"""What is not finite any more, by name. Looked for when something is wrong or is to be saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from spconv.autograd import Tensor
from spconv.compat import Array, array_module
from spconv.layers import Module
from spconv.optim import clip_grad_norm
from spconv.tensor import SparseConvTensor

_HINT = "try a lower learning rate, a warm-up or clip_norm"


def bad_loss(value: float, where: str, step: int, model: Module, inputs: Any) -> FloatingPointError:
    """The error for a loss that is not finite, with what it may come from."""
    if names := _not_finite((path, p.data) for path, p in model.named_parameters()):
        cause = f"not finite {_since(step)}: {names}"
    elif _not_finite([("inputs", _array(inputs))]):
        cause = "the inputs of this batch are not finite"
    else:
        cause = "parameters and inputs are finite"
    return FloatingPointError(
        f"train: the loss is {value} {where}; {cause}; {_HINT}, and check the inputs of this batch"
    )


def clip(parameters: Mapping[str, Tensor], limit: float, where: Callable[[], str]) -> None:
    """Clip the norm of the gradients; FloatingPointError names those that are not finite."""
    try:
        clip_grad_norm(parameters.values(), limit)
    except FloatingPointError as error:
        gradients = [(path, p.grad) for path, p in parameters.items() if p.grad is not None]
        names = _not_finite(gradients) or "their squares"
        raise FloatingPointError(
            f"train: the gradients are not finite {where()}: {names}; nothing was updated: try a "
            "lower learning rate or a warm-up, and look for the operation that overflows"
        ) from error


def check_parameters(model: Module, step: int) -> None:
    """Raise FloatingPointError if a parameter is not finite; ``step`` updates were made."""
    if names := _not_finite((path, p.data) for path, p in model.named_parameters()):
        raise FloatingPointError(
            f"train: not finite {_since(step)}, though the loss was: {names}; nothing is saved: "
            f"{_HINT}, and look for the operation whose gradient overflows"
        )


def _since(step: int) -> str:
    return f"after the update of step {step - 1}" if step else "to begin with"


def _array(inputs: Any) -> Any:
    values = inputs.features if isinstance(inputs, SparseConvTensor) else inputs
    return values.data if isinstance(values, Tensor) else values


def _not_finite(named: Iterable[tuple[str, Array]]) -> str:
    """The first names of arrays with NaN or infinity, empty if there are none."""
    flags = [
        (name, array_module(array).isfinite(array).all())
        for name, array in named
        if getattr(getattr(array, "dtype", None), "kind", None) == "f"
    ]
    finite: Any = True
    for _, flag in flags:  # one look for all: each would wait for a GPU
        finite = finite & flag
    names = [] if bool(finite) else [name for name, flag in flags if not bool(flag)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
