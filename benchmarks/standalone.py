"""What the scripts with a table of their own share: options, Markdown and JSON.

The sections of the report go through ``session.py`` instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blas_threads import positive
from machine import describe_machine


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options: ``size`` (``--tiny``, ``--quick``, ``--full``), ``--out`` and ``--threads``."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = made.add_mutually_exclusive_group()
    for name, text in (
        ("tiny", "seconds: a check that everything runs, numbers without meaning"),
        ("quick", "a few minutes (default)"),
        ("full", "the long form"),
    ):
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name, help=text)
    made.set_defaults(size="quick")
    made.add_argument("--out", default=Path("out"), type=Path, help="folder for NAME.json and .md")
    made.add_argument(
        "--threads", type=positive, help="threads of spconv, of NumPy's BLAS and of PyTorch"
    )
    return made


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], num_words: int = 1) -> str:
    """A table; the first ``num_words`` columns hold words, the others numbers.

    >>> print(markdown(["layer", "ms"], [["first", "1.5"]]))
    | layer | ms |
    | --- | ---: |
    | first | 1.5 |
    """
    alignment = ["---"] * num_words + ["---:"] * (len(columns) - num_words)
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, alignment, *rows))


def write(folder: Path, name: str, result: dict[str, Any], text: str) -> None:
    """Print ``text`` and write it to ``NAME.md``, and ``result`` with the machine to ``.json``."""
    print(text)
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": describe_machine(), **result}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
