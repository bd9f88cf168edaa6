"""The shipped networks in the plain dense definitions of ``spconv.testing.reference``."""

import numpy as np

import spconv
from spconv import functional
from spconv.layers.fractional import SparseFractionalMaxPool
from spconv.models import PlusBlock, ResidualBlock
from spconv.testing import randomize, reference


def settle(net, rng):
    """Random parameters and running statistics, and evaluation; returns the parameters."""
    for _, module in net.named_modules():
        for name in module.buffer_names:
            setattr(module, name, 0.5 + rng.random(module.num_features))
    return randomize(net.eval(), rng, scale=0.4)


def dense(layer, grid, arrays, path="", sites=None):
    """``layer`` in the plain definitions of ``reference``, on every site of the grid."""
    sites = {} if sites is None else sites
    weight, bias = arrays.get(f"{path}.weight"), arrays.get(f"{path}.bias")
    prefix = f"{path}." if path else ""
    if isinstance(layer, spconv.SparseSequential):
        for name, child in layer.children():
            grid = dense(child, grid, arrays, f"{prefix}{name}", sites)
        return grid
    if isinstance(layer, PlusBlock):
        return reference.concat(
            [
                dense(branch, grid, arrays, f"{prefix}branches.{number}", sites)
                for number, branch in enumerate(layer.branches)
            ]
        )
    if isinstance(layer, ResidualBlock):
        total = reference.add(grid, dense(layer.branch, grid, arrays, f"{prefix}branch", sites))
        return total if layer.preactivation else reference.pointwise(total, reference.relu)
    if isinstance(layer, spconv.BatchNorm):
        given = {} if layer.training else {"mean": layer.running_mean, "var": layer.running_var}
        return reference.batch_norm(grid, weight, bias, **given)
    if isinstance(layer, spconv.ReLU | spconv.LeakyReLU):
        slope = getattr(layer, "negative_slope", 0)
        return reference.pointwise(grid, lambda v: reference.leaky_relu(v, slope))
    if isinstance(layer, SparseFractionalMaxPool):
        rng, regions = np.random.default_rng(layer.eval_seed), []
        for n, ratio in zip(grid.spatial_shape, layer.ratio, strict=True):
            size = functional.fractional_size(n, ratio)
            regions.append(functional.draw_regions(n, size, layer.overlapping, layer.random, rng))
        return reference.fractional_max_pool(grid, regions, overlapping=layer.overlapping)
    if isinstance(layer, spconv.SparseGlobalAvgPool):
        return reference.global_avg_pool(grid)
    if isinstance(layer, spconv.SparseGlobalMaxPool):
        return reference.global_max_pool(grid)
    if isinstance(layer, spconv.Flatten):
        return grid.values.reshape(len(grid.values), -1)
    if isinstance(layer, spconv.Linear):
        return reference.linear(grid, weight, bias)
    kernel = {"kernel_size": layer.geometry.kernel_size}
    if layer.geometry.submanifold:
        return reference.submanifold(grid, weight, bias, **kernel)
    if type(layer).__name__.startswith("SparseInverseConv"):
        active, geometry = sites[layer.indice_key]
        return reference.inverse_convolution(
            grid, weight, bias, sites=active, stride=geometry.stride, **kernel
        )
    kernel |= {"stride": layer.geometry.stride, "padding": layer.geometry.padding}
    if weight is None:
        return reference.max_pool(grid, **kernel)
    sites[layer.indice_key] = grid.active, layer.geometry
    return reference.convolution(grid, weight, bias, **kernel)
