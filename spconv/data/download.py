"""Find the files of a data set on this machine, or fetch them from a public mirror."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0


def cache_folder(dataset: str) -> Path:
    """The folder of the user's cache that keeps the downloads of ``dataset``.

    It is ``$XDG_CACHE_HOME/spconv/<dataset>``, with ``~/.cache`` when the variable is not set.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "spconv" / dataset


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def search_places(dataset: str, root: str | os.PathLike[str] | None) -> Iterator[Path]:
    """The user's own folders that may hold a data set, in the order of `find_file`."""
    for folder in (root, os.environ.get("SPCONV_DATA")):
        if folder:
            yield Path(folder) / dataset
            yield Path(folder)


def find_file(
    names: str | Sequence[str],
    dataset: str,
    *,
    urls: Sequence[str] = (),
    sha256: str | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    digest: Callable[[Path], str] = file_digest,
) -> Path:
    """The path of one file of a data set; the first place that has it wins.

    The places, in this order: the folder ``root``, the folder ``$SPCONV_DATA`` (in both, first
    ``<folder>/<dataset>/<name>``, then ``<folder>/<name>``), the user's cache
    (`cache_folder`), and the mirrors in ``urls``, whose file goes to the cache.

    Files in ``root`` and ``$SPCONV_DATA`` are the user's own and may be any edition; files in the
    cache and from a mirror must have the pinned checksum.

    Parameters
    ----------
    names : str or sequence of str
        The file's name, or several accepted ones. The first is the name on the mirrors.
    dataset : str
        The name of the data set, which is also the name of its folder.
    urls : sequence of str
        Mirrors, tried in order.
    sha256 : str, optional
        The checksum of the file named first, in lower-case hexadecimal. Required with ``urls``.
    root : path, optional
        A folder to look in before all others.
    download : bool
        Whether the mirrors may be used.
    digest : callable
        Computes the checksum of a file; for archives, it may be one of what they contain.

    Raises
    ------
    FileNotFoundError
        If no place has the file; the message names every place and what was wrong with it. Also
        if ``root`` is no folder.
    ValueError
        If the file in the cache has a wrong checksum.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    if urls and sha256 is None:
        raise ValueError("find_file: expected a pinned sha256 along with urls, got None")
    if root is not None and not Path(root).is_dir():
        raise FileNotFoundError(f"find_file: root={os.fspath(root)!r} is no folder")
    tried: list[str] = []
    for place in search_places(dataset, root):
        for name in names:
            if (place / name).is_file():
                return place / name
        tried.append(f"{place} (no {' or '.join(names)})")

    cached = cache_folder(dataset) / names[0]
    if cached.is_file():
        found = digest(cached) if sha256 is not None else None
        if found != sha256:
            raise ValueError(
                f"find_file: {cached} has a wrong checksum: expected SHA-256 {sha256}, got {found}."
                " Delete the file to download it again."
            )
        return cached
    tried.append(f"{cached.parent} (no {names[0]})")

    for url in urls:
        if not download:
            tried.append(f"{url} (not tried: download=False)")
            continue
        try:
            _fetch(url, cached, sha256, digest)
        except (OSError, HTTPException) as error:
            tried.append(f"{url} ({error})")
        else:
            return cached
    raise FileNotFoundError(
        f"find_file: expected {names[0]} of the data set {dataset!r} in one of these places, "
        "got it from none:\n  "
        + "\n  ".join(tried)
        + "\nPut the file into one of these folders, or set SPCONV_DATA to the folder that holds it"
        + (", or allow the download (download=True)." if urls and not download else ".")
    )


def _fetch(url: str, target: Path, sha256: str | None, digest: Callable[[Path], str]) -> None:
    """Download to a temporary name beside ``target``; rename only what has the right checksum."""
    request = urllib.request.Request(url, headers={"User-Agent": "spconv-standalone"})
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f"{target.name}.", suffix=".part", dir=target.parent)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response,
            _progress(target.name, response.headers.get("Content-Length")) as bar,
        ):
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
        if (found := digest(Path(partial))) != sha256:
            raise OSError(f"wrong checksum: expected SHA-256 {sha256}, got {found}")
        os.replace(partial, target)
    finally:
        Path(partial).unlink(missing_ok=True)


def _progress(name: str, content_length: str | None):
    """A tqdm bar, or a silent stand-in where tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoProgress()
    total = int(content_length) if content_length else None
    return tqdm(total=total, desc=name, unit="B", unit_scale=True, leave=False)


class _NoProgress:
    def __enter__(self) -> _NoProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, count: int) -> None:
        pass
