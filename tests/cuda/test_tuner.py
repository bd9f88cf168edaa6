import json
import stat

import pytest

from spconv.ops.cuda.tiles import candidate_tiles
from spconv.ops.cuda.tuner import Tuner, cache_file

TILES = candidate_tiles("float16", 64, 64)


class Clock:
    """A timer that knows what each call will take, and which tiles were run."""

    def __init__(self, times):
        self.times, self.runs, self.calls = times, [], 0

    def __call__(self, run):
        run()
        self.calls += 1
        return self.times[len(self.runs) - 1]


def choose(tuner, clock, key="layer", tiles=TILES):
    clock.runs.clear()
    return tuner.choose(key, tiles, clock.runs.append)


def test_the_fastest_is_chosen_once(tmp_path):
    clock = Clock([5.0, 4.0, 2.0, 2.0, 9.0, 9.0])
    tuner = Tuner(tmp_path / "new" / "tiles.json", clock)
    assert choose(tuner, clock) is TILES[2]
    assert clock.runs == list(TILES)
    assert choose(tuner, clock) is TILES[2]
    assert clock.runs == []
    choose(tuner, clock, "another layer")
    assert clock.calls == 2 * len(TILES)


def test_choices_outlive_the_process(tmp_path):
    path, clock = tmp_path / "tiles.json", Clock([3.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    choose(Tuner(path, clock), clock)
    choose(Tuner(path, clock), clock, "another layer")
    fresh = Clock([])
    for key in ("layer", "another layer"):
        assert choose(Tuner(path, fresh), fresh, key) is TILES[1]
    assert fresh.calls == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiles.json"]


def test_a_tile_that_is_no_candidate_any_more(tmp_path):
    path, clock = tmp_path / "tiles.json", Clock([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    path.write_text(json.dumps({"version": 1, "choices": {"layer": "an old tile"}}))
    assert choose(Tuner(path, clock), clock) is TILES[0]
    assert json.loads(path.read_text())["choices"]["layer"] == TILES[0].label


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 0, "choices": {"layer": "x"}}', '{"version": 1}']
)
def test_files_that_cannot_be_read_count_as_empty(tmp_path, text):
    path, clock = tmp_path / "tiles.json", Clock([2.0, 1.0, 3.0, 4.0, 5.0, 6.0])
    path.write_text(text)
    assert choose(Tuner(path, clock), clock) is TILES[1]
    assert json.loads(path.read_text())["choices"] == {"layer": TILES[1].label}


def test_a_folder_that_cannot_be_written(tmp_path):
    blocked, clock = tmp_path / "file", Clock([2.0, 1.0, 3.0, 4.0, 5.0, 6.0])
    blocked.write_text("")
    blocked.chmod(stat.S_IRUSR)
    tuner = Tuner(blocked / "tiles.json", clock)
    for _ in range(2):
        assert choose(tuner, clock) is TILES[1]
    assert clock.calls == len(TILES)


def test_place(monkeypatch, tmp_path):
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    assert cache_file() == tmp_path / "spconv_tiles.json"
    monkeypatch.delenv("CUPY_CACHE_DIR")
    assert cache_file().parts[-3:] == (".cupy", "kernel_cache", "spconv_tiles.json")
