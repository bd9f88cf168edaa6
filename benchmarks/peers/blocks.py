"""How both sides of a comparison on one device take time, and what both compute on.

Imports nothing of this package: gpu_worker.py uses it in another interpreter.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

BLOCKS, BLOCK_SECONDS, MOST_CALLS, WARM_UPS = 5, 0.05, 50, 3
OPERATIONS = ("rulebook", "forward", "cold", "training", "cold training")


def milliseconds(
    call: Callable[[], object],
    synchronize: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Median over blocks of the time of one call in a block of calls, back to back.

    A block ends with one synchronization: what the host does between two kernels counts where the
    device has to wait for it, as it does for a user. The first calls compile and tune.
    """
    for _ in range(WARM_UPS):
        call()
    synchronize()

    def block(calls: int) -> float:
        began = clock()
        for _ in range(calls):
            call()
        synchronize()
        return (clock() - began) / calls

    calls = min(MOST_CALLS, max(1, round(BLOCK_SECONDS / max(block(1), 1e-9))))
    return 1e3 * statistics.median(block(calls) for _ in range(BLOCKS))


def layer_arrays(
    rows: int, volume: int, cin: int, cout: int, dtype: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, weights (volume, C_in, C_out) and a gradient of a layer, from a fixed seed.

    Outputs are of order one, within float16's range.
    """
    rng = np.random.default_rng((rows, cin, cout))
    w = rng.standard_normal((volume, cin, cout), np.float32) / np.float32((volume * cin) ** 0.5)
    x, dy = (rng.standard_normal((rows, channels), np.float32) for channels in (cin, cout))
    return x.astype(dtype), w.astype(dtype), dy.astype(dtype)


def reason(error: BaseException) -> str:
    """An error in one short line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
