import builtins
import json

import pytest

from spconv.progress import Display, Log


@pytest.fixture
def no_tqdm(monkeypatch):
    original = builtins.__import__

    def fail(name, *rest):
        if name == "tqdm":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fail)


def show(enabled=True):
    with Display(enabled, epochs=3, num_batches=4) as display:
        display.start(1, 2)
        display.update(3, "loss 0.5")
        display.update(4, "loss 0.4")
        display.finish("loss 0.4, test error 1%")


def test_a_bar_with_tqdm(capsys):
    pytest.importorskip("tqdm")
    show()
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 2/3" in err
    assert "4/4" in err
    assert "loss 0.4, test error 1%" in err


def test_lines_without_tqdm(capsys, no_tqdm, monkeypatch):
    show()
    assert capsys.readouterr().err == "epoch 2/3: loss 0.4, test error 1%\n"
    monkeypatch.setattr(Display, "seconds_between_lines", 0.0)
    show()
    assert capsys.readouterr().err.splitlines() == [
        "epoch 2/3, batch 3/4: loss 0.5",
        "epoch 2/3, batch 4/4: loss 0.4",
        "epoch 2/3: loss 0.4, test error 1%",
    ]


def test_nothing_when_disabled(capsys):
    show(enabled=False)
    assert capsys.readouterr() == ("", "")


def test_the_bar_is_closed_by_an_error(capsys):
    tqdm = pytest.importorskip("tqdm")

    def fail():
        with Display(True, 1, 1) as display:
            display.start(0, 0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not tqdm.tqdm._instances


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "log.jsonl"


def write_two_epochs(path):
    log = Log(path)
    for epoch in range(2):
        for step in range(3 * epoch + 1, 3 * epoch + 4):
            log.write("step", {"epoch": epoch, "step": step, "loss": 0.1})
        log.write("epoch", {"epoch": epoch, "step": 3 * epoch + 3})


def read(path):
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [(entry["event"][0], entry["epoch"], entry["step"]) for entry in entries]


FIRST = [("s", 0, 1), ("s", 0, 2), ("s", 0, 3), ("e", 0, 3)]
SECOND = [("s", 1, 4), ("s", 1, 5), ("s", 1, 6), ("e", 1, 6)]


@pytest.mark.parametrize(
    ("done", "kept"),
    [
        ((2, 6), FIRST + SECOND),
        ((1, 6), FIRST + SECOND[:3]),  # interrupted in the evaluation of epoch 1
        ((1, 4), FIRST + SECOND[:1]),
        ((1, 3), FIRST),
        ((0, 3), FIRST[:3]),
        ((0, 0), []),
    ],
)
def test_lines_after_the_checkpoint_are_removed(path, done, kept):
    write_two_epochs(path)
    Log(path, *done)
    assert read(path) == kept
    assert list(path.parent.iterdir()) == [path]


def test_a_line_cut_short_by_a_crash_is_removed(path):
    write_two_epochs(path)
    whole = path.read_text()
    for torn in ("{", '{"event": "st', '{"event": "epoch", "epoch": 2, "step": 9}'):
        path.write_text(whole + torn)
        Log(path, 9, 99).write("step", {"epoch": 2, "step": 7})
        assert read(path) == [*FIRST, *SECOND, ("s", 2, 7)]


@pytest.mark.parametrize("content", ["notes\n", "notes", '{"a": 1}\n', "[1]\n", "\n", '"event"\n'])
def test_another_file_is_left_alone(path, content):
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ValueError, match=r"line 1 of .*log\.jsonl is not of a training log"):
        Log(path)
    assert path.read_text() == content


def test_no_path_writes_nothing():
    Log(None).write("epoch", {"epoch": 0})
