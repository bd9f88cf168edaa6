"""What a section of the report is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import results
from harness.measuring import Record


@dataclass(frozen=True)
class Options:
    """What a script gets of the command line."""

    size: str
    out: Path
    data: str | None
    echo: Callable[[str], object]
    finished: bool = False
    """Report the trainings that have ended, here or in the results already, and start no other."""

    def earlier(self, section: str) -> list[Record] | None:
        """With ``finished``: the records of a section in the results that there are already."""
        path = self.out / "results.json"
        return results.records_of(path, section) if self.finished else None

    def echo_of(self, section: str) -> Callable[[str], object]:
        """Takes the progress lines of one section."""
        return lambda text: self.echo(f"[{section}] {text}")
