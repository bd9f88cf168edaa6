"""Runs in another interpreter: training steps of exported networks in the other spconv.

Called by compare_networks.py with the path of an .npz file and a number of threads. It prints the
path of an .npy file with the logits before any step, then makes one step for each line that it
reads, and answers with the loss.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from layers_worker import answer_for_streams
from torch import nn


class Joint(nn.Module):
    """Branches on one input, summed or concatenated; an empty branch is the input itself."""

    def __init__(self, kind, branches):
        super().__init__()
        self.kind, self.branches = kind, nn.ModuleList(branches)

    def forward(self, x):
        parts = [branch(x) if len(branch) else x for branch in self.branches]
        features = [part.features for part in parts]
        joined = sum(features[1:], features[0]) if self.kind == "sum" else torch.cat(features, 1)
        return parts[-1].replace_feature(joined)


class Sequence(nn.ModuleList):
    """Layers one after the other; PyTorch's see the features of sparse tensors."""

    def forward(self, x):
        for layer in self:
            plain = isinstance(layer, nn.BatchNorm1d | nn.ReLU) and hasattr(x, "replace_feature")
            x = x.replace_feature(layer(x.features)) if plain else layer(x)
        return x


class Call(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


PARAMETERS = ("weight", "bias")


def build(layers, arrays, algorithm="Native"):
    """Modules of the other spconv and of PyTorch with the exported parameters.

    ``algorithm`` names one of the other spconv's ``ConvAlgo``; on the CPU there is one.
    """
    return Sequence([build_layer(layer, arrays, algorithm) for layer in layers])


def build_layer(layer, arrays, algorithm):
    kind = layer["kind"]
    if "branches" in layer:
        return Joint(kind, [build(branch, arrays, algorithm) for branch in layer["branches"]])
    if kind == "ReLU":
        return nn.ReLU()
    if kind == "Flatten":
        return Call(lambda x: x.dense().flatten(1))
    if kind == "features":
        return Call(lambda x: x.features)
    if "MaxPool" in kind:
        return build_pooling(layer, algorithm)
    weight, bias = (torch.from_numpy(arrays[layer[n]]) if n in layer else None for n in PARAMETERS)
    if kind == "BatchNorm":
        module = nn.BatchNorm1d(len(weight), layer["eps"], layer["momentum"])
    elif kind == "Linear":
        module, weight = nn.Linear(*weight.shape), weight.T
    else:
        module = build_convolution(layer, weight, bias, algorithm)
        last = weight.reshape(*layer["kernel_size"], *weight.shape[1:])
        weight = last.movedim(-1, 0)
    with torch.no_grad():
        module.weight.copy_(weight)
        if bias is not None:
            module.bias.copy_(bias)
    return module


def build_pooling(layer, algorithm):
    import spconv.pytorch as peer

    cls, algo = getattr(peer, layer["kind"]), getattr(peer.ConvAlgo, algorithm)
    return cls(layer["kernel_size"], layer["stride"], indice_key=layer["indice_key"], algo=algo)


def build_convolution(layer, weight, bias, algorithm):
    import spconv.pytorch as peer

    cls = getattr(peer, layer["kind"])
    options = {"indice_key": layer["indice_key"], "bias": bias is not None}
    if "Inverse" not in layer["kind"]:
        options |= {"stride": layer["stride"], "padding": layer["padding"]}
    algo = getattr(peer.ConvAlgo, algorithm)
    return cls(*weight.shape[1:], layer["kernel_size"], algo=algo, **options)


def main() -> None:
    import spconv.pytorch as peer

    path, threads = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    answer_for_streams()
    data = np.load(path)
    description = json.loads(str(data["description"]))
    model = build(description["layers"], data).train()
    optimizer = torch.optim.SGD(
        model.parameters(), description["lr"], momentum=description["momentum"]
    )
    features, indices, labels = (
        torch.from_numpy(data[name]) for name in ("features", "indices", "labels")
    )

    def logits():
        shape, batch_size = description["spatial_shape"], description["batch_size"]
        return model(peer.SparseConvTensor(features, indices, shape, batch_size))

    first = path.with_name("logits.npy")
    np.save(first, logits().detach().numpy())
    print(first, flush=True)
    for _ in sys.stdin:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits(), labels)
        loss.backward()
        optimizer.step()
        print(loss.item(), flush=True)


if __name__ == "__main__":
    main()
