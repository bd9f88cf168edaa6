"""Processes that compute beside the one that is timed."""

import time
from functools import partial

import pytest
from harness.companions import Companions

import spconv


def cases(folder):
    """Two calls that leave a mark each time, on one thread."""
    for name in ("first", "second"):

        def call(name=name):
            with (folder / name).open("a") as file:
                file.write(f"{spconv.get_num_threads()}\n")

        yield name, call


def marks(folder, name):
    return (folder / name).read_text().split()


@pytest.mark.slow
def test_companions_repeat_the_present_case_while_asked_to(tmp_path):
    companions = Companions(2, partial(cases, tmp_path))
    companions.prepare("first")
    assert marks(tmp_path, "first") == ["1"] * 2  # warmed up
    with companions.running():
        before = len(marks(tmp_path, "first"))
        time.sleep(0.2)
    after = len(marks(tmp_path, "first"))
    assert after > before + 10
    time.sleep(0.1)
    assert len(marks(tmp_path, "first")) == after
    companions.leave()
    with pytest.raises(RuntimeError, match=r"expected the case 'third', they have \['second'"):
        companions.prepare("third")
    companions.leave()


def test_no_companions():
    companions = Companions(0, partial(cases, None))
    companions.prepare("first")
    with companions.running():
        pass
    companions.leave()
