"""Containers of layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import Any, overload

from spconv import functional
from spconv.checks import type_name
from spconv.functional._common import check_sparse
from spconv.layers.dropout import BatchwiseDropout
from spconv.layers.fusion import (
    KNOW_CHANNELS,
    SHRINK,
    has_forward_of,
    next_of,
    pooled_first,
    slope_behind,
    takes_residual,
)
from spconv.layers.linear import Linear
from spconv.layers.module import Module, given
from spconv.tensor import SparseConvTensor, all_channels


class SparseSequential(Module):
    """Layers in a row, sparse and dense ones alike.

    Channels that a :class:`BatchwiseDropout` is going to drop are not computed by the
    convolution in front of it either. A rectifier right behind a convolution or a
    :class:`BatchNorm` is computed with it, one in front of a max-pooling behind that where windows
    do not overlap: the values are the same, and it finds fewer of them.

    It changes as a list does: ``net[-1] = layer``, ``del net[2]``, ``net.insert(1, layer)``. What
    is computed together follows, and so do the names in a state, which are positions; an optimizer
    made before does not know of new layers.

    Of one dict the layers have its names, as in ``torch.nn.Sequential(OrderedDict(...))``:
    ``net["conv"]`` is a layer then, as ``net[0]`` is, a new name adds one at the end, and a state
    has these names. Without a name none is added: ``append``, ``insert`` and ``extend`` are errors.

    Parameters
    ----------
    *layers : Module
        Or one mapping of names to them.

    Attributes
    ----------
    layer_names : tuple of str or None

    Examples
    --------
    >>> import numpy as np, spconv
    >>> net = spconv.SparseSequential(
    ...     spconv.SubMConv2d(1, 4, 3), spconv.ReLU(), spconv.SparseMaxPool2d(2)
    ... )
    >>> net(spconv.from_dense(np.eye(4, dtype="float32")[None, None]))
    SparseConvTensor(2 sites, 4 channels, batch_size=1, spatial_shape=(2, 2), float32)
    >>> named = spconv.SparseSequential({"conv": spconv.SubMConv2d(1, 4, 3), "relu": spconv.ReLU()})
    >>> list(named.state_dict()), named["relu"]
    (['conv.weight', 'conv.bias'], ReLU())
    """

    layer_names: tuple[str, ...] | None = None
    folded: bool = False
    """Whether it has fewer layers than it was made of; :func:`spconv.inference.freeze` sets it."""

    def __init__(self, *layers: Module | Mapping[str, Module]) -> None:
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            self.layer_names = names = tuple(map(_checked_name, layers[0]))
            self.layers = _checked(layers[0].values(), names=names)
        else:
            self.layers = _checked(layers)

    def children(self) -> Iterator[tuple[str, Module]]:
        names = self.layer_names or [str(position) for position in range(len(self.layers))]
        yield from zip(names, self.layers, strict=True)
        for name, child in super().children():
            attribute = name.partition(".")[0]
            if attribute != "layers":
                if attribute in names:
                    raise ValueError(
                        f"SparseSequential: {attribute!r} is an attribute and the name of a layer, "
                        "so that a state would hold one of them; rename one"
                    )
                yield name, child

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, position: int | str) -> Module: ...
    @overload
    def __getitem__(self, position: slice) -> SparseSequential: ...
    def __getitem__(self, position: int | str | slice) -> Module:
        """A layer, or some of them in a row."""
        if not isinstance(position, slice):
            return self.layers[self._place(position)]
        if self.layer_names is None:
            return SparseSequential(*self.layers[position])
        names = self.layer_names[position]
        return SparseSequential(dict(zip(names, self.layers[position], strict=True)))

    def __setitem__(self, position: int | str | slice, layer: Module | Iterable[Module]) -> None:
        """Put another layer there, or some of them in the place of a slice."""
        names = self.layer_names
        if isinstance(position, slice):
            self._check_unnamed()
            self.layers[position] = _checked(layer)
        elif isinstance(position, str) and names is not None and position not in names:
            name = _checked_name(position)
            self.layers += _checked([layer], names=[name])
            self.layer_names = (*names, name)
        else:
            place = self._place(position)
            self.layers[place : place + 1 or None] = _checked([layer], place)

    def __delitem__(self, position: int | str | slice) -> None:
        where = position if isinstance(position, slice) else self._place(position)
        del self.layers[where]
        if self.layer_names is not None:
            names = list(self.layer_names)
            del names[where]
            self.layer_names = tuple(names)

    def append(self, layer: Module) -> SparseSequential:
        """Add a layer at the end; returns self."""
        return self.extend([layer])

    def extend(self, layers: Iterable[Module]) -> SparseSequential:
        """Add layers, or those of another sequence, at the end; returns self."""
        self._check_unnamed()
        self.layers += _checked(layers, len(self.layers))
        return self

    def insert(self, position: int, layer: Module) -> SparseSequential:
        """Add a layer in front of that position; returns self."""
        self._check_unnamed()
        place = self._place(position, behind=1)
        self.layers[place:place] = _checked([layer], place)
        return self

    def _place(self, position: Any, behind: int = 0) -> int:
        """A position in the list; ``behind`` counts those behind its end that are one too."""
        fewer = "; a frozen sequence has fewer layers than the one it was made of"
        fewer = fewer if self.folded else ""
        if isinstance(position, str) and self.layer_names is not None:
            if position not in self.layer_names:
                raise KeyError(
                    f"SparseSequential: no layer is named {position!r} among {[*self.layer_names]}"
                    + fewer
                )
            return self.layer_names.index(position)
        try:
            number = index(position)
        except TypeError:
            raise TypeError(
                f"SparseSequential: a position must be an int or a slice, got {type_name(position)}"
            ) from None
        last = len(self.layers) - 1 + behind
        if not -len(self.layers) <= number <= last:
            raise IndexError(
                f"SparseSequential: expected a position in {-len(self.layers)}..{last} of "
                f"{len(self.layers)} layers, got {number}{fewer}"
            )
        return number

    def _check_unnamed(self) -> None:
        if self.layer_names is not None:
            raise TypeError(
                "SparseSequential: its layers have names, so that a new one needs a name too; add "
                "it as net['name'] = layer, or make a new sequence of a dict"
            )

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def _check_input(self, x: Any) -> None:
        """Raise for an input that is not for these layers; the library's networks say which."""

    def forward(self, x: Any) -> Any:
        return self._run(x)

    def _run(self, x: Any, **behind: Any) -> Any:
        """The layers in order; the last does what is ``behind`` it, see :func:`residual_sum`."""
        self._check_input(x)
        kept = slope = None
        layers = pooled_first(self.layers)
        for position, layer in enumerate(layers):
            if behind and position == len(layers) - 1:
                return residual_sum(layer, x, **behind)
            if slope is not None:  # the layer in front has rectified
                slope = None
                continue
            slope = slope_behind(layer, *layers[position + 1 : position + 2])
            if has_forward_of(layer, SHRINK):
                dropout = next_of(layers, position, (BatchwiseDropout,))
                whole = layer.groups > 1 or not (dropout and dropout.acts())
                kept = None if whole else dropout.draw(layer.out_channels)
                x = layer(x, keep=kept, negative_slope=slope)
            elif has_forward_of(layer, (BatchwiseDropout,)) and layer.acts():
                check_sparse("BatchwiseDropout", x)
                if kept is None and next_of(layers, position, (*SHRINK, Linear)):
                    x = all_channels(x)
                    kept = layer.draw(x.num_channels)
                x = layer(x) if kept is None else functional.batchwise_dropout(x, kept)
                kept = None
            else:
                dropped = isinstance(x, SparseConvTensor) and x.channels is not None
                if dropped and not has_forward_of(layer, KNOW_CHANNELS):
                    x = all_channels(x)
                x = layer(x, **given(negative_slope=slope))
        return x if not isinstance(x, SparseConvTensor) else all_channels(x)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(
            f"SparseSequential: a layer's name must be a str without dots, which are between the "
            f"names in a state, got {name!r}"
        )
    return name


def _checked(layers: Any, first: int = 0, names: Sequence[str] = ()) -> list[Module]:
    """Layers as a list; their names or the number of the ``first`` are for messages."""
    if not isinstance(layers, Iterable):
        raise TypeError(
            f"SparseSequential: expected an iterable of layers, got {type_name(layers)}; append() "
            "and net[position] take one layer"
        )
    checked = list(layers)
    for number, layer in enumerate(checked, first):
        if not isinstance(layer, Module):
            hint = "; give them one by one, as *layers" if isinstance(layer, list | tuple) else ""
            hint = "; give all layers in one dict" if isinstance(layer, Mapping) else hint
            label = repr(names[number]) if names else number
            raise TypeError(
                f"SparseSequential: layer {label} must be a Module, got {type_name(layer)}{hint}"
            )
    return checked


def residual_sum(
    layer: Module, x: Any, residual: SparseConvTensor, negative_slope: float | None = None
) -> SparseConvTensor:
    """``residual + layer(x)``, rectified if asked for.

    A convolution, alone or at the end of a :class:`SparseSequential`, adds while its own sums are
    at hand, without another pass over memory; behind other layers, and those whose ``forward`` is
    the user's, it is :func:`spconv.functional.add`.

    Parameters
    ----------
    layer : Module
    x : SparseConvTensor
        What the layer is called with.
    residual : SparseConvTensor
        On the sites of ``layer(x)``, with as many channels, and with a ground state if that has
        one.
    negative_slope : float, optional
        Of a leaky rectifier behind the sum (0: ReLU).

    Examples
    --------
    >>> import numpy as np, spconv
    >>> x = spconv.from_dense(np.eye(4, dtype="float32")[None, None])
    >>> conv = spconv.SubMConv2d(1, 1, 3)
    >>> y = spconv.layers.residual_sum(conv, x, x, negative_slope=0.0)
    >>> np.allclose(y.features.data, spconv.functional.relu(x + conv(x)).features.data)
    True
    """
    if takes_residual(last_layer(layer)):
        run = layer._run if isinstance(layer, SparseSequential) else layer
        return run(x, **given(residual=residual, negative_slope=negative_slope))
    return functional.add(residual, layer(x), negative_slope=negative_slope, owner="residual_sum")


def last_layer(layer: Module) -> Module:
    """What a sequence ends in, at any depth; another layer is its own end."""
    while has_forward_of(layer, (SparseSequential,)) and len(layer):
        layer = layer[-1]
    return layer
