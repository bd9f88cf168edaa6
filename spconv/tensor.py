"""SparseConvTensor: features at the active sites of a batch of grids."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spconv.autograd import Tensor, record
from spconv.checks import type_name
from spconv.compat import Array, array_module, is_cupy, to_device
from spconv.dtypes import math_type
from spconv.operators import NoArithmetic
from spconv.rulebook_cache import RulebookCache
from spconv.sites import SiteSet, checked_arguments

OWNER = "SparseConvTensor"


class KeptChannels(NamedTuple):
    """Which of ``total`` channels are stored; the others are zero at every site."""

    slots: NDArray[np.intp]
    total: int


class SparseConvTensor(NoArithmetic):
    """Features at the active sites of ``batch_size`` grids of ``spatial_shape``.

    Parameters
    ----------
    features : ndarray or Tensor (N, C)
        float32 or float64.
    indices : int array_like (N, 1 + ndim)
        Column 0 is the sample in the batch, the others are coordinates; sites are distinct.
    spatial_shape : sequence of ndim ints
    batch_size : int
    ground_state : ndarray or Tensor (C,), optional
        What every inactive site holds (Graham 2014, arXiv 1409.6070, section 2). Without it
        inactive sites are absent, as in the libraries for point clouds.
    check : bool
        False leaves out that no site is given twice, for sites that are known to be distinct.

    Raises
    ------
    TypeError
        For features that are no floating point array or indices that are no integers.
    ValueError
        For wrong shapes, sites outside the grid and sites given twice.

    Examples
    --------
    >>> import numpy as np
    >>> x = SparseConvTensor(np.ones((2, 1)), [[0, 1, 1], [0, 2, 1]], (4, 4), batch_size=1)
    >>> x
    SparseConvTensor(2 sites, 1 channels, batch_size=1, spatial_shape=(4, 4), float64)
    >>> x.dense().shape
    (1, 1, 4, 4)
    """

    __slots__ = ("_features", "channels", "ground_state", "rulebooks", "sites")

    def __init__(
        self,
        features: Array | Tensor,
        indices: Any,
        spatial_shape: Sequence[int],
        batch_size: int,
        ground_state: Array | Tensor | None = None,
        *,
        check: bool = True,
    ) -> None:
        self._features = as_tensor(features, f"{OWNER}: features")
        self.sites = SiteSet(*checked_arguments(indices, spatial_shape, batch_size, OWNER))
        self.ground_state = as_ground(ground_state, self.features)
        self.rulebooks = RulebookCache()
        self.channels: KeptChannels | None = None
        _check_features(self.features, self.ground_state, len(self.sites), OWNER)
        if check:
            self.sites.check(OWNER)
        else:
            self.sites.check_range(OWNER)

    @property
    def features(self) -> Tensor:
        """Features (N, C); assigned arrays become tensors. They are shared, not copied.

        Beside a ground state they are not assigned but replaced, :meth:`replace_feature`.
        """
        return self._features

    @features.setter
    def features(self, features: Array | Tensor) -> None:
        if self.ground_state is not None:
            raise ValueError(
                f"{OWNER}.features: this tensor has a ground state, which changes with them; use "
                "x = x.replace_feature(f(x.features), f(x.ground_state))"
            )
        features = as_tensor(features, f"{OWNER}.features")
        _check_features(features, None, len(self.sites), f"{OWNER}.features")
        if self.channels is not None and features.shape[1] != len(self.channels.slots):
            raise ValueError(
                f"{OWNER}.features: {len(self.channels.slots)} of {self.channels.total} channels "
                f"are stored here, the others were dropped; got {features.shape[1]}"
            )
        self._features = features

    @property
    def indices(self) -> NDArray[np.int32]:
        """Sites (N, 1 + ndim) int32; column 0 is the sample in the batch."""
        return self.sites.indices

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return self.sites.spatial_shape

    @property
    def batch_size(self) -> int:
        return self.sites.batch_size

    @property
    def ndim(self) -> int:
        """Number of spatial dimensions."""
        return self.sites.ndim

    @property
    def num_channels(self) -> int:
        """Number of stored channels C."""
        return self._features._data.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Of the features."""
        return self.features.dtype

    @property
    def device(self) -> str:
        return "cuda" if is_cupy(self.features.data) else "cpu"

    def __len__(self) -> int:
        return len(self.sites)

    def __repr__(self) -> str:
        ground = ", with ground state" if self.ground_state is not None else ""
        return (
            f"SparseConvTensor({len(self)} sites, {self.num_channels} channels, "
            f"batch_size={self.batch_size}, spatial_shape={self.spatial_shape}, "
            f"{self.features.dtype}{ground})"
        )

    def __add__(self, other: SparseConvTensor) -> SparseConvTensor:
        """Sum on equal sites; ``functional.add(x, y, union=True)`` joins different ones."""
        if not isinstance(other, SparseConvTensor):
            return super().__add__(other)
        return add_on_same_sites(self, other, "SparseConvTensor + SparseConvTensor")

    def rows_at(self, indices: Any) -> NDArray[np.int64]:
        """Rows (M,) of the sites (M, 1 + ndim), -1 for those that are not active.

        >>> x = SparseConvTensor(np.ones((2, 1)), [[0, 3], [0, 1]], (4,), batch_size=1)
        >>> x.rows_at([[0, 1], [0, 2], [0, 3], [5, 5]])
        array([ 1, -1,  0, -1])
        """
        sites, _, _ = checked_arguments(
            indices, self.spatial_shape, self.batch_size, f"{OWNER}.rows_at"
        )
        return self.sites.rows_at(sites)

    def replace_feature(
        self, features: Array | Tensor, ground_state: Array | Tensor | None = None
    ) -> SparseConvTensor:
        """Return a tensor on the same sites with other features.

        Parameters
        ----------
        features : ndarray or Tensor (N, C')
        ground_state : ndarray or Tensor (C',), optional
            Must be given if this tensor has one, because only the caller knows what became of
            the inactive sites.
        """
        if self.ground_state is not None and ground_state is None:
            raise ValueError(
                f"{OWNER}.replace_feature: this tensor has a ground state; give the new one as "
                "replace_feature(f(x.features), f(x.ground_state))"
            )
        features = as_tensor(features, f"{OWNER}.replace_feature: features")
        ground = as_ground(ground_state, features)
        _check_features(features, ground, len(self.sites), f"{OWNER}.replace_feature")
        return self.derive(features, ground)

    def derive(
        self,
        features: Tensor,
        ground_state: Tensor | None,
        sites: SiteSet | None = None,
        channels: KeptChannels | None = None,
    ) -> SparseConvTensor:
        """Make an operation's result: trusted arrays, the same rulebook cache."""
        result = SparseConvTensor.__new__(SparseConvTensor)
        result._features = features
        result.ground_state = ground_state
        result.sites = self.sites if sites is None else sites
        result.rulebooks = self.rulebooks
        result.channels = channels
        return result

    def dense(self) -> Tensor:
        """The whole grid, (batch_size, C, *spatial_shape); inactive sites hold the ground state.

        Channels that a :class:`~spconv.BatchwiseDropout` dropped are zero.
        """
        return _dense(self)

    def to(self, device: str) -> SparseConvTensor:
        """Copy the features and the ground state to "cpu" or "cuda"; sites stay on the host."""
        features = _moved(self.features, device)
        ground = None if self.ground_state is None else _moved(self.ground_state, device)
        return self.derive(features, ground, channels=self.channels)

    def detach(self) -> SparseConvTensor:
        """The same values as constants: no gradient goes through."""
        ground = None if self.ground_state is None else self.ground_state.detach()
        return self.derive(self.features.detach(), ground, channels=self.channels)

    def to_scipy(self, sample: int = 0, channel: int = 0):
        """One channel of one 2-D sample as a ``scipy.sparse.coo_array``.

        Raises
        ------
        ValueError
            If the tensor is not 2-D, or its ground state is not zero in that channel.
        IndexError
            If there is no such channel.
        """
        from scipy.sparse import coo_array

        if self.ndim != 2:
            raise ValueError(f"{OWNER}.to_scipy: needs ndim = 2, got {self.ndim}")
        for name, value, end in (
            ("sample", sample, self.batch_size),
            ("channel", channel, self.num_channels),
        ):
            if not 0 <= value < end:
                raise IndexError(f"{OWNER}.to_scipy: {name} must be in 0..{end - 1}, got {value}")
        if self.ground_state is not None and self.ground_state.numpy()[channel] != 0:
            raise ValueError(
                f"{OWNER}.to_scipy: inactive sites of a scipy.sparse matrix are zero, but the "
                f"ground state is {self.ground_state.numpy()[channel]} in channel {channel}"
            )
        rows = np.flatnonzero(self.indices[:, 0] == sample)
        values = self.features.numpy()[rows, channel]
        return coo_array((values, tuple(self.indices[rows, 1:].T)), shape=self.spatial_shape)


def check_same_grid(tensors: Sequence[SparseConvTensor], owner: str) -> None:
    """Raise ValueError unless all have one grid, and all or none a ground state."""
    first = tensors[0]
    for other in tensors[1:]:
        first.sites.check_same_grid(other.sites, owner)
        if (other.ground_state is None) != (first.ground_state is None):
            raise ValueError(
                f"{owner}: one tensor has a ground state and the other has none; give both or "
                "neither"
            )


def check_same_sites(tensors: Sequence[SparseConvTensor], owner: str) -> None:
    """Raise ValueError unless all hold the same sites in the same order."""
    first = tensors[0]
    for other in tensors[1:]:
        if not other.sites.same_as(first.sites):
            raise ValueError(
                f"{owner}: the tensors have different sites ({first.sites.describe()} and "
                f"{other.sites.describe()}, or the same in another order); functional.add and "
                "concat with union=True join them on all sites of either"
            )


def add_on_same_sites(
    x: SparseConvTensor,
    y: SparseConvTensor,
    owner: str,
    total_of: Callable[[Tensor, Tensor], Tensor] = operator.add,
) -> SparseConvTensor:
    """Sum of two tensors with equal channels, on the sites that both hold."""
    check_same_grid((x, y), owner)
    check_same_sites((x, y), owner)
    x, y = all_channels(x), all_channels(y)
    if x.num_channels != y.num_channels:
        raise ValueError(
            f"{owner}: expected equal channels, got {x.num_channels} and {y.num_channels}"
        )
    ground = None
    if x.ground_state is not None and y.ground_state is not None:
        ground = total_of(x.ground_state, y.ground_state)
    total = x.derive(total_of(x.features, y.features), ground)
    total.rulebooks = x.rulebooks.joined([y.rulebooks])
    return total


def _spread(tensor: Tensor, slots: Array, total: int) -> Tensor:
    """Put the channels of the last axis into these slots of ``total``; the others are zero."""
    slots = array_module(tensor.data).asarray(slots)
    data = np.zeros_like(tensor.data, shape=(*tensor.shape[:-1], total))
    data[..., slots] = tensor.data

    def backward(gradient: Array) -> tuple[Array]:
        return (gradient[..., slots],)

    return record(data, (tensor,), backward)


def all_channels(x: SparseConvTensor) -> SparseConvTensor:
    """Store the channels that a :class:`~spconv.BatchwiseDropout` dropped as zeros again."""
    if x.channels is None:
        return x
    ground = None if x.ground_state is None else _spread(x.ground_state, *x.channels)
    return x.derive(_spread(x.features, *x.channels), ground)


def _dense(x: SparseConvTensor) -> Tensor:
    x = all_channels(x)
    xp, wide = array_module(x.features.data), math_type(x.features.dtype)
    where, has_ground = x.sites.columns(xp), x.ground_state is not None
    data = xp.zeros((x.batch_size, *x.spatial_shape, x.num_channels), x.features.dtype)
    if x.ground_state is not None:
        data[...] = x.ground_state.data
    data[where] = x.features.data

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        last = xp.moveaxis(gradient, 1, -1)
        d_features = last[where]
        if not has_ground:
            return d_features, None
        # Of the inactive sites alone: a difference of two sums would be mostly rounding.
        inactive = last.copy()
        inactive[where] = 0
        axes = tuple(range(last.ndim - 1))
        return d_features, inactive.sum(axis=axes, dtype=np.float64).astype(wide)

    return record(xp.moveaxis(data, -1, 1), (x.features, x.ground_state), backward)


def as_tensor(array: Array | Tensor, what: str) -> Tensor:
    if isinstance(array, Tensor):
        return array
    try:
        return Tensor(array)
    except (TypeError, ValueError):
        kind = f"dtype {array.dtype}" if hasattr(array, "dtype") else type_name(array)
        raise TypeError(
            f"{what} must be a floating point array, got {kind}; convert it with .astype('float32')"
        ) from None


def as_ground(ground_state: Array | Tensor | None, features: Tensor) -> Tensor | None:
    if ground_state is None or isinstance(ground_state, Tensor):
        return ground_state
    ground = ground_state if is_cupy(ground_state) else np.asarray(ground_state)
    return Tensor(ground.astype(features.dtype))


def _check_features(features: Tensor, ground: Tensor | None, num_sites: int, owner: str) -> None:
    if features.dtype not in (np.float32, np.float64) and not is_cupy(features.data):
        raise TypeError(
            f"{owner}: features on the CPU must be float32 or float64, got {features.dtype}; "
            "convert them with .astype('float32')"
        )
    if features.ndim != 2 or len(features) != num_sites:
        raise ValueError(
            f"{owner}: features must have shape (N, C) with one row for each of the N = "
            f"{num_sites} sites, got shape {features.shape}"
        )
    if ground is not None and ground.shape != (features.shape[1],):
        raise ValueError(
            f"{owner}: ground_state must have one entry per channel, shape "
            f"({features.shape[1]},), got {ground.shape}"
        )
    if ground is not None and is_cupy(ground.data) != is_cupy(features.data):
        raise TypeError(
            f"{owner}: features and ground_state must be on one device; make both of its arrays"
        )


def _moved(tensor: Tensor, device: str) -> Tensor:
    def backward(gradient: Array) -> tuple[Array]:
        return (to_device(gradient, before),)

    before = "cuda" if is_cupy(tensor.data) else "cpu"
    return (
        tensor if before == device else record(to_device(tensor.data, device), (tensor,), backward)
    )
