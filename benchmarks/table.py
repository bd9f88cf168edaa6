"""A table of the report."""

from __future__ import annotations

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
