"""Weights of PyTorch networks, of the other spconv's layers or dense, in this library's layouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from spconv.checks import check_state, type_name
from spconv.dtypes import as_numbers
from spconv.layers import Linear, Module
from spconv.layers.conv import Convolution, SparseConvolution, SparseInverseConv
from spconv.layers.misfit import COUNTER

Layout = Literal["KRSC", "RSCK", "RSKC", "KCRS"]
"""Axes of a sparse convolution's weight there: K output channels, C input channels, RS kernel."""

OWNER = "from_pytorch"
# One letter for any number of dimensions.
_AXES = {"KRSC": "KRC", "RSCK": "RCK", "RSKC": "RKC", "KCRS": "KCR"}
_COUNTERS = (COUNTER, "max_num_voxels_during_training")


def from_pytorch(
    state: Mapping[str, Any], model: Module, layout: Layout = "KRSC", *, strict: bool = True
) -> dict[str, np.ndarray]:
    """The state dict of a PyTorch network, for ``load_state_dict`` of the same network here.

    For networks of the other spconv's sparse layers and of ``torch.nn``'s ``Linear``,
    ``BatchNorm1d``, ``LayerNorm``, ``GroupNorm``, ``InstanceNorm1d``, ``Conv2d/3d`` and
    ``ConvTranspose2d/3d``. What a layer of ``model`` is decides, never a shape, which may fit by
    chance: convolutions get ``(K, in, out)``, a ``Linear`` the transpose, and all else stays as it
    is. A parameter of another module that is a layer's weight as well has that layer's layout.
    Batch counters are dropped. Of a parameter or layer that is in several places, which has an
    entry for each of them there, all have to hold the same. A sparse convolution of size 1 reads
    its memory as ``(in, out)`` there, although its shape is ``(out, 1, 1, 1, in)``: so it is taken.

    Parameters
    ----------
    state : mapping of paths to arrays
        Whatever NumPy can read, such as the tensors of ``torch_model.state_dict()``.
    model : Module
        Its layers have the names that they have there; it is not changed.
    layout : {"KRSC", "RSCK", "RSKC", "KCRS"}
        Axes of the weights that sparse convolutions here get: (out, kernel, in), as spconv 2.2 and
        later have them, (kernel, in, out) or (kernel, out, in), of older files, or "KCRS" where
        ``torch.nn``'s dense convolutions were there: (out, in / groups, kernel), or
        (in, out / groups, kernel) of transposed ones, inverse ones here, too, for whose groups the
        others have no axes.
        Where a kernel is as wide as it has input channels no shape can tell.
    strict : bool
        False converts what has a place in ``model``; load that with ``strict=False``, too.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    TypeError
        If ``state`` is no mapping, or holds what is no array.
    ValueError
        If shapes do not fit or, if ``strict``, paths are missing or unexpected: all are named. If
        the places of one parameter hold different values, or the layout has no axes for a
        transposed convolution with groups.

    Examples
    --------
    >>> import numpy as np, spconv
    >>> theirs = {"0.weight": np.ones((8, 3, 3, 3, 4)), "0.bias": np.zeros(8)}
    >>> net = spconv.SparseSequential(spconv.SubMConv3d(4, 8, 3))
    >>> state = from_pytorch(theirs, net)
    >>> state["0.weight"].shape
    (27, 4, 8)
    >>> net.load_state_dict(state)
    IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    """
    check_state(OWNER, state)
    _check(OWNER, model, layout)
    own = {path: array.shape for path, array in model.state_dict().items()}
    theirs = {path: v for path, v in state.items() if str(path).split(".")[-1] not in _COUNTERS}
    weights = _weights(model)
    places = {path: path for path in own}
    places |= _other_places(model, [path for path in theirs if path not in own], weights)
    arrays = {path: as_numbers(OWNER, path, v) for path, v in theirs.items() if path in places}
    _check_groups(OWNER, {path: weights[path] for path in arrays if path in weights}, layout)
    problems = []
    if strict:
        given = {places[path] for path in arrays}
        problems += [f"missing {path}" for path in own if path not in given]
        problems += [f"unexpected {path}" for path in theirs if path not in places]
    for path, array in arrays.items():
        expected = weights[path].shape(layout) if path in weights else own[places[path]]
        if array.shape != expected:
            others = [o for o in _AXES if path in weights and array.shape == weights[path].shape(o)]
            fits = f", which is that of layout={others[0]!r}" if others else ""
            problems.append(f"{path} has shape {array.shape}{fits}, expected {expected}")
    if problems:
        raise ValueError(
            f"{OWNER}: the state does not fit this {type(model).__name__}: {'; '.join(problems)}; "
            "rename the entries or the attributes of the model; strict=False takes over the names "
            "that both have"
        )
    converted: dict[str, np.ndarray] = {}
    for path, array in arrays.items():
        here = np.array(weights[path].here(array, layout) if path in weights else array, order="C")
        known = converted.setdefault(places[path], here)
        if not (known is here or np.array_equal(known, here, equal_nan=True)):
            raise ValueError(
                f"{OWNER}: {' and '.join(p for p in arrays if places[p] == places[path])} are one "
                f"in this {type(model).__name__}, got different values; leave out all but one, or "
                "give the model one for each"
            )
    return converted


def to_pytorch(model: Module, layout: Layout = "KRSC") -> dict[str, np.ndarray]:
    """The state of a network here in the layouts of PyTorch's: what :func:`from_pytorch` inverts.

    ``torch_model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()},
    strict=False)``: the counters of batches there, which nothing here has, stay as they are. What
    is in several places has an entry for the first, which is enough where they are one there, too.

    Parameters
    ----------
    model : Module
    layout : {"KRSC", "RSCK", "RSKC", "KCRS"}
        Of the weights of sparse convolutions, see :func:`from_pytorch`; "KCRS" for ``torch.nn``'s
        dense ones.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    TypeError
        If ``model`` is no Module.
    ValueError
        If there is no such layout, or it has no axes for a transposed convolution with groups.

    Examples
    --------
    >>> import spconv
    >>> net = spconv.SparseSequential(spconv.SubMConv3d(4, 8, 3))
    >>> to_pytorch(net)["0.weight"].shape
    (8, 3, 3, 3, 4)
    """
    _check("to_pytorch", model, layout)
    weights = _weights(model)
    _check_groups("to_pytorch", weights, layout)
    return {
        path: weights[path].there(array, layout) if path in weights else array
        for path, array in model.state_dict().items()
    }


def _check(owner: str, model: Any, layout: Any) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"{owner}: model must be a Module, got {type_name(model)}")
    if not isinstance(layout, str) or layout not in _AXES:
        raise ValueError(f"{owner}: layout must be one of {[*_AXES]}, got {layout!r}")


def _other_places(model: Module, paths: list[Any], weights: dict[str, _Weight]) -> dict[Any, str]:
    """Where the state here has what is at further paths of the model; adds their weights."""
    first = {id(parameter): path for path, parameter in model.named_parameters()}
    modules = {id(module): path for path, module in model.named_modules()}
    places = {}
    for path in paths:
        holder, name = _holder(model, path) if isinstance(path, str) else (None, "")
        if holder is None:
            continue
        parameter, above = dict(holder.own_parameters()).get(name), modules[id(holder)]
        places[path] = first.get(id(parameter), f"{above}.{name}" if above else name)
        own = _weight(holder) if name == "weight" else None
        if weight := own or weights.get(places[path]):
            weights[path] = weight
    return places


def _holder(module: Module, path: str) -> tuple[Module | None, str]:
    """Which module has the parameter or buffer of a path, the first or not, and its name there."""
    if path in dict(module.own_parameters()) or path in dict(module.own_buffers()):
        return module, path
    for name, child in module.children():
        if path.startswith(f"{name}."):
            holder, rest = _holder(child, path.removeprefix(f"{name}."))
            if holder is not None:
                return holder, rest
    return None, path


def _check_groups(owner: str, weights: Mapping[str, _Weight], layout: str) -> None:
    """The sparse layers that the other layouts come from have no groups: nothing says the axes."""
    undefined = [path for path, weight in weights.items() if weight.is_undefined(layout)]
    if undefined:
        raise ValueError(
            f"{owner}: layout={layout!r} has no axes for the weights of transposed convolutions "
            f"with groups, got {', '.join(undefined)}; pass layout='KCRS', as torch.nn has them"
        )


class _Weight(NamedTuple):
    """A weight that is laid out in another way there."""

    sizes: dict[str, tuple[int, ...]]
    """Of the axes there by letter, R the kernel's."""

    axes: str
    """Their order in torch.nn."""

    sparse: bool = False
    """Whether the order there is that of the file's layout."""

    pointwise: bool = False
    """Multiplied there by its memory, read as (in, out) whatever its shape says."""

    groups: int = 1
    """Of a transposed one: it has the inputs of all groups there and of one here."""

    def is_undefined(self, layout: str) -> bool:
        return self.groups > 1 and self.order(layout) != self.axes

    def order(self, layout: str) -> str:
        return _AXES[layout] if self.sparse and layout != "KCRS" else self.axes

    def shape(self, layout: str) -> tuple[int, ...]:
        return tuple(size for axis in self.order(layout) for size in self.sizes[axis])

    def read_as_memory(self, layout: str) -> bool:
        """Whether it is ``pointwise`` in a file of this layout."""
        return self.pointwise and layout != "KCRS"

    def here(self, array: np.ndarray, layout: str) -> np.ndarray:
        if self.read_as_memory(layout):
            return array.reshape(1, *self.sizes["C"], *self.sizes["K"])
        array = np.moveaxis(array, self.places(layout), [-2, -1])
        if "R" not in self.axes:
            return array
        inputs, outputs = array.shape[-2:]
        array = array.reshape(-1, self.groups, inputs // self.groups, outputs)
        return array.swapaxes(1, 2).reshape(len(array), inputs // self.groups, -1)

    def there(self, array: np.ndarray, layout: str) -> np.ndarray:
        if not self.read_as_memory(layout):
            if "R" in self.axes:
                array = array.reshape(*array.shape[:-1], self.groups, -1).swapaxes(1, 2)
            array = array.reshape(*(n for axis in "RCK" for n in self.sizes.get(axis, ())))
            array = np.moveaxis(array, [-2, -1], self.places(layout))
        return np.array(array, order="C").reshape(self.shape(layout))

    def places(self, layout: str) -> list[int]:
        """Where the axes of the input's and the output's channels are there."""
        letters = "".join(axis * len(self.sizes[axis]) for axis in self.order(layout))
        return [letters.index("C"), letters.index("K")]


def _weights(model: Module) -> dict[str, _Weight]:
    """By path: of the layers, and of a parameter that is first found outside of its layer."""
    weights: dict[str, _Weight] = {}
    shared: dict[int, _Weight] = {}
    for path, module in model.named_modules():
        if weight := _weight(module):
            weights[f"{path}.weight" if path else "weight"] = weight
            shared.setdefault(id(getattr(module, "weight", None)), weight)
    for path, parameter in model.named_parameters():
        if id(parameter) in shared:
            weights.setdefault(path, shared[id(parameter)])
    return weights


def _weight(module: Module) -> _Weight | None:
    """That of a layer whose weight is laid out in another way there."""
    if isinstance(module, Linear):
        rows, columns = module.weight.shape
        return _Weight({"C": (rows,), "K": (columns,)}, "KC")
    if not isinstance(module, Convolution):
        return None
    _, rows, columns = module.weight.shape
    sizes = {"C": (rows,), "K": (columns,), "R": module.geometry.kernel_size}
    axes, groups = "KCR", 1
    if module.geometry.transposed or isinstance(module, SparseInverseConv):
        axes, groups = "CKR", module.groups
        sizes |= {"C": (rows * groups,), "K": (columns // groups,)}
    sparse = isinstance(module, SparseConvolution)
    pointwise = isinstance(module, SparseConvolution) and _is_pointwise(module)
    return _Weight(sizes, axes, sparse, pointwise, groups)


def _is_pointwise(module: SparseConvolution) -> bool:
    """Whether it is one matrix product there: of size 1, and submanifold or without a stride."""
    geometry = module.geometry
    return geometry.volume == 1 and (module.submanifold or max(geometry.stride) == 1)
