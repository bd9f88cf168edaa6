"""What of the GPU benchmark needs no GPU: workload, tables, plots, messages."""

import json
import subprocess
import sys

import gpu
import numpy as np
import pytest
from on_gpu import floors, networks, pytorch
from workloads.lidar import LIDAR, lidar_scan, scan_points

import spconv
from spconv.compat import has_gpu
from spconv.geometry import Geometry
from spconv.ops import get_ops
from spconv.rulebook import build
from spconv.sites import SiteSet

SMALL = {"beams": 16, "columns": 128}


@pytest.fixture(scope="module")
def scan():
    return lidar_scan(0.4, batch_size=2, seed=1, **SMALL)


def test_scan(scan):
    assert scan.name == LIDAR
    assert scan.batch_size == 2
    sites = SiteSet(scan.indices, scan.spatial_shape, 2)
    sites.check("scan")
    assert (sites.rows_per_sample > 500).all()
    again = lidar_scan(0.4, batch_size=2, seed=1, **SMALL)
    np.testing.assert_array_equal(again.indices, scan.indices)
    other = lidar_scan(0.4, batch_size=2, seed=2, **SMALL)
    assert len(other) != len(scan) or (other.indices != scan.indices).any()


def test_points_are_seen_from_the_scanner():
    points = scan_points(0, **SMALL)
    distance = np.linalg.norm(points - [0, 0, 1.73], axis=1)
    assert 1.9 < distance.min() < distance.max() < 80.2
    assert points[:, 2].min() > -0.2  # nothing below the ground but noise
    assert (points[:, 2] > 2).any(), "houses, poles and crowns stand above the scanner"


@pytest.mark.slow
def test_a_scan_has_the_neighbours_of_a_real_one():
    """Real scans with 64 beams at 5 cm have 6.3 pairs a row, and about 125,000 voxels."""
    scan = lidar_scan()
    sites = SiteSet(scan.indices, scan.spatial_shape, 1)
    book = build(sites, Geometry.make(3, 3, submanifold=True), "test")
    assert 60_000 < len(scan) < 130_000
    assert 5 < book.num_pairs / len(scan) < 7.5


def test_levels_halve(scan):
    ops = get_ops(np.zeros(1))
    found = gpu.levels(ops, scan, 3)
    assert [sites.spatial_shape[0] for sites in found] == [
        scan.spatial_shape[0] // 2**i for i in range(3)
    ]
    assert len(found[0]) > len(found[1]) > len(found[2]) > 0


@pytest.mark.parametrize("kind", ["float32", "tf32", "bfloat16"])  # what a CPU has
def test_rows(scan, monkeypatch, kind):
    """Everything is called; the arithmetic of the row is right."""
    calls = []

    def timer(function):
        calls.append(function())
        return float(len(calls))

    monkeypatch.setattr(pytorch, "time_layer", lambda *arguments: 7.0)
    monkeypatch.setattr(pytorch, "time_dense", lambda *arguments: 70.0)
    monkeypatch.setattr(gpu, "RUNS", 1)
    sites = SiteSet(scan.indices, scan.spatial_shape, 2)
    replayed = []
    replay = lambda function: replayed.append(function()) or 0.5  # noqa: E731
    row = gpu.time_layer(get_ops(np.zeros(1)), timer, replay, sites, 4, 8, kind)
    assert spconv.get_cuda_precision() == "float32"
    names = ["forward", "input gradient", "weight gradient", "rulebook", "rulebook + forward"]
    assert row["ms"] == dict(zip(names, [1.0, 2.0, 3.0, 4.0, 5.0], strict=True))
    assert [value.shape[1] for value in calls[:2]] == [8, 4]
    assert calls[2].shape == (27, 4, 8)
    assert row["pairs"] == calls[3].num_pairs
    assert row["device ms"] == dict.fromkeys(names[:3], 0.5)
    assert [len(value) for value in replayed] == [len(value) for value in calls[:3]]
    assert (row["volume"], row["same bits"]) == (27, True)
    assert (row["torch gather-matmul ms"], row["torch dense ms"]) == (7.0, 70.0)
    assert row["gflop"] == pytest.approx(2e-9 * row["pairs"] * 32)
    assert row["pairs per row"] == round(row["pairs"] / len(scan), 2)


def canned():
    row = {
        "sites": 94_330, "pairs": 574_432, "pairs per row": 6.09, "cin": 64, "cout": 64,
        "kind": "float16", "gflop": 4.706, "torch gather-matmul ms": 1.5, "volume": 27,
        "torch dense ms": 12.5, "same bits": True,
        "ms": {
            "forward": 0.05, "input gradient": 0.05, "weight gradient": 0.1, "rulebook": 0.2,
            "rulebook + forward": 0.3,
        },
        "device ms": {"forward": 0.05, "input gradient": 0.04, "weight gradient": 0.08},
    }  # fmt: skip
    none = {"torch gather-matmul ms": None, "torch dense ms": None, "same bits": False}
    rows = [row, {**row, "kind": "tf32", **none}]
    rates = {"copy GB/s": 4000.0, "dense float16 TFLOP/s": 800.0}
    epoch = {"data": "MNIST", "samples": 60_000, "ms per batch": 14.83}
    networks = {
        "U-Net step ms": {"float32": 15.41, "tf32": 9.0}, "U-Net sites": 92_351,
        "DeepCNet epoch": {**epoch, "torch dense ms per batch": 3.98},
    }  # fmt: skip
    return {
        "gpu": "Imaginary 9", "date": "2000-01-01", "rates": rates, "layers": rows,
        "networks": networks,
    }  # fmt: skip


def test_results(tmp_path):
    gpu.write(tmp_path, canned())
    assert json.loads((tmp_path / "gpu.json").read_text()) == canned()
    text = (tmp_path / "gpu.md").read_text()
    assert text.startswith("Measured on Imaginary 9, 2000-01-01.")
    assert "| 64 -> 64 | float16 | yes | 94,330 | 6.09 | 0.200 ms | 0.050 ms | 0.050 ms |" in text
    assert "| 64 -> 64 | tf32 | **no** |" in text
    # 94,330 rows of 128 numbers, 574,432 map entries and 27 x 64 x 64 weights, at 4 TB/s
    assert "| 94.1 | 0.007 ms | 0.018 ms | 0.006 ms | 7.5 | 1.500 ms | 12.500 ms |" in text
    assert "| 94.1 | 0.013 ms | 0.037 ms | 0.012 ms | 3.9 | - | - |" in text
    assert "| U-Net, 92,351 voxels, training step | tf32 | 9.0 ms |" in text
    assert "100 of an epoch's 60,000 | float32 | 14.8 ms | 4.0 ms |" in text
    names = {path.name for path in (tmp_path / "plots").glob("*.png")}
    assert names == {"rates_float16.png", "rates_tf32.png"}


def test_matrix_rates():
    rates = {"dense float32 TFLOP/s": 50.0, "dense float16 TFLOP/s": 800.0}
    assert [floors.matrix_rate(rates, kind) for kind in gpu.KINDS] == [
        pytest.approx(400 / 3), 400, 800, 800,
    ]  # fmt: skip
    rates |= {"dense tf32 TFLOP/s": 90.0, "dense bfloat16 TFLOP/s": 700.0}
    assert [floors.matrix_rate(rates, kind) for kind in gpu.KINDS] == [50, 90, 700, 800]
    assert [floors.matrix_rate({}, kind) for kind in gpu.KINDS] == [None] * 4


def test_floors_without_a_matrix_rate():
    row = canned()["layers"][0]
    found = floors.floors(row, {"copy GB/s": 1000.0})
    assert found["matrix"] is None
    assert floors.ratio(row, {"copy GB/s": 1000.0}) == pytest.approx(0.05 / found["memory"])


def test_different_bits_show():
    values = iter(np.arange(4.0))
    assert not gpu.same_bits(lambda: (np.full(3, next(values)),), runs=3)
    assert gpu.same_bits(lambda: (np.ones(3), np.zeros(2)), runs=3)


def test_folder_name():
    assert gpu.folder_name("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


def test_torch_is_optional(scan, monkeypatch):
    monkeypatch.setattr(pytorch, "import_torch", lambda: None)
    assert pytorch.time_layer(None, 1, 1, "float16") is None
    assert pytorch.time_dense(None, 1, 1, "float16") is None
    assert pytorch.time_dense_steps(None, []) is None
    assert pytorch.dense_rates(8) == {}


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_torch_computes_the_same_layer(scan, kind):
    """On the host, where PyTorch is installed: everything but the events of a GPU."""
    pytest.importorskip("torch", reason="needs PyTorch")
    sites = SiteSet(scan.indices, scan.spatial_shape, 2)
    book = build(sites, Geometry.make(3, 3, submanifold=True), "test")
    assert pytorch.time_layer(book, 2, 3, kind, "cpu", 1) > 0
    small = SiteSet(np.zeros((1, 4), np.int32), (4, 5, 6), 1)
    assert pytorch.time_dense(small, 2, 3, kind, "cpu", 1) > 0
    huge = SiteSet(np.zeros((1, 4), np.int32), (4000, 4000, 400), 1)
    assert pytorch.time_dense(huge, 32, 32, kind, "cpu", 1) is None
    assert set(pytorch.dense_rates(16, "cpu", 1)) == {
        "dense tf32 TFLOP/s", "dense bfloat16 TFLOP/s",
    }  # fmt: skip


def test_networks_train(scan):
    step = networks.unet_step(scan, "cpu", widths=(8, 16))
    losses = [step() for _ in range(5)]
    assert losses[-1] < losses[0]
    assert networks.unet_repeats(scan, "cpu", widths=(8, 16), steps=2)


def test_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setenv("SPCONV_DATA", str(tmp_path))
    monkeypatch.setattr(networks, "load_mnist", _nothing_there)
    result = networks.deepcnet_epoch(tmp_path, "cpu", limit=120, download=False)
    assert (result["data"], result["samples"]) == ("synthetic strokes", 120)
    assert result["seconds"] > 0
    assert np.isfinite(result["loss"])
    assert result["ms per batch"] == pytest.approx(1e3 * result["seconds"] / 2)
    dense = result["torch dense ms per batch"]
    assert dense is None if pytorch.import_torch() is None else dense > 0


def _nothing_there(*arguments):
    raise OSError("no MNIST")


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_without_a_device_it_says_so(benchmarks_folder):
    run = subprocess.run(
        [sys.executable, str(benchmarks_folder / "gpu.py")], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "nothing to measure on. spconv: " in run.stderr
    assert "Traceback" not in run.stderr
