"""Whether a claim holds here, by the numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.results import Results

from reporting.claims import numbers

YES, PART, NO, NOT_SHOWN, NOT_TRIED = (
    "reproduced",
    "in part",
    "not reproduced",
    "not shown",
    "not attempted",
)
NOT_RUN = "not run"


@dataclass(frozen=True)
class Finding:
    """Whether a claim holds here, and the numbers that say so."""

    verdict: str
    text: str


def not_tried(why: str) -> Callable[[Results], Finding]:
    return lambda results: Finding(NOT_TRIED, why)


def studied(
    section: str, find: Callable[[Sequence[numbers.Record]], Finding]
) -> Callable[[Results], Finding]:
    """Ask the records of a section that may not be there, or be unfinished."""

    def ask(results: Results) -> Finding:
        if section not in results or not results[section].records:
            return Finding(NOT_RUN, f"`{section}` is not among the results")
        return find(results[section].records)

    return ask


def mnist_error(results: Results) -> Finding:
    names = "mnist-deepc2", "mnist"
    best = min((numbers.shipped(name) for name in names), key=lambda found: found["error"])
    low, high = best["interval"]
    within = PART if low <= numbers.GRAHAM_MNIST <= high else NO
    verdict = YES if best["error"] <= numbers.GRAHAM_MNIST else within
    return Finding(verdict, "; ".join(numbers.shipped_text(name) for name in names))


def assamese_error(results: Results) -> Finding:
    return Finding(YES, numbers.shipped_text("assamese"))


def encodings_of(records: Sequence[numbers.Record]) -> Finding:
    errors = numbers.errors(records)
    plain = [error for name, error in errors.items() if name.endswith("occupancy")]
    motion = [error for name, error in errors.items() if numbers.knows_motion(name)]
    if not plain or not motion:
        return Finding(NOT_RUN, numbers.errors_text(errors))
    better = [error for error in motion if error.high < plain[0].low]
    lower = [error for error in motion if error.value < plain[0].value]
    text = numbers.errors_text(errors)
    if len(better) == len(motion):
        return Finding(YES, text)
    if better:
        return Finding(PART, f"{text}: beyond the intervals for {len(better)} of {len(motion)}")
    if lower:
        return Finding(NOT_SHOWN, f"{text}: the intervals overlap")
    return Finding(NO, f"{text}: none is below occupancy")


def dropout_levels(records: Sequence[numbers.Record]) -> Finding:
    """Rising dropout against none, and against the same level everywhere."""
    none, rising, constant = numbers.dropout(records)
    text = f"without {none}; best rising {rising}; best constant {constant}"
    if rising.high < min(none.low, constant.low):
        return Finding(YES, text)
    return Finding(NOT_SHOWN, f"{text}: the intervals overlap")


def dropout_harm(records: Sequence[numbers.Record]) -> Finding:
    """Whether the same level hurts less when it rises with depth."""
    rising, constant = numbers.dropout_at_most(records)
    verdict = YES if rising.high < constant.low else NOT_SHOWN
    return Finding(verdict, f"at the highest common level: rising {rising}, constant {constant}")


def dense_on_mnist(records: Sequence[numbers.Record]) -> Finding:
    """Comparable: the interval of the best DeepCNet does not lie above the dense network's."""
    dense, best = numbers.dense_dropout(records)
    if dense is None:
        text = f"{best}; the dense network of this study has not been trained"
        return Finding(NOT_RUN, text)
    verdict = YES if best.error.low <= dense.error.high else NO
    return Finding(verdict, f"{best}; {dense}")


def sparse_is_faster(records: Sequence[numbers.Record]) -> Finding:
    """For every dense network a sparse one with no higher error and a third of its time."""
    sparse, dense = numbers.sparse_and_dense(records)
    if not dense:
        return Finding(NOT_RUN, "the dense network of this study has not been trained")
    parts = [str(network) for network in (*sparse, *dense)]
    matched = []
    for rival in dense:
        gains = [
            rival.epoch_seconds / network.epoch_seconds
            for network in sparse
            # Comparable: not significantly worse.
            if network.error.low <= rival.error.high
        ]
        gain = max(gains, default=0.0)
        matched.append(gain >= 3)
        best = f"up to {gain:.1f} times as fast" if gains else "none as accurate"
        parts.append(f"{best} as {rival.name}")
    verdict = YES if all(matched) else PART if any(matched) else NO
    return Finding(verdict, "; ".join(parts))


def slow_pooling(records: Sequence[numbers.Record]) -> Finding:
    """The deeper of DeepCNet(4, k) to DeepCNet(6, k), sparse and dense."""
    rows = numbers.pooling_rows(records)
    dearer = [row.sparse_ms / rows[0].sparse_ms for row in rows]
    dense = [row.dense_ms / rows[0].dense_ms for row in rows if row.dense_ms == row.dense_ms]
    text = "; ".join(map(str, rows))
    if len(rows) < 2 or len(dense) < 2:
        return Finding(NOT_RUN, text)
    verdict = YES if dearer[-1] < dense[-1] else NO
    return Finding(
        verdict,
        f"{text}: from the first to the last the sparse step grows {dearer[-1]:.1f}-fold, the "
        f"dense one {dense[-1]:.0f}-fold",
    )


def faster_pooling(records: Sequence[numbers.Record]) -> Finding:
    """The fastest pooling against the slower ones."""
    errors = numbers.errors(records)
    fast = errors.pop(numbers.FAST_POOLING, None)
    if fast is None or not errors:
        return Finding(NOT_RUN, "no network to compare with")
    text = f"{numbers.FAST_POOLING} {fast}; {numbers.errors_text(errors)}"
    better = [error for error in errors.values() if error.high < fast.low]
    if len(better) == len(errors):
        return Finding(YES, text)
    return Finding(PART if better else NOT_SHOWN, text)


def faster_steps(records: Sequence[numbers.Record]) -> Finding:
    """Whether every sparse step is faster than the dense one of the same network."""
    rows = [row for row in numbers.pooling_rows(records) if row.dense_ms == row.dense_ms]
    gains = [row.dense_ms / row.sparse_ms for row in rows]
    if not gains:
        return Finding(NOT_RUN, "no network was timed densely")
    verdict = YES if min(gains) > 1 else PART if max(gains) > 1 else NO
    texts = [f"{gain:.1f} times ({row.name})" for gain, row in zip(gains, rows, strict=True)]
    return Finding(verdict, f"a training step is faster {', '.join(texts)}")


def work_saved(records: Sequence[numbers.Record]) -> Finding:
    network, gain = numbers.climb(records)
    return Finding(YES, f"{network} on one digit: {gain:.0f} times fewer multiply-adds")
