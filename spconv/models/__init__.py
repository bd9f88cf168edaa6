"""Networks."""

from spconv.models.deepcnet import DeepC2, DeepCNet, DeepCNiN
from spconv.models.dense_vgg import DenseVGG
from spconv.models.fmpnet import FMPNet
from spconv.models.pretrained import (
    assamese_vgg,
    mnist_deepc2,
    mnist_deepcnet,
    pendigits_deepcnet,
    pretrained_info,
)
from spconv.models.resnet import ResidualBlock, SparseResNet
from spconv.models.simple_cnn import SimpleCNN
from spconv.models.twin import dense_twin
from spconv.models.unet import SparseUNet
from spconv.models.vgg import PlusBlock, SparseVGG

__all__ = [
    "DeepC2",
    "DeepCNet",
    "DeepCNiN",
    "DenseVGG",
    "FMPNet",
    "PlusBlock",
    "ResidualBlock",
    "SimpleCNN",
    "SparseResNet",
    "SparseUNet",
    "SparseVGG",
    "assamese_vgg",
    "dense_twin",
    "mnist_deepc2",
    "mnist_deepcnet",
    "pendigits_deepcnet",
    "pretrained_info",
]
