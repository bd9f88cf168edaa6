"""Training steps of whole networks against the other spconv on the CPU, in turns.

    python benchmarks/compare_networks.py --python other-venv/bin/python --threads 1 --out out

``--python`` is an interpreter with PyTorch and the other ``spconv``, which cannot share an
environment with this package. Both sides start from the same weights, see the same batch and reach
the same losses; a step builds all rulebooks, goes forward and backward, and ends with SGD.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from harness import command_line
from harness.measuring import Budget, Turns, measure_in_turns
from harness.threads import thread_variables, use_threads
from layers import check_close
from peers.exported import write
from reporting.table import markdown
from training import subjects

import spconv

WORKER = Path(__file__).parent / "peers" / "networks_worker.py"
BUDGETS = {"tiny": Budget(0.05, 2), "quick": Budget(30.0, 5), "full": Budget(120.0, 15)}
OURS, PEER = "this package", "other spconv"
STEPS = 2
"""After so many the losses are compared: they tell of gradients and updates."""


class Peer:
    """The other library's process, which makes a step of the same network when it is told to."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self.process, self.errors = process, errors
        self.logits = np.load(self._answer())

    def step(self) -> float:
        """The loss, once the step is made."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # no answer comes then
            print("step", file=self.process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise SystemExit(f"{WORKER.name} failed:\n{self.errors.read_text()}")
        return answer


@contextmanager
def started(python: str, subject: subjects.Subject) -> Iterator[Peer]:
    """The other library's process, as long as it is needed.

    Raises
    ------
    SystemExit
        If the process ends by itself, with what it wrote to its standard error.
    """
    threads = spconv.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        path, errors = Path(name, "network.npz"), Path(name, "errors.txt")
        write(path, subject.model, subject.source(), subject.labels)
        with (
            errors.open("w") as stream,
            subprocess.Popen(
                [python, str(WORKER), str(path), str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                cwd=name,
                env={**os.environ, **thread_variables(threads)},
            ) as process,
        ):
            try:
                yield Peer(process, errors)
            finally:
                process.kill()


def compare(python: str, subject: subjects.Subject, budget: Budget) -> Turns:
    """Milliseconds of a step here and there, after logits and losses were compared."""
    step = subject.step()
    with started(python, subject) as peer:
        with spconv.no_grad():
            logits = subject.model.train()(subject.source()).data
        check_close(f"logits, {PEER}", peer.logits, logits)
        theirs, ours = ([float(call()) for _ in range(STEPS)] for call in (peer.step, step))
        check_close(f"losses, {PEER}", np.array(theirs), np.array(ours))
        return measure_in_turns({OURS: step, PEER: peer.step}, budget)


def main() -> None:
    parser = command_line.parser(__doc__)
    parser.add_argument("--python", required=True, help="interpreter with PyTorch and spconv")
    options = parser.parse_args()
    use_threads(options.threads, restart=True)
    rows, results = [], []
    for subject in (
        subjects.handwriting(options.size, options.data),
        subjects.scan(options.size),
    ):
        print(subject.name)
        turns = compare(options.python, subject, BUDGETS[options.size])
        times, ratio = [turns.timing(name) for name in (OURS, PEER)], turns.ratio(PEER, OURS)
        medians = [f"{timing.median_ms:,.1f}" for timing in times]
        rounds = str(times[0].repeats)
        rows.append([subject.name, *medians, f"{ratio:.2f}", rounds])
        results.append(
            {"subject": subject.name, "milliseconds": turns.milliseconds, "ratio": ratio}
        )
    columns = ["training step", f"{OURS} (ms)", f"{PEER} (ms)", "times as long", "rounds in turns"]
    threads = spconv.get_num_threads()
    heading = f"Medians on {threads} threads; ratios are medians over the rounds."
    text = f"{heading}\n\n{markdown(columns, rows)}"
    result = {"size": options.size, "threads": threads, "networks": results}
    command_line.write(options.out, "peer_networks", result, text)


if __name__ == "__main__":
    main()
