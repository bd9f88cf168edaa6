"""The comparison on a GPU without one: its clock, its tables, and a rehearsal with a stand-in."""

import ast
import json
import os
import sys
import time
from pathlib import Path

import compare_gpu
import numpy as np
import pytest
from on_gpu import ours, peer_table
from peers import blocks

import spconv

PEER = """
import json, sys, time
import numpy as np
job = json.load(open(sys.argv[2]))
def say(**answer): print(json.dumps(answer), flush=True)
print("what a library prints", flush=True)
say(versions={"other spconv": "9.9"})
network = {"layer": None, "algorithm": "Native"}
for begins, (algorithm, number) in enumerate(job["units"]):
    say(begins=begins)
    if number is None:
        say(**network, loss=2.5)
        say(**network, ms=8.0)
        say(**{**network, "algorithm": "Other"}, ms=6.0)
        continue
    layer = job["layers"][number]
    sites, where = np.load(layer["sites"]), {"layer": number, "algorithm": "Native"}
    assert sites["indices"].shape[1] == 4 and len(sites["spatial_shape"]) == 3
    np.save(layer["rows"], np.zeros((1, layer["cout"]), np.float32))
    say(**where, rows=layer["rows"])
    say(**where, operation="forward", ms=3.0)
    say(**where, operation="cold", error="RuntimeError: no kernel")
"""


class Clock:
    """Time that only calls move."""

    def __init__(self, seconds):
        self.now, self.seconds, self.calls, self.waits = 0.0, seconds, 0, 0

    def call(self):
        self.now, self.calls = self.now + self.seconds, self.calls + 1

    def wait(self):
        self.waits += 1


@pytest.mark.parametrize(("seconds", "calls"), [(1e-4, 50), (0.01, 5), (2.0, 1)])
def test_blocks_of_calls_end_with_one_synchronization(seconds, calls):
    clock = Clock(seconds)
    value = blocks.milliseconds(clock.call, clock.wait, lambda: clock.now)
    assert value == pytest.approx(1e3 * seconds)
    assert clock.calls == blocks.WARM_UPS + 1 + blocks.BLOCKS * calls
    assert clock.waits == 2 + blocks.BLOCKS


def test_arrays_are_the_same_every_time_and_fit_in_float16():
    one, two = (blocks.layer_arrays(50, 27, 4, 8, "float16") for _ in range(2))
    assert [array.shape for array in one] == [(50, 4), (27, 4, 8), (50, 8)]
    for a, b in zip(one, two, strict=True):
        assert a.dtype == np.float16
        np.testing.assert_array_equal(a, b)


def test_workers_import_nothing_but_what_lies_beside_them(benchmarks_folder):
    """In the other interpreter this package is not there, and ``spconv`` is another one."""
    beside = {path.stem for path in (benchmarks_folder / "peers").glob("*.py")}
    outside = {path.name for path in benchmarks_folder.iterdir() if path.is_dir()}
    for path in [*(benchmarks_folder / "peers").glob("*_worker.py"), Path(blocks.__file__)]:
        tree = ast.parse(path.read_text())
        froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not froms & outside, path
        top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert not any(name.startswith("spconv") for name in top), path
        assert {name for name in top if name.endswith("_worker")} <= beside


def canned():
    layer = {
        "sites": 1200, "cin": 4, "cout": 32, "kind": "float16", "difference": 3e-4,
        "ours": {"rulebook": 0.5, "forward": 2.0, "cold": 1.0},
        "theirs": {"rulebook": {"A": 1.0}, "forward": {"A": 4.0, "B": 3.0}},
    }  # fmt: skip
    second = {**layer, "ours": {"forward": 1.0}, "theirs": {"forward": {"A": 6.0}}}
    network = {
        "voxels": 91_000, "kind": "float32",
        "ours": {"step": 10.0}, "theirs": {"step": {"A": 25.0}},
        "our loss": 3.0, "their loss": 3.0001,
    }  # fmt: skip
    return {
        "device": "Imaginary 9", "date": "2000-01-01", "versions": {"torch": "9"},
        "layers": [layer, second], "networks": [network], "notes": ["something\nfailed"],
    }  # fmt: skip


def test_tables(tmp_path):
    compare_gpu.write(tmp_path, canned())
    assert json.loads((tmp_path / "peers.json").read_text()) == canned()
    text = (tmp_path / "peers.md").read_text()
    assert text.startswith("Measured on Imaginary 9, 2000-01-01; torch 9.")
    first = "| 4 -> 32 | float16 | 1,200 | 0.5 : 1 (2.00) | 2 : 3 (1.50) | 1 : - | - : - |"
    assert first in text
    # The square root of 1.5 * 6.
    assert "| geometric mean | float16 |  | 2.00 | 3.00 | - | - | - |  |" in text
    assert "| float32 | 91,000 | 10 : 25 (2.50) | 3.00000 | 3.00010 |" in text
    assert "- something failed\n" in text


def test_what_differs_by_more_than_rounding_is_said():
    layer, _ = canned()["layers"]
    network = canned()["networks"][0]
    assert peer_table.mismatches([layer, network]) == []
    wrong = [{**layer, "difference": 0.1}, {**network, "their loss": 3.1}]
    assert len(peer_table.mismatches([*wrong, {**layer, "difference": float("nan")}])) == 3


@pytest.mark.parametrize("kind", ["float32", "tf32"])
def test_our_side_computes_what_it_times(kind):
    sites = compare_gpu.lidar_scan(**compare_gpu.REHEARSAL.scan)
    calls = ours.layer_calls(sites, 4, 8, compare_gpu.KINDS[kind], "cpu")
    assert set(calls) == {*blocks.OPERATIONS, "rows"}
    for operation in blocks.OPERATIONS:
        calls[operation]()
    np.testing.assert_array_equal(calls["forward"](), calls["cold"]())
    np.testing.assert_array_equal(calls["rows"](5), calls["forward"]()[:5])
    assert calls["rulebook"]().volume == 27


def stand_in(path, text):
    """An interpreter that runs this text, whatever it is told to run."""
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return str(path)


def rehearse(monkeypatch, tmp_path, text, *options):
    monkeypatch.setattr(compare_gpu, "milliseconds", lambda call, wait: (call(), 2.0)[1])
    python = stand_in(tmp_path / "python", text)
    command = ["compare_gpu.py", "--rehearse", "--python", python, "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*command, *options])
    compare_gpu.main()
    return json.loads((tmp_path / "peers.json").read_text())


def test_a_rehearsal_keeps_what_there_is(monkeypatch, tmp_path, capsys):
    result = rehearse(monkeypatch, tmp_path, PEER + "say(done=True)", "--kinds", "float32")
    assert result["versions"] == {"this package": spconv.__version__, "other spconv": "9.9"}
    assert "a rehearsal" in result["device"]
    for row in result["layers"]:
        assert row["ours"] == dict.fromkeys(blocks.OPERATIONS, 2.0)
        assert row["theirs"] == {"forward": {"Native": 3.0}}
        assert row["difference"] == 1.0  # all of the largest output: the stand-in said zero
    (network,) = result["networks"]
    assert network["theirs"] == {"step": {"Native": 8.0, "Other": 6.0}}
    assert (network["ours"], network["their loss"]) == ({"step": 2.0}, 2.5)
    failed = [note for note in result["notes"] if "cold, other spconv, Native" in note]
    assert len(failed) == 2
    assert failed[0].endswith("RuntimeError: no kernel")
    assert sum("more than rounding" in note for note in result["notes"]) == 3
    assert "4 -> 8, forward, this package: 2.0 ms" in capsys.readouterr().out
    assert "(3.00)" in (tmp_path / "peers.md").read_text()


def test_after_a_crash_another_process_goes_on_behind_it(monkeypatch, tmp_path):
    crash = '    if number == 0: sys.exit("illegal memory access")\n'
    text = PEER.replace("    layer = job", f"{crash}    layer = job") + "say(done=True)"
    result = rehearse(monkeypatch, tmp_path, text, "--kinds", "tf32")
    assert [row["theirs"] for row in result["layers"]] == [{}, {"forward": {"Native": 3.0}}]
    assert result["networks"][0]["their loss"] == 2.5
    ends = [note for note in result["notes"] if "ended early: illegal memory access" in note]
    assert len(ends) == 1


def test_an_interpreter_that_cannot_begin_is_asked_once(monkeypatch, tmp_path):
    result = rehearse(monkeypatch, tmp_path, "import nothing_here", "--kinds", "tf32")
    (note,) = (note for note in result["notes"] if "ended early" in note)
    assert "ModuleNotFoundError: No module named 'nothing_here'" in note


def test_without_time_everything_is_left_out(monkeypatch, tmp_path):
    result = rehearse(monkeypatch, tmp_path, "", "--kinds", "float32", "--seconds", "0")
    assert all(row["ours"] == {} for row in (*result["layers"], *result["networks"]))
    assert sum("no time left" in note for note in result["notes"]) == 11


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_a_wrapper_that_hangs_ends_with_what_it_started(tmp_path):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho begun\nsleep 60\necho ended\n")
    script.chmod(0o755)
    began = time.monotonic()
    with (
        (tmp_path / "errors.txt").open("w") as errors,
        compare_gpu.started([str(script), str(tmp_path / "job.json")], errors, 0.5) as lines,
    ):
        assert list(lines) == ["begun\n"]
    assert time.monotonic() - began < 30
