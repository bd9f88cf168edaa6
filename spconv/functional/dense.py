"""Layers on whole grids (batch_size, C, *spatial_shape): the baselines of the sparse ones.

Weights have the sparse layers' layout (K, C_in, C_out). Memory holds channels last, so that each
kernel offset is one strided copy; patches are made for a few samples at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from spconv.autograd import Tensor, needs_gradient, record
from spconv.compat import Array, array_module
from spconv.functional._common import cast, check_channels, check_device, common_dtype
from spconv.geometry import Geometry

PATCH_BYTES = 8 * 2**20


def dense_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, *, owner: str = "dense_conv"
) -> Tensor:
    """Convolution of every site, padded with zeros: patches and one GEMM per few samples."""
    _check_grid(owner, x, geometry)
    check_channels(owner, weight.shape[1], x)
    check_device(owner, x, weight, bias)
    xp, dtype = array_module(x.data), common_dtype(x, weight, bias)
    cin, cout = weight.shape[1:]
    matrix = cast(weight, dtype).reshape(-1, cout)
    shape, out_shape = x.shape, geometry.output_shape(x.shape[2:], owner)
    grid = _padded(cast(x, dtype), geometry)
    y = xp.empty((shape[0], *out_shape, cout), dtype)
    for part in _parts(shape[0], out_shape, matrix):
        y[part] = (_patches(grid[part], geometry, out_shape) @ matrix).reshape(y[part].shape)
    if bias is not None:
        y += cast(bias, dtype)
    wanted = needs_gradient(x), needs_gradient(weight)
    inputs = (x, weight) if bias is None else (x, weight, bias)
    num_inputs = len(inputs)

    def backward(gradient: Array) -> tuple[Array | None, ...]:
        dy = xp.ascontiguousarray(xp.moveaxis(gradient, 1, -1))
        d_matrix = xp.zeros_like(matrix)
        d_grid = xp.zeros_like(grid if wanted[0] else grid[:0])
        for part in _parts(shape[0], out_shape, matrix):
            rows = dy[part].reshape(-1, cout)
            if wanted[1]:
                d_matrix += _patches(grid[part], geometry, out_shape).T @ rows
            if wanted[0]:
                patches = (rows @ matrix.T).reshape(*dy[part].shape[:-1], -1, cin)
                for k, window in enumerate(_windows(geometry, out_shape)):
                    d_grid[part][window] += patches[..., k, :]
        dx = _cropped(d_grid, geometry, shape) if wanted[0] else None
        dw = d_matrix.reshape(-1, cin, cout) if wanted[1] else None
        return (dx, dw, dy.reshape(-1, cout).sum(axis=0))[:num_inputs]

    return record(xp.moveaxis(y, -1, 1), inputs, backward)


def dense_max_pool(x: Tensor, geometry: Geometry, *, owner: str = "dense_max_pool") -> Tensor:
    """Largest value of every window; padding never wins. Of equal values the first wins."""
    _check_grid(owner, x, geometry)
    xp, shape = array_module(x.data), x.shape
    out_shape = geometry.output_shape(shape[2:], owner)
    grid = _padded(x.data, geometry, -np.inf)
    y = xp.full((shape[0], *out_shape, shape[1]), -np.inf, x.dtype)
    winner = xp.zeros(y.shape, xp.int32)
    for k, window in enumerate(_windows(geometry, out_shape)):
        better = ~(grid[window] <= y)
        y = xp.where(better, grid[window], y)
        winner[better] = k
    padded_shape, dtype = grid.shape, grid.dtype

    def backward(gradient: Array) -> tuple[Array]:
        dy = xp.moveaxis(gradient, 1, -1)
        d_grid = xp.zeros(padded_shape, dtype)
        for k, window in enumerate(_windows(geometry, out_shape)):
            d_grid[window] += xp.where(winner == k, dy, 0)
        return (_cropped(d_grid, geometry, shape),)

    return record(xp.moveaxis(y, -1, 1), (x,), backward)


def _check_grid(owner: str, x: Tensor, geometry: Geometry) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{owner}: expected a Tensor, got {type(x).__name__}; use x.dense()")
    if x.ndim != 2 + geometry.ndim:
        raise ValueError(
            f"{owner}: expected (batch_size, C, *spatial_shape) with {2 + geometry.ndim} axes, "
            f"got shape {x.shape}"
        )


def _padded(x: Array, geometry: Geometry, value: float = 0.0) -> Array:
    """Channels last, with the padding around."""
    xp = array_module(x)
    last = xp.moveaxis(x, 1, -1)
    if not any(geometry.padding):
        return xp.ascontiguousarray(last)
    width = [(0, 0), *((p, p) for p in geometry.padding), (0, 0)]
    return xp.pad(last, width, constant_values=value)


def _cropped(grid: Array, geometry: Geometry, shape: tuple[int, ...]) -> Array:
    inner = tuple(slice(p, p + n) for p, n in zip(geometry.padding, shape[2:], strict=True))
    return array_module(grid).moveaxis(grid[(slice(None), *inner)], -1, 1)


def _windows(geometry: Geometry, out_shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """For every kernel offset, where its taps lie in the padded grid."""
    for offset in geometry.offsets():
        axes = zip(offset, out_shape, geometry.stride, geometry.dilation, strict=True)
        window = (slice(k * d, k * d + (n - 1) * s + 1, s) for k, n, s, d in axes)
        yield (slice(None), *window)


def _patches(grid: Array, geometry: Geometry, out_shape: tuple[int, ...]) -> Array:
    """(samples * sites, K * C) rows of the patches matrix."""
    channels = grid.shape[-1]
    patches = array_module(grid).empty(
        (len(grid), *out_shape, geometry.volume, channels), grid.dtype
    )
    for k, window in enumerate(_windows(geometry, out_shape)):
        patches[..., k, :] = grid[window]
    return patches.reshape(-1, geometry.volume * channels)


def _parts(batch_size: int, out_shape: tuple[int, ...], matrix: Array) -> Iterator[slice]:
    """Runs of samples whose patches take about PATCH_BYTES."""
    bytes_per_sample = prod(out_shape) * len(matrix) * matrix.dtype.itemsize
    step = max(1, PATCH_BYTES // max(bytes_per_sample, 1))
    for start in range(0, batch_size, step):
        yield slice(start, start + step)
