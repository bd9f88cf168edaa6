"""Arrays as text, so that results.json can hold what a picture is drawn from."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np


def pack(array: np.ndarray) -> str:
    """An array as base64 of its compressed .npy bytes.

    >>> unpack(pack(np.array([[1, 2]], np.uint8)))
    array([[1, 2]], dtype=uint8)
    """
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return base64.b64encode(zlib.compress(buffer.getvalue(), 9)).decode()


def unpack(text: str) -> np.ndarray:
    """The array of :func:`pack`."""
    buffer = io.BytesIO(zlib.decompress(base64.b64decode(text)))
    return np.lib.format.read_array(buffer, allow_pickle=False)
