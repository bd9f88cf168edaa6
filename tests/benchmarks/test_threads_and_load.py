"""The benchmarks of threads and of a busy machine, in their tiny forms."""

import json
import subprocess
import sys

import busy_machine
import numpy as np
import pytest
import thread_scaling
from cpu_roofline import layer_calls
from harness.companions import Companions
from harness.measuring import Budget
from workloads.sites import surfaces

import spconv


def run(script, folder, benchmarks_folder):
    command = [sys.executable, str(benchmarks_folder / f"{script}.py"), "--tiny", "--threads", "2"]
    done = subprocess.run([*command, "--out", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / f"{script}.json").read_text()), (
        folder / f"{script}.md"
    ).read_text()


def test_competitors_run_in_the_block_and_end_with_it():
    with busy_machine.competitors(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.poll() is not None for process in processes)
    with pytest.raises(KeyError), busy_machine.competitors(1) as processes:
        raise KeyError
    assert processes[0].poll() is not None


@pytest.mark.slow
def test_a_busy_machine(tmp_path, benchmarks_folder):
    result, text = run("busy_machine", tmp_path, benchmarks_folder)
    assert [row["threads"] for row in result["rows"]] == [1, 2]
    for row in result["rows"]:
        assert row["ratio"] == pytest.approx(np.median(np.divide(row["beside"], row["alone"])))
        assert f"{row['ratio']:.2f} |" in text


@pytest.mark.slow
def test_threads_take_turns(tmp_path, benchmarks_folder):
    seen = []
    try:
        budget = Budget(1e9, most=3)
        alone = Companions(0, None)
        call = lambda: seen.append(spconv.get_num_threads())  # noqa: E731
        row = thread_scaling.compare(call, 2, budget, alone)
    finally:
        spconv.set_num_threads(None)
    assert seen == [1, 2, 1] * 4  # warmed up once
    assert row["rounds"] == 3
    result, text = run("thread_scaling", tmp_path, benchmarks_folder)
    names = [row["name"] for row in result["rows"]]
    assert sum(name.startswith("training step") for name in names) == 2
    assert all(name in text for name in names)
    for row in result["rows"]:
        assert f"| {row['speed-up']:.2f} | {row['processes']:.2f} |" in text


def test_the_calls_are_the_convolutions_of_a_layer():
    sites = surfaces(3, 12)
    layer = layer_calls(sites, 8)
    results = {name: call() for name, call in layer.calls.items()}
    shapes = {name: result.shape for name, result in results.items()}
    rows, weight = (len(sites), 8), (27, 8, 8)
    assert shapes == {"forward": rows, "input gradient": rows, "weight gradient": weight}
    book = spconv.build_rulebook(sites.indices, (12,) * 3, 1, 3, submanifold=True)
    assert layer.gigaflop == pytest.approx(2e-9 * book.num_pairs * 64)
