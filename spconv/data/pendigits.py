"""Pen-Based Recognition of Handwritten Digits: the original trajectories (UCI 81)."""

from __future__ import annotations

import os
import re

import numpy as np

from spconv.checks import check_split
from spconv.data.download import find_file
from spconv.kernels.pen_text import parse_points

SHA256 = {
    "train": "a66225d68d7d68591e62944df1ad33b3f5aa608e2df2505844b41f5568a80da4",
    "test": "ddb1c19e277a56c7ffe682cc024d6ab73696f9adcc1643ef9ed5aa753007e081",
}
NAMES = {"train": "pendigits-orig.tra", "test": "pendigits-orig.tes"}
NUM_DIGITS = {"train": 7494, "test": 3498}
FOLDER = "https://archive.ics.uci.edu/ml/machine-learning-databases/pendigits/"
DIGIT = re.compile(rb'\s+DIGIT\s[^"\n]*"(\d)"')


def load_pendigits(
    split: str = "train", root: str | os.PathLike[str] | None = None
) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Digits as pen strokes, written by 44 people on a tablet.

    The file ``pendigits-orig.tra`` or ``pendigits-orig.tes`` is looked for as `find_file` looks,
    in ``root``, in ``$SPCONV_DATA`` and in the user's cache. There is no automatic download: the
    UCI repository offers the files compressed by the old ``compress`` (``.Z``), which Python does
    not read. The error for a missing file says how to fetch it by hand.

    Parameters
    ----------
    split : "train" or "test"
        30 writers with 7,494 digits, or 14 others with 3,498.
    root : path, optional
        A folder with the files, or with a folder ``pendigits`` that has them.

    Returns
    -------
    samples : list of lists of float32 arrays (n, 2)
        Each digit's strokes, points (x, y), y downwards (upwards in the file), in tablet units.
    labels : int64 array (N,)
        0 to 9.

    Raises
    ------
    FileNotFoundError
        If the file is nowhere to be found.
    ValueError
        If it is damaged or has not all digits, or ``split`` is another.

    Examples
    --------
    With the files at hand, ``samples, labels = load_pendigits("test")`` gives
    ``len(samples) == 3498``.
    """
    check_split("load_pendigits", split)
    name = NAMES[split]
    try:
        path = find_file(name, "pendigits", sha256=SHA256[split], root=root)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"load_pendigits: {error}\nTo fetch it, download {FOLDER}{name}.Z and unpack it with "
            f"`gzip -d {name}.Z`."
        ) from None
    # A digit goes from one .SEGMENT line to the next.
    samples, labels = [], []
    for number, text in enumerate(path.read_bytes().split(b".SEGMENT")[1:]):
        digit = DIGIT.match(text)
        if not digit:
            raise ValueError(
                f"load_pendigits: {path} is damaged: expected '.SEGMENT DIGIT ... \"<digit>\"' as "
                f"number {number}, got {text[:40]!r}"
            )
        try:
            points, starts = parse_points(text, b".PEN_DOWN", False)
        except ValueError as error:
            raise ValueError(
                f"load_pendigits: {path} is damaged in .SEGMENT number {number}: {error}"
            ) from error
        points[:, 1] = 0 - points[:, 1]  # no minus zero
        samples.append(np.split(points, starts[1:]) if len(starts) else [])
        labels.append(int(digit[1]))
    if len(samples) != NUM_DIGITS[split]:
        raise ValueError(
            f"load_pendigits: {path} has {len(samples):,} digits, expected {NUM_DIGITS[split]:,}; "
            "it is cut short, damaged or another file"
        )
    return samples, np.array(labels, np.int64)
