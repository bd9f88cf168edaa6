"""The regression check of the kernels, on made-up rates: it compares ratios, never times."""

import json
from functools import cache

import cpu_roofline
import pytest
from cpu_roofline import FLOORS
from harness import machine
from workloads.sites import surfaces

import spconv
from spconv.ops.settings import CPU_PRECISIONS


def row(share, layer="3-D surfaces", channels=32, threads=1):
    rates = {name: {"rate": 1.0, "share": share} for name in ("forward", "weight gradient")}
    return {"layer": layer, "channels": channels, "threads": threads, "rates": rates}


def test_floors_are_for_every_number_of_channels():
    assert set(FLOORS) == set(cpu_roofline.CHANNELS)
    for channels, floor in FLOORS.items():
        assert cpu_roofline.misses([row(floor, channels=channels)]) == []
        missed = cpu_roofline.misses([row(0.99 * floor, channels=channels)])
        assert len(missed) == 2
        assert f"forward at {0.99 * floor:.0%}, floor {floor:.0%}" in missed[0]


def test_floors_are_for_3_d_layers_on_one_thread():
    assert cpu_roofline.misses([row(0.01, layer="2-D pen strokes"), row(0.01, threads=2)]) == []


def test_the_committed_results_are_above_the_floors(benchmarks_folder):
    path = benchmarks_folder / "results" / "cpu" / "cpu_roofline.json"
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) >= 12
    assert cpu_roofline.misses(rows) == []


@pytest.mark.parametrize("channels", FLOORS)
def test_floors_are_seven_tenths_of_the_smallest_committed_share(benchmarks_folder, channels):
    shares = [
        rate["share"]
        for machine in ("cpu", "epyc-avx2", "xeon-amx")
        for row in json.loads(
            (benchmarks_folder / "results" / machine / "cpu_roofline.json").read_text()
        )["rows"]
        if row["threads"] == 1 and row["layer"].startswith("3-D") and row["channels"] == channels
        if row["precision"] == "float32"
        for rate in row["rates"].values()
    ]
    assert FLOORS[channels] <= 0.7 * min(shares) < FLOORS[channels] + 0.01


@pytest.mark.parametrize(
    ("measured", "attempts", "share"),
    [([0.9], 1, 0.9), ([0.1, 0.8], 2, 0.8), ([0.1, 0.3, 0.2], 3, 0.3)],
)
def test_what_misses_is_measured_again(monkeypatch, measured, attempts, share):
    shares = iter(measured)
    calls = []

    def layer_rates(sites, channels, threads):
        calls.append(channels)
        return row(next(shares))["rates"]

    monkeypatch.setattr(cpu_roofline, "layer_rates", layer_rates)
    found = cpu_roofline.measure_layer("3-D surfaces", surfaces(3, 12), 32, 1)
    assert len(calls) == attempts
    assert {rate["share"] for rate in found["rates"].values()} == {share}
    assert bool(cpu_roofline.misses([found])) == (share < FLOORS[32])


@pytest.mark.parametrize(("floor", "code"), [(0.0, 0), (1e9, 1)])
def test_the_command_fails_below_a_floor(monkeypatch, tmp_path, capsys, floor, code):
    monkeypatch.setattr(cpu_roofline, "FLOORS", dict.fromkeys(cpu_roofline.CHANNELS, floor))
    monkeypatch.setattr(
        cpu_roofline, "scenes", lambda: [("2-D", surfaces(2, 12)), ("3-D", surfaces(3, 12))]
    )
    monkeypatch.setattr(cpu_roofline, "ROUNDS", 1)
    monkeypatch.setattr(cpu_roofline, "SECONDS", 0.0)
    monkeypatch.setattr(cpu_roofline, "copy_rate", lambda: 1.0)
    monkeypatch.setattr(cpu_roofline, "sgemm_rate", cache(cpu_roofline.sgemm_rate))
    monkeypatch.setattr(
        "sys.argv", ["cpu_roofline.py", "--quick", "--check", "--out", str(tmp_path)]
    )
    assert cpu_roofline.main() == code
    assert ("below its floor: 3-D" in capsys.readouterr().out) == bool(code)
    assert (tmp_path / "cpu_roofline.md").read_text().count("| 3-D, ") == 2


def test_precisions_of_the_matrix_unit_are_further_rows_without_floors(monkeypatch):
    assert set(machine.cpu_precisions()) <= set(CPU_PRECISIONS)
    monkeypatch.setattr(machine.amx, "missing", lambda: "nothing of it")
    assert machine.cpu_precisions() == ("float32",)
    monkeypatch.setattr(machine.amx, "missing", lambda: "")
    assert machine.cpu_precisions() == CPU_PRECISIONS
    monkeypatch.setattr(cpu_roofline, "layer_rates", lambda *_: row(0.01)["rates"])
    try:
        found = cpu_roofline.measure_layer("3-D", surfaces(3, 12), 32, 1, "bfloat16")
    finally:
        spconv.set_cpu_precision("float32")
    assert found["layer"].endswith("32 channels, bfloat16")
    assert cpu_roofline.misses([found]) == []
