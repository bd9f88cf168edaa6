"""The same layer in plain PyTorch on the GPU: gather, multiply and scatter for every offset."""

from __future__ import annotations

import statistics
from typing import Any

from torch_baseline import import_torch

REPEATS = 20


def time_layer(book: Any, cin: int, cout: int, kind: str) -> float | None:
    """Median milliseconds of forward; None where PyTorch has no GPU."""
    torch = import_torch()
    if torch is None or not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    dtype = torch.float16 if kind == "float16" else torch.float32
    pairs = [
        tuple(torch.from_numpy(rows.copy()).long().cuda() for rows in book.pairs(k))
        for k in range(book.volume)
    ]
    x = torch.randn(len(book.in_sites), cin, dtype=dtype, device="cuda")
    w = torch.randn(book.volume, cin, cout, dtype=dtype, device="cuda")

    def forward() -> None:
        y = torch.zeros(len(book.out_sites), cout, dtype=dtype, device="cuda")
        for k, (source, target) in enumerate(pairs):
            y.index_add_(0, target, x[source] @ w[k])

    spans = []
    with torch.no_grad():
        for _ in range(REPEATS):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            forward()
            end.record()
            end.synchronize()
            spans.append(begin.elapsed_time(end))
    return statistics.median(spans[3:])
