"""VGG-like sparse networks on 183 handwritten Assamese characters, against a dense CNN.

    python benchmarks/assamese_vgg.py --full --out out --data folder-with-assamese

The smallest is the network of SparseConvNet's example (Graham & van der Maaten 2017). As many
epochs for all three, and for the dense one four times as many besides, which it needs to come near
the others. Most of the hour on one thread is its own, so that there is no quick form; the section
"pretrained" evaluates shipped weights.
"""

from __future__ import annotations

from dataclasses import replace

from harness.measuring import Record
from harness.options import Options
from plans.plan import Training
from plans.recipes import ASSAMESE_PEN, vgg_plus_spec
from plans.strokes import Pen, StrokeDenseRun, StrokeVGGRun
from reporting import session
from training.comparison import Entry, compare_on_strokes

CLASSES = 183
TINY = Training(1, 20, 0.05, 0.9, 1e-4, warmup_steps=2, num_train=40, num_test=40)
FULL = Training(12, 64, 0.1, 0.9, 1e-4, warmup_steps=200)
LONGER = 4
"""Times the epochs of the dense network's second training."""


def vgg_plus(k: int, pen: Pen, training: Training, name: str) -> StrokeVGGRun:
    """The VGG+ network with k filters in the first layer."""
    return StrokeVGGRun(pen, CLASSES, 0.0, training, name, vgg_plus_spec(k), readout=8 * k)


def entries(size: str) -> list[Entry]:
    training = TINY if size == "tiny" else FULL
    dense_pen = replace(ASSAMESE_PEN, field=96, ground_state=True)
    dense_training = replace(training, lr=training.lr / 2)
    dense = StrokeDenseRun(dense_pen, CLASSES, 0.5, dense_training, f"assamese-dense-{size}")
    longer = replace(
        dense,
        training=replace(dense_training, epochs=LONGER * training.epochs),
        name=f"assamese-dense-longer-{size}",
    )
    widths = (2,) if size == "tiny" else (8, 16)
    return [
        *(
            Entry(f"VGG+, k = {k}", vgg_plus(k, ASSAMESE_PEN, training, f"assamese-vgg{k}-{size}"))
            for k in widths
        ),
        Entry("dense CNN", dense),
        Entry(f"dense CNN, {LONGER} times the epochs", longer),
    ]


def run(options: Options) -> list[Record]:
    """Train and measure all networks, or go on where an interrupted run ended."""
    return compare_on_strokes(entries, "assamese", "assamese-vgg", options)


if __name__ == "__main__":
    session.main({"assamese-vgg": run}, __doc__)
