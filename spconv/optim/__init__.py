"""Optimizers: SGD, Adam and AdamW with PyTorch's formulas and defaults; mixed precision."""

from spconv.optim.adam import Adam, AdamW
from spconv.optim.base import Optimizer
from spconv.optim.clip import clip_grad_norm, clip_grad_value
from spconv.optim.groups import Group
from spconv.optim.scaler import LossScaler
from spconv.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Group",
    "LossScaler",
    "Optimizer",
    "clip_grad_norm",
    "clip_grad_value",
]
