"""What a site should know of the pen: occupancy, direction, or iterated integrals of its path.

    python benchmarks/assamese_features.py --full --out out --data folder-with-assamese

One network, with each encoding of the strokes (Graham 2013, arXiv 1308.0371: path signatures), on
183 Assamese characters. 32 epochs each, a fifth of what the shipped weights got (plans/recipes.py).
Three quarters of an hour on one thread; there is no quick form.
"""

from __future__ import annotations

from dataclasses import replace

from assamese_vgg import TINY, vgg_plus
from harness.measuring import Record
from harness.options import Options
from plans.plan import Training
from plans.recipes import ASSAMESE_PEN
from reporting import session
from training.comparison import Entry, compare_on_strokes

FEATURES = ("occupancy", "direction", "signature 1", "signature 2", "signature 3")
FULL = Training(32, 64, 0.1, 0.9, 1e-4, warmup_steps=200)
SEEDS = (0, 1, 2)


def entries(size: str) -> list[Entry]:
    training, k = (TINY, 2) if size == "tiny" else (FULL, 8)
    return [
        Entry(
            features,
            vgg_plus(
                k,
                replace(ASSAMESE_PEN, features=features),
                replace(training, seed=seed),
                f"assamese-{features.replace(' ', '')}-seed{seed}-{size}",
            ),
        )
        for seed in SEEDS
        for features in FEATURES
    ]


def run(options: Options) -> list[Record]:
    """Train and measure all encodings, or go on where an interrupted run ended."""
    return compare_on_strokes(entries, "assamese", "assamese-features", options)


if __name__ == "__main__":
    session.main({"assamese-features": run}, __doc__)
