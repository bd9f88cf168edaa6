"""MNIST: 60,000 + 10,000 handwritten digits of 28 x 28 pixels (LeCun, Cortes, Burges)."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from spconv.checks import check_split
from spconv.data.download import find_file

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
SHA256 = {
    "train-images-idx3": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
PREFIX = {"train": "train", "test": "t10k"}
UINT8 = 8  # the type code of an idx file's magic number


def load_mnist(
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of MNIST.

    The four idx files, gzipped or not, are looked for in ``root``, in ``$SPCONV_DATA``, in the
    user's cache and on public mirrors (see `spconv.data.find_file`).

    Parameters
    ----------
    split : "train" or "test"
        60,000 or 10,000 samples.
    root : path, optional
        A folder with the files, or with a folder ``mnist`` that has them.
    download : bool
        Whether missing files (12 MB in all) may be fetched.

    Returns
    -------
    images : uint8 array (N, 28, 28)
        0 is paper, 255 is full ink.
    labels : int64 array (N,)
        The digits, 0 to 9.

    Raises
    ------
    FileNotFoundError
        If a file is nowhere to be found.
    ValueError
        If a file is damaged, truncated or not what its name says, or ``split`` another.

    Examples
    --------
    With the files at hand or with a network, ``images, labels = load_mnist("test")`` gives
    ``images.shape == (10000, 28, 28)`` and ``labels[:4]`` 7, 2, 1, 0.
    """
    check_split("load_mnist", split)
    images_path, labels_path = (
        _find(f"{PREFIX[split]}-{kind}", root, download) for kind in ("images-idx3", "labels-idx1")
    )
    images = read_idx(images_path, ndim=3)
    labels = read_idx(labels_path, ndim=1)
    if images.shape[1:] != (28, 28):
        raise ValueError(
            f"load_mnist: {images_path} must hold images of 28 x 28 pixels, got {images.shape[1:]}"
        )
    if len(images) != len(labels):
        raise ValueError(
            f"load_mnist: {images_path} has {len(images)} images but {labels_path} has "
            f"{len(labels)} labels; the files must be of one edition"
        )
    if labels.size and labels.max() > 9:
        raise ValueError(f"load_mnist: {labels_path} must hold digits 0..9, got {labels.max()}")
    return images, labels.astype(np.int64)


def _find(stem: str, root: str | os.PathLike[str] | None, download: bool) -> Path:
    plain = f"{stem}-ubyte"
    return find_file(
        (f"{plain}.gz", plain, stem.replace("-idx", ".idx") + "-ubyte"),
        "mnist",
        urls=[f"{mirror}{plain}.gz" for mirror in MIRRORS],
        sha256=SHA256[stem],
        root=root,
        download=download,
    )


def read_idx(path: str | os.PathLike[str], ndim: int) -> np.ndarray:
    """An idx file of bytes, plain or gzipped (by its suffix ``.gz``), as a uint8 array.

    The format: two zero bytes, the type code (8: uint8), the number of dimensions, the sizes as
    big-endian uint32, the bytes in row-major order.

    Raises
    ------
    ValueError
        If the file is damaged or truncated, has another magic number than that of a uint8 array
        with ``ndim`` dimensions, or another length than its header says.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 20, 30, 40]))
    ...     read_idx(path, ndim=1)
    array([20, 30, 40], dtype=uint8)
    """
    path = Path(path)
    data = bytearray(path.read_bytes())
    if path.suffix == ".gz":
        try:
            data = bytearray(gzip.decompress(data))
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"read_idx: {path} is damaged or truncated: {error}") from error
    magic = bytes((0, 0, UINT8, ndim))
    header = 4 + 4 * ndim
    if data[:4] != magic:
        raise ValueError(
            f"read_idx: {path} must start with the magic number {magic.hex()} "
            f"(uint8, {ndim} dimensions), got {data[:4].hex() or 'an empty file'}"
        )
    if len(data) < header:
        raise ValueError(
            f"read_idx: {path} is truncated: expected a header of {header} bytes, got {len(data)}"
        )
    shape = tuple(np.frombuffer(data, ">u4", ndim, offset=4).tolist())
    if len(data) != header + math.prod(shape):
        raise ValueError(
            f"read_idx: {path} must hold {math.prod(shape)} bytes after its header, as the shape "
            f"{shape} says, got {len(data) - header}; the file is truncated or damaged"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
