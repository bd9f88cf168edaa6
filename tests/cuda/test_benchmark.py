"""benchmarks/gpu.py from end to end on a tiny scan, in the emulation: all but real times."""

import json
import sys
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

    rates = gpu.device_rates
    scan = lidar_scan(1.6, beams=8, columns=40)
    assert 50 < len(scan) < 300
    monkeypatch.setattr(gpu, "require_device", lambda: emulated)
    monkeypatch.setattr(gpu, "event_timer", lambda *arguments, **options: timer)
    monkeypatch.setattr(gpu, "device_rates", lambda cupy, timer: rates(cupy, timer, 1, 8))
    monkeypatch.setattr(gpu, "lidar_scan", lambda **options: scan)
    monkeypatch.setattr(gpu, "LAYERS", [(1, 4, 8)])
    monkeypatch.setattr(gpu, "RUNS", 1)
    monkeypatch.setattr(networks.unet_step, "__defaults__", ((8, 8),))
    monkeypatch.setattr(networks.unet_repeats, "__defaults__", ((8, 8), 1))
    monkeypatch.setattr(networks, "deepcnet_epoch", lambda *arguments: {"seconds": 3.0})
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
    assert "| 4 -> 8 | bfloat16 |" in (tmp_path / "gpu.md").read_text()
