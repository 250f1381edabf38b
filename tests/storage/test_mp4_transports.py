"""Files that are read from the beginning on (`.mp4`), by each transport: short, empty, and not there."""

import inter_movies
import numpy as np
import pytest
import s3fs

from camhd_access import MovieReader
from camhd_access.errors import NotAMovieError, RemoteFileNotFoundError
from camhd_access.synthetic import serve_folder

SHORT = "short.mp4"
"""Shorter than the first request."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")
    (folder / SHORT).write_bytes(inter_movies.encode("closed groups"))
    (folder / "fast.mp4").write_bytes(inter_movies.encode("closed groups", movflags="faststart"))
    (folder / "empty.mp4").touch()
    return folder


@pytest.mark.parametrize("name", [SHORT, "fast.mp4"])
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("options", [{}, {"transport": "obstore"}], ids=str)
def test_http(folder, name, cache, options):
    with serve_folder(folder) as server:
        reader = MovieReader(server.url + name, cache=cache, storage_options=options)
        np.testing.assert_array_equal(reader.read([3, 30]), MovieReader(folder / name).read([3, 30]))
        if not options:
            assert server.n_requests <= 2


@pytest.mark.parametrize("cache", [True, False])
def test_what_is_empty_or_not_there(folder, cache):
    with serve_folder(folder) as server:
        with pytest.raises(NotAMovieError, match="empty file"):
            MovieReader(f"{server.url}empty.mp4", cache=cache)
        with pytest.raises(RemoteFileNotFoundError):
            MovieReader(f"{server.url}nix.mp4", cache=cache)


def test_bucket(s3, folder):
    url = f"s3://{s3.bucket()}/{SHORT}"
    s3fs.S3FileSystem(**s3.options).put_file(str(folder / SHORT), url)
    s3fs.S3FileSystem.clear_instance_cache()
    s3.requests.clear()
    reader = MovieReader(url, storage_options=s3.options)
    np.testing.assert_array_equal(reader.read([3, 30]), MovieReader(folder / SHORT).read([3, 30]))
    assert len(s3.requests) <= 3
