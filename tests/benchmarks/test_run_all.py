import doctest
import subprocess
import sys

import layers
import numpy as np
import pytest
from canned import canned
from harness import results
from reporting.findings import timings as findings
from reporting.views import timings as views
from workloads import sites


@pytest.mark.slow
def test_rulebooks_end_to_end_keep_the_other_sections(tmp_path, benchmarks_folder):
    path = tmp_path / "results.json"
    before = {"mnist": canned()["mnist"]}
    results.write(path, before)
    command = [sys.executable, str(benchmarks_folder / "run_all.py"), "--tiny"]
    done = subprocess.run(
        [*command, "--only", "rulebooks", "--out", str(tmp_path), "--threads", "1"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    after = results.read(path)
    assert after["mnist"] == before["mnist"]
    assert list(after) == ["mnist", "rulebooks"]
    assert after["rulebooks"].machine["threads"] == 1
    assert sum(" ms" in line for line in lines if line.startswith("[rulebooks]")) == len(
        after["rulebooks"].records
    )
    assert lines[-1] == f"Report: {tmp_path / 'report.html'}"
    assert (tmp_path / "plots" / "rulebooks.svg").exists()


@pytest.mark.slow
def test_results_of_something_else_are_not_overwritten(tmp_path, benchmarks_folder):
    (tmp_path / "results.json").write_text("{}")
    command = [sys.executable, str(benchmarks_folder / "rulebooks.py"), "--tiny"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "not a results file" in done.stderr
    assert (tmp_path / "results.json").read_text() == "{}"


def test_what_differs_is_not_timed():
    layers.check_close("same", np.ones(3, np.float32), np.ones(3, np.float32))
    with pytest.raises(layers.BaselineMismatch, match=r"other: .* differ by 0\.2 "):
        layers.check_close("other", np.ones(3, np.float32), np.full(3, 1.25, np.float32))


@pytest.mark.parametrize("module", [findings, views, sites], ids=lambda m: m.__name__)
def test_examples_in_the_docstrings(module):
    assert doctest.testmod(module).failed == 0
