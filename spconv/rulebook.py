"""The rulebook: for every kernel offset, which input site feeds which output site.

Graham & van der Maaten 2017 (arXiv 1706.01307), section 4. Convolution, pooling, their
backward and the inverse convolution all run off the same object.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spconv.cached import cached_property
from spconv.geometry import Geometry, IntOrTuple, check_cells
from spconv.kernels import rulebook as kernels
from spconv.kernels.disjoint import Windows
from spconv.kernels.sites import Bitmap, keys_in_lines
from spconv.sites import SiteSet, checked_arguments, fits_bitmap, read_only
from spconv.threads import threads_for

MAX_ROWS = 2**31 - 1
SCRATCH_BYTES = 64 * 2**20
"""Pairs are found in about so much memory at once."""
LINE_CELLS_PER_SITE = 4096
"""With more cells than that in the lines that may have an output, keys are compared instead."""


@dataclass(frozen=True, eq=False)
class Rulebook:
    """Pairs of input and output rows, grouped by kernel offset.

    Parameters
    ----------
    in_rows, out_rows : int32 ndarray (P,)
        Pairs; those of offset k are ``offset_starts[k]:offset_starts[k + 1]``, sorted by output
        row. No row occurs twice on one side of one offset.
    offset_starts : int64 ndarray (K + 1,)
    in_sites, out_sites : SiteSet
    geometry : Geometry
    """

    in_rows: NDArray[np.int32]
    out_rows: NDArray[np.int32]
    offset_starts: NDArray[np.int64]
    in_sites: SiteSet
    out_sites: SiteSet
    geometry: Geometry
    windows_differ: ClassVar[bool] = False
    """Whether windows may have fewer sites than there are offsets: ``pairs_per_output`` tells."""
    # Weak, so that a rulebook and its inverse are freed with the last tensor that uses them.
    _origin: weakref.ref[Rulebook] | None = None

    def __post_init__(self) -> None:
        for name in ("in_rows", "out_rows", "offset_starts"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def __getstate__(self) -> dict[str, Any]:
        """Without the inverse, which is made again where it is needed."""
        kept = {name: value for name, value in vars(self).items() if name != "_swapped"}
        return {**kept, "_origin": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()

    @property
    def out_indices(self) -> NDArray[np.int32]:
        return self.out_sites.indices

    @property
    def out_spatial_shape(self) -> tuple[int, ...]:
        return self.out_sites.spatial_shape

    @property
    def num_pairs(self) -> int:
        return len(self.in_rows)

    @property
    def volume(self) -> int:
        """Number of kernel offsets K."""
        return len(self.offset_starts) - 1

    @property
    def origin(self) -> Rulebook | None:
        """The rulebook that this one is the inverse of, while somebody has it."""
        return self._origin() if self._origin else None

    @property
    def inverse(self) -> Rulebook:
        """The same pairs with input and output exchanged."""
        return self.origin or self._swapped

    @cached_property
    def _swapped(self) -> Rulebook:
        in_rows, out_rows = self.out_rows, self.in_rows
        # Sites that one offset moves stay in order: if rows are sorted, both sides ascend.
        if self.in_sites.order is None and self.out_sites.order is None:
            pass
        elif self.geometry.symmetric:
            # Exchanged, the pairs of an offset are those of the opposite one.
            in_rows, out_rows = (self._reversed(rows) for rows in (self.in_rows, self.out_rows))
        else:
            threads = threads_for(self.num_pairs)
            in_rows, out_rows = kernels.sort_pairs(
                in_rows, out_rows, self.offset_starts, len(self.in_sites), threads
            )
        return Rulebook(
            in_rows,
            out_rows,
            self.offset_starts,
            self.out_sites,
            self.in_sites,
            self.geometry,
            _origin=weakref.ref(self),
        )

    def _reversed(self, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        """The rows of all offsets, the last offset's first."""
        return np.concatenate(np.split(rows, self.offset_starts[1:-1])[::-1])

    @cached_property
    def pairs_per_output(self) -> NDArray[np.int64]:
        """Number of active taps (N_out,) of every output site."""
        return np.bincount(self.out_rows, minlength=len(self.out_sites)).astype(np.int64)

    @property
    def computed(self) -> tuple[str, ...]:
        """Names of what has been computed of the pairs so far, for :meth:`compute` of another."""
        return tuple(name for name in ("_swapped", "pairs_per_output") if name in vars(self))

    def compute(self, names: Sequence[str]) -> None:
        """Compute ahead what is computed on demand."""
        for name in names:
            getattr(self, name)

    @property
    def table(self) -> NDArray[np.int32]:
        """Input row (N_out, K) of every output and offset, -1 where there is none."""
        table = np.full((len(self.out_sites), self.volume), -1, np.int32)
        offset = np.repeat(np.arange(self.volume), np.diff(self.offset_starts))
        table[self.out_rows, offset] = self.in_rows
        return table

    def pairs(self, offset: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Input rows and output rows of one kernel offset, 0 to K - 1."""
        if not 0 <= offset < self.volume:
            raise IndexError(f"Rulebook: offsets are 0 to {self.volume - 1}, got {offset}")
        part = slice(self.offset_starts[offset], self.offset_starts[offset + 1])
        return self.in_rows[part], self.out_rows[part]

    def to_scipy(self, offset: int):
        """Boolean (N_out, N_in) ``scipy.sparse.csr_array`` of one kernel offset."""
        from scipy.sparse import csr_array

        in_rows, out_rows = self.pairs(offset)
        shape = (len(self.out_sites), len(self.in_sites))
        return csr_array((np.ones(len(in_rows), bool), (out_rows, in_rows)), shape=shape)

    def __repr__(self) -> str:
        return (
            f"Rulebook({self.num_pairs} pairs, {self.volume} offsets, "
            f"{len(self.in_sites)} -> {len(self.out_sites)} sites)"
        )


def union_of(sets: tuple[SiteSet, ...]) -> SiteSet:
    """All sites of any of the sets, sorted, on the host."""
    first = sets[0]
    keys = np.unique(np.concatenate([sites.keys for sites in sets]))
    return SiteSet.of_keys(keys, first.spatial_shape, first.batch_size)


def build_rulebook(
    indices: NDArray[np.int32],
    spatial_shape: Sequence[int],
    batch_size: int,
    kernel_size: IntOrTuple,
    stride: IntOrTuple = 1,
    padding: IntOrTuple = 0,
    dilation: IntOrTuple = 1,
    *,
    submanifold: bool = False,
    transposed: bool = False,
    output_padding: IntOrTuple = 0,
) -> Rulebook:
    """Build a rulebook from an array of sites.

    Parameters
    ----------
    indices : int array_like (N, 1 + ndim)
        Distinct sites; column 0 is the sample in the batch.
    spatial_shape : sequence of ndim ints
    batch_size : int
    kernel_size, stride, padding, dilation, output_padding : int or sequence of ndim ints
    submanifold : bool
        Outputs at the input's sites only, in the input's order.
    transposed : bool
        ``out[x * stride - padding + k * dilation] += in[x] W_k``.

    Examples
    --------
    >>> import numpy as np
    >>> book = build_rulebook(np.array([[0, 1, 1]], np.int32), (4, 4), 1, kernel_size=2, stride=2)
    >>> book.out_indices.tolist(), book.out_spatial_shape, book.offset_starts.tolist()
    ([[0, 0, 0]], (2, 2), [0, 0, 0, 0, 1])
    """
    owner = "build_rulebook"
    if submanifold and transposed:
        raise ValueError(f"{owner}: a submanifold convolution is its own transpose; ask for one")
    indices, shape, batch_size = checked_arguments(indices, spatial_shape, batch_size, owner)
    geometry = Geometry.make(
        len(shape),
        kernel_size,
        stride,
        padding,
        dilation,
        output_padding,
        submanifold=submanifold,
        transposed=transposed,
        owner=owner,
    )
    sites = SiteSet(indices, shape, batch_size)
    sites.check(owner)
    return build(sites, geometry, owner)


def build(sites: SiteSet, geometry: Geometry, owner: str) -> Rulebook:
    """Build the rulebook of a checked site set."""
    out_shape = geometry.output_shape(sites.spatial_shape, owner)
    check_cells(out_shape, sites.batch_size, owner)
    fits = fits_bitmap(sites.batch_size * prod(out_shape), len(sites))
    if geometry.disjoint and fits:
        return _build_disjoint(sites, geometry, out_shape, owner)
    num_threads = threads_for(3.0 * len(sites) * geometry.volume)
    in_lines = not fits and _fits_lines(out_shape, sites)
    matcher = kernels.Matcher(
        sites.sorted_indices,
        geometry.kernel_size,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        out_shape,
        geometry.transposed,
        geometry.symmetric,
        in_lines,
        num_threads,
    )
    out_sites = sites
    if geometry.submanifold:
        _index_sites(matcher, sites, fits, in_lines)
    else:
        out_sites = _reached_sites(matcher, out_shape, sites, fits, in_lines, owner)
    check_rows(len(sites), len(out_sites), owner)
    in_rows, out_rows, starts = matcher.pairs(SCRATCH_BYTES)
    if sites.order is not None:
        if geometry.submanifold:
            in_rows, out_rows = kernels.sort_pairs(
                in_rows, out_rows, starts, len(sites), num_threads, sites.order
            )
        else:
            in_rows = sites.order.astype(np.int32)[in_rows]
    return Rulebook(in_rows, out_rows, starts, sites, out_sites, geometry)


def _build_disjoint(
    sites: SiteSet, geometry: Geometry, out_shape: tuple[int, ...], owner: str
) -> Rulebook:
    """Each site has one output at most: two passes over the sites, whatever the kernel's volume."""
    bits = Bitmap(sites.batch_size * prod(out_shape))
    num_threads = threads_for(5.0 * len(sites))
    windows = Windows(sites.sorted_indices, geometry.kernel_size, out_shape, bits, num_threads)
    out_sites = SiteSet.of_keys(_keys(bits, sites, owner), out_shape, sites.batch_size)
    in_rows, out_rows, starts = windows.pairs()
    if sites.order is not None:
        in_rows = sites.order.astype(np.int32)[in_rows]
    return Rulebook(in_rows, out_rows, starts, sites, out_sites, geometry)


def _index_sites(matcher: kernels.Matcher, sites: SiteSet, fits: bool, in_lines: bool) -> None:
    """Let the matcher find rows among the (sorted) input sites."""
    extent = sites.spatial_shape[-1]
    if in_lines:
        lines = Bitmap(sites.num_cells // extent)
        lines.mark(sites.keys, extent)
        fits = lines.total * extent <= LINE_CELLS_PER_SITE * len(sites)
        if fits:
            bits = Bitmap(lines.total * extent)
            bits.mark_in_lines(sites.keys, lines, extent)
            matcher.use_lines(lines)
    elif fits:
        bits = Bitmap(sites.num_cells)
        bits.mark(sites.keys)
    if fits:
        matcher.use_bits(bits)
    else:
        matcher.use_keys(sites.sorted_keys)


def _fits_lines(shape: tuple[int, ...], sites: SiteSet) -> bool:
    """Whether a grid's lines along the last axis are few enough for a bitmap."""
    return len(shape) > 1 and fits_bitmap(sites.batch_size * prod(shape[:-1]), len(sites))


def _reached_sites(
    matcher: kernels.Matcher,
    shape: tuple[int, ...],
    sites: SiteSet,
    fits: bool,
    in_lines: bool,
    owner: str,
) -> SiteSet:
    """Sites that some offset reaches, sorted; the matcher finds rows among them."""
    lines, num_cells = None, sites.batch_size * prod(shape)
    if in_lines:
        line_bits = Bitmap(num_cells // shape[-1])
        matcher.mark(line_bits, lines=True)
        lines = _keys(line_bits, sites, owner)
        num_cells = len(lines) * shape[-1]
        fits = num_cells <= LINE_CELLS_PER_SITE * len(sites)
        if fits:
            matcher.use_lines(line_bits)
    if fits:
        bits = Bitmap(num_cells)
        matcher.mark(bits)
        matcher.use_bits(bits)
        keys = _keys(bits, sites, owner)
        if lines is not None:
            keys_in_lines(keys, lines, shape[-1])
    else:
        keys = matcher.reached_keys()
        matcher.use_keys(keys)
    return SiteSet.of_keys(keys, shape, sites.batch_size)


def _keys(bits: Bitmap, sites: SiteSet, owner: str) -> NDArray[np.int64]:
    """The marked keys, sorted."""
    check_rows(len(sites), bits.total, owner)  # ranks are int32
    return bits.keys(threads_for(bits.total))


def check_rows(num_in: int, num_out: int, owner: str) -> None:
    if max(num_in, num_out) > MAX_ROWS:
        raise ValueError(
            f"{owner}: {num_in} input and {num_out} output sites; rows are int32, so at most "
            f"{MAX_ROWS} sites per tensor: split the batch"
        )
