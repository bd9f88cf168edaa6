import os

import numpy as np
import pytest

from spconv.data import pendigits
from spconv.data.pendigits import load_pendigits

HEADER = '.INCLUDE        dene.doc\n\n.LEXICON "0" "1"\n.HIERARCHY      DIGIT\n\n'
FIRST = """.SEGMENT DIGIT    6-7 ? "4"
.COMMENT 4 12  224
.PEN_DOWN
 267  333
 267  333
  97  -20
.PEN_UP
.DT 100
.PEN_DOWN
 209   97
.PEN_UP
.DT 100

"""
SECOND = '.SEGMENT DIGIT 1013 ? "9"\n.COMMENT 9  1    7\n.PEN_DOWN\n 1 0\n.PEN_UP\n.DT 3\n'


@pytest.fixture(autouse=True)
def no_other_data(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPCONV_DATA", raising=False)


@pytest.mark.parametrize(("split", "suffix"), [("train", "tra"), ("test", "tes")])
def test_digits(tmp_path, split, suffix, monkeypatch):
    monkeypatch.setitem(pendigits.NUM_DIGITS, split, 2)
    (tmp_path / "pendigits").mkdir()
    (tmp_path / "pendigits" / f"pendigits-orig.{suffix}").write_text(HEADER + FIRST + SECOND)
    samples, labels = load_pendigits(split, tmp_path)
    assert (labels.tolist(), labels.dtype) == ([4, 9], np.int64)
    assert [[stroke.tolist() for stroke in sample] for sample in samples] == [
        [[[267, -333], [267, -333], [97, 20]], [[209, -97]]],
        [[[1, 0]]],
    ]
    assert samples[0][0].dtype == np.float32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "has 0 digits, expected 3,498; it is cut short"),
        (HEADER + FIRST, "has 1 digits, expected 3,498; it is cut short"),
        (HEADER + FIRST.replace('"4"', "4"), "expected '.SEGMENT DIGIT .* as number 0"),
        (HEADER + FIRST + SECOND.replace("1 0", "1 x"), "number 1: expected two whole numbers"),
        (HEADER + FIRST.replace(".PEN_DOWN", ".PEN"), "number 0: expected .PEN_DOWN before"),
    ],
)
def test_damaged(tmp_path, text, message):
    (tmp_path / "pendigits-orig.tes").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_pendigits("test", tmp_path)


def test_missing_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"https://\S*pendigits-orig\.tes\.Z and unpack"):
        load_pendigits("test", tmp_path)
    for split in ("x", []):
        with pytest.raises(ValueError, match="split must be 'train' or 'test', got "):
            load_pendigits(split, tmp_path)


REAL_DATA = os.environ.get("SPCONV_DATA")


@pytest.mark.skipif(not REAL_DATA, reason="SPCONV_DATA is not set: no real digits to read")
def test_real_pendigits():
    for split, count in (("train", 7494), ("test", 3498)):
        samples, labels = load_pendigits(split, REAL_DATA)
        assert len(samples) == len(labels) == count
        assert np.bincount(labels).min() > count * 0.09
        assert all(samples)
        points = np.concatenate([stroke for sample in samples for stroke in sample])
        assert points[:, 1].max() <= 0
