"""The same work in PyTorch: gather, multiply and scatter for every offset, or the whole grid."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

from harness.pytorch import import_torch
from peers.torch_baseline import TorchBaseline

REPEATS, WARM_UPS = 20, 3
MAX_BYTES = 16 * 2**30
"""A grid that is larger than this, with input and output, is not run densely."""


def usable(device: str = "cuda") -> Any | None:
    """PyTorch, or None where it is not installed or has no such device."""
    torch = import_torch()
    if torch is None or (device == "cuda" and not torch.cuda.is_available()):
        return None
    return torch


def time_layer(
    book: Any, cin: int, cout: int, kind: str, device: str = "cuda", repeats: int = REPEATS
) -> float | None:
    """Median milliseconds of forward by gather, product and scatter; None without PyTorch."""
    torch = usable(device)
    if torch is None:
        return None
    dtype = _prepare(torch, kind)
    pairs = [
        tuple(torch.from_numpy(rows.copy()).long().to(device) for rows in book.pairs(k))
        for k in range(book.volume)
    ]
    x = torch.randn(len(book.in_sites), cin, dtype=dtype, device=device)
    w = torch.randn(book.volume, cin, cout, dtype=dtype, device=device)

    def forward() -> None:
        y = torch.zeros(len(book.out_sites), cout, dtype=dtype, device=device)
        for k, (source, target) in enumerate(pairs):
            y.index_add_(0, target, x[source] @ w[k])

    with torch.no_grad():
        return _median(torch, forward, device, repeats)


def time_dense(
    sites: Any, cin: int, cout: int, kind: str, device: str = "cuda", repeats: int = REPEATS
) -> float | None:
    """Median milliseconds of the layer over the whole grid; None where it does not fit."""
    torch = usable(device)
    size = 2 if "16" in kind else 4
    if torch is None or sites.num_cells * (cin + cout) * size > MAX_BYTES:
        return None
    dtype = _prepare(torch, kind)
    layer = torch.nn.Conv3d(cin, cout, 3, padding=1, bias=False, dtype=dtype, device=device)
    grid = torch.zeros(
        sites.batch_size, cin, *sites.spatial_shape, dtype=dtype, device=device
    ).contiguous(memory_format=torch.channels_last_3d)
    layer = layer.to(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        return _median(torch, lambda: layer(grid), device, repeats)


def dense_rates(size: int, device: str = "cuda", repeats: int = REPEATS) -> dict[str, float]:
    """TFLOP/s of square products in tf32 and bfloat16, which CuPy has no names for."""
    torch = usable(device)
    if torch is None:
        return {}
    rates = {}
    for kind in ("tf32", "bfloat16"):
        a = torch.ones(size, size, dtype=_prepare(torch, kind), device=device)
        ms = _median(torch, lambda a=a: a @ a, device, repeats)
        rates[f"dense {kind} TFLOP/s"] = 2 * size**3 / ms / 1e9
    return rates


def time_dense_steps(
    twin: Any, batches: list[tuple[Any, Any]], device: str = "cuda"
) -> float | None:
    """Median milliseconds of a training step of a dense network, one batch after the other.

    ``batches`` are dense float32 arrays (batch_size, C, *spatial_shape) and labels, on the host:
    copying them is part of a step, as it is in the sparse network's epoch.
    """
    torch = usable(device)
    if torch is None:
        return None
    _prepare(torch, "float32")
    model = TorchBaseline(twin, batches[0][0]).model.to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    queue = itertools.cycle(batches)

    def step() -> None:
        grid, labels = (torch.from_numpy(array).to(device) for array in next(queue))
        loss = torch.nn.functional.cross_entropy(model(grid), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return _median(torch, step, device, len(batches))


def _prepare(torch: Any, kind: str) -> Any:
    """Allow tf32 or forbid it; the dtype of an arithmetic."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = kind == "tf32"
    return getattr(torch, kind if "16" in kind else "float32")


def _median(torch: Any, run: Callable[[], object], device: str, repeats: int) -> float:
    """Milliseconds between events on a GPU, by the clock elsewhere."""
    for _ in range(WARM_UPS):
        run()
    spans = []
    for _ in range(repeats):
        if device == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            run()
            end.record()
            end.synchronize()
            spans.append(begin.elapsed_time(end))
        else:
            began = time.perf_counter()
            run()
            spans.append(1e3 * (time.perf_counter() - began))
    return statistics.median(spans)
