"""Findings about layers, rulebooks, whole networks and the two trainings on MNIST."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measuring import Record, select

from reporting.views.timings import (
    BASELINES,
    Gain,
    baselines_text,
    crossing,
    curve,
    dense_curve,
    faster_text,
    gain_at,
    gains_along,
    median_ms,
    percent_text,
    shape_text,
    times_text,
    values,
)

CONVOLUTION = "convolution, size 3, stride 1"
REGULAR, SUBMANIFOLD = "regular, size 3", "submanifold, size 3"


def layer_gains(
    records: Sequence[Record],
    experiment: str,
    ndim: int,
    operation: str,
    kind: str = REGULAR,
    rulebook: str = "cold",
) -> list[Gain]:
    """The gains of one sweep, each over the faster dense baseline."""
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
    xs = [x for x, _ in sparse]
    case = {"ndim": ndim, "operation": operation, "baseline": CONVOLUTION}
    dense = {name: dense_curve(chosen, name, xs, **case) for name in BASELINES}
    return gains_along(sparse, dense)


def grid_finding(records: Sequence[Record]) -> str:
    """The gain of a layer on the largest grid of either dimension."""
    places = [
        (shape_text([gain.x] * ndim), gain)
        for ndim in (2, 3)
        for gain in layer_gains(records, "grid", ndim, "training step")[-1:]
    ]
    if not places:
        return "How does the time of a layer grow with the grid?"
    return "A sparse layer trains " + _than(places)


def density_finding(records: Sequence[Record]) -> str:
    """The share of active sites where sparse and dense are equally fast."""
    parts = []
    named = ""
    for ndim in (2, 3):
        gains = layer_gains(records, "density", ndim, "training step")
        if not gains or gains[0].times <= 1:
            continue
        share = equal_share(gains) or gains[-1].x
        dense = baselines_text(gain.baseline for gain in gains)
        than = "" if dense == named else f"than {dense} "
        sites = "" if parts else " active sites"
        parts.append(f"{than}up to {percent_text(share)}{sites} in {ndim}-D")
        named = dense
    if not parts:
        return "From which share of active sites on is dense faster?"
    return "Sparse trains faster " + ", ".join(parts)


def equal_share(gains: Sequence[Gain]) -> float | None:
    """The share of active sites at which dense gets as fast as sparse."""
    return crossing([(gain.x, gain.times) for gain in gains])


def _than(places: Sequence[tuple[str, Gain]]) -> str:
    """ "5.1 times faster than our dense layers on A, 13 times faster on B".

    Another baseline on B is named there.
    """
    parts = []
    named = ""
    for place, gain in places:
        than = "" if gain.baseline == named else f" than {BASELINES[gain.baseline]}"
        parts.append(f"{faster_text(gain.times)}{than} on {place}")
        named = gain.baseline
    return ", ".join(parts)


def channels_finding(records: Sequence[Record]) -> str:
    """The range of gains over the number of channels."""
    gains = [
        gain for ndim in (2, 3) for gain in layer_gains(records, "channels", ndim, "training step")
    ]
    if not gains:
        return "How does the gain depend on the number of channels?"
    least, most = min(gain.x for gain in gains), max(gain.x for gain in gains)
    return f"With {least:g} to {most:g} channels, sparse trains {_span(gains)}"


def kinds_finding(records: Sequence[Record]) -> str:
    """The range of gains over kinds of layers."""
    gains = [gain for ndim in (2, 3) for gain in kind_gains(records, ndim)]
    if not gains:
        return "How much faster is each kind of layer than its dense counterpart?"
    return f"By kind of layer, sparse trains {_span(gains)}"


def _span(gains: Sequence[Gain]) -> str:
    """ "5.1 times to 13 times as fast as our dense layers"."""
    low, high = (times_text(bound(gain.times for gain in gains)) for bound in (min, max))
    return f"{low} to {high} as fast as {baselines_text(gain.baseline for gain in gains)}"


def kind_gains(records: Sequence[Record], ndim: int, rulebook: str = "cold") -> list[Gain]:
    """The gain in a training step of every kind of layer, which is its x."""
    case = {"experiment": "kinds", "ndim": ndim, "operation": "training step"}
    chosen = select(records, **case)
    gains = []
    for record in select(chosen, implementation="sparse", rulebook=rulebook):
        same = {"baseline": record.case["baseline"]}
        dense = {name: median_ms(chosen, implementation=name, **same) for name in BASELINES}
        gains.append(gain_at(record.case["kind"], median_ms([record]), dense))
    return [gain for gain in gains if gain is not None]


def rulebooks_finding(records: Sequence[Record]) -> str:
    """The time of the largest 3-D submanifold rulebook."""
    chosen = [r for r in records if r.case["ndim"] == 3]
    points = curve(chosen, "sites", kind=SUBMANIFOLD)
    if not points:
        return "How long does a rulebook take to build?"
    sites, milliseconds = points[-1]
    return (
        f"The rulebook of a 3-D submanifold layer over {sites:,} sites takes "
        f"{float(f'{milliseconds:.2g}'):g} ms"
    )


def networks_finding(records: Sequence[Record]) -> str:
    """The gain of the whole network, on the largest field that dense can take."""
    gains = network_gains(records, "training step")
    if not gains:
        return "How does the time of a whole network grow with the field?"
    places = [(shape_text([gain.x, gain.x]), gain) for gain in gains[-2:]]
    return "Sparse DeepCNet trains " + _than(places)


def network_gains(records: Sequence[Record], operation: str) -> list[Gain]:
    """The gains of whole networks by their field."""
    sparse, *dense = (
        curve(records, "x", implementation=name, operation=operation)
        for name in ("sparse", *BASELINES)
    )
    return gains_along(sparse, dict(zip(BASELINES, dense, strict=True)))


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
