"""A folder of local copies that are read instead of remote files."""

import os

import pytest
from rangecache_target import LoggedFileSystem, World, make_bytes

from camhd_access.errors import RemoteFileChangedError
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.storage.rangecache.overlay import find_local_copy

URL = "https://127.0.0.1:1/files/PN03B/2016/11/13/CAMHDA301-20161113T000000Z.mov"


def put(folder, *parts, data=b"local"):
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "parts",
    [
        ("files", "PN03B", "2016", "11", "13", "CAMHDA301-20161113T000000Z.mov"),
        ("PN03B", "2016", "11", "13", "CAMHDA301-20161113T000000Z.mov"),
        ("13", "CAMHDA301-20161113T000000Z.mov"),
    ],
)
def test_nested_copies_lie_under_the_path_of_the_url_or_a_tail_of_it(tmp_path, parts):
    path = put(tmp_path, *parts)
    assert find_local_copy(tmp_path, URL, flatten=False) == path
    assert find_local_copy(tmp_path, URL, flatten=True) is None
    longest = put(tmp_path, "files", "PN03B", "2016", "11", "13", "CAMHDA301-20161113T000000Z.mov")
    assert find_local_copy(tmp_path, URL, flatten=False) == longest


def test_flat_copies_lie_in_the_folder_itself(tmp_path):
    path = put(tmp_path, "CAMHDA301-20161113T000000Z.mov")
    assert find_local_copy(tmp_path, URL, flatten=True) == path
    assert find_local_copy(tmp_path, URL, flatten=False) is None
    assert find_local_copy(tmp_path, "https://host/CAMHDA301-20161113T000000Z.mov", flatten=False) == path


@pytest.mark.parametrize(
    "path",
    ["/../secret.mov", "/a/%2e%2e/%2e%2e/secret.mov", "/a/..%2Fsecret.mov", "/a%00/secret.mov", "/", ""],
)
@pytest.mark.parametrize("flatten", [False, True])
def test_no_url_leads_out_of_the_folder(tmp_path, path, flatten):
    put(tmp_path, "secret.mov")
    folder = tmp_path / "overlay"
    put(folder, "a", "b.mov")
    assert find_local_copy(folder, f"https://host{path}", flatten=flatten) is None


def test_percent_signs_are_decoded_once(tmp_path):
    path = put(tmp_path, "a", "b c.mov")
    assert find_local_copy(tmp_path, "https://host/a/b%20c.mov", flatten=False) == path
    assert find_local_copy(tmp_path, "https://host/a/b%2520c.mov", flatten=False) is None


@pytest.mark.parametrize("flatten", [False, True])
def test_names_longer_than_those_of_files_have_no_copy(tmp_path, flatten):
    long = "n" * 300
    assert find_local_copy(tmp_path, f"https://host/a/{long}.mov", flatten=flatten) is None
    path = put(tmp_path, *([] if flatten else ["a"]), "b.mov")
    assert find_local_copy(tmp_path, f"https://host/{long}/a/b.mov", flatten=flatten) == path


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("offline", [False, True])
def test_a_copy_is_read_without_a_request_and_not_kept(tmp_path, flatten, offline):
    data = make_bytes(100_000)
    put(tmp_path / "overlay", *([] if flatten else ["13"]), "CAMHDA301-20161113T000000Z.mov", data=data)
    fs = RangeCacheFileSystem(
        "https",
        {"tries": 1},
        cache_dir=tmp_path / "cache",
        overlay=tmp_path / "overlay",
        overlay_flatten=flatten,
        offline=offline,
    )
    assert fs.cat_file(URL, start=-1000) == data[-1000:]
    info = fs.info(URL)
    assert info["size"] == 100_000
    assert fs.cat_file(URL, 5, 10, validator=info["validator"]) == data[5:10]
    assert fs.cat_ranges([URL] * 2, [0, 99_990], [10, 200_000]) == [data[:10], data[99_990:]]
    with fs.open(URL) as file:
        assert file.read() == data
    assert fs.stats.requests == 0
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("change", [os.unlink, lambda path: put(path.parent, path.name, data=b"another")])
def test_a_copy_that_changes_under_way_is_an_error(tmp_path, change):
    world = World(tmp_path)
    (world.remote / "host").mkdir()
    world.put("host/movie.mov", b"remote")
    path = put(tmp_path / "overlay", "movie.mov")
    fs = world.session(overlay=tmp_path / "overlay")
    assert fs.cat_file("host/movie.mov") == b"local"
    change(path)
    with pytest.raises(RemoteFileChangedError, match="was replaced while it was in use"):
        fs.cat_file("host/movie.mov")
    fs.invalidate_cache("host/movie.mov")
    assert fs.cat_file("host/movie.mov") == (path.read_bytes() if path.exists() else b"remote")


def test_files_without_a_copy_come_from_the_remote_side(tmp_path):
    world = World(tmp_path)
    (world.remote / "host").mkdir()
    world.put("host/movie.mov", b"remote")
    (tmp_path / "overlay").mkdir()
    fs = world.session(overlay=tmp_path / "overlay")
    assert isinstance(fs.fs, LoggedFileSystem)
    assert fs.cat_file("host/movie.mov") == b"remote"
    assert fs.ls("host", detail=False) == ["host/movie.mov"]
