import pytest
from harness.measuring import Record, Timing
from reporting.views.timings import (
    Gain,
    baselines_text,
    count_text,
    crossing,
    curve,
    dense_curve,
    faster_text,
    gain_at,
    gains_along,
    measured_baselines,
    percent_text,
    strongest,
    times_text,
)


def record(implementation, x, milliseconds, operation="forward"):
    timing = None if milliseconds is None else Timing(milliseconds, milliseconds, 3)
    return Record("grid", implementation, operation, {"x": x}, timing)


def test_the_stronger_baseline_is_the_faster_by_the_geometric_mean():
    ours = [record("dense", x, 10.0) for x in (1, 2)]
    assert strongest(ours) == "dense"
    assert strongest([*ours, record("torch", 1, 2.0), record("torch", 2, 40.0)]) == "torch"
    assert strongest([*ours, record("torch", 1, 2.0), record("torch", 2, 60.0)]) == "dense"


def test_skipped_baselines_do_not_count():
    records = [record("dense", 1, 10.0), record("torch", 1, None), record("dense", 2, None)]
    assert strongest(records) == "dense"
    assert curve(records, "x", implementation="dense") == [(1, 10.0)]


def test_a_baseline_without_x_stands_for_all():
    assert dense_curve([record("dense", None, 5.0)], "dense", [1, 2]) == [(1, 5.0), (2, 5.0)]
    assert dense_curve([record("dense", 1, 5.0)], "dense", [1, 2]) == [(1, 5.0)]


def test_gains_are_over_the_faster_baseline_of_every_point():
    dense = {"dense": [(1, 10.0), (2, 20.0)], "torch": [(1, 6.0), (2, 30.0)]}
    assert gains_along([(1, 2.0), (2, 2.0)], dense) == [
        Gain(1, 3.0, "torch"),
        Gain(2, 10.0, "dense"),
    ]


def test_gains_where_both_sides_were_measured():
    assert gains_along([(2, 5.0), (3, 1.0)], {"dense": [(1, 10.0), (2, 20.0)], "torch": []}) == [
        Gain(2, 4.0, "dense")
    ]
    assert gain_at(1, 2.0, {"dense": None, "torch": 6.0}) == Gain(1, 3.0, "torch")
    assert gain_at(1, None, {"dense": 6.0}) is None
    assert gain_at(1, 2.0, {"dense": None}) is None


def test_baselines_are_those_that_were_measured():
    records = [record("dense", 1, 10.0), record("torch", 1, None), record("sparse", 1, 1.0)]
    assert measured_baselines(records) == ["dense"]
    assert measured_baselines([record("torch", 2, 1.0), *records]) == ["dense", "torch"]
    assert baselines_text([]) == ""


def test_crossing_is_found_on_logarithmic_axes():
    assert crossing([(1, 10.0), (100, 0.1)]) == pytest.approx(10)
    assert crossing([(1, 10.0), (2, 5.0)]) is None
    assert crossing([]) is None


def test_texts():
    texts = [times_text(ratio) for ratio in (12.34, 9.96, 3.21, 0.999, 0.456)]
    assert [text[:-1] for text in texts] == ["12", "10", "3.2", "1.0", "0.46"]
    assert faster_text(0.5).endswith("slower")
    assert [percent_text(share) for share in (0.301, 0.0312, 0.0031)] == ["30 %", "3.1 %", "0.31 %"]
    assert [count_text(n) for n in (988, 14_600, 999_999, 1_234_000)] == [
        "990",
        "15k",
        "1M",
        "1.2M",
    ]
