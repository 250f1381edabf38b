"""Movies of the same path, size and time on different filesystems are different movies."""

import subprocess
import sys
import zipfile
from typing import ClassVar

import dask
import fsspec
import numpy as np
import pytest
from fsspec.spec import AbstractFileSystem

from camhd_access import open_movie, open_movies
from camhd_access.movie.filesystem_identity import identify_filesystem
from camhd_access.storage.filesystems import find_filesystem
from camhd_access.synthetic import write_movie

NAME = "CAMHDA301-20161113T000000Z.mov"
START = np.datetime64("2016-11-13T00:00:03")


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Two movies of the same length, of different pixels."""
    folder = tmp_path_factory.mktemp("twins")
    movies = []
    for number in (0, 1000):
        path = folder / f"{number}.mov"
        write_movie(path, n_frames=2, width=256, height=64, first_frame_number=number, start_time=START)
        movies.append(path.read_bytes())
    n_bytes = max(map(len, movies)) + 8
    return [
        each + (n_bytes - len(each)).to_bytes(4, "big") + b"free" + bytes(n_bytes - len(each) - 8)
        for each in movies
    ]


def zip_up(path, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(NAME), data)
    return f"zip://{NAME}::{path}"


class HostFileSystem(AbstractFileSystem):
    """Files of a host that is given by an option, as for SFTP."""

    protocol = "onhost"
    files: ClassVar = {}

    def __init__(self, host, password=None, **options):
        super().__init__(**options)
        self.host = host

    def info(self, path, **_):
        return {"name": path, "size": len(self.files[self.host]), "type": "file", "mtime": 1}

    def cat_file(self, path, start=None, end=None, **_):
        return self.files[self.host][start:end]


def assert_separate(*arrays):
    alone = [array.values for array in arrays]
    assert not np.array_equal(*alone)
    assert len({array.data.name for array in arrays}) == 2
    for array, pixels in zip(dask.compute(*arrays), alone, strict=True):
        np.testing.assert_array_equal(array, pixels)


@pytest.mark.parametrize("cache", [True, False])
def test_movies_in_two_archives(twins, tmp_path, cache):
    urls = [zip_up(tmp_path / f"{number}.zip", data) for number, data in enumerate(twins)]
    assert_separate(*(open_movie(url, pix_fmt="gray", cache=cache) for url in urls))
    options = {"pix_fmt": "gray", "progress": False, "cache": cache}
    assert_separate(*(open_movies([url], **options) for url in urls))


def test_movies_on_two_hosts(twins, monkeypatch):
    fsspec.register_implementation("onhost", HostFileSystem, clobber=True)
    monkeypatch.setattr(HostFileSystem, "files", dict(zip("ab", twins, strict=True)))
    options = {"pix_fmt": "gray", "cache": False}
    assert_separate(
        *(open_movie("onhost:///x.mov", storage_options={"host": host}, **options) for host in "ab")
    )


def test_the_same_filesystem_in_each_process_and_with_each_login(tmp_path):
    url = zip_up(tmp_path / "movies.zip", b"")
    program = (
        "import sys; from camhd_access.movie.filesystem_identity import identify_filesystem;"
        "from camhd_access.storage.filesystems import find_filesystem;"
        "print(identify_filesystem(find_filesystem(sys.argv[1])[0]))"
    )
    told = subprocess.run([sys.executable, "-c", program, url], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == identify_filesystem(find_filesystem(url)[0]) != ""
    logins = [identify_filesystem(HostFileSystem("a", password=each)) for each in ("one", "two")]
    assert logins[0] == logins[1] != identify_filesystem(HostFileSystem("b"))
    unknown = [identify_filesystem(HostFileSystem("a", connection=each)) for each in (lambda: 0, lambda: 1)]
    assert unknown[0] != unknown[1]


def test_where_the_path_suffices():
    for url, options in (
        ("https://host/x.mov", {"headers": {"A": "b"}}),
        ("memory://x.mov", {}),
        ("/x.mov", {}),
    ):
        assert identify_filesystem(find_filesystem(url, options)[0]) == ""
