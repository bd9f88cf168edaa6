import json
import subprocess
import sys

import numpy as np
import pytest
import step_memory
from training import subjects
from training.peak_memory import forget_own_peak, own_peak_bytes, own_resident_bytes

import spconv


def test_necessary_bytes_of_one_layer():
    which = subjects.layer("tiny")
    sites, channels = len(which.source()), 8
    parts = step_memory.necessary_bytes(which)
    assert parts["features"] == 2 * sites * channels * 4
    assert parts["parameters"] == 3 * 27 * channels * channels * 4
    rulebook = spconv.build_rulebook(which.source().indices, (24,) * 3, 1, 3, submanifold=True)
    assert parts["gathered"] == rulebook.num_pairs * channels * 4
    assert parts["rulebooks"] == 2 * rulebook.num_pairs * 4 + sites * 4 * 4


def test_winners_of_poolings_count_and_every_array_once():
    which = subjects.characters("tiny", None)
    counts = spconv.summary(which.model, which.source()).layers
    # Flatten's output is counted by its own shape; every output is the next layer's input.
    outputs = sum(count.sites * count.channels for count in counts)
    winners = sum(count.sites * count.channels for count in counts if "MaxPool" in count.layer)
    assert winners > 0
    inked = len(which.source())
    assert step_memory.necessary_bytes(which)["features"] == 4 * (inked + outputs + winners)


def test_the_peak_can_be_forgotten():
    held = np.ones(50_000_000)
    high = own_peak_bytes()
    assert high > held.nbytes
    del held
    forget_own_peak()
    assert own_resident_bytes() <= own_peak_bytes() < high


@pytest.mark.slow
def test_the_command(tmp_path, benchmarks_folder):
    command = [sys.executable, str(benchmarks_folder / "step_memory.py"), "--tiny"]
    done = subprocess.run(
        [*command, "--threads", "1", "--out", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "step_memory.json").read_text())["rows"]
    assert [row["name"].split()[0] for row in rows] == ["DeepCNet(4,", "U-Net", "submanifold"]
    assert all(1e7 < row["before"] <= row["peak"] < 1e9 for row in rows)
    assert (tmp_path / "step_memory.md").read_text().count("\n") == 2 + len(rows)
