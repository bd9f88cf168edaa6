"""The findings in words: headlines of the report and titles of the plots."""

from __future__ import annotations

from collections.abc import Sequence

from harness import Record, select
from results import Results
from summary_training import (
    comparison_finding,
    dropout_finding,
    dropout_time_finding,
    pictures_finding,
    pooling_finding,
    pretrained_finding,
)
from views import (
    BASELINES,
    Pairs,
    crossing,
    curve,
    dense_curve,
    faster_text,
    median_ms,
    percent_text,
    ratios,
    shape_text,
    strongest,
    times_text,
    values,
)

CONVOLUTION = "convolution, size 3, stride 1"
REGULAR, SUBMANIFOLD = "regular, size 3", "submanifold, size 3"


def headlines(results: Results) -> list[str]:
    """The main numbers, a sentence each, of the sections that there are."""
    findings = {
        "pictures": (pictures_finding,),
        "pretrained": (pretrained_finding,),
        "networks": (networks_finding,),
        "mnist": (mnist_finding,),
        "mnist-dropout": (dropout_finding, dropout_time_finding),
        "mnist-slow-pooling": (pooling_finding,),
        "assamese-vgg": (comparison_finding,),
        "assamese-features": (comparison_finding,),
        "pendigits": (comparison_finding,),
        "layers": (grid_finding, density_finding, channels_finding, kinds_finding),
        "rulebooks": (rulebooks_finding,),
    }
    lines = [
        finding(results[section].records)
        for section in findings
        if section in results
        for finding in findings[section]
    ]
    return [line if line.endswith("?") else f"{line}." for line in lines]


def layer_gains(
    records: Sequence[Record],
    experiment: str,
    ndim: int,
    operation: str,
    kind: str = REGULAR,
    rulebook: str = "cold",
) -> Pairs:
    """(x, dense time / sparse time) of one sweep, against the stronger dense baseline."""
    chosen = [record for record in records if record.experiment == experiment]
    sparse = curve(
        chosen,
        "x",
        implementation="sparse",
        ndim=ndim,
        operation=operation,
        kind=kind,
        rulebook=rulebook,
    )
    dense = dense_curve(
        chosen,
        strongest(chosen),
        [x for x, _ in sparse],
        ndim=ndim,
        operation=operation,
        baseline=CONVOLUTION,
    )
    return ratios(dense, sparse)


def grid_finding(records: Sequence[Record]) -> str:
    """The gain of a layer on the largest grid of either dimension."""
    places = [
        (shape_text([x] * ndim), gain)
        for ndim in (2, 3)
        for x, gain in layer_gains(records, "grid", ndim, "training step")[-1:]
    ]
    if not places:
        return "How does the time of a layer grow with the grid?"
    return "A sparse layer trains " + _than(places, select(records, experiment="grid"))


def density_finding(records: Sequence[Record]) -> str:
    """The share of active sites where sparse and dense are equally fast."""
    shares = {}
    for ndim in (2, 3):
        gains = layer_gains(records, "density", ndim, "training step")
        if gains and gains[0][1] > 1:
            shares[f"{ndim}-D"] = crossing(gains) or gains[-1][0]
    if not shares:
        return "From which share of active sites on is dense faster?"
    (first, share), *others = shares.items()
    dense = BASELINES[strongest(select(records, experiment="density"))]
    text = f"Sparse trains faster than {dense} up to {percent_text(share)} active sites in {first}"
    return ", ".join([text, *(f"{percent_text(share)} in {name}" for name, share in others)])


def _than(places: Sequence[tuple[str, float]], records: Sequence[Record]) -> str:
    """ "5.1 times faster than our dense layers on A, 13 times faster on B"."""
    (first, gain), *others = places
    text = f"{faster_text(gain)} than {BASELINES[strongest(records)]} on {first}"
    return ", ".join([text, *(f"{faster_text(gain)} on {place}" for place, gain in others)])


def channels_finding(records: Sequence[Record]) -> str:
    """The range of gains over the number of channels."""
    gains = [
        pair for ndim in (2, 3) for pair in layer_gains(records, "channels", ndim, "training step")
    ]
    if not gains:
        return "How does the gain depend on the number of channels?"
    low, high = min(g for _, g in gains), max(g for _, g in gains)
    least, most = min(x for x, _ in gains), max(x for x, _ in gains)
    span = f"{times_text(low)} to {times_text(high)}"
    dense = BASELINES[strongest(select(records, experiment="channels"))]
    return f"With {least:g} to {most:g} channels, sparse trains {span} as fast as {dense}"


def kinds_finding(records: Sequence[Record]) -> str:
    """The range of gains over kinds of layers."""
    gains = [gain for ndim in (2, 3) for _, gain in kind_gains(records, ndim)]
    if not gains:
        return "How much faster is each kind of layer than its dense counterpart?"
    span = f"{times_text(min(gains))} to {times_text(max(gains))}"
    dense = BASELINES[strongest(select(records, experiment="kinds"))]
    return f"By kind of layer, sparse trains {span} as fast as {dense}"


def kind_gains(
    records: Sequence[Record], ndim: int, rulebook: str = "cold"
) -> list[tuple[str, float]]:
    """(kind, dense time / sparse time) of a training step of every kind of layer."""
    case = {"experiment": "kinds", "ndim": ndim, "operation": "training step"}
    chosen = select(records, **case)
    best = strongest(select(records, experiment="kinds"))
    gains = []
    for record in select(chosen, implementation="sparse", rulebook=rulebook):
        baseline = record.case["baseline"]
        dense = median_ms(chosen, implementation=best, baseline=baseline)
        if dense is not None and record.timing is not None:
            gains.append((record.case["kind"], dense / record.timing.median_ms))
    return gains


def rulebooks_finding(records: Sequence[Record]) -> str:
    """The time of the largest 3-D submanifold rulebook."""
    chosen = [r for r in records if r.case["ndim"] == 3]
    points = curve(chosen, "sites", kind=SUBMANIFOLD)
    if not points:
        return "How long does a rulebook take to build?"
    sites, milliseconds = points[-1]
    return (
        f"The rulebook of a 3-D submanifold layer over {sites:,} sites takes {milliseconds:.2g} ms"
    )


def networks_finding(records: Sequence[Record]) -> str:
    """The gain of the whole network, on the largest field that dense can take."""
    gains = network_gains(records, "training step")
    if not gains:
        return "How does the time of a whole network grow with the field?"
    places = [(shape_text([x, x]), gain) for x, gain in gains[-2:]]
    return "Sparse DeepCNet trains " + _than(places, records)


def network_gains(records: Sequence[Record], operation: str) -> Pairs:
    """(field, dense time / sparse time) of whole networks."""
    sparse = curve(records, "x", implementation="sparse", operation=operation)
    dense = curve(records, "x", implementation=strongest(records), operation=operation)
    return ratios(dense, sparse)


def mnist_finding(records: Sequence[Record]) -> str:
    """The test errors of both networks, and what they were trained on."""
    parts = [f"{record.case['network']} {error_text(record)}" for record in records]
    where = " and ".join(map(str, values(records, "data")))
    return f"Test error on {where}: " + ", ".join(parts)


def error_text(record: Record) -> str:
    """
    >>> case = {"test_error": 0.0071, "interval": [0.0056, 0.009]}
    >>> error_text(Record("training", "sparse", "training", case))
    '0.71 % (0.56 to 0.90)'
    """
    low, high = record.case["interval"]
    return f"{100 * record.case['test_error']:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def duration_text(seconds: float) -> str:
    """
    >>> duration_text(42.3), duration_text(150), duration_text(9000)
    ('42 s', '2.5 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
