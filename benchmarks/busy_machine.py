"""How much slower is a training step while something else keeps every core busy?

    python benchmarks/busy_machine.py --data folder-with-mnist --threads 2 --out out

The step is timed alone and beside one spinning process per core, which the benchmark starts and
ends, in turns. A fair scheduler leaves each side half of the cores: 2 times slower is the least to
expect. Libraries whose threads spin at barriers grow by tens of times here. Without ``--threads``
the number that nobody chose is measured as well: it leaves busy processors to who has them.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from harness import command_line
from harness.measuring import Budget, measure
from harness.threads import use_threads
from reporting.table import markdown
from training import subjects

import spconv
from spconv.threads import available_cpus

SPIN = "print(flush=True)\nwhile True: pass"
CHOSEN = "OMP_NUM_THREADS"
ROUNDS = {"tiny": 1, "quick": 5, "full": 15}
BUDGETS = {"tiny": Budget(0.02, 2), "quick": Budget(2.0, 5), "full": Budget(4.0, 9)}


@contextmanager
def competitors(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that spin for as long as the block lasts; all of them run when it begins."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            command = [sys.executable, "-c", SPIN]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        for process in started:
            if process.stdout is not None:
                process.stdout.readline()
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def compare(step: Callable[[], object], size: str, count: int) -> dict[str, Any]:
    """Median milliseconds alone and beside ``count`` spinning processes, and their ratios."""
    alone, beside = [], []
    for _ in range(ROUNDS[size]):
        alone.append(measure(step, BUDGETS[size]).median_ms)
        with competitors(count):
            beside.append(measure(step, BUDGETS[size]).median_ms)
    return {
        "alone": alone,
        "beside": beside,
        "ratio": statistics.median(b / a for a, b in zip(alone, beside, strict=True)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """One row for each number of threads."""
    cells = [
        [
            row["name"],
            str(row["threads"] or "as many as are free"),
            str(row["competitors"]),
            f"{statistics.median(row['alone']):.1f}",
            f"{statistics.median(row['beside']):.1f}",
            f"{row['ratio']:.2f}",
        ]
        for row in rows
    ]
    columns = ["training step", "threads", "busy processes", "alone (ms)", "beside them (ms)"]
    return markdown([*columns, "times slower"], cells)


def main() -> None:
    parser = command_line.parser(__doc__)
    options = parser.parse_args()
    use_threads(options.threads, restart=True)
    subject, count = subjects.characters(options.size, options.data), available_cpus()
    most = spconv.get_num_threads()
    rows = []
    for threads in [*sorted({1, most}), *([] if CHOSEN in os.environ else [None])]:
        spconv.set_num_threads(threads)
        measured = compare(subject.step(), options.size, count)
        rows.append({"name": subject.name, "threads": threads, "competitors": count, **measured})
    spconv.set_num_threads(most)
    command_line.write(
        options.out, "busy_machine", {"size": options.size, "rows": rows}, table(rows)
    )


if __name__ == "__main__":
    main()
