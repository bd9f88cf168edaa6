"""``CLAIMS.md``: what the sources say, what was measured here, and whether the two agree.

    python benchmarks/claims.py benchmarks/results/experiments

Every number comes from the folder's ``results.json`` or from the recipe beside the shipped weights;
a study that the folder lacks is called not run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import command_line
from harness import results as results_file
from harness.results import Results
from reporting.claims.verdicts import (
    Finding,
    assamese_error,
    dense_on_mnist,
    dropout_harm,
    dropout_levels,
    encodings_of,
    faster_pooling,
    faster_steps,
    mnist_error,
    not_tried,
    slow_pooling,
    sparse_is_faster,
    studied,
    work_saved,
)
from reporting.table import markdown

SIGNATURES = "Graham 2013, [arXiv 1308.0371](https://arxiv.org/abs/1308.0371)"
SPARSE = "Graham 2014, [arXiv 1409.6070](https://arxiv.org/abs/1409.6070)"
POSTER = "A student reproduction, as a poster"
STUDY = "`python benchmarks/{}.py --full --threads 1`"
NO_COMMAND = "\N{EN DASH}"


@dataclass(frozen=True)
class Claim:
    """A claim of a source, how it is examined here, and what stands between the two."""

    source: str
    text: str
    find: Callable[[Results], Finding]
    command: str = NO_COMMAND
    remark: str = ""


CASIA = "CASIA-OLHWDB is not among the data sets at hand, and 3,755 classes are days on one core"
FEATURES, DIGITS = "assamese-features", "pendigits"
CLAIMS = (
    Claim(
        SIGNATURES,
        "MNIST extended by translations: a sparse CNN reaches 0.31 % test error.",
        mnist_error,
        "`python benchmarks/evaluate.py mnist-deepc2`, `mnist`",
        "31 of 10,000 there. Ours are one run each on one core, with affine maps instead of "
        "translations alone; networks and epochs are not the source's. MNIST has no pen "
        "trajectories, so the features are grey values.",
    ),
    Claim(
        SIGNATURES,
        "The first, second and even third iterated integrals contain useful information: on "
        "Assamese characters.",
        studied(FEATURES, encodings_of),
        STUDY.format("assamese_features"),
        "The same submanifold VGG+ for all encodings, not the source's networks; occupancy is the "
        "signature of order 0.",
    ),
    Claim(
        SIGNATURES,
        "The same on digits written with a pen.",
        studied(DIGITS, encodings_of),
        STUDY.format("pendigits_deepcnet"),
        "DeepCNet(4, 40) on the original trajectories of UCI Pendigits.",
    ),
    Claim(
        SIGNATURES,
        "The same on letters.",
        not_tried("the data set of letters is not at hand"),
    ),
    Claim(
        SIGNATURES,
        "CASIA-OLHWDB1.1, 3,755 Chinese characters: 3.58 %, a traditional CNN 5.61 %; the winner "
        "of the ICDAR 2013 competition.",
        not_tried(CASIA),
    ),
    Claim(
        SIGNATURES,
        "A sparse implementation makes CNNs with many layers of max-pooling practical.",
        studied("mnist-slow-pooling", slow_pooling),
        STUDY.format("mnist_slow_pooling"),
        "DeepCNet(l, 16) has l layers of max-pooling in a field of 3 * 2^l; steps on 50 digits.",
    ),
    Claim(
        SPARSE,
        "Sparsity allows large, deep CNNs to be trained and tested more efficiently.",
        studied("mnist-slow-pooling", faster_steps),
        STUDY.format("mnist_slow_pooling"),
        "Against this library's dense layers, with the same weights and outputs. Against PyTorch: "
        "the table of whole networks in [README.md](../../../README.md#numbers).",
    ),
    Claim(
        SPARSE,
        "The same, as work.",
        studied("pictures", work_saved),
        "`python benchmarks/pictures.py`",
    ),
    Claim(
        SPARSE,
        "Slow pooling, by small steps, is better than fast pooling.",
        studied("mnist-slow-pooling", faster_pooling),
        STUDY.format("mnist_slow_pooling"),
        "Few epochs; the networks differ in parameters as well.",
    ),
    Claim(
        SPARSE,
        "Dropout that rises with depth is better than none, and than the same everywhere.",
        studied("mnist-dropout", dropout_levels),
        STUDY.format("mnist_dropout"),
        "The source trains with rising rates; the comparison is ours. The network is small and "
        "the images are augmented, so that there is little to regularize.",
    ),
    Claim(
        SPARSE,
        "The same rate hurts less if it is reached in the last layer only.",
        studied("mnist-dropout", dropout_harm),
        STUDY.format("mnist_dropout"),
        "Constant rates spare the input only.",
    ),
    Claim(
        SPARSE,
        "Translations and affine distortions of the training set.",
        not_tried("used in all trainings here; none was made without, so that nothing is compared"),
    ),
    Claim(SPARSE, "CASIA-OLHWDB1.1: 3.82 %.", not_tried(CASIA)),
    Claim(
        SPARSE,
        "CIFAR-10: 6.28 %; CIFAR-100: 24.30 %.",
        not_tried("CIFAR is not at hand, and networks of this size are for a GPU"),
        remark="`DeepCNiN` is there and trains (`tests/models/test_overfit.py`).",
    ),
    Claim(
        POSTER,
        "MNIST, DeepCNets at several levels of dropout against a simple dense CNN: comparable, "
        "and near the author's accuracy.",
        studied("mnist-dropout", dense_on_mnist),
        STUDY.format("mnist_dropout"),
        "For the author's accuracy see the first row of this page.",
    ),
    Claim(
        POSTER,
        "Assamese, 183 characters of the UCI set, are learned by a sparse VGG-like network.",
        assamese_error,
        "`python benchmarks/evaluate.py assamese`",
        "Published split by writers; one run, 150 epochs.",
    ),
    Claim(
        POSTER,
        "There the sparse network is much faster than a simple dense CNN at comparable accuracy.",
        studied("assamese-vgg", sparse_is_faster),
        STUDY.format("assamese_vgg"),
        "Much: at least three times; comparable: the sparse interval does not lie above the dense. "
        "Both run in this library, the dense one on the same microkernels. Seconds of an epoch are "
        "the steps' alone. The dense network, with dropout, learns slower: it gets four times the "
        "epochs as well, which the factors do not count.",
    ),
)
HEAD = """# The sources' claims, one by one

Made by `python benchmarks/claims.py benchmarks/results/experiments` from
[results.json](results.json) and from the recipes in the shipped weights;
`tests/benchmarks/test_claims.py` compares. Percentages are test errors with 95 % intervals:
Wilson's of one run, or Student's over several seeds. *Not shown* means that the intervals overlap,
*not run* that a study is unfinished. The studies' commands take `--data` or `$SPCONV_DATA`; with
`--finished` they report what has been trained so far. The plots are in [report.md](report.md).

The papers' numbers are those of their abstracts; claims without a number are their ideas in our
words. Of the poster only the conclusions are at hand.
"""
COLUMNS = ("claim", "here", "numbers", "command", "remarks")


def page(results: Results) -> str:
    """The page as Markdown: a table for each source."""
    lines = [HEAD]
    for source in dict.fromkeys(claim.source for claim in CLAIMS):
        rows = []
        for claim in (claim for claim in CLAIMS if claim.source == source):
            finding = claim.find(results)
            verdict = f"**{finding.verdict}**"
            rows.append([claim.text, verdict, finding.text, claim.command, claim.remark])
        lines += [f"## {source}", "", markdown(COLUMNS, rows, len(COLUMNS)), ""]
    return "\n".join(lines)


def write(folder: Path) -> Path:
    """Write ``CLAIMS.md`` beside ``results.json``."""
    path = folder / "CLAIMS.md"
    path.write_text(page(results_file.read(folder / "results.json")), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write(command_line.folder_of_results(__doc__)))
