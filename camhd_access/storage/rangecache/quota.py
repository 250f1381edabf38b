"""The total size of the cache, and eviction.

One small file holds the number of cached bytes. A process that wants to write a block first begins a draft of
the block's size, then adds the size to the number, under a lock, and evicts others if needed; so writers
never have to scan the folder, and a process killed in between leaves the number too high, never too low.
Only when space is needed is the folder scanned, with the drafts, and the number corrected. The file has a
checksum; if it is missing or damaged, the folder is scanned too.

Order of eviction: blocks used once, oldest first, as long as the blocks that were used again fill at most
half of the quota; otherwise the least recently used block. So a scan of a
whole movie evicts its own blocks, not those that others use repeatedly; and a new set of frames, if it
fits in half of the quota, is still complete when it is read again. The small descriptions of
files go last: each saves a request.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from camhd_access.storage.rangecache.blocks import was_used_again
from camhd_access.storage.rangecache.locks import Patience, exclusive, is_being_written
from camhd_access.storage.rangecache.settings import open_kept

__all__ = ["DESCRIPTION", "Entry", "Quota", "disk_bytes", "size_on_disk", "walk"]

DESCRIPTION = "info"
"""Name of the files that describe remote files; all other files are blocks."""

_PAGE_BYTES = 4096
_BOOKS_BYTES = 29  # 20 digits, a blank, 8 digits of checksum


def disk_bytes(n_bytes: int) -> int:
    """Disk space of a file of `n_bytes`."""
    return -(-n_bytes // _PAGE_BYTES) * _PAGE_BYTES


def size_on_disk(path: Path) -> int:
    """Disk space of a file; 0 if it does not exist."""
    try:
        return disk_bytes(path.stat().st_size)
    except FileNotFoundError:
        return 0


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file of the cache, ordered by last use."""

    last_used: int
    """Nanoseconds since 1970."""
    path: Path
    """Its path."""
    n_bytes: int
    """Bytes on disk."""
    used_again: bool
    """Whether it was read again after it was written."""


class Quota:
    """Keeps the total size of the files below `root` within `max_bytes`, across all processes."""

    def __init__(self, root: Path, max_bytes: int, file_mode: int) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self._file_mode = file_mode
        self._patience = Patience()
        self._books = root / "usage"
        self.scratch: Path = root / "tmp"

    def reserve(self, path: Path, n_bytes: int) -> int:
        """Count a draft of `n_bytes` on disk that will be `path`, after evicting others if necessary.

        Returns the bytes that it takes more than the file that it replaces, if any.
        """
        with self._open_books() as fd:
            added = n_bytes - size_on_disk(path)
            used = self._read(fd)
            if used is None or used + added > self.max_bytes:
                # A sixteenth more than needed, so that the next blocks need no scan.
                used = self._evict(self.max_bytes, slack_bytes=self.max_bytes // 16)  # with the draft
            else:
                used += added
            self._write(fd, used)
        return added

    def give_back(self, n_bytes: int) -> None:
        """Count `n_bytes` less, because a draft is about to be deleted."""
        with self._open_books() as fd:
            self._subtract(fd, n_bytes)

    def delete(self, path: Path) -> None:
        """Delete a file that counts."""
        with (
            self._open_books() as fd
        ):  # so that no other process counts the rest before its size is subtracted
            n_bytes = size_on_disk(path)
            path.unlink()
            self._subtract(fd, n_bytes)

    def shrink(self, max_bytes: int) -> None:
        """Evict until at most `max_bytes` are left; correct the number to the actual size."""
        with self._open_books() as fd:
            self._write(fd, self._evict(max_bytes))

    def entries(self) -> Iterator[Entry]:
        """All files that count, without the cache's own files and blocks being written."""
        for url_folder in _scan(self.root):
            if url_folder.name != self.scratch.name and url_folder.is_dir(follow_symlinks=False):
                yield from walk(Path(url_folder.path))

    def _evict(self, max_bytes: int, *, slack_bytes: int = 0) -> int:
        used = self._scratch_bytes()  # first: those that are renamed meanwhile are counted twice, not never
        entries = list(self.entries())
        used += sum(entry.n_bytes for entry in entries)
        if used <= max_bytes:
            return used
        for entry in _order_of_leaving(entries, self.max_bytes // 2):
            if used <= max_bytes - slack_bytes:
                break
            with suppress(FileNotFoundError):
                entry.path.unlink()
            used -= entry.n_bytes
            _remove_empty_folders(entry.path.parent, self.root)
        return used

    def _scratch_bytes(self) -> int:
        """Bytes of blocks being written. Those of dead processes, which hold no lock, are deleted."""
        n_bytes = 0
        for file in _scan(self.scratch):
            with suppress(FileNotFoundError):
                fd = os.open(file.path, os.O_RDONLY)
                try:
                    if is_being_written(fd):
                        n_bytes += disk_bytes(os.fstat(fd).st_size)
                    else:
                        Path(file.path).unlink()
                finally:
                    os.close(fd)
        return n_bytes

    @contextmanager
    def _open_books(self) -> Iterator[int]:
        fd = open_kept(self._books, self._file_mode)
        try:
            with exclusive(fd, self._patience):
                yield fd
        finally:
            os.close(fd)

    def _subtract(self, fd: int, n_bytes: int) -> None:
        used = self._read(fd)
        if used is not None:
            self._write(fd, max(0, used - n_bytes))

    @staticmethod
    def _read(fd: int) -> int | None:
        os.lseek(fd, 0, os.SEEK_SET)  # not pread: missing on Windows
        digits, _, checksum = os.read(fd, _BOOKS_BYTES).partition(b" ")
        sound = digits.isdigit() and checksum == b"%08x" % zlib.crc32(digits)
        return int(digits) if sound else None

    @staticmethod
    def _write(fd: int, used: int) -> None:
        digits = b"%020d" % used
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, digits + b" %08x" % zlib.crc32(digits))


def _order_of_leaving(entries: list[Entry], fair_share_bytes: int) -> Iterator[Entry]:
    """Yield `entries` in the order of eviction (see the module docstring)."""
    descriptions = sorted(e for e in entries if e.path.name == DESCRIPTION)
    once = sorted((e for e in entries if not e.used_again and e.path.name != DESCRIPTION), reverse=True)
    again = sorted((e for e in entries if e.used_again and e.path.name != DESCRIPTION), reverse=True)
    again_bytes = sum(e.n_bytes for e in again)
    while once or again:
        if once and (again_bytes <= fair_share_bytes or once[-1] < again[-1]):
            yield once.pop()
        else:
            again_bytes -= again[-1].n_bytes
            yield again.pop()
    yield from descriptions


def walk(folder: Path) -> Iterator[Entry]:
    """Entries of all files below `folder`; files that disappear meanwhile are left out."""
    for item in _scan(folder):
        if item.is_dir(follow_symlinks=False):
            yield from walk(Path(item.path))
            continue
        with suppress(FileNotFoundError):
            status = item.stat(follow_symlinks=False)
            again = was_used_again(status)
            yield Entry(status.st_mtime_ns, Path(item.path), disk_bytes(status.st_size), again)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return list(items)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove_empty_folders(folder: Path, root: Path) -> None:
    with suppress(OSError):  # stops at the first that is not empty
        while folder != root:
            folder.rmdir()
            folder = folder.parent
