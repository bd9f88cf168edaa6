"""DeepCNet on pen-written digits, with four encodings of the strokes, against a dense CNN.

    python benchmarks/pendigits_deepcnet.py --full --out out --data folder-with-pendigits

Twelve epochs each, a quarter of an hour on one thread; there is no quick form. The section
"pretrained" evaluates the shipped weights.
"""

from __future__ import annotations

from dataclasses import replace

from harness.measuring import Record
from harness.options import Options
from plans.plan import Training
from plans.recipes import PENDIGITS_PEN
from plans.strokes import StrokeDeepCNetRun, StrokeDenseRun
from reporting import session
from training.comparison import Entry, compare_on_strokes

CLASSES = 10
FEATURES = ("occupancy", "direction", "signature 1", "signature 2")
TINY = Training(1, 20, 0.01, 0.9, 1e-4, warmup_steps=2, num_train=40, num_test=40)
FULL = Training(12, 64, 0.02, 0.9, 1e-4, warmup_steps=300)
SEEDS = (0, 1, 2)


def entries(size: str) -> list[Entry]:
    training, k = (TINY, 2) if size == "tiny" else (FULL, 40)
    chosen = []
    for seed in SEEDS:
        settings, end = replace(training, seed=seed), f"seed{seed}-{size}"
        for features in FEATURES:
            pen = replace(PENDIGITS_PEN, features=features)
            name = f"pendigits-{features.replace(' ', '')}-{end}"
            chosen.append(
                Entry(
                    f"DeepCNet, {features}",
                    StrokeDeepCNetRun(pen, CLASSES, 0.3, settings, name, k=k),
                )
            )
        dense = StrokeDenseRun(PENDIGITS_PEN, CLASSES, 0.5, settings, f"pendigits-dense-{end}")
        chosen.append(Entry(f"dense CNN, {PENDIGITS_PEN.features}", dense))
    return chosen


def run(options: Options) -> list[Record]:
    """Train and measure all networks, or go on where an interrupted run ended."""
    return compare_on_strokes(entries, "pendigits", "pendigits", options)


if __name__ == "__main__":
    session.main({"pendigits": run}, __doc__)
