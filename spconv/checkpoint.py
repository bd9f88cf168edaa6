"""Checkpoints: a model, its optimizer and plain values in one ``.npz`` file, without pickle.

The file is a zip of ``.npy`` members, which ``numpy.load`` opens too: ``header``, a JSON text,
and one member per array, such as ``model/0.weight``. The header holds the format's name and
version and the structure of everything saved, with ``{"__array__": member}`` for each array.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spconv._version import __version__
from spconv.checks import type_name
from spconv.compat import is_cupy, to_device

FORMAT = "spconv checkpoint"
VERSION = 1
_HEADER = "header"
_ARRAY = "__array__"


@dataclass(frozen=True)
class Checkpoint:
    """What :func:`load` read.

    Attributes
    ----------
    path : str
        The file it came from.
    model : dict of str to ndarray
        The model's ``state_dict()``.
    optimizer : dict or None
        The optimizer's ``state_dict()``, if one was saved.
    extra : dict
        The keyword arguments that were given to :func:`save`.
    """

    path: str
    model: dict[str, np.ndarray]
    optimizer: dict[str, Any] | None
    extra: dict[str, Any]

    def restore(self, model: Any, optimizer: Any = None, *, strict: bool = True) -> Any:
        """Load the saved state into ``model`` and, if one is given, into ``optimizer``.

        Parameters
        ----------
        model : Module
        optimizer : Optimizer, optional
        strict : bool
            False takes over what has a place in ``model``, as ``model.load_state_dict`` does.

        Returns
        -------
        IncompatibleKeys
            What ``model.load_state_dict`` returned: paths without a value, or without a place.

        Raises
        ------
        TypeError
            If ``model`` is no Module, or ``optimizer`` no Optimizer.
        ValueError
            If the state does not fit, or holds no optimizer and one is given; neither is changed.
        """
        if not hasattr(model, "named_modules") or isinstance(model, type):
            raise TypeError(f"restore: model must be a Module, got {type_name(model)}")
        if not (optimizer is None or hasattr(optimizer, "load_state_dict")):
            raise TypeError(f"restore: optimizer must be an Optimizer, got {type_name(optimizer)}")
        if optimizer is not None and self.optimizer is None:
            raise ValueError(
                f"{self.path}: the checkpoint holds no optimizer; restore the model alone, or "
                "save with save(path, model, optimizer)"
            )
        kept = _arrays_of(model)
        try:
            found = model.load_state_dict(self.model, **({} if strict else {"strict": False}))
            if optimizer is not None:
                optimizer.load_state_dict(self.optimizer)
        except BaseException as error:
            for holder, name, array in kept:
                setattr(holder, name, array)
            if isinstance(error, (KeyError, TypeError, ValueError, OverflowError)):
                raise ValueError(f"{self.path}: {error}") from error
            raise
        return found


def _arrays_of(model: Any) -> list[tuple[Any, str, Any]]:
    """What holds an array of a module, under which name, and the array itself."""
    held = [(parameter, "data") for parameter in model.parameters()]
    for _, module in model.named_modules():
        held += [(module, name) for name, _ in module.own_buffers()]
    return [(holder, name, getattr(holder, name)) for holder, name in held]


def save(path: str | os.PathLike[str], model: Any, optimizer: Any = None, **extra: Any) -> None:
    """Write a checkpoint in one atomic step.

    The file is written beside ``path``, forced to the disk and renamed: whatever fails, and
    whenever, ``path`` holds either the previous checkpoint or the new one, whole.

    Parameters
    ----------
    path : path
        The file, by custom ``*.npz``; its folder must exist.
    model : Module
        Anything with a ``state_dict()`` of arrays.
    optimizer : Optimizer, optional
        Anything with a ``state_dict()`` of arrays and plain values.
    **extra
        None, bools, ints, floats, strings, arrays, and lists and dicts (keyed by strings) of
        them. Tuples come back as lists, NumPy scalars as Python's numbers.

    Raises
    ------
    TypeError
        If a value is of another type; there is no pickle to fall back on.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from spconv.layers import Linear
    >>> model = Linear(3, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/model.npz", model, epoch=7, classes=["a", "b"])
    ...     checkpoint = load(folder + "/model.npz")
    >>> checkpoint.restore(model)
    IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    >>> sorted(checkpoint.model), checkpoint.extra
    (['bias', 'weight'], {'epoch': 7, 'classes': ['a', 'b']})
    """
    for name, value in (("model", model), ("optimizer", optimizer)):
        if (value is not None or name == "model") and not hasattr(value, "state_dict"):
            raise TypeError(
                f"save: {name} must have a state_dict(), got {type_name(value)}; the order is "
                "save(path, model, optimizer)"
            )
    members: dict[str, np.ndarray] = {}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": f"spconv {__version__}",
        "model": _encode(model.state_dict(), "model", members),
        "optimizer": None
        if optimizer is None
        else _encode(optimizer.state_dict(), "optimizer", members),
        "extra": _encode(extra, "extra", members),
    }
    members[_HEADER] = np.array(json.dumps(header))
    _write_atomically(Path(os.path.realpath(path)), members)


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint; every byte of its contents is checked against a CRC-32.

    Parameters
    ----------
    path : path
        A file written by :func:`save`.

    Returns
    -------
    Checkpoint
        Fresh NumPy arrays and plain values.

    Raises
    ------
    ValueError
        If the file is damaged, cut short, not a checkpoint, or of a newer format.
    OSError
        If the file cannot be read.
    """
    content = Path(path).read_bytes()
    try:
        members = _read_members(content)
    except Exception as error:  # zipfile and numpy raise a dozen types on damaged bytes
        raise ValueError(
            f"{os.fspath(path)}: not a whole .npz file ({len(content)} bytes): {error}; it is "
            "damaged, cut short or of another kind: copy it again or use an older checkpoint"
        ) from error
    try:
        header = json.loads(str(members[_HEADER]))
        known = header["format"] == FORMAT
        version = header["version"]
    except (KeyError, TypeError, ValueError, RecursionError):
        known = False
    if not known:
        raise ValueError(
            f"{os.fspath(path)}: an .npz file, but not a checkpoint written by spconv.save; read "
            "it with numpy.load"
        )
    if version != VERSION:
        raise ValueError(
            f"{os.fspath(path)}: checkpoint format version {version}, written by "
            f"{header.get('written_by')}; this is spconv {__version__}, which reads version "
            f"{VERSION}: update spconv"
        )
    try:
        parts = [_decode(header[name], members) for name in ("model", "optimizer", "extra")]
        if not (isinstance(parts[0], dict) and isinstance(parts[2], dict)):
            raise KeyError("model or extra")
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)}: the checkpoint lacks its entry {error}") from error
    return Checkpoint(os.fspath(path), *parts)


def _encode(value: Any, name: str, members: dict[str, np.ndarray]) -> Any:
    """Turn ``value`` into JSON, moving its arrays to ``members``."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"save: {name} is a masked array, whose mask would be lost; pass its .data and .mask"
        )
    if isinstance(value, np.ndarray) or is_cupy(value):
        array = to_device(value, "cpu")
        if array.dtype.hasobject:
            raise TypeError(f"save: {name} is an array of Python objects, which needs pickle")
        member = base = re.sub(r"[^\w.\-/]", "_", name, flags=re.ASCII)[:200]
        while member in members or member == _HEADER:
            member = f"{base}~{len(members)}"
        members[member] = array
        return {_ARRAY: member}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_encode(item, f"{name}/{i}", members) for i, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key == _ARRAY:
                raise TypeError(f"save: the keys of {name} must be strings, got {key!r}")
        return {key: _encode(item, f"{name}/{key}", members) for key, item in value.items()}
    raise TypeError(
        f"save: {name} is of type {type_name(value)}; expected None, a bool, a number, a "
        "string, an array, or lists and dicts of them (a Tensor: pass its .data)"
    )


def _decode(value: Any, members: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(item, members) for item in value]
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return members[value[_ARRAY]]
        return {key: _decode(item, members) for key, item in value.items()}
    return value


def _write_atomically(path: Path, members: dict[str, np.ndarray]) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: the folder {path.parent} does not exist; create it first")
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            if path.exists():
                os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
            with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
                for name, array in members.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename itself reaches the disk with the folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read_members(content: bytes) -> dict[str, np.ndarray]:
    members = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for info in archive.infolist():
            file = io.BytesIO(archive.read(info))  # reading to the end checks the CRC
            name = info.filename.removesuffix(".npy")
            members[name] = np.lib.format.read_array(file, allow_pickle=False)
    return members
