import gzip
import os
import struct

import numpy as np
import pytest

from spconv.data.mnist import load_mnist, read_idx


def idx(array, type_code=8):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, type_code, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, size=(7, 28, 28), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.array([3, 1, 4, 1, 5, 9, 2], np.uint8)


@pytest.fixture(autouse=True)
def no_other_data(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPCONV_DATA", raising=False)


def write(folder, images, labels, prefix="train", zipped=True):
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        data = idx(array)
        name = f"{prefix}-{kind}-ubyte"
        if zipped:
            name, data = f"{name}.gz", gzip.compress(data)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_round_trip(tmp_path, images, labels, zipped, split, prefix):
    write(tmp_path, images, labels, prefix, zipped)
    read_images, read_labels = load_mnist(split, tmp_path, download=False)
    np.testing.assert_array_equal(read_images, images)
    np.testing.assert_array_equal(read_labels, labels)
    assert (read_images.dtype, read_labels.dtype) == (np.uint8, np.int64)
    assert read_images.flags.writeable


def test_dotted_name(tmp_path, images, labels):
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx(labels))
    assert len(load_mnist("train", tmp_path, download=False)[0]) == 7


def test_unknown_split(tmp_path):
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'val'"):
        load_mnist("val", tmp_path)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz .*'mnist'"):
        load_mnist("train", tmp_path, download=False)


@pytest.mark.parametrize("keep", [0.2, 0.9])
def test_truncated_gzip(tmp_path, images, keep):
    data = gzip.compress(idx(images))
    path = tmp_path / "x.gz"
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ValueError, match=r"x\.gz is damaged or truncated"):
        read_idx(path, 3)


def test_damaged_gzip(tmp_path, images):
    data = bytearray(gzip.compress(idx(images)))
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "x.gz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is damaged or truncated"):
        read_idx(path, 3)


def test_not_gzip(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="is damaged or truncated: Not a gzipped file"):
        read_idx(path, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "magic number 00000803 .* got an empty file"),
        (b"\0\0\x08\x01" + bytes(30), r"magic number 00000803 \(uint8, 3 dim.* got 00000801"),
        (b"\0\0\x0d\x03" + bytes(30), "got 00000d03"),
        (b"\0\0\x08\x03\0\0\0\x01", "expected a header of 16 bytes, got 8"),
        (
            struct.pack(">4B3I", 0, 0, 8, 3, 2, 2, 2) + bytes(7),
            r"must hold 8 bytes after its header, as the shape \(2, 2, 2\) says, got 7",
        ),
        (struct.pack(">4B3I", 0, 0, 8, 3, 2, 2, 2) + bytes(9), "must hold 8 bytes .* got 9"),
    ],
)
def test_wrong_header_or_length(tmp_path, data, message):
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_idx(path, 3)


def test_files_that_do_not_belong_together(tmp_path, images, labels):
    write(tmp_path, images, labels[:-1])
    with pytest.raises(ValueError, match=r"has 7 images but .* has 6 labels"):
        load_mnist("train", tmp_path)


def test_not_digits(tmp_path, images, labels):
    write(tmp_path, images, labels + 9)
    with pytest.raises(ValueError, match=r"must hold digits 0\.\.9, got 18"):
        load_mnist("train", tmp_path)


def test_other_image_size(tmp_path, images, labels):
    write(tmp_path, images[:, :20], labels)
    with pytest.raises(ValueError, match=r"28 x 28 pixels, got \(20, 28\)"):
        load_mnist("train", tmp_path)


REAL_DATA = os.environ.get("SPCONV_DATA")


@pytest.mark.skipif(not REAL_DATA, reason="SPCONV_DATA is not set: no real MNIST to read")
def test_real_mnist():
    for split, count, ink in (("train", 60_000, 33.318), ("test", 10_000, 33.791)):
        images, labels = load_mnist(split, root=REAL_DATA, download=False)
        assert images.shape == (count, 28, 28)
        assert np.bincount(labels).min() > count * 0.08
        assert images.mean() == pytest.approx(ink, abs=1e-3)
    assert labels[:4].tolist() == [7, 2, 1, 0]
