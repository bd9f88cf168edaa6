import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

import spconv.data.assamese as module
from spconv.data.assamese import NAMES, TEST_WRITERS, content_digest, load_assamese

STROKES = [[(1138, 1561), (1164, 1535)], [(2064, 90), (7, -8), (2117, 1614)]]


def text(strokes, name="A", repeat=1):
    lines = [f"CHARACTER_NAME: {name}", f"STROKE_COUNT: {len(strokes)}"]
    lines += ["  X           Y   STYLUS_STATE STROKE"]
    for points in strokes:
        lines.append("PEN_DOWN")
        lines += [f"{x:<10d}  {y:<8d} 1        3" for x, y in points for _ in range(repeat)]
        lines.append("PEN_UP                  0")
    return "\r\n".join([*lines, f"END_CHARACTER: {name}", ""]).encode()


def tell(writer, character):
    """Strokes that tell who wrote what."""
    return [[(writer, character), (0, 0)]]


def archive(path, skip=(), prefix="", special=None, characters=183):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{prefix}readme.txt", "not a character")
        for writer in range(1, 46):
            for character in range(1, characters + 1):
                if (writer, character) not in skip:
                    content = (special or {}).get((writer, character))
                    file.writestr(
                        f"{prefix}W{writer}/{character}.{writer}.txt",
                        text(tell(writer, character)) if content is None else content,
                    )
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    special = {
        (6, 1): text(STROKES, repeat=3),
        # A point after PEN_UP only, an empty stroke, leading blanks, no blanks at the end.
        (6, 2): b"PEN_UP 0\r\nPEN_DOWN\r\nPEN_DOWN\r\nPEN_UP  0\r\n  999  6  1  1\r\n"
        b"PEN_DOWN\r\n\t1 2\n1 2\n3 4\r\n1 2 0 0\r\nEND_CHARACTER: 9 9\r\n",
        (6, 3): b"",
    }
    archive(folder / "assamese" / NAMES[0], prefix="some folder/", special=special)
    return folder


@pytest.fixture(autouse=True)
def no_other_data(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPCONV_DATA", raising=False)


def who(samples):
    return [tuple(sample[0][0]) for sample in samples if sample]


def test_published_split(root):
    samples, labels = load_assamese("test", root, download=False)
    assert (len(samples), labels.dtype) == (1647, np.int64)
    assert labels.tolist() == list(range(183)) * 9
    told = who(samples[3:])
    assert told[0] == (6, 4)
    assert {writer for writer, _ in told} == set(TEST_WRITERS)
    assert [character for _, character in told] == (labels[3:] + 1).tolist()
    train, labels = load_assamese("train", root, download=False)
    assert len(train) == len(labels) == 6588
    assert {writer for writer, _ in who(train)} == set(range(1, 46)) - set(TEST_WRITERS)


def test_points(root):
    samples, _ = load_assamese("test", root, download=False)
    assert [stroke.tolist() for stroke in samples[0]] == [
        [list(point) for point in points] for points in STROKES
    ]
    assert all(stroke.dtype == np.float32 for stroke in samples[0])
    assert [stroke.tolist() for stroke in samples[1]] == [[[999, 6]], [[1, 2], [3, 4], [1, 2]]]
    assert samples[2] == []


@pytest.mark.parametrize("parts", [2, 4])
def test_folds(root, parts):
    seen = []
    for part in range(parts):
        test, _ = load_assamese("test", root, False, fold=(part, parts))
        writers = {w for w, character in who(test) if 3 < character <= 183 and w <= 45}
        assert writers == {w for w in range(1, 46) if (w - 1) % parts == part}
        seen += writers
        if part == 1:
            train, labels = load_assamese("train", root, False, fold=(part, parts))
            assert len(train) == len(labels) == 8235 - len(test)
            assert writers.isdisjoint(w for w, character in who(train) if 3 < character <= 183)
    assert sorted(seen) == list(range(1, 46))


def test_unpacked_folder(root, tmp_path, monkeypatch):
    with zipfile.ZipFile(root / "assamese" / NAMES[0]) as file:
        file.extractall(tmp_path)
    for place in (tmp_path / "some folder", tmp_path):
        if place == tmp_path:
            (tmp_path / "some folder").rename(tmp_path / "assamese")
        monkeypatch.setenv("SPCONV_DATA", str(place))
        samples, labels = load_assamese("test", fold=(0, 23), download=False)
        assert who(samples)[183] == (24, 1)
        assert len(samples) == len(labels) == 2 * 183
    (tmp_path / "assamese" / "W24" / "7.24.txt").unlink()
    with pytest.raises(ValueError, match=r"has no W24/7\.24\.txt; expected 45 folders"):
        load_assamese("test", fold=(0, 23), download=False)


def test_download_is_checked_by_content(tmp_path, monkeypatch):
    first = archive(tmp_path / "first.zip", characters=4)
    other = archive(tmp_path / "other.zip", characters=4, special={(45, 4): b""})
    again = tmp_path / "again.zip"
    with (
        zipfile.ZipFile(first) as old,
        zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in reversed(old.namelist()):
            new.writestr(name, old.read(name))
    content = content_digest(first)
    assert content_digest(again) == content
    assert content_digest(other) != content
    page = tmp_path / "page.html"
    page.write_text("<html>")
    monkeypatch.setattr(module, "CHARACTERS", 4)
    monkeypatch.setattr(module, "CONTENT_SHA256", content)
    (tmp_path / "none").mkdir()
    for mirrors in ([other.as_uri()], [page.as_uri()]):
        monkeypatch.setattr(module, "MIRRORS", mirrors)
        with pytest.raises(FileNotFoundError, match="wrong checksum"):
            load_assamese("test", tmp_path / "none")
    monkeypatch.setattr(module, "MIRRORS", [page.as_uri(), again.as_uri()])
    assert len(load_assamese("test", tmp_path / "none")[0]) == 9 * 4
    assert (tmp_path / "cache" / "spconv" / "assamese" / NAMES[0]).is_file()
    assert len(load_assamese("test", tmp_path / "none", download=False)[0]) == 9 * 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"PEN_DOWN\r\n1 2 1 1\r\n17\r\n",
            r"W6/9\.6\.txt .* damaged: expected two whole .* line 3",
        ),
        (b"PEN_DOWN\r\n1 2.5 1 1\r\n", "expected two whole numbers .* line 2"),
        (b"PEN_DOWN\r\n1 1234567890 1 1\r\n", "at most 9 digits in line 2"),
        (b"CHARACTER_NAME: A\r\n1 2 1 1\r\n", "expected PEN_DOWN before the point of line 2"),
    ],
)
def test_damaged_text(tmp_path, content, message):
    archive(tmp_path / NAMES[1], characters=9, special={(6, 9): content})
    with pytest.raises(ValueError, match=message):
        load_assamese("test", tmp_path, download=False)


def test_damaged_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHARACTERS", 4)
    path = archive(tmp_path / NAMES[1], skip={(15, 3)}, characters=4)
    with pytest.raises(ValueError, match=r"has no W15/3\.15\.txt"):
        load_assamese("test", tmp_path, download=False)
    path = archive(path, characters=4)
    data = bytearray(path.read_bytes())
    data[data.index(b"W6/1.6.txt") + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"W6/1\.6\.txt .* is damaged: Bad CRC-32"):
        load_assamese("test", tmp_path, download=False)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="is not a zip archive"):
        load_assamese("test", tmp_path, download=False)


def test_every_damaged_byte_of_a_packed_text_is_reported(tmp_path, monkeypatch):
    """Deflated, as the published archive is: zlib finds most of them itself."""
    monkeypatch.setattr(module, "CHARACTERS", 1)
    stored, path = archive(tmp_path / "stored.zip", characters=1), tmp_path / NAMES[1]
    with zipfile.ZipFile(stored) as texts, zipfile.ZipFile(path, "w", 8) as packed:
        for name in texts.namelist():
            packed.writestr(name, texts.read(name))
        first = packed.getinfo("W6/1.6.txt")
    content = path.read_bytes()
    start = first.header_offset + 30 + len(first.filename)
    for position in range(start, start + first.compress_size - 1):  # the last has unused bits
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"W6/1\.6\.txt .* is damaged"):
            load_assamese("test", tmp_path, download=False)


def test_damaged_bytes_of_an_archives_directory_are_reported(tmp_path, monkeypatch):
    """Wherever texts stand in it, the names and sizes that zipfile reads may be anything."""
    monkeypatch.setattr(module, "CHARACTERS", 1)
    path = archive(tmp_path / NAMES[1], characters=1)
    content = path.read_bytes()
    whole = module.content_digest(path)
    start = content.index(b"PK\x01\x02")
    problems = []
    for position in range(start, len(content), 7):
        for flip in (0x55, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            try:
                assert len(load_assamese("test", tmp_path, download=False)[0]) == 9
            except ValueError as error:
                problems.append(str(error))
            module.content_digest(path)
    assert len(problems) > 100
    assert all(text.startswith("load_assamese: ") and str(path) in text for text in problems)
    path.write_bytes(content)
    assert module.content_digest(path) == whole


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        load_assamese("val", tmp_path)
    for fold in ((5, 5), (-1, 5), (0, 46), 3, (0, 2, 3)):
        with pytest.raises(ValueError, match=r"fold must be \(i, n\) with 0 <= i < n <= 45"):
            load_assamese("test", tmp_path, fold=fold)
    with pytest.raises(FileNotFoundError, match=r"of the data set 'assamese'"):
        load_assamese("test", tmp_path, download=False)


REAL_DATA = os.environ.get("SPCONV_DATA")


@pytest.mark.skipif(not REAL_DATA, reason="SPCONV_DATA is not set: no real strokes to read")
def test_real_assamese():
    dots = 0
    for split, count in (("train", 6588), ("test", 1647)):
        samples, labels = load_assamese(split, root=REAL_DATA, download=False)
        assert len(samples) == len(labels) == count
        assert np.bincount(labels).tolist() == [count // 183] * 183
        assert all(samples)
        dots += sum(len(stroke) == 1 for sample in samples for stroke in sample)
    assert dots == 134
    path = Path(REAL_DATA, "assamese", NAMES[1])
    if path.is_file():
        assert content_digest(path) == module.CONTENT_SHA256
