"""What the sections of the report share: measure, merge into results.json, write the report."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from harness import command_line, results
from harness.machine import describe_machine
from harness.measuring import BaselineMismatch, Record
from harness.options import Options
from harness.threads import use_threads

from reporting import pages
from reporting.findings import headlines

SIZES = {
    "quick": "at most ten minutes on two cores for everything (default)",
    "full": "the long form: hours",
}
Run = Callable[[Options], list[Record]]


def main(
    runs: Mapping[str, Run], description: str | None, argv: Sequence[str] | None = None
) -> None:
    """Run the sections that the command line asks for, and write the report.

    Parameters
    ----------
    runs : mapping of section name to function
    description : str
        Shown by ``--help``.
    argv : sequence of str, optional
        Instead of the command line.
    """
    arguments = _parser(runs, description).parse_args(argv)
    use_threads(arguments.threads, restart=argv is None)
    echo = partial(print, flush=True)
    options = Options(arguments.size, arguments.out, arguments.data, echo, arguments.finished)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        path = _run(runs, arguments.only or list(runs), options)
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. Finished sections are in results.json; --only runs the others.")
    except BaselineMismatch as error:
        sys.exit(f"error: {error}")
    print(f"\nReport: {path}")


def _run(runs: Mapping[str, Run], wanted: Sequence[str], options: Options) -> Path:
    path = options.out / "results.json"
    try:
        collected = results.read(path)
    except ValueError as error:
        sys.exit(f"error: {error}")
    for name in runs:
        if name not in wanted:
            continue
        machine = describe_machine()
        began = time.perf_counter()
        records = runs[name](options)
        seconds = time.perf_counter() - began
        if not records:
            options.echo(f"[{name}] has no --{options.size} form: left out")
            continue
        collected[name] = results.Section(options.size, seconds, machine, records)
        results.write(path, collected)
        options.echo(f"[{name}] done in {seconds:.0f} s")
    page = pages.write(options.out, collected)
    print()
    for line in headlines(collected):
        print(f"* {line}")
    return page


def _parser(runs: Mapping[str, Run], description: str | None) -> argparse.ArgumentParser:
    parser = command_line.parser(description, SIZES)
    if len(runs) > 1:
        parser.add_argument(
            "--only", nargs="+", choices=list(runs), help="run these, keep the other results"
        )
    else:
        parser.set_defaults(only=None)
    parser.add_argument(
        "--finished",
        action="store_true",
        help="of the experiments, report the trainings that have ended, in OUT/runs or in "
        "OUT/results.json already, and start no other",
    )
    return parser
