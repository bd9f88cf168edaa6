"""Rulebooks and site sets whose arrays live on the device; the host's are copies on demand."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spconv.cached import cached_property
from spconv.compat import Array, to_device
from spconv.geometry import Geometry
from spconv.rulebook import Rulebook
from spconv.sites import SiteSet, read_only, sites_of

if TYPE_CHECKING:
    from spconv.ops.cuda.store import RulebookStore


class DeviceSites(SiteSet):
    """Sites whose keys (N,) ascend and live on the device.

    ``indices`` and ``keys`` are copied to the host when somebody asks for them.
    """

    def __init__(self, device_keys: Array, spatial_shape: tuple[int, ...], batch_size: int) -> None:
        self.device_keys = device_keys
        self.spatial_shape = spatial_shape
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.device_keys)

    @cached_property
    def keys(self) -> NDArray[np.int64]:
        return to_device(self.device_keys, "cpu")

    @cached_property
    def indices(self) -> NDArray[np.int32]:  # type: ignore[override]
        return sites_of(self.keys, self.extents)

    @cached_property
    def order(self) -> None:
        return None

    def same_as(self, other: SiteSet) -> bool:
        if not isinstance(other, DeviceSites):
            return super().same_as(other)
        return self is other or (
            self.spatial_shape == other.spatial_shape
            and self.batch_size == other.batch_size
            and len(self) == len(other)
            and bool((self.device_keys == other.device_keys).all())
        )

    def columns(self, xp: ModuleType) -> tuple[Array, ...]:
        if xp is np:
            return super().columns(xp)
        rest, columns = self.device_keys, []
        for extent in reversed(self.spatial_shape):
            columns.append(rest % extent)
            rest = rest // extent
        return rest, *reversed(columns)


class DeviceRulebook(Rulebook):
    """A rulebook whose arrays live on the device; the host's are copies made on demand.

    Parameters
    ----------
    make_table : callable
        Gives the input row (K, N_out) of every output and offset, -1 where there is none, int32 on
        the device; called when somebody needs that.
    counts : int32 array (K,) on the device
        Number of pairs of every offset.
    offset_starts : int64 ndarray (K + 1,) on the host
    in_sites, out_sites, geometry
        As of :class:`~spconv.Rulebook`.
    store : RulebookStore
    """

    def __init__(
        self,
        make_table: Callable[[], Array],
        counts: Array,
        offset_starts: NDArray[np.int64],
        in_sites: SiteSet,
        out_sites: SiteSet,
        geometry: Geometry,
        store: RulebookStore,
        origin: weakref.ref[Rulebook] | None = None,
    ) -> None:
        fields = {
            "make_table": make_table,
            "device_counts": counts,
            "offset_starts": read_only(offset_starts),
            "in_sites": in_sites,
            "out_sites": out_sites,
            "geometry": geometry,
            "store": store,
            "_origin": origin,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    make_table: Callable[[], Array]
    device_counts: Array
    store: RulebookStore

    @cached_property
    def device_table(self) -> Array:
        table = self.make_table()
        object.__setattr__(self, "make_table", lambda: table)  # what it was made from may go
        return table

    @cached_property
    def device_pairs(self) -> tuple[Array, Array]:
        """Input rows and output rows (P,) of all pairs."""
        origin = self.origin
        if isinstance(origin, DeviceRulebook) and self._sorted:
            in_rows, out_rows = origin.device_pairs
            return out_rows, in_rows
        return self.store.compact(self.device_table, self.num_pairs)

    @property
    def _sorted(self) -> bool:
        """Whether rows ascend with the sites on both sides: then an offset's pairs do so too."""
        return self.in_sites.order is None and self.out_sites.order is None

    @property
    def num_pairs(self) -> int:
        return int(self.offset_starts[-1])

    @cached_property
    def in_rows(self) -> NDArray[np.int32]:
        return read_only(to_device(self.device_pairs[0], "cpu"))

    @cached_property
    def out_rows(self) -> NDArray[np.int32]:
        return read_only(to_device(self.device_pairs[1], "cpu"))

    @property
    def table(self) -> NDArray[np.int32]:
        return np.ascontiguousarray(to_device(self.device_table, "cpu").T)

    @cached_property
    def pairs_per_output(self) -> Array:
        """Number of active taps (N_out,) of every output site, on the device."""
        return (self.device_table >= 0).sum(axis=0)

    @cached_property
    def _swapped(self) -> Rulebook:
        return DeviceRulebook(
            partial(self.store.invert, self.device_table, len(self.in_sites)),
            self.device_counts,
            self.offset_starts,
            self.out_sites,
            self.in_sites,
            self.geometry,
            self.store,
            weakref.ref(self),
        )
