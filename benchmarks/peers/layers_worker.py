"""Runs in another interpreter: times PyTorch and the other spconv on workloads from files.

Called by compare_peers.py with the path of an .npz file and a number of threads; prints JSON. That
interpreter must not have this package installed: both are imported as ``spconv``.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time

import numpy as np
import torch

SECONDS = 1.0


def milliseconds(function):
    """Median over at least three calls after one to warm up."""
    function()
    times = []
    while len(times) < 3 or (sum(times) < SECONDS and len(times) < 30):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def leaf(array):
    """The same memory as a new leaf: its gradient is neither copied nor added to an old one."""
    return array.detach().requires_grad_()


def time_gather_matmul(x, w, pairs):
    """The layer in plain PyTorch: index, multiply, index_add_ for every offset; map given."""

    def forward(x, w):
        y = torch.zeros(len(x), w.shape[2])
        for k, (source, target) in enumerate(pairs):
            y.index_add_(0, target, x[source] @ w[k])
        return y

    def training():
        forward(leaf(x), leaf(w)).backward(gradient)

    with torch.no_grad():
        gradient = torch.randn_like(forward(x, w))
        warm = milliseconds(lambda: forward(x, w))
    return {"forward": warm, "training": milliseconds(training)}


def answer_for_streams():
    """Let the other spconv train on the CPU: it asks for a CUDA stream on any device."""
    import spconv.pytorch.functional as functional
    from spconv.pytorch import ops

    for module in (ops, functional):
        if hasattr(module, "get_current_stream"):
            module.get_current_stream = lambda: 0


def time_spconv(x, indices, shape, batch_size, cout, kernel_size):
    """The other spconv's native CPU algorithm: its rulebook, and a submanifold layer."""
    import spconv.pytorch as peer
    from spconv.core import ConvAlgo
    from spconv.pytorch import ops

    answer_for_streams()
    ndim = len(shape)
    layers = {2: peer.SubMConv2d, 3: peer.SubMConv3d}
    layer = layers[ndim](
        x.shape[1], cout, kernel_size, bias=False, indice_key="k", algo=ConvAlgo.Native
    )

    def rulebook():
        ops.get_indice_pairs(
            indices,
            batch_size,
            shape,
            ConvAlgo.Native,
            [kernel_size] * ndim,
            [1] * ndim,
            [kernel_size // 2] * ndim,
            [1] * ndim,
            [0] * ndim,
            True,
            False,
        )

    def tensor(features):
        return peer.SparseConvTensor(features, indices, shape, batch_size)

    with torch.no_grad():
        cached = tensor(x)
        cached.indice_dict = layer(cached).indice_dict
        warm = milliseconds(lambda: layer(cached))
        cold = milliseconds(lambda: layer(tensor(x)))
    result = {"rulebook": milliseconds(rulebook), "forward": warm, "cold": cold}

    def training():
        layer.zero_grad(set_to_none=True)
        t = tensor(leaf(x))
        t.indice_dict = cached.indice_dict
        layer(t).features.backward(gradient)

    gradient = torch.randn(len(x), cout)
    try:
        result["training"] = milliseconds(training)
    except Exception as error:
        print(f"the other spconv cannot train on the CPU: {error}", file=sys.stderr)
    return result


def main() -> None:
    path, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    data = np.load(path)
    x, w = torch.from_numpy(data["x"]), torch.from_numpy(data["w"])
    starts = data["starts"]
    pairs = [
        (
            torch.from_numpy(data["in_rows"][a:b]).long(),
            torch.from_numpy(data["out_rows"][a:b]).long(),
        )
        for a, b in itertools.pairwise(starts)
    ]
    results = {
        "versions": {"torch": torch.__version__},
        "gather-matmul": time_gather_matmul(x, w, pairs),
    }
    try:
        import spconv

        results["versions"]["spconv"] = spconv.__version__
        results["spconv"] = time_spconv(
            x,
            torch.from_numpy(data["indices"]),
            data["spatial_shape"].tolist(),
            int(data["batch_size"]),
            w.shape[2],
            int(data["kernel_size"]),
        )
    except ImportError as error:
        print(f"the other spconv is not there: {error}", file=sys.stderr)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
