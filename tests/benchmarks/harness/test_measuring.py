import gc
import json
from contextlib import contextmanager

import pytest
from harness.measuring import (
    Budget,
    Record,
    Recorder,
    Timing,
    measure,
    measure_in_turns,
    select,
    too_large,
)


class Clock:
    """Time that only the measured function moves."""

    def __init__(self, *durations):
        self.now, self.durations, self.calls = 0.0, durations, 0

    def __call__(self):
        return self.now

    def work(self):
        # The call to warm up takes as long as the first one that counts.
        self.now += self.durations[max(0, self.calls - 1) % len(self.durations)]
        self.calls += 1


def test_median_and_minimum_without_the_warm_up():
    clock = Clock(0.5, 0.1, 0.2, 0.9, 0.3)
    timing = measure(clock.work, Budget(seconds=2.0, least=3, most=50), clock)
    assert clock.calls == 1 + timing.repeats == 6
    assert (timing.median_ms, timing.min_ms) == pytest.approx((300, 100))


@pytest.mark.parametrize(
    ("duration", "budget", "repeats"),
    [
        (0.01, Budget(seconds=1.0, most=20), 20),
        (0.25, Budget(seconds=1.0, least=3), 4),
        (0.4, Budget(seconds=0.5, least=3, patience=4), 3),
        (10.0, Budget(seconds=0.5, least=3, patience=4), 1),
    ],
)
def test_repeats_follow_the_budget(duration, budget, repeats):
    clock = Clock(duration)
    assert measure(clock.work, budget, clock).repeats == repeats


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_garbage_collector_rests_and_is_as_before(was_enabled):
    def fail():
        seen.append(gc.isenabled())
        if len(seen) == 2:
            raise RuntimeError

    seen = []
    (gc.enable if was_enabled else gc.disable)()
    try:
        with pytest.raises(RuntimeError):
            measure(fail)
        assert gc.isenabled() == was_enabled
        assert seen[-1] is False
    finally:
        gc.enable()


def test_records_survive_json():
    timing = Timing(1.5, 1.25, 7)
    for record in (
        Record("grid", "sparse", "forward", {"x": 32, "shape": [32, 32]}, timing),
        Record("grid", "dense", "forward", {"x": None}, None, "too large"),
    ):
        assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_recorder_prints_a_short_line_for_everything():
    lines = []
    recorder = Recorder("layers", Budget(seconds=0.0, least=1), lines.append)
    recorder.time("grid", "sparse", "forward", {"label": "16 x 32x32"}, lambda: None)
    recorder.skip("grid", "dense", "forward", {"label": "16 x 32x32"}, "would need 3 GB")
    assert lines[0].startswith("[layers] 16 x 32x32: sparse forward ")
    assert lines[1] == "[layers] 16 x 32x32: dense forward skipped, would need 3 GB"
    assert [record.timing is None for record in recorder.records] == [False, True]


def test_select_by_attributes_and_by_the_case():
    records = [Record("grid", "sparse", "forward", {"x": x}) for x in (1, 2)]
    records.append(Record("grid", "dense", "forward", {}))
    assert select(records, implementation="sparse", x=2) == records[1:2]
    assert select(records, x=None) == records[2:]


def test_large_dense_baselines_are_skipped_with_the_reason():
    assert too_large(1.9e9) == ""
    assert "3.2 GB" in too_large(3.2e9)


def test_turns_meet_the_same_spells():
    now, slow = [0.0], [1.0]

    def take(seconds):
        def work():
            now[0] += seconds * slow[0]

        return work

    def spell():
        slow[0] *= 10

    turns = measure_in_turns(
        {"a": take(2.0), "b": take(1.0), "spell": spell}, Budget(1e9, most=3), lambda: now[0]
    )
    assert [len(times) for times in turns.milliseconds.values()] == [3, 3, 3]
    assert turns.timing("a").median_ms == pytest.approx(200_000)
    assert turns.timing("b").min_ms == pytest.approx(10_000)
    assert turns.ratio("a", "b") == pytest.approx(2)


def test_what_a_turn_runs_in_is_entered_and_left_without_being_timed():
    now, seen = [0.0], []

    @contextmanager
    def around():
        now[0] += 100
        seen.append("in")
        yield
        now[0] += 100
        seen.append("out")

    def work():
        now[0] += 1
        seen.append("work")

    functions = {"plain": work, "within": work}
    budget = Budget(1e9, most=2)
    turns = measure_in_turns(functions, budget, lambda: now[0], {"within": around})
    assert seen == ["work"] * 2 + ["work", "in", "work", "out"] * 2
    assert turns.milliseconds == {"plain": [1000, 1000], "within": [1000, 1000]}
