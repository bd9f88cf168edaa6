import json
import subprocess
import sys

import mnist_step
import pytest
from training import subjects

import spconv


def test_the_dense_work_is_that_of_every_window_of_the_grid():
    subject = subjects.characters("tiny", None)
    amount = mnist_step.work(spconv.summary(subject.model, subject.source()), 4)
    # 48 -> 46 -> 23 -> 22 -> 11 -> 10 -> 5 -> 4 -> 2 -> 1 sites along an edge; n * 2 filters.
    first = 46**2 * 9 * 1 * 2
    others = 22**2 * 4 * 2 * 4 + 10**2 * 4 * 4 * 6 + 4**2 * 4 * 6 * 8 + 1 * 4 * 8 * 10 + 10 * 10
    assert amount["dense"]["forward"] == first + others
    assert amount["dense"]["step"] == 2 * first + 3 * others
    assert 0 < amount["sparse"]["step"] < amount["dense"]["step"]


def test_all_make_the_same_step():
    subject = subjects.characters("tiny", None)
    initial = subject.model.state_dict()["0.weight"].copy()
    calls = mnist_step.steps(subject)
    assert {"sparse", "dense"} <= set(calls)
    loss = float(calls["sparse"]())
    assert loss == pytest.approx(2.3, abs=1.0)
    assert (subject.model.state_dict()["0.weight"] != initial).any()
    assert subject.model.training


@pytest.mark.slow
def test_the_command(tmp_path, benchmarks_folder):
    command = [sys.executable, str(benchmarks_folder / "mnist_step.py"), "--tiny"]
    done = subprocess.run(
        [*command, "--threads", "1", "--out", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "mnist_step.json").read_text())
    assert result["ratios"]["sparse"] == 1
    assert set(result["ratios"]) == set(result["milliseconds"])
    rows = (tmp_path / "mnist_step.md").read_text().splitlines()
    assert len([row for row in rows if row.startswith("| ")]) == 2 + len(result["ratios"])
