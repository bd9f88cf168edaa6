"""Two threads against one: the convolutions of single layers, and whole training steps.

    python benchmarks/thread_scaling.py --data folder-with-mnist --threads 2 --out out

Both numbers of threads take turns in one process, and give the same bits. In the same rounds the
call runs with one thread beside as many processes as there are further threads, each of which
repeats it: what the machine's cores give together, on memory and caches that they share. Where that
is less than the number of threads, no library gets more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from cpu_roofline import layer_calls, scenes
from harness import command_line
from harness.companions import Companions
from harness.measuring import Budget, measure_in_turns
from harness.threads import use_threads
from reporting.table import markdown
from training import subjects
from workloads.sites import surfaces

import spconv

BUDGETS = {"tiny": Budget(0.02, 2), "quick": Budget(3.0, 7), "full": Budget(10.0, 15)}
CHANNELS = {"tiny": (8,), "quick": (32, 64), "full": (16, 32, 64, 128)}


def cases(size: str, data: str | None) -> Iterator[tuple[str, Callable[[], object]]]:
    """(name, call) of everything that is timed."""
    small = [("3-D surfaces", surfaces(3, 24))]
    for name, sites in small if size == "tiny" else scenes():
        for channels in CHANNELS[size]:
            layer = layer_calls(sites, channels)
            for operation, call in layer.calls.items():
                yield f"{name}, {len(sites):,} sites, {channels} channels: {operation}", call
    for subject in (subjects.characters(size, data), subjects.scan(size)):
        yield f"training step: {subject.name}", subject.step()


def compare(
    call: Callable[[], object], threads: int, budget: Budget, companions: Companions
) -> dict[str, Any]:
    """Milliseconds with one and with ``threads`` threads, and the median speed-ups.

    ``processes`` is that of as many processes of one thread each over one process.
    """

    def with_threads(count: int) -> Callable[[], object]:
        def run() -> object:
            spconv.set_num_threads(count)
            return call()

        return run

    turns = measure_in_turns(
        {"one": with_threads(1), "many": with_threads(threads), "beside": with_threads(1)},
        budget,
        during={"beside": companions.running},
    )
    return {
        "one": turns.timing("one").median_ms,
        "many": turns.timing("many").median_ms,
        "rounds": turns.timing("one").repeats,
        "speed-up": turns.ratio("one", "many"),
        "processes": threads * turns.ratio("one", "beside"),
    }


def table(rows: list[dict[str, Any]], threads: int) -> str:
    """One row for each case."""
    cells = [
        [
            row["name"],
            f"{row['one']:.2f}",
            f"{row['many']:.2f}",
            f"{row['speed-up']:.2f}",
            f"{row['processes']:.2f}",
            f"{row['speed-up'] / row['processes']:.0%}",
        ]
        for row in rows
    ]
    columns = ["what", "one thread (ms)", f"{threads} threads (ms)", "speed-up"]
    return markdown([*columns, f"{threads} processes", "threads of processes"], cells)


def main() -> None:
    parser = command_line.parser(__doc__)
    options = parser.parse_args()
    use_threads(options.threads, restart=True)
    threads = spconv.get_num_threads()
    companions = Companions(threads - 1, partial(cases, options.size, options.data))
    rows = []
    for name, call in cases(options.size, options.data):
        companions.prepare(name)
        rows.append({"name": name, **compare(call, threads, BUDGETS[options.size], companions)})
        companions.leave()
        row = rows[-1]
        print(f"{name}: {row['speed-up']:.2f} of {row['processes']:.2f}", flush=True)
    spconv.set_num_threads(threads)
    result = {"size": options.size, "threads": threads, "rows": rows}
    command_line.write(options.out, "thread_scaling", result, table(rows, threads))


if __name__ == "__main__":
    main()
