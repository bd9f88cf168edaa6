"""Convolutions on full grids: the definition of what the sparse layers compute.

Everything is written for reading, not for speed: a loop over kernel offsets, in NumPy. All
functions are analytic in their array arguments and accept complex arrays, so that their
derivatives are known to the last bit (:mod:`spconv.testing.twin`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from spconv.testing.reference.grid import EVERY, Grid, ntuple, only_where, pad


def convolution(
    x: Grid, weight, bias=None, *, kernel_size, stride=1, padding=0, dilation=1, groups=1
) -> Grid:
    """Convolution of the grid extended by its background.

    ``out[y] = sum_k x[y * stride - padding + k * dilation] @ weight[k] + bias``; an output is
    active when one of its taps is. Without a ground state inactive outputs are 0: the bias is
    added to the active ones only.

    Parameters
    ----------
    weight : (K, C_in / groups, C_out) array, K = prod(kernel_size) row-major
    bias : (C_out,) array or None
    """
    kernel_size, stride, padding, dilation = _geometry(
        x.ndim, kernel_size, stride, padding, dilation
    )
    padded = pad(x, padding, padding)
    values, active = _sum_taps(padded, weight, kernel_size, stride, dilation, groups)
    return _with_bias(values, active, bias, _ground_out(x, weight, bias, groups))


def submanifold(x: Grid, weight, bias=None, *, kernel_size, dilation=1, groups=1) -> Grid:
    """Convolution at the input's active sites; the outputs elsewhere are the output ground.

    The phase of an even kernel is that of dense layers with "same" padding:
    ``out[y] = sum_k x[y + k * dilation - (dilation * (kernel_size - 1)) // 2] @ weight[k] + bias``.
    """
    kernel_size, dilation = ntuple(kernel_size, x.ndim), ntuple(dilation, x.ndim)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel_size, strict=True)]
    before = tuple(r // 2 for r in reach)
    padded = pad(x, before, tuple(r - b for r, b in zip(reach, before, strict=True)))
    values, _ = _sum_taps(padded, weight, kernel_size, (1,) * x.ndim, dilation, groups)
    dense = _with_bias(values, x.active, bias, _ground_out(x, weight, bias, groups))
    return only_where(dense, x.active)


def transposed_convolution(
    x: Grid,
    weight,
    bias=None,
    *,
    kernel_size,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
) -> Grid:
    """``out[i * stride - padding + k * dilation] += x[i] @ weight[k]`` over all i and k.

    With stride 1 the grid is extended by its background, and the constant background stays
    constant. With a larger stride it would turn into a periodic one, so that by definition the
    layer acts on the deviations from it and its output ground is the bias.
    """
    kernel_size, stride, padding, dilation = _geometry(
        x.ndim, kernel_size, stride, padding, dilation
    )
    output_padding = ntuple(output_padding, x.ndim)
    shape = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + o + 1
        for n, s, p, d, k, o in zip(
            x.spatial_shape, stride, padding, dilation, kernel_size, output_padding, strict=True
        )
    )
    return _transposed(x, weight, bias, shape, kernel_size, stride, padding, dilation, groups)


def inverse_convolution(
    x: Grid,
    weight,
    bias=None,
    *,
    sites: np.ndarray,
    kernel_size,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    submanifold=False,
) -> Grid:
    """The transposed convolution that leads back to `sites`, the input sites of a convolution.

    `sites` is that convolution's input mask (batch, *spatial_shape), and the remaining arguments
    are its geometry (`submanifold=True` if it was one). The outputs elsewhere are the output
    ground.
    """
    kernel_size, stride, padding, dilation = _geometry(
        x.ndim, kernel_size, stride, padding, dilation
    )
    if submanifold:
        stride = (1,) * x.ndim
        padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel_size, strict=True))
    shape = sites.shape[1:]
    out = _transposed(x, weight, bias, shape, kernel_size, stride, padding, dilation, groups)
    if out.ground is None and bias is not None:
        unreached = (sites & ~out.active)[:, None]
        out = Grid(out.values + unreached * _column(bias, x.ndim), out.active)
    return only_where(out, sites)


def taps(padded: Grid, kernel_size, stride, dilation) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each kernel offset (row-major) what every output reads there: values and activity."""
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(padded.spatial_shape, kernel_size, stride, dilation, strict=True)
    ]
    if min(sizes) < 1:
        raise ValueError(f"reference: the kernel {kernel_size} does not fit the padded grid")
    for offset in itertools.product(*map(range, kernel_size)):
        window = tuple(
            slice(o * d, o * d + s * (m - 1) + 1, s)
            for o, d, s, m in zip(offset, dilation, stride, sizes, strict=True)
        )
        yield (
            padded.values[2 * EVERY + window],
            padded.active[EVERY + window],
        )


def mix_channels(x: np.ndarray, matrix: np.ndarray, groups: int) -> np.ndarray:
    """Apply `matrix` (C_in / groups, C_out) to axis 1, block by block of the channels."""
    inputs = np.split(x, groups, axis=1)
    columns = np.split(matrix, groups, axis=1)
    outputs = [
        np.moveaxis(np.tensordot(block, column, axes=(1, 0)), -1, 1)
        for block, column in zip(inputs, columns, strict=True)
    ]
    return np.concatenate(outputs, axis=1)


def _geometry(ndim, *values):
    return (ntuple(value, ndim) for value in values)


def _column(vector, ndim):
    return np.reshape(vector, (-1, *[1] * ndim))


def _sum_taps(padded, weight, kernel_size, stride, dilation, groups):
    values, active = 0, False
    for matrix, (read, on) in zip(weight, taps(padded, kernel_size, stride, dilation), strict=True):
        values = values + mix_channels(read, matrix, groups)
        active = active | on
    return values, active


def _ground_out(x, weight, bias, groups):
    if x.ground is None:
        return None
    ground = mix_channels(x.ground[None], weight.sum(0), groups)[0]
    return ground if bias is None else ground + bias


def _with_bias(values, active, bias, ground):
    if bias is not None:
        added = _column(bias, values.ndim - 2)
        values = values + (added if ground is not None else active[:, None] * added)
    return Grid(values, active, ground)


def _transposed(x, weight, bias, shape, kernel_size, stride, padding, dilation, groups):
    ndim = x.ndim
    if min(shape) < 1:
        raise ValueError(f"reference: the transposed output shape {shape} is empty")
    if x.ground is None or any(s > 1 for s in stride):
        ground = None if x.ground is None else np.zeros(weight.shape[2])
        if ground is not None and bias is not None:
            ground = ground + bias
        x = Grid(x.values - _column(x.background(), ndim), x.active)
        before = (0,) * ndim
    else:
        # Every output within reach of the border also reads the background beyond it.
        ground = _ground_out(x, weight, bias, groups)
        before = tuple(d * (k - 1) for d, k in zip(dilation, kernel_size, strict=True))
        after = tuple(
            max(0, m + p - n) for m, p, n in zip(shape, padding, x.spatial_shape, strict=True)
        )
        x = pad(x, before, after)
    values, active = _spread(x, weight, kernel_size, stride, dilation, groups)
    start = [b + p for b, p in zip(before, padding, strict=True)]
    missing = [
        (0, max(0, b + m - n)) for b, m, n in zip(start, shape, values.shape[2:], strict=True)
    ]
    crop = tuple(slice(b, b + m) for b, m in zip(start, shape, strict=True))
    values = np.pad(values, [(0, 0), (0, 0), *missing])[2 * EVERY + crop]
    active = np.pad(active, [(0, 0), *missing])[EVERY + crop]
    return _with_bias(values, active, bias, ground)


def _spread(x, weight, kernel_size, stride, dilation, groups):
    """Send every site to all its outputs, on a grid just large enough for them."""
    shape = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(x.spatial_shape, stride, dilation, kernel_size, strict=True)
    ]
    batch = x.values.shape[0]
    kind = np.result_type(x.values, weight)
    values = np.zeros((batch, weight.shape[2], *shape), kind)
    active = np.zeros((batch, *shape), bool)
    for matrix, offset in zip(weight, itertools.product(*map(range, kernel_size)), strict=True):
        target = tuple(
            slice(o * d, o * d + s * (n - 1) + 1, s)
            for o, d, s, n in zip(offset, dilation, stride, x.spatial_shape, strict=True)
        )
        values[2 * EVERY + target] += mix_channels(x.values, matrix, groups)
        active[EVERY + target] |= x.active
    return values, active
