"""No choice of a tuner changes a bit: every candidate gives the result of the table's tile."""

import numpy as np
import pytest
from fake_cupy import RawKernel

import spconv
from spconv.geometry import Geometry
from spconv.ops.cuda import CudaOps
from spconv.ops.cuda.tiles import candidate_gradient_tiles, candidate_tiles
from spconv.ops.cuda.tuner import Tuner
from spconv.sites import SiteSet

SHAPES = [
    ("float16", 40, 64),
    pytest.param("float32", 20, 32, marks=pytest.mark.slow),
    pytest.param("float16", 64, 128, marks=pytest.mark.slow),
    pytest.param("float32", 33, 96, marks=pytest.mark.slow),
    pytest.param("tf32", 33, 64, marks=pytest.mark.slow),
    pytest.param("bfloat16", 64, 64, marks=pytest.mark.slow),
]


class Prefers:
    """A timer to which the tile with one number is the fastest."""

    def __init__(self, number, count):
        self.number, self.count, self.calls = number, count, 0

    def __call__(self, run):
        run()
        self.calls += 1
        return float((self.calls - 1) % self.count != self.number)


def random(dtype, *shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.fixture
def tuning():
    spconv.set_cuda_tuning(True)
    yield
    spconv.set_cuda_tuning(False)
    spconv.set_cuda_precision("float32")


@pytest.mark.parametrize(("kind", "cin", "cout"), SHAPES)
def test_bits(emulated, tuning, tmp_path, kind, cin, cout):
    dtype = np.float16 if kind == "float16" else np.float32
    spconv.set_cuda_precision("float32" if kind == "float16" else kind)
    rng = np.random.default_rng(0)
    indices = np.argwhere(rng.random((1, 11, 9)) < 0.4).astype(np.int32, order="C")
    ops = CudaOps()
    book = ops.build_rulebook(
        SiteSet(indices, (11, 9), 1), Geometry.make(2, 3, submanifold=True), "test"
    )
    x, dy = (ops.xp.asarray(random(dtype, len(indices), n, seed=n)) for n in (cin, cout))
    w = ops.xp.asarray(random(dtype, 9, cin, cout))
    calls = [
        (lambda: ops.convolve(x, w, book), candidate_tiles(kind, cin, cout)),
        (lambda: ops.weight_gradient(x, dy, book), candidate_gradient_tiles(kind, cin, cout)),
    ]
    for call, candidates in calls:
        assert len(candidates) > 1
        spconv.set_cuda_tuning(False)
        expected = call().get()
        spconv.set_cuda_tuning(True)
        for number, tile in enumerate(candidates):
            timer, path = Prefers(number, len(candidates)), tmp_path / f"{number}.json"
            ops._gemm.__dict__["_tuner"] = tuner = Tuner(path, timer)
            np.testing.assert_array_equal(call().get(), expected, tile.label)
            assert set(tuner._choices.values()) >= {tile.label}
            assert timer.calls == len(candidates)
            RawKernel.launches.clear()
            np.testing.assert_array_equal(call().get(), expected, tile.label)
            assert timer.calls == len(candidates), "timed a second time"
            assert RawKernel.launches.count(tile.kernel) == 1
            path.unlink()


def test_one_candidate_is_not_timed(emulated, tuning, monkeypatch):
    monkeypatch.setattr(Tuner, "choose", None)
    ops = CudaOps()
    x = ops.xp.asarray(random(np.float64, 5, 3))
    assert ops.matmul(x, ops.xp.asarray(random(np.float64, 3, 4))).shape == (5, 4)


def test_events(emulated, tuning, tmp_path, monkeypatch):
    """The timer of a device, with events that count launches."""

    class Event:
        recorded = 0

        def record(self):
            self.at = len(RawKernel.launches)

        def synchronize(self):
            Event.recorded += 1

    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    emulated.cuda.Event = Event
    emulated.cuda.get_elapsed_time = lambda begin, end: float(end.at - begin.at)
    ops = CudaOps()
    x, w = (ops.xp.asarray(random(np.float16, 70, 64, seed=seed)) for seed in (0, 1))
    RawKernel.launches.clear()
    ops.matmul(x, w[:64])
    candidates = len(candidate_tiles("float16", 64, 64))
    assert RawKernel.launches.count("implicit_gemm") == 7 * candidates + 1
    assert Event.recorded == 5 * candidates
    assert "Imaginary 9" in (tmp_path / "spconv_tiles.json").read_text()
