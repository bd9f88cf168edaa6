"""PyTorch's version of a dense layer or network, if PyTorch is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness.measuring import Budget, measure
from harness.pytorch import import_torch

from spconv import layers


class TorchBaseline:
    """A dense layer or chain of layers of this library, rebuilt in PyTorch.

    Parameters
    ----------
    model : Module
        Dense convolution, max-pooling, activation, Dropout, Flatten, Linear, or a
        SparseSequential of them; the weights are copied.
    x : float32 ndarray (batch_size, C, *spatial_shape)
        Kept with channels first or last in memory, whichever is faster in a short trial.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    TypeError
        For a layer that is not known here.
    """

    def __init__(self, model: layers.Module, x: np.ndarray) -> None:
        torch = import_torch()
        if torch is None:
            raise ImportError("TorchBaseline: PyTorch is not installed: pip install torch")
        self.torch: Any = torch
        layouts = torch.contiguous_format, torch.channels_last
        if x.ndim == 5:
            layouts = torch.contiguous_format, torch.channels_last_3d
        seconds = {}
        for self.layout in layouts:
            self._use_layout(model, x)
            seconds[self.layout] = measure(self.forward(), Budget(0.05, least=2)).min_ms
        self.layout = min(layouts, key=seconds.__getitem__)
        self._use_layout(model, x)

    def _use_layout(self, model: layers.Module, x: np.ndarray) -> None:
        self.model = self._convert(model).to(memory_format=self.layout)
        self.x = self._tensor(x)

    def _tensor(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(array).contiguous(memory_format=self.layout)

    def output(self) -> np.ndarray:
        """The output in evaluation mode, to compare with."""
        self.model.eval()
        with self.torch.no_grad():
            return self.model(self.x).numpy()

    def forward(self) -> Callable[[], object]:
        """A call that runs forward in evaluation mode, off the tape."""
        self.model.eval()

        def call() -> object:
            with self.torch.no_grad():
                return self.model(self.x)

        return call

    def layer_step(self, gradient: np.ndarray) -> Callable[[], object]:
        """A call that runs forward and backward, the input's gradient included."""
        x = self.x.clone().requires_grad_()
        dy = self._tensor(gradient)
        self.model.train()

        def call() -> None:
            x.grad = None
            self.model.zero_grad(set_to_none=True)
            self.model(x).backward(dy)

        return call

    def network_step(self, labels: np.ndarray, lr: float, momentum: float) -> Callable[[], object]:
        """A call that makes one step of SGD on the cross entropy."""
        target = self.torch.from_numpy(labels)
        optimizer = self.torch.optim.SGD(self.model.parameters(), lr=lr, momentum=momentum)
        self.model.train()

        def call() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss = self.torch.nn.functional.cross_entropy(self.model(self.x), target)
            loss.backward()
            optimizer.step()

        return call

    def _convert(self, layer: layers.Module) -> Any:
        nn = self.torch.nn
        if isinstance(layer, layers.SparseSequential):
            return nn.Sequential(*(self._convert(child) for child in layer))
        if isinstance(layer, layers.Conv2d | layers.Conv3d):
            return self._conv(layer)
        if isinstance(layer, layers.MaxPool2d | layers.MaxPool3d):
            geometry = layer.geometry
            kind = nn.MaxPool2d if geometry.ndim == 2 else nn.MaxPool3d
            return kind(geometry.kernel_size, geometry.stride, geometry.padding)
        if isinstance(layer, layers.Linear):
            return self._linear(layer)
        if isinstance(layer, layers.LeakyReLU):
            return nn.LeakyReLU(layer.negative_slope)
        if isinstance(layer, layers.ReLU):
            return nn.ReLU()
        if isinstance(layer, layers.Dropout):
            return nn.Dropout(layer.p)
        if isinstance(layer, layers.Flatten):
            return nn.Flatten()
        raise TypeError(f"TorchBaseline: no counterpart for {layer!r}")

    def _conv(self, layer: Any) -> Any:
        geometry = layer.geometry
        nn = self.torch.nn
        kind = nn.Conv2d if geometry.ndim == 2 else nn.Conv3d
        conv = kind(
            layer.in_channels,
            layer.out_channels,
            geometry.kernel_size,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            bias=layer.bias is not None,
        )
        weight = layer.weight.numpy().transpose(2, 1, 0)
        self._copy(conv.weight, weight.reshape(*weight.shape[:2], *geometry.kernel_size))
        if layer.bias is not None:
            self._copy(conv.bias, layer.bias.numpy())
        return conv

    def _linear(self, layer: Any) -> Any:
        linear = self.torch.nn.Linear(
            layer.in_features, layer.out_features, bias=layer.bias is not None
        )
        self._copy(linear.weight, layer.weight.numpy().T)
        if layer.bias is not None:
            self._copy(linear.bias, layer.bias.numpy())
        return linear

    def _copy(self, target: Any, values: np.ndarray) -> None:
        with self.torch.no_grad():
            target.copy_(self.torch.from_numpy(np.array(values, copy=True)))
