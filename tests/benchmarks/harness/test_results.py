import pytest
from harness import results
from harness.measuring import Record, Timing


def section(size="tiny"):
    records = [Record("kinds", "sparse", "rulebook", {"sites": 7}, Timing(1.0, 0.5, 3))]
    return results.Section(size, 1.5, {"cpu": "a", "date": "today"}, records)


def test_round_trip(tmp_path):
    path = tmp_path / "results.json"
    written = {"rulebooks": section(), "layers": section("full")}
    results.write(path, written)
    assert results.read(path) == written
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_an_absent_file_is_empty(tmp_path):
    assert results.read(tmp_path / "results.json") == {}


@pytest.mark.parametrize("content", ["", "[]", '{"format": 99}', '{"format": 1, "sections": 3}'])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"results\.json: not a results file"):
        results.read(path)
    assert path.read_text() == content


def test_numbers_that_are_not_numbers_are_not_written(tmp_path):
    bad = section()
    bad.records.append(Record("kinds", "sparse", "rulebook", {"sites": float("nan")}))
    with pytest.raises(ValueError, match="JSON"):
        results.write(tmp_path / "results.json", {"rulebooks": bad})
    assert not (tmp_path / "results.json").exists()
