import json
import math
import os
import stat
import zipfile

import numpy as np
import pytest
from saved_states import assert_same

from spconv import checkpoint
from spconv.autograd import Parameter
from spconv.checkpoint import load, save
from spconv.optim import SGD, Adam


class Model:
    """The least that a checkpoint needs: a state_dict of arrays."""

    def __init__(self, seed=0, channels=4):
        rng = np.random.default_rng(seed)
        self.state = {
            "0.weight": rng.standard_normal((9, 2, channels)).astype(np.float32),
            "0.bias": rng.standard_normal(channels),
            "1.running_mean": np.asfortranarray(rng.standard_normal((3, 2))),
            "empty": np.zeros((0, 3), np.float16),
            "count": np.array(7),
        }

    def state_dict(self):
        return {name: array.copy(order="K") for name, array in self.state.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def test_everything_comes_back_bit_for_bit(path):
    model = Model()
    parameter = Parameter(np.ones((2, 3), np.float32))
    optimizer = Adam([("0.weight", parameter)], lr=0.1 + 0.2)
    parameter.grad = np.full((2, 3), 0.3, np.float32)
    optimizer.step()
    extra = {
        "epoch": 3,
        "big": 2**80,
        "loss": 0.1 + 0.2,
        "nan": math.nan,
        "infinite": -math.inf,
        "name": "äß 手 \ud800 \0 \"'\\",
        "done": True,
        "nothing": None,
        "table": [[1, 2.5], ["a", None], []],
        "nested": {"a": {"order": np.arange(5)}, "": {}, "a/order": np.arange(3)},
        "a/b": [np.zeros(2), np.float64(1.5).item()],
        "bytes": np.frombuffer(b"\0\1\xff", np.uint8),
        "mask": np.array([True, False]),
        "words": np.array(["a", "bcd"]),
    }
    save(path, model, optimizer, **extra)
    read = load(path)
    assert read.path == str(path)
    assert_same(read.model, model.state)
    assert_same(read.optimizer, optimizer.state_dict())
    assert_same(read.extra, extra)
    assert read.model["0.weight"].flags.writeable


def test_tuples_and_numpy_scalars_become_plain(path):
    save(path, Model(), shape=(3, 4), rate=np.float32(0.5), count=np.int64(3), flag=np.bool_(True))
    extra = load(path).extra
    assert_same(extra, {"shape": [3, 4], "rate": 0.5, "count": 3, "flag": True})


def test_numpy_opens_the_file(path):
    model = Model()
    save(path, model)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["model/0.weight"], model.state["0.weight"])
        header = json.loads(str(file["header"]))
    assert (header["format"], header["version"]) == ("spconv checkpoint", 1)
    assert load(path).optimizer is None


def test_no_name_of_an_array_can_collide(path):
    awkward = {name: np.array([i]) for i, name in enumerate(["a b", "a?b", "a_b", "../x", "a\0c"])}
    awkward["x" * 70_000] = np.array([99])
    save(path, Model(), header=np.array([1]), awkward=awkward)
    assert_same(load(path).extra["awkward"], awkward)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"x": {1, 2}}, "save: extra/x is of type set"),
        ({"x": [b"raw"]}, "save: extra/x/0 is of type bytes"),
        ({"x": Parameter(np.ones(2))}, r"extra/x is of type Parameter.*pass its \.data"),
        ({"x": np.ma.array([1, 2], mask=[0, 1])}, r"extra/x is a masked array.*\.data and \.mask"),
        ({"x": np.array([object()])}, "extra/x is an array of Python objects, which needs pickle"),
        ({"x": {1: 2}}, "the keys of extra/x must be strings, got 1"),
        ({"x": {"__array__": 2}}, "the keys of extra/x must be strings, got '__array__'"),
        ({"x": 1j}, "extra/x is of type complex"),
    ],
)
def test_what_needs_pickle_is_refused_before_anything_is_written(path, extra, message):
    with pytest.raises(TypeError, match=message):
        save(path, Model(), **extra)
    assert list(path.parent.iterdir()) == []


def failing_fsync(monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)


def failing_replace(monkeypatch):
    def fail(source, target):
        raise PermissionError("in use")

    monkeypatch.setattr(os, "replace", fail)


def failing_third_array(monkeypatch):
    write, calls = np.lib.format.write_array, []

    def fail(file, array, **options):
        calls.append(array)
        if len(calls) == 3:
            file.write(b"half of the arr")
            raise OSError(28, "No space left on device")
        write(file, array, **options)

    monkeypatch.setattr(np.lib.format, "write_array", fail)


def interrupted(monkeypatch):
    def fail(file, array, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", fail)


@pytest.mark.parametrize(
    "failure", [failing_fsync, failing_replace, failing_third_array, interrupted]
)
def test_a_failed_save_leaves_the_previous_checkpoint_whole(path, monkeypatch, failure):
    save(path, Model(0), epoch=1)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        failure(patch)
        with pytest.raises((OSError, KeyboardInterrupt)):
            save(path, Model(1), epoch=2)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path], "no temporary file stays behind"
    save(path, Model(1), epoch=2)
    assert load(path).extra == {"epoch": 2}


def test_the_file_is_on_the_disk_before_it_is_renamed(path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, _name=name, _call=original: (calls.append(_name), _call(*a))[1]
        )
    save(path, Model())
    assert calls[:2] == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_follow_the_umask_and_links_are_followed(path):
    plain = path.with_name("plain")
    plain.touch()
    save(path, Model(0))
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    path.chmod(0o600)
    save(path, Model(0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # stays whatever it has become
    link = path.with_name("latest.npz")
    link.symlink_to(path.name)
    save(link, Model(1))
    assert link.is_symlink()
    assert_same(load(path).model, Model(1).state)


def test_names_as_long_as_they_may_be(path):
    long = path.with_name("a" * 251 + ".npz")
    save(long, Model())
    assert_same(load(long).model, Model().state)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
        save(tmp_path / "nowhere" / "model.npz", Model())
    with pytest.raises(FileNotFoundError, match=r"model\.npz"):
        load(tmp_path / "model.npz")


def contents(read):
    return {"model": read.model, "optimizer": read.optimizer, "extra": read.extra}


@pytest.fixture
def small(path):
    parameter = Parameter(np.arange(3.0))
    save(path, Model(channels=1), SGD([("w", parameter)], lr=0.5, momentum=0.9), epoch=4)
    return path


def test_no_damaged_byte_goes_unnoticed(small):
    """Any flipped bit is an error, or hits a part of the zip that carries nothing (dates...)."""
    whole, expected = small.read_bytes(), contents(load(small))
    rng = np.random.default_rng(0)
    noticed = 0
    for position in range(0, len(whole), 2):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        small.write_bytes(damaged)
        try:
            read = load(small)
        except ValueError:
            noticed += 1
        else:
            assert_same(contents(read), expected)
    assert noticed > 0.7 * len(whole) / 2


def test_a_truncated_file_says_so(small):
    whole = small.read_bytes()
    for length in [*range(0, len(whole), 29), len(whole) - 1]:
        small.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"model\.npz: not a whole \.npz file \({length} by"):
            load(small)


def test_a_foreign_file_says_so(path):
    path.write_text("loss 0.5\n")
    with pytest.raises(ValueError, match=r"not a whole \.npz file.*of another kind"):
        load(path)
    np.savez(path, weight=np.ones(3))
    with pytest.raises(ValueError, match=r"not a checkpoint written by spconv.save; read it with"):
        load(path)
    np.savez(path, header=np.array('{"format": "else", "version": 1}'))
    with pytest.raises(ValueError, match="not a checkpoint"):
        load(path)
    np.savez(path, header=np.array("[]"))
    with pytest.raises(ValueError, match="not a checkpoint"):
        load(path)


def test_pickles_are_never_read(path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.savez(path, header=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        load(path)


def test_a_newer_format_asks_for_an_update(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "VERSION", 2)
        save(path, Model())
    with pytest.raises(ValueError, match=r"format version 2, written by spconv .*update spconv"):
        load(path)


def test_a_missing_member_is_named(path):
    save(path, Model())
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name != "model/0.bias.npy":
                archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"the checkpoint lacks its entry 'model/0\.bias'"):
        load(path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: save(m, "x.npz"),
            r"model must have a state_dict\(\), got str; .*save\(path, model",
        ),
        (lambda m: save("x.npz", None), r"model must have a state_dict\(\), got NoneType"),
        (lambda m: save("x.npz", m, "adam"), r"optimizer must have a state_dict\(\), got str"),
        (lambda m: checkpoint.Checkpoint("x", {}, None, {}).restore({}), "a Module, got dict"),
    ],
)
def test_arguments_in_another_order(call, message):
    with pytest.raises(TypeError, match=message):
        call(Model())


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"a": {"__array__": [1]}}},
        {"model": None},
        {"extra": []},
        {"extra": {"a": json.loads("[" * 900 + "]" * 900)}},
    ],
    ids=["array", "model", "extra", "deep"],
)
def test_a_header_that_save_did_not_write(tmp_path, change):
    path = tmp_path / "a.npz"
    save(path, Model())
    members = dict(np.load(path))
    header = json.loads(str(members["header"])) | change
    np.savez(path, **{**members, "header": np.array(json.dumps(header))})
    with pytest.raises(ValueError, match=r"the checkpoint lacks its entry|not a checkpoint"):
        load(path)
