"""The GPU's benchmarks from end to end on tiny scans, in the emulation: all but real times."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    return gpu


@pytest.mark.slow
def test_everything_is_measured(emulated, gpu, monkeypatch, tmp_path):
    from on_gpu import networks
    from workloads.lidar import lidar_scan

    def timer(function):
        function()
        return 2.0

    rates, epoch = gpu.device_rates, partial(networks.deepcnet_epoch, download=False)
    scan = lidar_scan(1.6, beams=8, columns=40)
    assert 50 < len(scan) < 300
    monkeypatch.setattr(gpu, "require_device", lambda: emulated)
    monkeypatch.setattr(gpu, "event_timer", lambda *arguments, **options: timer)
    monkeypatch.setattr(gpu, "replay_timer", lambda cupy: timer)
    monkeypatch.setattr(gpu, "device_rates", lambda cupy, timer: rates(cupy, timer, 1, 8))
    monkeypatch.setattr(gpu, "lidar_scan", lambda **options: scan)
    monkeypatch.setattr(gpu, "LAYERS", [(1, 4, 8)])
    monkeypatch.setattr(gpu, "RUNS", 1)
    monkeypatch.setattr(networks.unet_step, "__defaults__", ((8, 8),))
    monkeypatch.setattr(networks.unet_repeats, "__defaults__", ((8, 8), 1))
    monkeypatch.setattr(networks, "deepcnet_epoch", lambda *arguments: epoch(tmp_path, "cpu", 120))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path)])
    gpu.main()
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert result["gpu"] == "Imaginary 9"
    assert [row["kind"] for row in result["layers"]] == list(gpu.KINDS)
    for row in result["layers"]:
        assert row["same bits"] is True
        assert set(row["ms"].values()) == {2.0}
    assert result["rates"]["copy GB/s"] == pytest.approx(2 * 2**20 / 2e6)
    assert result["networks"]["U-Net same bits"] is True
    assert set(result["networks"]["U-Net step ms"]) == {"float32", "tf32", "bfloat16"}
    assert result["networks"]["DeepCNet epoch"]["samples"] == 120
    tables = (tmp_path / "gpu.md").read_text()
    assert "| 4 -> 8 | bfloat16 |" in tables
    assert "100 of an epoch's 120 | float32 |" in tables


@pytest.mark.slow
def test_our_side_of_the_comparison_is_measured(emulated, gpu, monkeypatch, tmp_path):
    """The other side is an interpreter that is not there, and the results say so."""
    import compare_gpu

    plan = replace(
        compare_gpu.REHEARSAL,
        device="cuda",
        widths=(8, 8),
        scan={"voxel": 3.2, "beams": 6, "columns": 30},
    )
    waits = []

    def milliseconds(call, synchronize):
        call()
        synchronize()
        return 2.0

    monkeypatch.setattr(
        emulated.cuda.Device, "synchronize", lambda self: waits.append(1), raising=False
    )
    monkeypatch.setattr(compare_gpu, "GPU", plan)
    monkeypatch.setattr(compare_gpu, "milliseconds", milliseconds)
    monkeypatch.setattr(compare_gpu, "require_device", lambda: emulated)
    command = ["compare_gpu.py", "--python", str(tmp_path / "none"), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    compare_gpu.main()
    result = json.loads((tmp_path / "peers.json").read_text())
    assert result["device"] == "Imaginary 9"
    kinds = list(compare_gpu.KINDS)
    assert [row["kind"] for row in result["layers"]] == [kind for kind in kinds for _ in range(2)]
    measured = [value for row in result["layers"] for value in row["ours"].values()]
    assert measured == [2.0] * 30
    assert len(waits) == 33
    for row in result["networks"]:
        assert row["ours"] == {"step": 2.0}
        assert row["our loss"] == pytest.approx(result["networks"][1]["our loss"], rel=2e-3)
    assert len(result["notes"]) == 3
    assert all("FileNotFoundError" in note for note in result["notes"])
