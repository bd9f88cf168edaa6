"""``results.json``: the raw numbers of all sections, each with its machine and date."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.measuring import Record

FORMAT = 1


@dataclass(frozen=True)
class Section:
    """The records of one script's run."""

    size: str
    seconds: float
    machine: dict[str, Any]
    records: list[Record]


Results = dict[str, Section]


def read(path: Path) -> Results:
    """Read a results file; an absent one is empty.

    Raises
    ------
    ValueError
        If the file is not one of these results.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, expected {FORMAT}")
        return {
            name: Section(
                entry["size"],
                entry["seconds"],
                entry["machine"],
                [Record.from_json(record) for record in entry["records"]],
            )
            for name, entry in content["sections"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: not a results file of these benchmarks ({error}); move it away or choose "
            "another --out"
        ) from error


def records_of(path: Path, section: str) -> list[Record]:
    """The records of one section of a results file; none if it has none."""
    found = read(path).get(section)
    return [] if found is None else found.records


def write(path: Path, results: Results) -> None:
    """Write all sections, in one atomic step."""
    content = {
        "format": FORMAT,
        "sections": {
            name: {
                "size": section.size,
                "seconds": section.seconds,
                "machine": section.machine,
                "records": [record.to_json() for record in section.records],
            }
            for name, section in results.items()
        },
    }
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)
