"""Spatially-sparse convolutional networks without a deep-learning framework.

A :class:`SparseConvTensor` holds features at active sites; layers compute those only, exactly as
a dense network over the whole grid would (Graham 2014, arXiv 1409.6070).
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

try:
    import spconv.kernels.memory  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "spconv: there are no compiled kernels beside this source folder, which Python finds first "
        "in a clone; install with `pip install -e .`, or start Python in another folder"
    ) from error
from spconv import functional, inference, initializers, optim, porting, schedules
from spconv._version import __version__
from spconv.autograd import Parameter, Tensor, no_grad
from spconv.checkpoint import Checkpoint, load, save
from spconv.conversion import from_dense, from_scipy
from spconv.counting import summary
from spconv.layers import (
    GELU,
    BatchNorm,
    BatchwiseDropout,
    Conv2d,
    Conv3d,
    ConvTranspose2d,
    ConvTranspose3d,
    Dropout,
    Flatten,
    GroupNorm,
    Identity,
    InstanceNorm,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    MaxPool3d,
    Module,
    ReLU,
    Sigmoid,
    SiLU,
    SparseAvgPool1d,
    SparseAvgPool2d,
    SparseAvgPool3d,
    SparseAvgPool4d,
    SparseConv1d,
    SparseConv2d,
    SparseConv3d,
    SparseConv4d,
    SparseConvTranspose1d,
    SparseConvTranspose2d,
    SparseConvTranspose3d,
    SparseConvTranspose4d,
    SparseFractionalMaxPool1d,
    SparseFractionalMaxPool2d,
    SparseFractionalMaxPool3d,
    SparseFractionalMaxPool4d,
    SparseGlobalAvgPool,
    SparseGlobalMaxPool,
    SparseInverseConv1d,
    SparseInverseConv2d,
    SparseInverseConv3d,
    SparseInverseConv4d,
    SparseMaxPool1d,
    SparseMaxPool2d,
    SparseMaxPool3d,
    SparseMaxPool4d,
    SparseSequential,
    SubMConv1d,
    SubMConv2d,
    SubMConv3d,
    SubMConv4d,
    Tanh,
    ToDense,
)
from spconv.memory import get_memory_cache, set_memory_cache
from spconv.ops import (
    get_cpu_precision,
    get_cuda_precision,
    get_cuda_tuning,
    set_cpu_precision,
    set_cuda_precision,
    set_cuda_tuning,
    use_engine,
)
from spconv.rulebook import Rulebook, build_rulebook
from spconv.tensor import SparseConvTensor
from spconv.threads import get_num_threads, set_num_threads

__all__ = [
    "GELU",
    "BatchNorm",
    "BatchwiseDropout",
    "Checkpoint",
    "Conv2d",
    "Conv3d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dropout",
    "Flatten",
    "GroupNorm",
    "Identity",
    "InstanceNorm",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "MaxPool3d",
    "Module",
    "Parameter",
    "ReLU",
    "Rulebook",
    "SiLU",
    "Sigmoid",
    "SparseAvgPool1d",
    "SparseAvgPool2d",
    "SparseAvgPool3d",
    "SparseAvgPool4d",
    "SparseConv1d",
    "SparseConv2d",
    "SparseConv3d",
    "SparseConv4d",
    "SparseConvTensor",
    "SparseConvTranspose1d",
    "SparseConvTranspose2d",
    "SparseConvTranspose3d",
    "SparseConvTranspose4d",
    "SparseFractionalMaxPool1d",
    "SparseFractionalMaxPool2d",
    "SparseFractionalMaxPool3d",
    "SparseFractionalMaxPool4d",
    "SparseGlobalAvgPool",
    "SparseGlobalMaxPool",
    "SparseInverseConv1d",
    "SparseInverseConv2d",
    "SparseInverseConv3d",
    "SparseInverseConv4d",
    "SparseMaxPool1d",
    "SparseMaxPool2d",
    "SparseMaxPool3d",
    "SparseMaxPool4d",
    "SparseSequential",
    "SubMConv1d",
    "SubMConv2d",
    "SubMConv3d",
    "SubMConv4d",
    "Tanh",
    "Tensor",
    "ToDense",
    "__version__",
    "build_rulebook",
    "from_dense",
    "from_scipy",
    "functional",
    "get_cpu_precision",
    "get_cuda_precision",
    "get_cuda_tuning",
    "get_memory_cache",
    "get_num_threads",
    "inference",
    "initializers",
    "load",
    "no_grad",
    "optim",
    "porting",
    "save",
    "schedules",
    "set_cpu_precision",
    "set_cuda_precision",
    "set_cuda_tuning",
    "set_memory_cache",
    "set_num_threads",
    "summary",
    "use_engine",
]

_ON_DEMAND = ("data", "models", "testing", "train")


def __getattr__(name: str) -> ModuleType:
    """``spconv.models`` and the like need no import of their own, and ``import spconv`` no wait."""
    if name in _ON_DEMAND:
        return import_module(f"spconv.{name}")
    raise AttributeError(f"module 'spconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_ON_DEMAND]
