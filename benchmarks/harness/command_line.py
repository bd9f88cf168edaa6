"""The command lines of all scripts, and what those outside the report write."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.machine import describe_machine

SIZES = {
    "tiny": "seconds: a check that everything runs, numbers without meaning",
    "quick": "a few minutes (default)",
    "full": "the long form",
}


def parser(
    description: str | None, sizes: Mapping[str, str] | None = None
) -> argparse.ArgumentParser:
    """Options: ``--out``, ``--data``, ``--threads``, and one ``size`` of :data:`SIZES`.

    ``sizes`` says what some sizes mean here.
    """
    made = _with_out(description)
    size = made.add_mutually_exclusive_group()
    for name, text in {**SIZES, **(sizes or {})}.items():
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name, help=text)
    made.set_defaults(size="quick")
    made.add_argument("--data", help="folder that holds MNIST, or mnist/ and others by name")
    made.add_argument(
        "--threads", type=positive, help="threads of spconv, of NumPy's BLAS and of PyTorch"
    )
    return made


def sweep_parser(description: str | None) -> argparse.ArgumentParser:
    """Options: ``--out``, and ``--threads`` with all numbers of threads to measure with."""
    made = _with_out(description)
    made.add_argument(
        "--threads", type=_numbers, default=[1], help="comma-separated numbers of threads"
    )
    return made


def folder_of_results(description: str | None) -> Path:
    """The folder that is the only argument; the command ends where it has no ``results.json``."""
    made = _described(description)
    made.add_argument("folder", type=Path, help="folder that holds results.json")
    folder: Path = made.parse_args().folder
    if not (folder / "results.json").exists():
        made.error(f"no results.json in {folder}")
    return folder


def write(folder: Path, name: str, result: Mapping[str, Any], text: str) -> None:
    """Print ``text`` and write it to ``NAME.md``, and ``result`` with the machine to ``.json``."""
    print(text)
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": describe_machine(), **result}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")


def positive(text: str) -> int:
    """The type of a number of threads."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


def _numbers(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]


def _with_out(description: str | None) -> argparse.ArgumentParser:
    made = _described(description)
    made.add_argument("--out", default=Path("out"), type=Path, help="folder of the results")
    return made


def _described(description: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
