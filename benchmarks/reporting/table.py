"""Tables, and their Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Table:
    """A table of text; ``name`` is the plot it belongs to, the first columns hold words."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    num_words: int = 1


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], num_words: int = 1) -> str:
    """A table; the first ``num_words`` columns hold words, the others numbers.

    >>> print(markdown(["layer", "ms"], [["first", "1.5"]]))
    | layer | ms |
    | --- | ---: |
    | first | 1.5 |
    """
    alignment = ["---"] * num_words + ["---:"] * (len(columns) - num_words)
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in (columns, alignment, *rows))
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)
