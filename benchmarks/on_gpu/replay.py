"""Time of launches alone: recorded once, replayed without Python."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

CALLS, REPEATS, WARM_UPS = 10, 9, 2


def replay_timer(cupy: Any) -> Callable[[Callable[[], object]], float]:
    """Median milliseconds of a call whose launches are replayed as a CUDA graph.

    Between events around the call itself, a device that is faster than Python is measured waiting.
    The call may not ask the device for anything.
    """
    stream = cupy.cuda.Stream(non_blocking=True)

    def time(run: Callable[[], object]) -> float:
        cupy.cuda.Device().synchronize()
        with stream:
            for _ in range(WARM_UPS):
                run()
            stream.synchronize()
            stream.begin_capture()
            for _ in range(CALLS):
                run()
            graph = stream.end_capture()
            graph.launch(stream)
            spans = []
            for _ in range(REPEATS):
                begin, end = cupy.cuda.Event(), cupy.cuda.Event()
                begin.record(stream)
                graph.launch(stream)
                end.record(stream)
                end.synchronize()
                spans.append(cupy.cuda.get_elapsed_time(begin, end) / CALLS)
        return statistics.median(spans)

    return time
