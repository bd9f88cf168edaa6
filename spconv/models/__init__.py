"""Networks."""

from spconv.models.deepcnet import DeepCNet, DeepCNiN
from spconv.models.pretrained import (
    assamese_vgg,
    mnist_deepcnet,
    pendigits_deepcnet,
    pretrained_info,
)
from spconv.models.simple_cnn import SimpleCNN
from spconv.models.twin import dense_twin
from spconv.models.vgg import PlusBlock, SparseVGG

__all__ = [
    "DeepCNet",
    "DeepCNiN",
    "PlusBlock",
    "SimpleCNN",
    "SparseVGG",
    "assamese_vgg",
    "dense_twin",
    "mnist_deepcnet",
    "pendigits_deepcnet",
    "pretrained_info",
]
