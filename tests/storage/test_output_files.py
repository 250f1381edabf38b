"""Atomic writes: files appear under their name when they are complete, or not at all."""

import io
import os

import fsspec
import pytest
import s3fs

from camhd_access.storage.output_files import open_target, suffix_of

PART_BYTES = 51 << 20  # what s3fs sends at once, and more


class StopWriting(Exception):  # noqa: N818 - no error
    pass


@pytest.fixture
def bucket(s3, monkeypatch):
    """A new bucket, which URLs reach as they do where fsspec is configured."""
    monkeypatch.setitem(fsspec.config.conf, "s3", s3.options)
    return s3fs.S3FileSystem(**s3.options), s3.bucket()


def write_some_and_stop(target, *, n_bytes=100, seekable=False):
    def write():
        with open_target(target, seekable=seekable) as file:
            file.write(bytes(n_bytes))
            raise StopWriting

    with pytest.raises(StopWriting):
        write()


@pytest.mark.parametrize("seekable", [False, True])
def test_a_file_is_there_when_it_is_complete(tmp_path, seekable):
    with open_target(tmp_path / "file", seekable=seekable) as file:
        file.write(b"1234")
        file.seek(0)
        file.write(b"x")
        assert not (tmp_path / "file").exists()
    assert (tmp_path / "file").read_bytes() == b"x234"
    write_some_and_stop(tmp_path / "file", seekable=seekable)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"x234")]


def test_whoever_is_last_wins_and_nothing_is_mixed(tmp_path):
    with open_target(tmp_path / "file") as one:
        with open_target(tmp_path / "file") as other:
            one.write(b"one")
            other.write(b"other")
        assert (tmp_path / "file").read_bytes() == b"other"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"one")]


def test_a_name_may_be_as_long_as_names_are(tmp_path):
    with open_target(tmp_path / ("n" * 255)) as file:
        file.write(b"1234")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"1234"


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/file")
    with open_target(tmp_path / "link") as file:
        file.write(b"1234")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"1234"


def test_devices_and_pipes_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="choose a regular file"), open_target(tmp_path / "pipe"):
        pytest.fail("it was opened")
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("seekable", [False, True])
@pytest.mark.parametrize("n_bytes", [100, PART_BYTES])
def test_an_object_is_there_when_it_is_complete(bucket, seekable, n_bytes):
    filesystem, name = bucket
    write_some_and_stop(f"s3://{name}/key", n_bytes=n_bytes, seekable=seekable)
    assert not filesystem.find(name)
    assert "Uploads" not in filesystem.call_s3("list_multipart_uploads", Bucket=name)
    with open_target(f"s3://{name}/key", seekable=seekable) as file:
        file.write(bytes(n_bytes))
    assert filesystem.find(name, detail=True)[f"{name}/key"]["size"] == n_bytes


def test_a_file_that_is_open_stays_open():
    memory = io.BytesIO()
    with open_target(memory) as file:
        file.write(b"1234")
    assert memory.getvalue() == b"1234"


def test_names_and_their_ends(tmp_path):
    assert suffix_of(tmp_path / "a.MOV") == ".mov"
    assert suffix_of("s3://bucket/b.tif") == ".tif"
    assert not suffix_of("c")
