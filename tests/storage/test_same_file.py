"""A movie is not replaced by what is made of it, whatever its address looks like."""

import io

import fsspec
import pytest

from camhd_access.storage.same_file import check_not_source


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "movie.mov"
    path.write_bytes(b"movie")
    (tmp_path / "link.mov").symlink_to(path)
    (tmp_path / "hard.mov").hardlink_to(path)
    (tmp_path / "other.mov").write_bytes(b"movie")
    (tmp_path / "folder").symlink_to(tmp_path)
    return path


def addresses_of(path):
    """All the addresses of the movie."""
    folder = path.parent
    names = [path, "movie.mov", "./movie.mov", folder / "link.mov", "hard.mov", "folder/movie.mov"]
    urls = [path.as_uri(), f"local://{path}", f"file:{path}", f"{folder.as_uri()}/link.mov"]
    return [*map(str, names), *urls, f"lazy::{path.as_uri()}", f"simplecache::{path.as_uri()}"]


def test_every_address_of_a_local_file_is_that_file(path):
    for target in addresses_of(path):
        for source in addresses_of(path):
            with pytest.raises(ValueError, match="is the movie itself; choose another name"):
                check_not_source(target, ["other.mov", source])


def test_other_files_and_new_ones_are_written(path):
    for source in addresses_of(path):
        for target in ("new.mov", "other.mov", path.with_name("other.mov"), "memory://movie.mov"):
            check_not_source(target, [source, "memory://other.mov", "https://host/movie.mov"])
    check_not_source(io.BytesIO(), [str(path)])


@pytest.mark.parametrize(
    ("target", "source", "is_same"),
    [
        ("memory:///a/movie.mov", "memory://a/movie.mov", True),
        ("s3://bucket/movie.mov", "s3a://bucket/movie.mov", True),
        ("s3://bucket/movie.mov", "lazy::s3://bucket/movie.mov", True),
        ("s3://bucket/movie.mov", "s3://other/movie.mov", False),
        ("ftp://somebody:secret@host/movie.mov", "ftp://host/movie.mov", True),
        ("ftp://one/movie.mov", "ftp://other/movie.mov", False),
        ("unknown://movie.mov", "unknown://movie.mov", True),
        ("unknown://movie.mov", "s3://bucket/movie.mov", False),
    ],
)
def test_addresses_elsewhere(target, source, is_same):
    if not is_same:
        check_not_source(target, [source])
        return
    with pytest.raises(ValueError, match="is the movie itself") as caught:
        check_not_source(target, [source])
    assert "secret" not in str(caught.value)


def test_the_filesystem_of_a_source_need_not_be_installed(path, monkeypatch):
    def raise_error(protocol):
        raise ImportError(protocol)

    monkeypatch.setattr(fsspec, "get_filesystem_class", raise_error)
    check_not_source("new.mov", ["gs://bucket/movie.mov"])
    check_not_source("s3://bucket/movie.mov", ["gs://bucket/movie.mov", str(path)])
