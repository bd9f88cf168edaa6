import hashlib
import sys
import urllib.error
import urllib.request

import pytest

from spconv.data.download import cache_folder, find_file

CONTENT = bytes(range(256)) * 3000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch, tmp_path):
    """No data anywhere, and no way to the network."""
    monkeypatch.delenv("SPCONV_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    real = urllib.request.urlopen

    def only_files(request, timeout=None):
        assert timeout is not None
        if not request.full_url.startswith("file:"):
            raise urllib.error.URLError("no network in tests")
        return real(request, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", only_files)


@pytest.fixture
def mirror(tmp_path):
    (tmp_path / "mirror").mkdir()
    path = tmp_path / "mirror" / "a.bin"
    path.write_bytes(CONTENT)
    return path.as_uri()


def put(folder, name="a.bin", content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_places_in_order(tmp_path, monkeypatch, mirror):
    root, env = tmp_path / "root", tmp_path / "env"
    root.mkdir()
    monkeypatch.setenv("SPCONV_DATA", str(env))

    def find():
        return find_file("a.bin", "set", urls=[mirror], sha256=SHA256, root=root)

    # From the last place to the first: each new file goes before all earlier ones.
    assert find() == tmp_path / "cache" / "spconv" / "set" / "a.bin"
    for folder in (env, env / "set", root, root / "set"):
        path = put(folder)
        assert find() == path


def test_download_lands_in_the_cache_and_is_used_again(mirror):
    found = find_file("a.bin", "set", urls=[mirror], sha256=SHA256)
    assert found.read_bytes() == CONTENT
    assert [path.name for path in cache_folder("set").iterdir()] == ["a.bin"]
    assert find_file("a.bin", "set", sha256=SHA256, download=False) == found


def test_next_mirror_is_tried(mirror):
    urls = ["https://example.org/a.bin", mirror]
    assert find_file("a.bin", "set", urls=urls, sha256=SHA256).read_bytes() == CONTENT


def test_any_accepted_name(tmp_path):
    path = put(tmp_path / "root", "b.bin", b"user's own edition")
    assert find_file(("a.bin", "b.bin"), "set", sha256=SHA256, root=tmp_path / "root") == path


def test_wrong_checksum_of_a_download(mirror):
    with pytest.raises(FileNotFoundError, match=r"wrong checksum: expected SHA-256 0000, got"):
        find_file("a.bin", "set", urls=[mirror], sha256="0000")
    assert not list(cache_folder("set").iterdir())


def test_wrong_checksum_in_the_cache():
    put(cache_folder("set"), content=CONTENT[:-1])
    with pytest.raises(ValueError, match=r"a\.bin has a wrong checksum: .* Delete the file"):
        find_file("a.bin", "set", sha256=SHA256)


def test_error_names_every_place(tmp_path, monkeypatch):
    monkeypatch.setenv("SPCONV_DATA", str(tmp_path / "env"))
    (tmp_path / "root").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        find_file(
            ("a.bin", "b.bin"),
            "set",
            urls=["https://one.example/a.bin", "https://two.example/a.bin"],
            sha256=SHA256,
            root=tmp_path / "root",
        )
    message = str(caught.value)
    for place in (tmp_path / "root" / "set", tmp_path / "env", cache_folder("set")):
        assert f"{place} (no a.bin" in message
    assert "https://one.example/a.bin (<urlopen error no network in tests>)" in message
    assert "https://two.example/a.bin" in message
    assert "set SPCONV_DATA" in message


def test_a_root_that_is_not_there_is_no_reason_to_look_elsewhere(tmp_path):
    put(cache_folder("set"))
    with pytest.raises(FileNotFoundError, match=r"find_file: root='.*typo' is no folder"):
        find_file("a.bin", "set", sha256=SHA256, root=tmp_path / "typo")


def test_no_download(mirror):
    with pytest.raises(FileNotFoundError, match=r"not tried: download=False[\s\S]*download=True"):
        find_file("a.bin", "set", urls=[mirror], sha256=SHA256, download=False)


def test_urls_need_a_checksum(mirror):
    with pytest.raises(ValueError, match="pinned sha256"):
        find_file("a.bin", "set", urls=[mirror])


def test_interruption_leaves_nothing_behind(monkeypatch, mirror):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("spconv.data.download.os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        find_file("a.bin", "set", urls=[mirror], sha256=SHA256)
    assert not list(cache_folder("set").iterdir())


def test_unwritable_cache(tmp_path, monkeypatch, mirror):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError, match=r"Not a directory|cannot find the path"):
        find_file("a.bin", "set", urls=[mirror], sha256=SHA256)


def test_without_tqdm(monkeypatch, mirror):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert find_file("a.bin", "set", urls=[mirror], sha256=SHA256).read_bytes() == CONTENT
