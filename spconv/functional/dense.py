"""Layers on whole grids (batch_size, C, *spatial_shape): the baselines of the sparse ones.

A dense layer is a sparse one whose sites are all active: sample by sample, channels last, over a
rulebook of the whole grid, which is kept for the next call. Weights have the sparse layers' layout
(K, C_in, C_out). The independent references for tests are in :mod:`spconv.testing`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from types import ModuleType

import numpy as np

from spconv.autograd import Tensor, needs_gradient, record
from spconv.checks import check_int, type_name
from spconv.compat import Array, array_module
from spconv.functional._arguments import check_geometry, check_tensor, check_weight
from spconv.functional._common import (
    cast,
    check_channels,
    check_compiled,
    check_device,
    common_dtype,
)
from spconv.geometry import Geometry, ntuple
from spconv.locks import Lock
from spconv.ops import Epilogue, get_ops
from spconv.rulebook import Rulebook, build
from spconv.sites import SiteSet
from spconv.tensor import SparseConvTensor

SIZE_KEPT = 2**24
"""Pairs and sites of all rulebooks of whole grids that are kept, about 300 MB; that which was used
last is kept in any case."""
_kept: dict[tuple[tuple[int, ...], Geometry], Rulebook] = {}
_lock = Lock()


def dense_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int = 1,
    *,
    owner: str = "dense_conv",
) -> Tensor:
    """Convolution of every site, padded with zeros; or transposed, if the geometry is.

    Outputs that a transposed one does not reach, because of a stride above the kernel's size, hold
    the bias.
    """
    _check_grid(owner, x, geometry)
    groups = check_int(owner, "groups", groups, 1)
    check_weight(owner, weight, bias, geometry.volume, groups)
    check_channels(owner, weight.shape[1] * groups, x)
    check_device(owner, x, weight, bias)
    dtype, ops, xp = common_dtype(x, weight, bias), get_ops(x.data), array_module(x.data)
    check_compiled(owner, dtype, ops)
    rulebook = _whole_grid(x.shape[2:], geometry, owner)
    rows, w = _to_rows(cast(x, dtype)), cast(weight, dtype)
    epilogue = Epilogue(None if bias is None else cast(bias, dtype))
    places = _reached(rulebook, xp)
    y = xp.empty((x.shape[0], prod(rulebook.out_spatial_shape), weight.shape[2]), dtype)
    if not isinstance(places, slice):
        y[:] = 0 if bias is None else cast(bias, dtype)
    for sample, sites in enumerate(rows):
        y[sample, places] = ops.convolve(sites, w, rulebook, groups, epilogue=epilogue)
    inputs, shape = (x, weight, bias), x.shape
    wanted = [needs_gradient(tensor) for tensor in inputs]

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        dy = _to_rows(gradient)
        dx, dw = xp.empty_like(rows), xp.zeros_like(w)
        for sample in range(len(dy)):
            reached = dy[sample, places]
            if wanted[0]:
                dx[sample] = ops.convolve(reached, w, rulebook.inverse, groups, transposed=True)
            if wanted[1]:
                dw += ops.weight_gradient(rows[sample], reached, rulebook, groups)
        return (
            _to_grid(dx, shape[2:]) if wanted[0] else None,
            dw if wanted[1] else None,
            ops.sum_rows(dy.reshape(-1, dy.shape[2])) if wanted[2] else None,
        )

    return record(_to_grid(y, rulebook.out_spatial_shape), inputs, backward)


def dense_max_pool(x: Tensor, geometry: Geometry, *, owner: str = "dense_max_pool") -> Tensor:
    """Largest value of every window; padding never wins. Of equal values the first wins."""
    _check_grid(owner, x, geometry)
    dtype, ops, xp = common_dtype(x), get_ops(x.data), array_module(x.data)
    rulebook = _whole_grid(x.shape[2:], geometry, owner)
    rows, shape = _to_rows(cast(x, dtype)), x.shape
    y = xp.empty((shape[0], len(rulebook.out_sites), shape[1]), dtype)
    winner = xp.empty(y.shape, xp.int32)
    for sample, sites in enumerate(rows):
        y[sample], winner[sample] = ops.max_pairs(sites, rulebook)

    def backward(gradient: Array) -> tuple[Array]:
        dy = _to_rows(gradient)
        dx = xp.empty((dy.shape[0], len(rulebook.in_sites), dy.shape[2]), dy.dtype)
        for sample in range(len(dy)):
            dx[sample] = ops.max_pairs_gradient(dy[sample], winner[sample], rulebook)
        return (_to_grid(dx, shape[2:]),)

    return record(_to_grid(y, rulebook.out_spatial_shape), (x,), backward)


def _whole_grid(spatial_shape: tuple[int, ...], geometry: Geometry, owner: str) -> Rulebook:
    """Rulebook of one sample with every site active; kept in the place of those used long ago."""
    key = spatial_shape, geometry
    rulebook = _kept.get(key) or _built(spatial_shape, geometry, owner)
    with _lock:
        _kept.pop(key, None)
        _kept[key] = rulebook
        # By size, not number: of one more than is kept, a network would build all in every step.
        while len(_kept) > 1 and sum(map(_size, _kept.values())) > SIZE_KEPT:
            del _kept[next(iter(_kept))]
    return rulebook


def _size(rulebook: Rulebook) -> int:
    """Number of pairs and sites; each takes about 18 bytes with what backward makes of them."""
    return rulebook.num_pairs + len(rulebook.in_sites) + len(rulebook.out_sites)


def _built(spatial_shape: tuple[int, ...], geometry: Geometry, owner: str) -> Rulebook:
    """Taps outside the grid have no pairs."""
    rulebook = build(SiteSet.of_grid(spatial_shape, 1), geometry, owner)
    if not geometry.transposed and isinstance(_reached(rulebook, np), np.ndarray):
        raise ValueError(
            f"{owner}: padding {geometry.padding} leaves windows without any site of the grid "
            f"{spatial_shape}; use a padding smaller than the kernel's reach"
        )
    return rulebook


def _reached(rulebook: Rulebook, xp: ModuleType) -> Array | slice:
    """Which sites of the output grid are the rulebook's; all of them as a slice."""
    if len(rulebook.out_sites) == prod(rulebook.out_spatial_shape):
        return slice(None)
    return xp.asarray(rulebook.out_sites.keys)


def _check_grid(owner: str, x: Tensor, geometry: Geometry) -> None:
    check_geometry(owner, geometry)
    if not isinstance(x, Tensor):
        sparse = isinstance(x, SparseConvTensor)
        fix = "use x.dense()" if sparse else "wrap an array in spconv.Tensor"
        raise TypeError(f"{owner}: expected a Tensor, got {type_name(x)}; {fix}")
    if x.ndim != 2 + geometry.ndim:
        raise ValueError(
            f"{owner}: expected (batch_size, C, *spatial_shape) with {2 + geometry.ndim} axes, "
            f"got shape {x.shape}"
        )


def _to_rows(grid: Array) -> Array:
    """(batch_size, C, *spatial_shape) -> (batch_size, sites, C), contiguous."""
    xp, batch_size, channels = array_module(grid), grid.shape[0], grid.shape[1]
    last = xp.ascontiguousarray(xp.moveaxis(grid, 1, -1))
    return last.reshape(batch_size, int(np.prod(grid.shape[2:])), channels)


def _to_grid(rows: Array, spatial_shape: tuple[int, ...]) -> Array:
    """Inverse of :func:`_to_rows`, as a view with the channels last in memory."""
    grid = rows.reshape(rows.shape[0], *spatial_shape, rows.shape[2])
    return array_module(rows).moveaxis(grid, -1, 1)


def over_rows(owner: str, channels: int, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """What a function of rows (N, C) makes of them, or of the sites of a grid."""
    if x.ndim < 2:
        raise ValueError(
            f"{owner}: expected rows (N, C) or a grid (N, C, *spatial_shape), got shape {x.shape}"
        )
    check_channels(owner, channels, x)
    if x.ndim == 2:
        return function(x)
    return rows_to_grid(function(grid_to_rows(x)), len(x), x.shape[2:])


def grid_to_rows(x: Tensor) -> Tensor:
    """(batch_size, C, *spatial_shape) -> rows (batch_size * sites, C); no copy if C is last."""
    owner, axes = "grid_to_rows", "(batch_size, C, *spatial_shape)"
    check_tensor(owner, "x", x, axes, of_sparse=".dense()")
    if x.ndim < 2:
        raise ValueError(f"{owner}: x must have shape {axes}, got {x.shape}")
    shape, sites = x.shape, int(np.prod(x.shape[2:]))
    rows = _to_rows(x.data).reshape(shape[0] * sites, shape[1])

    def backward(gradient: Array) -> tuple[Array]:
        return (_to_grid(gradient.reshape(shape[0], sites, shape[1]), shape[2:]),)

    return record(rows, (x,), backward)


def rows_to_grid(rows: Tensor, batch_size: int, spatial_shape: tuple[int, ...]) -> Tensor:
    """Inverse of :func:`grid_to_rows`."""
    owner = "rows_to_grid"
    check_tensor(owner, "rows", rows, "(batch_size * sites, C)", 2)
    batch_size = check_int(owner, "batch_size", batch_size, 0)
    if not isinstance(spatial_shape, tuple | list):
        raise TypeError(
            f"{owner}: spatial_shape must be a tuple of ints, got {type_name(spatial_shape)}"
        )
    spatial_shape = ntuple(spatial_shape, len(spatial_shape), "spatial_shape", 0, owner)
    sites, channels = int(np.prod(spatial_shape)), rows.shape[1]
    if len(rows) != batch_size * sites:
        raise ValueError(
            f"{owner}: expected {batch_size} * {sites} = {batch_size * sites} rows for batch_size "
            f"{batch_size} and spatial_shape {spatial_shape}, got {len(rows)}"
        )

    def backward(gradient: Array) -> tuple[Array]:
        return (_to_rows(gradient).reshape(batch_size * sites, channels),)

    grid = _to_grid(rows.data.reshape(batch_size, sites, channels), spatial_shape)
    return record(grid, (rows,), backward)
