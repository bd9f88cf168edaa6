"""Choosing tiles by timing them, once for each shape of a layer on each device.

All candidates for a product add in one order, so the choice changes no bit of a result: it may
come from the static table, from a file, or from this very call.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spconv.ops.cuda.tiles import Tile

VERSION = 1
WARM_UPS, REPEATS = 2, 5

Timer = Callable[[Callable[[], object]], float]
"""Time of one call, in any unit."""


class Tuner:
    """The fastest of several tiles for each key; kept in memory and in a file.

    Parameters
    ----------
    path : Path
        JSON file. One that cannot be read counts as empty; one that cannot be written is left.
    timer : callable
        Time of one call of a function.

    Examples
    --------
    >>> from spconv.ops.cuda.tiles import candidate_tiles
    >>> tiles = candidate_tiles("float16", 64, 64)
    >>> times = iter([3.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    >>> tuner = Tuner(Path(tempfile.mkdtemp()) / "tiles.json", lambda run: next(times))
    >>> tuner.choose("a layer", tiles, print) is tiles[1]
    True
    >>> tuner.choose("a layer", tiles, print) is tiles[1]  # not timed again
    True
    """

    def __init__(self, path: Path, timer: Timer) -> None:
        self._path = path
        self._timer = timer
        self._choices: dict[str, str] | None = None

    def choose(self, key: str, tiles: Sequence[Tile], run: Callable[[Tile], None]) -> Tile:
        """The fastest of ``tiles``, of equal ones the first; ``run`` computes with one of them."""
        if self._choices is None:
            self._choices = self._read()
        by_label = {tile.label: tile for tile in tiles}
        label = self._choices.get(key)
        if label in by_label:
            return by_label[label]
        times = [self._timer(lambda tile=tile: run(tile)) for tile in tiles]  # type: ignore[misc]
        best = tiles[times.index(min(times))]
        self._choices[key] = best.label
        self._write(key, best.label)
        return best

    def _read(self) -> dict[str, str]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            known = content["choices"] if content["version"] == VERSION else {}
            return {str(key): str(label) for key, label in known.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _write(self, key: str, label: str) -> None:
        """Add one choice to the file; other processes may have added theirs meanwhile."""
        content = {"version": VERSION, "choices": self._read() | {key: label}}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=self._path.parent, suffix=".json")
            with os.fdopen(number, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1, sort_keys=True)
            os.replace(name, self._path)
        except OSError:
            return


def cache_file() -> Path:
    """Where choices are kept: beside the kernels that CuPy has compiled."""
    folder = os.environ.get("CUPY_CACHE_DIR")
    return Path(folder or Path.home() / ".cupy" / "kernel_cache") / "spconv_tiles.json"


def event_timer(xp: Any, warm_ups: int = WARM_UPS, repeats: int = REPEATS) -> Timer:
    """Median milliseconds between two events on the current stream; ``xp`` is ``cupy``."""

    def time(run: Callable[[], object]) -> float:
        for _ in range(warm_ups):
            run()
        spans = []
        for _ in range(repeats):
            begin, end = xp.cuda.Event(), xp.cuda.Event()
            begin.record()
            run()
            end.record()
            end.synchronize()
            spans.append(xp.cuda.get_elapsed_time(begin, end))
        return statistics.median(spans)

    return time
