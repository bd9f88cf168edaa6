"""The number of threads changes no bit of any result."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

import spconv
import spconv.models
from spconv import functional, threads


@pytest.fixture(autouse=True)
def restore():
    before = dict(threads._state)
    yield
    threads._state.update(before)


def with_threads(function):
    """The result for 1 thread; that of 2 and 4 has the same bits."""
    results = []
    for count in (1, 2, 4):
        spconv.set_num_threads(count)
        results.append(function())
    for result in results[1:]:
        assert result.keys() == results[0].keys()
        for name, value in results[0].items():
            assert result[name].dtype == value.dtype
            assert result[name].tobytes() == value.tobytes(), name
    return results[0]


class Net(spconv.Module):
    """Every layer with a compiled kernel, in widths of one's choice."""

    def __init__(self, a, b, c, ground):
        rng = np.random.default_rng(1)
        kind = "all" if ground else "active"
        self.layers = spconv.SparseSequential(
            spconv.SubMConv2d(3, a, 3, rng=rng),
            spconv.BatchNorm(a, statistics=kind),
            spconv.LeakyReLU(),
            spconv.Linear(a, a, rng=rng),
            spconv.SubMConv2d(a, a, 1, rng=rng),
            spconv.Dropout(0.2),
            spconv.SparseConv2d(a, b, (3, 2), stride=2, padding=1, indice_key="down", rng=rng),
            spconv.ReLU(),
            spconv.SparseMaxPool2d(2),
            spconv.BatchwiseDropout(0.3),
            spconv.SparseConv2d(b, c, 2, rng=rng),
            spconv.BatchNorm(c),
            spconv.Tanh(),
            spconv.SparseAvgPool2d(3, stride=2),
            spconv.SparseConvTranspose2d(c, a, 2, stride=2, rng=rng),
        )
        self.heads = [spconv.SparseGlobalMaxPool(), spconv.SparseGlobalAvgPool()]
        self.linear = spconv.Linear(a, 5, rng=rng)

    def forward(self, x):
        x = self.layers(x)
        return self.linear(self.heads[0](x) + self.heads[1](x))


def batch(size, density, ground, dtype):
    rng = np.random.default_rng(0)
    active = rng.random((4, 1, size, size)) < density
    array = np.where(active, rng.standard_normal((4, 3, size, size)), 0).astype(dtype)
    x = spconv.from_dense(array)
    g = np.array([0.5, -1.0, 0.0], dtype) if ground else None
    shuffled = rng.permutation(len(x))
    return spconv.SparseConvTensor(
        x.features.data[shuffled], x.indices[shuffled], (size, size), 4, g
    )


def train(widths, ground, size, density, steps, dtype=np.float32):
    net = Net(*widths, ground)
    optimizer = spconv.optim.SGD(net.named_parameters(), lr=0.05, momentum=0.9, nesterov=True)
    result = {}
    for step in range(steps):
        x = batch(size, density, ground, dtype)
        net.seed(3, step)
        loss = functional.cross_entropy(net(x), [0, 1, 2, 3])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        result[f"loss {step}"] = loss.numpy()
    result.update(net.state_dict())
    result.update({f"{name}.grad": p.grad for name, p in net.named_parameters()})
    return result


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("widths", [(1, 7, 13), (13, 1, 24), (16, 32, 60)])
def test_training(widths, ground):
    result = with_threads(lambda: train(widths, ground, 48, 0.3, steps=3))
    assert np.isfinite(result["loss 2"])
    assert result["loss 2"] != result["loss 0"]


@pytest.mark.parametrize("widths", [(183, 7, 50), (26, 183, 13)])
def test_training_wide_layers(widths):
    with_threads(lambda: train(widths, True, 32, 0.5, steps=2))


def test_training_in_float64_on_many_sites():
    """More rows than one part of a sum over rows, in every layer."""
    with_threads(lambda: train((4, 7, 3), True, 150, 0.6, steps=1, dtype=np.float64))


def test_training_of_a_dense_network():
    images = spconv.Tensor(np.random.default_rng(0).random((5, 2, 28, 28), np.float32))

    def run():
        net = spconv.models.SimpleCNN(2, 4, width=13, hidden=26).seed(1)
        loss = functional.cross_entropy(net(images), [0, 1, 2, 3, 0])
        loss.backward()
        return {"loss": loss.data, **{name: p.grad for name, p in net.named_parameters()}}

    with_threads(run)


@pytest.mark.parametrize(("size", "density"), [(20, 0.2), (80, 0.02)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"submanifold": True},
        {"stride": 2},
        {"stride": 3},
        {"stride": 2, "transposed": True},
    ],
)
def test_rulebooks(options, size, density):
    """The larger grid takes more sites, and more words of a bitmap, than a thread does at once."""
    rng = np.random.default_rng(0)
    indices = rng.permutation(np.argwhere(rng.random((2, size, size, size)) < density))

    def build():
        book = spconv.build_rulebook(indices, (size,) * 3, 2, 3, **options)
        arrays = {}
        for which, b in (("book", book), ("inverse", book.inverse)):
            arrays[f"{which} in"], arrays[f"{which} out"] = b.in_rows, b.out_rows
            arrays[f"{which} starts"], arrays[f"{which} sites"] = b.offset_starts, b.out_indices
        return arrays

    with_threads(build)


def test_set_num_threads():
    spconv.set_num_threads(3)
    assert spconv.get_num_threads() == 3
    spconv.set_num_threads(np.int64(2))
    assert type(spconv.get_num_threads()) is int
    for count in (0, -1):
        with pytest.raises(ValueError, match=rf"num_threads must be in 1\.\.1024, got {count}"):
            spconv.set_num_threads(count)
    with pytest.raises(TypeError, match=r"set_num_threads: num_threads must be an int, got 1\.5"):
        spconv.set_num_threads(1.5)
    assert spconv.get_num_threads() == 2


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("3", 3), ("5,2", 5), ("0", 1), ("", None), ("many", None), (None, None)],
)
def test_default_number_of_threads(monkeypatch, variable, expected):
    threads._state["num_threads"] = 0
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert spconv.get_num_threads() == (expected or threads.available_cpus())


def test_available_cpus(monkeypatch):
    assert 1 <= threads.available_cpus() <= os.cpu_count()
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert threads.available_cpus() == os.cpu_count()


COUNT_THREADS = """
import os
import numpy as np
import spconv

spconv.set_num_threads(3)
x = spconv.from_dense(np.ones((1, 8, 64, 64), "float32"))
before = len(os.listdir("/proc/self/task"))
spconv.SubMConv2d(8, 8, 3)(x)
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_the_kernels_were_built_with_threads():
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("counts threads in /proc, which only Linux has")
    if os.environ.get("SPCONV_NO_OPENMP"):
        pytest.skip("SPCONV_NO_OPENMP asks for kernels without threads")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) == 2, "the kernels run on one thread: OpenMP was off in the build"


@pytest.mark.parametrize(
    ("chosen", "spins"),
    [
        # About a millisecond: the time between two layers, short beside a time slice.
        ({}, "35000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "None"),  # the library's own numbers
        ({"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "7"}, "7"),
    ],
)
def test_how_long_threads_wait_awake_is_the_users_choice(chosen, spins):
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {k: v for k, v in os.environ.items() if k not in names}
    code = "import os, spconv; print(*map(os.environ.get, ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**environment, **chosen}
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [chosen.get("OMP_WAIT_POLICY", "PASSIVE"), spins]


@pytest.mark.parametrize("count", [1025, 50_000, 2**40])
def test_more_threads_than_a_process_can_have(count, monkeypatch):
    with pytest.raises(ValueError, match=f"set_num_threads: .* got {count}"):
        spconv.set_num_threads(count)
    monkeypatch.setitem(spconv.threads._state, "num_threads", 0)
    monkeypatch.setenv("OMP_NUM_THREADS", str(count))
    assert spconv.get_num_threads() == 1024


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_stays_at_one_thread_whatever_it_asks_for():
    """Those of OpenMP are gone: to wait for them would never end."""
    code = """
import os, numpy as np, spconv
x = spconv.from_dense(np.ones((1, 8, 64, 64), "float32"))
conv = spconv.SubMConv2d(8, 8, 3)
spconv.set_num_threads(2)
conv(x)
child = os.fork()
if not child:
    spconv.set_num_threads(2)
    conv(x)
    os._exit(spconv.get_num_threads())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), spconv.get_num_threads())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["1", "2"], done.stderr


class Machine:
    """Four processors, and what other processes do with them."""

    def __init__(self, monkeypatch):
        self.now, self.busy, self.own = 100.0, 5000.0, 7.0
        monkeypatch.setattr(threads, "monotonic", lambda: self.now)
        monkeypatch.setattr(threads, "process_time", lambda: self.own)
        monkeypatch.setattr(threads, "_busy_seconds", lambda: self.busy)
        monkeypatch.setattr(threads, "_processors", lambda: 4)
        monkeypatch.setattr(threads, "available_cpus", lambda: 4)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(threads, "_load", dict.fromkeys(threads._load, 0.0))
        spconv.set_num_threads(None)

    def work(self, seconds, others, own):
        self.now += seconds
        self.own += own * seconds
        self.busy += (others + own) * seconds


def test_processors_that_others_keep_busy_are_left_to_them(monkeypatch):
    machine = Machine(monkeypatch)
    assert threads.threads_for(1e9) == 4  # nothing is known yet
    for others, expected in ((0.0, 4), (0.4, 4), (0.6, 3), (2.0, 2), (3.0, 2), (3.9, 2), (1, 3)):
        machine.work(1.0, others, own=min(4 - others, 2.5))
        assert threads.threads_for(1e9) == expected
        assert threads.threads_for(1.0) == 1
    assert spconv.get_num_threads() == 4


def test_the_machine_is_looked_at_now_and_then_only(monkeypatch):
    machine = Machine(monkeypatch)
    threads.threads_for(1e9)
    machine.work(threads.LOOK_EVERY / 2, others=3.0, own=1.0)
    assert threads.threads_for(1e9) == 4
    machine.work(threads.LOOK_EVERY, others=3.0, own=1.0)
    assert threads.threads_for(1e9) == 2


def test_one_thread_inside_the_block():
    with spconv.threads.one_thread():
        assert spconv.threads.threads_for(1e9) == 1
    spconv.set_num_threads(3)
    assert spconv.threads.threads_for(1e9) == 3


def test_who_chose_a_number_gets_it_on_a_busy_machine(monkeypatch):
    machine = Machine(monkeypatch)
    threads.threads_for(1e9)
    machine.work(1.0, others=4.0, own=0.0)
    spconv.set_num_threads(3)
    assert threads.threads_for(1e9) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    spconv.set_num_threads(None)
    assert threads.threads_for(1e9) == 2


def test_all_threads_where_the_system_does_not_tell(monkeypatch, tmp_path):
    looked = threads._busy_seconds
    machine = Machine(monkeypatch)
    (tmp_path / "stat").write_text("cpu 1 2\n")
    for path in (tmp_path / "none", tmp_path / "stat"):
        monkeypatch.setattr(threads, "_busy_seconds", lambda path=path: looked(str(path)))
        for _ in range(3):
            machine.work(1.0, others=0.0, own=3.0)
            assert threads.threads_for(1e9) == 4


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="needs /proc/stat")
def test_the_seconds_of_all_processors_grow_with_work():
    before, start = threads._busy_seconds(), time.process_time()
    while time.process_time() - start < 0.3:
        pass
    assert threads._busy_seconds() - before > 0.2


def test_a_clock_that_stands_still(monkeypatch):
    machine = Machine(monkeypatch)
    monkeypatch.setattr(threads, "LOOK_EVERY", 0.0)
    for _ in range(3):
        assert threads.threads_for(1e9) == 4
        machine.busy += 1.0


def test_one_thread_of_python_looks_at_a_time(monkeypatch):
    machine = Machine(monkeypatch)
    threads.threads_for(1e9)
    machine.work(1.0, others=4.0, own=0.0)
    with threads._looking:
        assert threads.threads_for(1e9) == 4  # somebody else is looking
    assert threads.threads_for(1e9) == 2


def test_two_processes_share_the_machine_whoever_came_first(monkeypatch):
    """Each sees what the other uses; neither stays with a single thread."""
    machine = Machine(monkeypatch)
    threads.threads_for(1e9)
    mine, others = 1, 4
    for _ in range(5):
        machine.work(1.0, others=min(others, 4 - mine), own=mine)
        mine = threads.threads_for(1e9)
        others = max(4 // 2, 4 - mine)  # what the same rule gives the other
    assert (mine, others) == (2, 2)
