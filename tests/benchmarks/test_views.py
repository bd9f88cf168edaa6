import pytest
from harness import Record, Timing
from views import (
    count_text,
    crossing,
    curve,
    dense_curve,
    faster_text,
    percent_text,
    ratios,
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


def test_ratios_where_both_were_measured():
    assert ratios([(1, 10.0), (2, 20.0)], [(2, 5.0), (3, 1.0)]) == [(2, 4.0)]


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
