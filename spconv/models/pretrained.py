"""The networks that come with trained weights, and what is known about their training."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any, TypeVar

from spconv.checkpoint import Checkpoint, load
from spconv.models.deepcnet import DeepC2, DeepCNet
from spconv.models.vgg import Entry, SparseVGG

if TYPE_CHECKING:
    from importlib.abc import Traversable  # importlib.resources.abc from Python 3.11 on

Network = TypeVar("Network", DeepCNet, DeepC2, SparseVGG)

PRETRAINED = ("mnist_deepcnet", "mnist_deepc2", "assamese_vgg", "pendigits_deepcnet")
"""Names of the constructors below; the weights of each are ``weights/<name>.npz``."""


def mnist_deepcnet(pretrained: bool = False, *, dropout: float = 0.0, seed: int = 0) -> DeepCNet:
    """DeepCNet(5, 60) for MNIST: one channel on a field of 96 x 96, 10 classes.

    It was trained on grey values from 0 to 1 with a ground state of 0, the digit of 28 x 28 in
    the middle of the field, as `spconv.data.SparseLoader` gives them.

    Parameters
    ----------
    pretrained : bool
        Load the weights of the package; the network comes in evaluation mode then.
    dropout : float
        At the end, rising from 0 at the input; it holds no parameters.
    seed : int
        For the initial weights and the dropout.

    Raises
    ------
    FileNotFoundError
        If the package came without these weights.

    Examples
    --------
    >>> net = mnist_deepcnet()
    >>> net.field, net.num_parameters()
    (96, 1013410)
    """
    net = DeepCNet(5, 60, in_channels=1, num_classes=10, dropout=dropout, seed=seed)
    return _with_weights(net, "mnist_deepcnet", ground_state=True) if pretrained else net


def mnist_deepc2(pretrained: bool = False, *, dropout: float = 0.0, seed: int = 0) -> DeepC2:
    """DeepC2(4, 32) for MNIST: one channel on a field of 63 x 63, 10 classes.

    Input and parameters as for :func:`mnist_deepcnet`.

    Examples
    --------
    >>> net = mnist_deepc2()
    >>> net.field, net.num_parameters()
    (63, 289418)
    """
    net = DeepC2(4, 32, in_channels=1, num_classes=10, dropout=dropout, seed=seed)
    return _with_weights(net, "mnist_deepc2", ground_state=True) if pretrained else net


def assamese_vgg(pretrained: bool = False, *, dropout: float = 0.0, seed: int = 0) -> SparseVGG:
    """SparseConvNet's VGG+ network for Assamese characters: 3 channels on 95 x 95, 183 classes.

    C8-C8-MP-C16-C16-MP-(C16+8)-(C16+8)-MP-(C24+8)-(C24+8)-MP-C5 to 64-183, layer by layer that
    of ``examples/Assamese_handwriting/VGGplus.py`` there. Parameters as for
    :func:`mnist_deepcnet`.

    Examples
    --------
    >>> net = assamese_vgg()
    >>> net.field, net.num_parameters()
    (95, 97295)
    """
    levels: list[list[Entry]] = [
        [("C", 8), ("C", 8)],
        [("C", 16), ("C", 16)],
        [("C", 16, 8), ("C", 16, 8)],
        [("C", 24, 8), ("C", 24, 8)],
    ]
    spec: list[Entry] = [entry for level in levels for entry in [*level, "MP"]]
    net = SparseVGG(spec, 3, 183, field=95, readout=64, dropout=dropout, seed=seed)
    return _with_weights(net, "assamese_vgg", ground_state=False) if pretrained else net


def pendigits_deepcnet(
    pretrained: bool = False, *, dropout: float = 0.0, seed: int = 0
) -> DeepCNet:
    """DeepCNet(4, 40) for pen-written digits: 7 channels on a field of 48 x 48, 10 classes.

    The channels are those of `spconv.data.Signature` of order 2. Parameters as for
    :func:`mnist_deepcnet`.

    Examples
    --------
    >>> net = pendigits_deepcnet()
    >>> net.field, net.num_parameters()
    (48, 261130)
    """
    net = DeepCNet(4, 40, in_channels=7, num_classes=10, dropout=dropout, seed=seed)
    return _with_weights(net, "pendigits_deepcnet", ground_state=True) if pretrained else net


def pretrained_info(name: str) -> dict[str, Any]:
    """The recipe of trained weights: how they were made, and what they reach.

    Parameters
    ----------
    name : str
        One of :data:`PRETRAINED`.

    Returns
    -------
    dict
        What the training saved as ``recipe``: the command, seed, seconds, test errors, data set
        and the settings of the encoder.

    Raises
    ------
    ValueError
        For another name, and for weights without a recipe.
    FileNotFoundError
        If the package came without these weights.
    """
    checkpoint = _read(name)
    if not isinstance(checkpoint.extra.get("recipe"), dict):
        raise ValueError(
            f"pretrained_info: {checkpoint.path} holds no recipe; save the weights with "
            "spconv.save(path, model, recipe={...})"
        )
    return checkpoint.extra["recipe"]


def weights_folder() -> Traversable:
    """Where the weights lie in the installed package."""
    return files("spconv.models") / "weights"


def _with_weights(net: Network, name: str, *, ground_state: bool) -> Network:
    """Load by order: paths count the layers, and a network trained with dropout has more.

    ``ground_state`` says whether the network was trained on inputs with one.
    """
    checkpoint = _read(name)
    own, saved = list(net.state_dict()), list(checkpoint.model)
    if [_last(path) for path in own] == [_last(path) for path in saved]:
        values = checkpoint.model.values()
        checkpoint = replace(checkpoint, model=dict(zip(own, values, strict=True)))
    checkpoint.restore(net)
    net.trained_with_ground_state = ground_state
    return net.eval()


def _last(path: str) -> str:
    return path.rsplit(".", 1)[-1]


def _read(name: str) -> Checkpoint:
    if name not in PRETRAINED:
        raise ValueError(f"pretrained: expected one of {', '.join(PRETRAINED)}, got {name!r}")
    source = weights_folder() / f"{name}.npz"
    if not source.is_file():
        raise FileNotFoundError(
            f"{name}: this copy of spconv has no trained weights {source}; install a release, "
            f"or train the network and save it there: spconv.save(path, model, recipe={{...}})"
        )
    with as_file(source) as path:
        return load(path)
