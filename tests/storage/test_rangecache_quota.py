"""The number of cached bytes while several writers work: never below what is on disk, so the quota holds."""

import os
import threading
from pathlib import Path

import pytest

from camhd_access.storage.rangecache import CacheFolder, folder, locks
from camhd_access.storage.rangecache.blocks import Piece
from camhd_access.storage.rangecache.folder import FileVersion

BLOCK = 40_960  # ten pages: what the quota counts is what the test counts
MAX_BYTES = 12 * BLOCK
VERSION = FileVersion("https://host/a.mov", "1")


@pytest.fixture
def folders(tmp_path):
    """Two users of one folder."""
    return CacheFolder(tmp_path, MAX_BYTES), CacheFolder(tmp_path, MAX_BYTES)


def write(folder, *numbers):
    for i in numbers:
        folder.write(VERSION, [Piece(i * BLOCK, memoryview(os.urandom(BLOCK)))])


def bytes_in_books(folder):
    return int((folder.path / "ranges-1" / "usage").read_bytes().split()[0])


class Interrupted:
    """A thread that writes a block, and waits within the function that is replaced."""

    def __init__(self, folder, number):
        self.reached, self.may_go_on = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=write, args=(folder, number))

    def around(self, function):
        def call(*args):
            result = function(*args)
            if threading.current_thread() is self.thread:
                self.reached.set()
                assert self.may_go_on.wait(60)
            return result

        return call

    def start(self):
        self.thread.start()
        assert self.reached.wait(60)

    def finish(self):
        self.may_go_on.set()
        self.thread.join(60)
        assert not self.thread.is_alive()


def test_writers_that_have_only_reserved_their_bytes_count(folders, monkeypatch):
    ours, theirs = folders
    write(theirs, *range(9))
    writers = [Interrupted(ours, 100 + i) for i in range(3)]
    for writer in writers:
        monkeypatch.setattr(ours._quota, "reserve", writer.around(ours._quota.reserve))
        writer.start()
    write(theirs, 20, 21, 22)  # evicts
    for writer in writers:
        writer.finish()
    assert MAX_BYTES // 2 < theirs.info().n_bytes <= MAX_BYTES
    assert bytes_in_books(theirs) >= theirs.info().n_bytes


def test_a_block_that_comes_to_its_place_during_a_scan_counts(folders, monkeypatch):
    ours, theirs = folders
    write(theirs, *range(9))
    writer = Interrupted(ours, 100)
    monkeypatch.setattr(folder, "note_new", writer.around(folder.note_new))
    writer.start()
    entries = theirs._quota.entries

    def list_and_wait():
        found = list(entries())
        writer.finish()
        return found

    monkeypatch.setattr(theirs._quota, "entries", list_and_wait)
    theirs.prune()
    monkeypatch.undo()
    assert bytes_in_books(theirs) == theirs.info().n_bytes == 10 * BLOCK


def test_a_block_that_is_deleted_during_a_scan_is_subtracted_once(folders, monkeypatch):
    ours, theirs = folders
    write(theirs, *range(9))
    (block,) = (entry.path for entry in ours._quota.entries() if entry.path.name.startswith("0-"))
    block.write_bytes(bytes(BLOCK))
    scan = threading.Thread(target=theirs.prune)
    unlink = Path.unlink

    def unlink_and_scan(path, **options):
        unlink(path, **options)
        if path == block:
            scan.start()
            scan.join(0.3)  # it has to wait for the lock

    monkeypatch.setattr(locks, "_PATIENCE_SECONDS", 60)
    monkeypatch.setattr(Path, "unlink", unlink_and_scan)
    assert ours.verify().n_damaged == 1
    scan.join(60)
    assert bytes_in_books(theirs) == theirs.info().n_bytes == 8 * BLOCK


def test_a_file_that_is_replaced_counts_once(folders):
    ours, _ = folders
    for validator in "123":
        ours.save_info(VERSION.url, {"size": 1, "validator": validator})
    assert bytes_in_books(ours) == ours.info().n_bytes == 4096
