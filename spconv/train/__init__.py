"""Training: a loop with progress, log and checkpoints, and a resume to the same bits."""

from spconv.evaluation import Evaluation, evaluate, wilson_interval
from spconv.metrics import class_iou, confusion_matrix, mean_iou
from spconv.train.loaders import Loader
from spconv.train.loop import train
from spconv.train.state import Epoch, History

__all__ = [
    "Epoch",
    "Evaluation",
    "History",
    "Loader",
    "class_iou",
    "confusion_matrix",
    "evaluate",
    "mean_iou",
    "train",
    "wilson_interval",
]
