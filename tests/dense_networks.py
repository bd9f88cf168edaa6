"""The shipped networks in the plain dense definitions of ``spconv.testing.reference``."""

import numpy as np

import spconv
from spconv import functional
from spconv.layers.fractional import SparseFractionalMaxPool
from spconv.models import PlusBlock, ResidualBlock
from spconv.testing import assert_twin, randomize, reference


def settle(net, rng):
    """Random parameters and running statistics, and evaluation; returns the parameters."""
    for _, module in net.named_modules():
        for name in module.buffer_names:
            setattr(module, name, 0.5 + rng.random(module.num_features))
    return randomize(net.eval(), rng, scale=0.4)


class Together:
    """All parameters of a network as one vector, so that one direction moves them all.

    A dense network takes long: :func:`~spconv.testing.assert_twin` runs it once for each parameter
    that it is given.
    """

    def __init__(self, parameters):
        self.parameters = parameters

    def numpy(self):
        return np.concatenate([p.data.ravel() for p in self.parameters.values()])

    @property
    def grad(self):
        for name, p in self.parameters.items():
            assert p.grad is not None, f"{name} has no gradient"
            assert (p.grad.shape, p.grad.dtype) == (p.shape, p.dtype), name
        return np.concatenate([p.grad.ravel() for p in self.parameters.values()])

    @grad.setter
    def grad(self, none):
        for p in self.parameters.values():
            p.grad = none

    def split(self, vector):
        """The array of each parameter in a vector of all."""
        ends = np.cumsum([p.data.size for p in self.parameters.values()])
        arrays = np.split(vector, ends[:-1])
        return {
            name: array.reshape(p.shape)
            for (name, p), array in zip(self.parameters.items(), arrays, strict=True)
        }


def assert_dense(net, twin, x, parameters, *, rng, tolerance):
    """``net`` is ``twin``, with the gradients of its input and of all its parameters together."""
    together = Together(parameters)
    assert_twin(
        net,
        lambda grid, arrays: twin(grid, together.split(arrays["parameters"])),
        x,
        {"parameters": together},
        rng=rng,
        tolerance=tolerance,
        gradient_tolerance=tolerance,
    )


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
