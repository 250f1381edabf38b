"""Atomic writes: files appear under their name when they are complete, or not at all."""

import io
import os
import threading
from pathlib import Path

import fsspec
import pytest
import s3fs
from fsspec.implementations.local import LocalFileSystem

from camhd_access.storage.output_files import open_target, replace_folder, suffix_of

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


def folder_of(n):
    return {"marker": b"%d" % n, **{f"part/{i}": b"%d" % n for i in range(n)}}


def read_folder(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for n in (5, 2):
        replace_folder(tmp_path / "some/folder", folder_of(n), marker="marker")
        assert read_folder(tmp_path / "some/folder") == folder_of(n)
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["folder"]


@pytest.mark.parametrize("n_renames", [None, 0, 1])
def test_an_interrupted_folder_changes_nothing(tmp_path, monkeypatch, n_renames):
    replace_folder(tmp_path / "folder", folder_of(2), marker="marker")
    files = folder_of(4)
    if n_renames is None:
        files["part/1"] = None  # cannot be written
    done, rename = [], Path.rename

    def stop(self, target):
        done.append(target)
        if len(done) - 1 == n_renames:
            raise OSError("disk lost")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises((TypeError, OSError), match=r"bytes-like object|disk lost"):
        replace_folder(tmp_path / "folder", files, marker="marker")
    assert read_folder(tmp_path) == {f"folder/{name}": data for name, data in folder_of(2).items()}


def test_of_two_folders_written_at_once_one_stays_whole(tmp_path):
    begin, wrong = threading.Barrier(3), []

    def write(n):
        begin.wait()
        for _ in range(20):
            try:
                replace_folder(tmp_path / "folder", folder_of(n), marker="marker")
            except Exception as error:  # noqa: BLE001 - whatever a writer would meet
                wrong.append(error)

    writers = [threading.Thread(target=write, args=(n,)) for n in (1, 4, 9)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not wrong
    assert read_folder(tmp_path / "folder") in [folder_of(n) for n in (1, 4, 9)]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_another_writer_replaces_meanwhile_is_no_stranger(tmp_path, monkeypatch):
    place, away = tmp_path / "folder", tmp_path / "away"
    replace_folder(place, folder_of(2), marker="marker")
    look = LocalFileSystem.exists

    def look_while_it_is_away(self, path, **options):
        if away.exists() or not str(path).endswith("marker"):
            return look(self, path, **options)
        place.rename(away)
        found = look(self, path, **options)
        replace_folder(place, folder_of(4), marker="marker")
        return found

    monkeypatch.setattr(LocalFileSystem, "exists", look_while_it_is_away)
    replace_folder(place, folder_of(3), marker="marker")
    assert read_folder(place) == folder_of(3)


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_an_interrupted_folder_elsewhere_has_no_marker(kind, request):
    if kind == "s3":
        filesystem, place = request.getfixturevalue("bucket")
        url = f"s3://{place}/folder"
    else:
        filesystem, url = fsspec.filesystem("memory"), "memory://interrupted/folder"
    for n in (5, 2):
        replace_folder(url, folder_of(n), marker="marker")
        names = [path.partition("/folder/")[2] for path in filesystem.find(url)]
        assert {name: filesystem.cat_file(f"{url}/{name}") for name in names} == folder_of(n)
    with pytest.raises(TypeError):
        replace_folder(url, folder_of(3) | {"part/1": None}, marker="marker")
    assert not filesystem.exists(f"{url}/marker")
    filesystem.rm(url, recursive=True)


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    replace_folder(tmp_path / "folder", folder_of(1), marker="marker")  # an empty one is
    (tmp_path / "folder/marker").unlink()
    with pytest.raises(FileExistsError, match="has no marker; only an empty folder or an earlier output"):
        replace_folder(tmp_path / "folder", folder_of(2), marker="marker")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        replace_folder(tmp_path / "file", folder_of(2), marker="marker")
    assert read_folder(tmp_path) == {"file": b"", "folder/part/0": b"1"}
