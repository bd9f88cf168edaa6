"""Where the time of training goes: epochs of MNIST and Assamese, and a U-Net's step in 3-D.

    python benchmarks/profile_step.py --out out            # 60 steps of every epoch
    python benchmarks/profile_step.py --full --out out     # whole epochs

The epochs are those of the shipped networks: DeepCNet(5, 60) with dropout on batches of 100
affinely distorted images, and a VGG+ of 97,295 parameters on batches of 64 distorted handwritten
characters, which a background thread prepares, rulebooks included where it has a processor of its
own, through ``spconv.train``. Arithmetic is what convolutions and linear layers multiply and add,
forward and backward; all else is listed with it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from harness import command_line
from harness.stopwatch import ARITHMETIC, LOADER, LOSS, REST, Stopwatch, watched
from harness.threads import use_threads
from plans.recipes import ASSAMESE, MNIST, Recipe
from reporting.table import markdown
from training import subjects
from training.steps import sgd

import spconv
from spconv.functional import cross_entropy
from spconv.schedules import Cosine, Warmup
from spconv.train import train

SIZES = {"tiny": (3, 1), "quick": (60, 5), "full": (None, 0)}
"""Steps of the epoch that are counted (None: all), and steps before them."""
SCAN_STEPS = {"tiny": 2, "quick": 10, "full": 30}


@dataclass(frozen=True)
class Part:
    """What one label took per step; multiply-adds are 0 for all but the arithmetic."""

    label: str
    milliseconds: float
    calls: float
    multiply_adds: float

    @property
    def arithmetic(self) -> bool:
        return self.label in ARITHMETIC


@dataclass(frozen=True)
class Profile:
    """The parts of a training step, and the seconds of every step."""

    name: str
    parts: list[Part]
    seconds: list[float]
    steps_per_epoch: int | None = None

    @property
    def milliseconds(self) -> float:
        """Of a mean step."""
        return sum(part.milliseconds for part in self.parts)

    @property
    def arithmetic(self) -> float:
        """Share of the arithmetic in the time."""
        own = sum(part.milliseconds for part in self.parts if part.arithmetic)
        return own / self.milliseconds

    @property
    def epoch_seconds(self) -> float | None:
        """Of a whole epoch: measured, or its number of steps times the median step."""
        if self.steps_per_epoch is None:
            return None
        if len(self.seconds) == self.steps_per_epoch:
            return sum(self.seconds)
        return self.steps_per_epoch * statistics.median(self.seconds)

    @classmethod
    def of(
        cls,
        name: str,
        watch: Stopwatch,
        totals: dict[str, float],
        seconds: Sequence[float],
        steps_per_epoch: int | None = None,
    ) -> Profile:
        steps = len(seconds)
        parts = [
            Part(
                label,
                1e3 * total / steps,
                watch.calls[label] / steps,
                watch.multiply_adds[label] / steps,
            )
            for label, total in sorted(totals.items(), key=lambda item: -item[1])
        ]
        return cls(name, parts, list(seconds), steps_per_epoch)


class Watched:
    """A loader's first batches, waited for on the watch."""

    def __init__(self, loader: Any, watch: Stopwatch, steps: int | None, warm_up: int) -> None:
        self.loader, self.watch, self.warm_up = loader, watch, warm_up
        self.steps = len(loader) if steps is None else warm_up + steps
        self.marks: list[float] = []
        self.totals: dict[str, float] = {}

    def __len__(self) -> int:
        return self.steps

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        batches = self.loader.epoch(epoch, start)
        try:
            for number in range(start, self.steps):
                self.marks.append(self.watch.lap())
                if number == self.warm_up:
                    self.watch.reset()
                with self.watch.label(LOADER):
                    batch = next(batches)
                yield batch
            self.marks.append(self.watch.lap())
            self.totals = dict(self.watch.seconds)
        finally:
            batches.close()

    @property
    def seconds(self) -> list[float]:
        """Of every step after the warm-up."""
        return [after - before for before, after in pairwise(self.marks[self.warm_up :])]


def epoch(recipe: Recipe, size: str, data: str | None) -> Profile:
    """The first epoch of a shipped network's training, or its first steps."""
    plan, dataset = recipe.plan, subjects.training_data(recipe.data, size, data)
    if size == "tiny":
        small = replace(plan.training, batch_size=20)
        plan = replace(plan, training=small, **subjects.TINY[recipe.data])
    settings = plan.training
    model, watch = plan.model(), Stopwatch()
    loader = plan.loader(dataset.train, training=True)
    batches = Watched(loader, watch, *SIZES[size])
    optimizer = spconv.optim.SGD(
        model.named_parameters(), settings.lr, settings.momentum, True, settings.weight_decay
    )
    with watched(watch, model, optimizer), watch.label(REST):
        train(
            model,
            batches,
            optimizer,
            epochs=1,
            schedule=Warmup(
                Cosine(settings.lr, settings.epochs * len(loader)), settings.warmup_steps
            ),
            loss=watch.wrapped(cross_entropy, LOSS),
            progress=False,
        )
    name = f"{plan.describe()}, {dataset.name}, batch {settings.batch_size}, augmented"
    return Profile.of(name, watch, batches.totals, batches.seconds, len(loader))


def scan_step(size: str) -> Profile:
    """Training steps of the U-Net."""
    subject, watch = subjects.scan(size), Stopwatch()
    optimizer = sgd(subject.model)
    with watched(watch, subject.model, optimizer), watch.label(REST):
        marks = [watch.lap()]
        for number in range(1 + SCAN_STEPS[size]):
            optimizer.zero_grad()
            logits = subject.model(subject.source())
            with watch.label(LOSS):
                loss = cross_entropy(logits, subject.labels)
            loss.backward()
            optimizer.step()
            marks.append(watch.lap())
            if not number:
                watch.reset()
        totals = dict(watch.seconds)
    seconds = [after - before for before, after in pairwise(marks[1:])]
    return Profile.of(subject.name, watch, totals, seconds)


def table(profile: Profile) -> str:
    """The parts of a step, the arithmetic first, and what they add up to."""

    def row(name: str, milliseconds: float, multiply_adds: float, calls: str) -> list[str]:
        share = milliseconds / profile.milliseconds
        rate = 2e-6 * multiply_adds / milliseconds if multiply_adds else 0.0
        cells = [f"{milliseconds:.2f}", f"{share:.1%}", f"{rate:.0f}" if rate else ""]
        return [name, *cells, calls]

    rows = []
    for title, wanted in (("**arithmetic**", True), ("**all else**", False)):
        chosen = [part for part in profile.parts if part.arithmetic == wanted]
        sums = [sum(getattr(p, name) for p in chosen) for name in ("milliseconds", "multiply_adds")]
        rows.append(row(title, *sums, ""))
        rows += [row(p.label, p.milliseconds, p.multiply_adds, f"{p.calls:.0f}") for p in chosen]
    columns = ["part of a training step", "ms", "share", "GFLOP/s", "calls"]
    median = 1e3 * statistics.median(profile.seconds)
    text = (
        f"{profile.name}: {spconv.get_num_threads()} threads; {len(profile.seconds)} steps, "
        f"median {median:.1f} ms, mean {profile.milliseconds:.1f} ms; "
        f"{profile.arithmetic:.0%} of the time is arithmetic."
    )
    if profile.epoch_seconds is not None and profile.steps_per_epoch is not None:
        whole = len(profile.seconds) == profile.steps_per_epoch
        how = "measured whole" if whole else "the median times its steps"
        text += (
            f" An epoch of {profile.steps_per_epoch} steps: {profile.epoch_seconds:.1f} s, {how}."
        )
    return f"{text}\n\n{markdown(columns, rows)}"


def main() -> None:
    parser = command_line.parser(__doc__)
    parser.add_argument("--only", choices=["mnist", "assamese", "scan"], help="one of the three")
    options = parser.parse_args()
    use_threads(options.threads, restart=True)
    profiles = [
        epoch(recipe, options.size, options.data)
        for recipe in (MNIST, ASSAMESE)
        if options.only in (None, recipe.data)
    ]
    if options.only in (None, "scan"):
        profiles.append(scan_step(options.size))
    result = [
        {
            **asdict(profile),
            "milliseconds": profile.milliseconds,
            "arithmetic": profile.arithmetic,
            "epoch_seconds": profile.epoch_seconds,
        }
        for profile in profiles
    ]
    text = "\n\n".join(table(profile) for profile in profiles)
    command_line.write(options.out, "profile", {"size": options.size, "profiles": result}, text)


if __name__ == "__main__":
    main()
