"""What a training run shows and writes: a progress bar and a log of JSON lines."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


class Display:
    """A bar per epoch if tqdm is installed, otherwise a line now and then; on standard error.

    Parameters
    ----------
    enabled : bool
        False shows nothing.
    epochs, num_batches : int
        Numbers to count up to; None if the number of batches is not known.
    """

    seconds_between_lines = 10.0

    def __init__(self, enabled: bool, epochs: int, num_batches: int | None) -> None:
        self.enabled, self.epochs, self.num_batches = enabled, epochs, num_batches
        self._bar: Any = None
        self._title = ""
        self._shown_at = time.monotonic()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def start(self, epoch: int, batch: int) -> None:
        """Begin an epoch at a batch."""
        self._title = f"epoch {epoch + 1}/{self.epochs}"
        if not self.enabled:
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=self.num_batches, initial=batch, desc=self._title, unit="batch")

    def update(self, batch: int, text: str) -> None:
        """Show that ``batch`` batches are done."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(1)
        elif self.enabled and time.monotonic() - self._shown_at >= self.seconds_between_lines:
            of = "" if self.num_batches is None else f"/{self.num_batches}"
            self._print(f"{self._title}, batch {batch}{of}: {text}")

    def finish(self, text: str) -> None:
        """End the epoch."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)
            self._close()
        elif self.enabled:
            self._print(f"{self._title}: {text}")

    def say(self, text: str) -> None:
        """Show a line."""
        if self.enabled:
            self._print(text)

    def _print(self, text: str) -> None:
        self._shown_at = time.monotonic()
        print(text, file=sys.stderr, flush=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Log:
    """A file of JSON lines that a resumed run continues without gaps or repetitions.

    Lines written after the checkpoint that the run resumes from are removed first: those of
    epochs from ``epoch`` on, and those of steps after ``step``.

    Parameters
    ----------
    path : path or None
        None writes nothing.
    epoch, step : int
        Epochs and steps done; 0 and 0 start the file anew.

    Raises
    ------
    ValueError
        If the file holds anything but such lines; it is left alone.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "log.jsonl")
    ...     Log(path).write("epoch", {"epoch": 0, "loss": 0.5})
    ...     print(path.read_text(), end="")
    {"event": "epoch", "epoch": 0, "loss": 0.5}
    """

    def __init__(self, path: str | os.PathLike[str] | None, epoch: int = 0, step: int = 0) -> None:
        self.path = None if path is None else Path(path)
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            before = self.path.read_bytes()
            after = self._trim(before, epoch, step)
            if after != before:
                temporary = self.path.with_name(f".{self.path.name}.tmp")
                temporary.write_bytes(after)
                os.replace(temporary, self.path)

    def write(self, event: str, entry: dict[str, Any]) -> None:
        """Append one line."""
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, **entry}) + "\n")

    def _trim(self, content: bytes, epoch: int, step: int) -> bytes:
        kept = []
        lines = content.splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            torn = number == len(lines) and not line.endswith(b"\n")  # by a crash
            if torn and line.startswith(b'{"event"'[: len(line)]):
                continue
            try:
                entry = json.loads(line)
                is_epoch = entry["event"] == "epoch"
                done = entry["epoch"] < epoch if is_epoch else entry["step"] <= step
            except (KeyError, TypeError, ValueError):
                raise ValueError(
                    f"train: line {number} of {self.path} is not of a training log; choose "
                    "another path for the log"
                ) from None
            if done:
                kept.append(line)
        return b"".join(kept)
