"""Online Handwritten Assamese Characters: 183 characters by each of 45 writers (UCI 208)."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spconv.checks import check_split
from spconv.data.download import find_file, search_places
from spconv.kernels.pen_text import parse_points

NAMES = (
    "online+handwritten+assamese+characters+dataset.zip",
    "online-handwritten-assamese-characters.zip",
)
MIRRORS = ("https://archive.ics.uci.edu/static/public/208/" + NAMES[0],)
CONTENT_SHA256 = "05a8322a2130e1bc5504c30f47b948e86bd070585e6a6a6ce401531818268bce"
CHARACTERS, WRITERS = 183, 45
DAMAGED = (ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What zipfile raises, besides, for bytes that are not what was packed."""
TEST_WRITERS = (6, 15, 16, 19, 26, 28, 29, 30, 43)  # of SparseConvNet's example
MEMBER = re.compile(r"(?:.*/)?W(\d+)/(\d+)\.(\d+)\.txt")

Key = tuple[int, int]  # (writer, character), both from 1


def load_assamese(
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    fold: tuple[int, int] | None = None,
) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Characters as pen strokes, with writer-independent splits.

    The archive, or the folders W1 to W45 out of it, are looked for as `find_file` looks: in
    ``root``, in ``$SPCONV_DATA`` (in both, first in a folder ``assamese``), in the user's cache
    and on the UCI repository. What is downloaded must hold the very strokes that this loader was
    tested with: the pinned checksum is of the 8,235 files' contents, not of the archive around
    them. Should the repository serve another edition, download it yourself and put it into a
    folder that you name.

    Parameters
    ----------
    split : "train" or "test"
        By default the split of SparseConvNet's example (Graham & van der Maaten 2017): the test
        writers are 6, 15, 16, 19, 26, 28, 29, 30 and 43 (1,647 samples), the other 36 train
        (6,588).
    root : path, optional
        A folder with the archive or the writers' folders, or with a folder ``assamese`` that has
        them.
    download : bool
        Whether a missing archive (9 MB) may be fetched.
    fold : (int, int), optional
        Part i of an n-fold cross-validation over all 45 writers, (i, n) with 0 <= i < n <= 45: the
        test writers are those w with (w - 1) mod n = i.

    Returns
    -------
    samples : list of lists of float32 arrays (n, 2)
        Each character's strokes, points (x, y), y downwards, in the tablet's units; by writer,
        then by character. A point that repeats the one before is left out.
    labels : int64 array (N,)
        0 to 182.

    Raises
    ------
    FileNotFoundError
        If the data are nowhere to be found.
    ValueError
        If a file is missing from them or damaged, or ``split`` another.

    Examples
    --------
    With the archive at hand or with a network, ``samples, labels = load_assamese("test")`` gives
    ``len(samples) == 1647``.
    """
    keys = [
        (writer, character)
        for writer in _writers(split, fold)
        for character in range(1, CHARACTERS + 1)
    ]
    place = _locate(root, download)
    samples = []
    with _reader(place) as read:
        for key in keys:
            try:
                points, starts = parse_points(read(key), b"PEN_DOWN", True)
            except KeyError:
                raise ValueError(
                    f"load_assamese: {place} has no W{key[0]}/{key[1]}.{key[0]}.txt; expected "
                    f"{WRITERS} folders of {CHARACTERS} files, unpack or download it again"
                ) from None
            except DAMAGED as error:
                raise ValueError(
                    f"load_assamese: W{key[0]}/{key[1]}.{key[0]}.txt in {place} is damaged: {error}"
                ) from error
            samples.append(np.split(points, starts[1:]) if len(starts) else [])
    return samples, np.array([character - 1 for _, character in keys], np.int64)


def _writers(split: str, fold: tuple[int, int] | None) -> list[int]:
    check_split("load_assamese", split)
    test = set(TEST_WRITERS)
    if fold is not None:
        pair = isinstance(fold, tuple | list) and len(fold) == 2
        if not (pair and 0 <= fold[0] < fold[1] <= WRITERS):
            raise ValueError(
                f"load_assamese: fold must be (i, n) with 0 <= i < n <= {WRITERS}, got {fold}"
            )
        part, parts = fold
        test = set(range(part + 1, WRITERS + 1, parts))
    return [w for w in range(1, WRITERS + 1) if (w in test) == (split == "test")]


def _locate(root: str | os.PathLike[str] | None, download: bool) -> Path:
    """The archive, or the folder that has W1."""
    for place in search_places("assamese", root):
        if not any((place / name).is_file() for name in NAMES) and (place / "W1").is_dir():
            return place
    return find_file(
        NAMES,
        "assamese",
        urls=MIRRORS,
        sha256=CONTENT_SHA256,
        root=root,
        download=download,
        digest=content_digest,
    )


@contextmanager
def _reader(place: Path) -> Iterator[Callable[[Key], bytes]]:
    """A function that reads one character's text; KeyError where there is none."""
    if place.is_dir():

        def read_file(key: Key) -> bytes:
            path = place / f"W{key[0]}" / f"{key[1]}.{key[0]}.txt"
            if not path.is_file():
                raise KeyError(key)
            return path.read_bytes()

        yield read_file
        return
    content = place.read_bytes()
    try:
        archive, members = _opened(content)
    except DAMAGED as error:
        raise ValueError(f"load_assamese: {place} is not a zip archive: {error}") from error
    yield lambda key: archive.read(members[key])


def _opened(content: bytes) -> tuple[zipfile.ZipFile, dict[Key, zipfile.ZipInfo]]:
    """An archive in memory, where no error is the file system's, and its characters."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    found = ((MEMBER.fullmatch(info.filename), info) for info in archive.infolist())
    return archive, {(int(m[3]), int(m[2])): info for m, info in found if m and m[1] == m[3]}


def content_digest(path: Path) -> str:
    """SHA-256 of all characters' names and texts in an archive, whatever packed it and how."""
    digest, content = hashlib.sha256(), path.read_bytes()
    try:
        archive, members = _opened(content)
        for key in sorted(members):
            text = archive.read(members[key])
            digest.update(b"W%d/%d %d\n" % (*key, len(text)) + text)
    except DAMAGED:
        return "no whole zip archive"
    return digest.hexdigest()
