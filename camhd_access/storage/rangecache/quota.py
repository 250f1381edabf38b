"""How much is kept, and what goes when there is too much.

One small file holds the number of bytes kept. A process that wants to write a block first adds the block's
size to it, under a lock, and makes room if need be; so writers never have to look at the folder, and a
process killed in between leaves the number too high, never too low. Only when room is needed is the folder
walked, and the number set to what is really there. The file carries a checksum; without it, or where it is
damaged, the folder is walked too.

What goes first: blocks, and of them, as long as the blocks that were used again hold half of the quota or
less, the oldest of those used once; otherwise whatever was not used for the longest time. So a scan of a
whole movie pushes out its own blocks, not what others use again and again; and a new set of frames, if it
fits in half of the quota, is all there when it is asked for the second time. The small descriptions of
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

__all__ = ["DESCRIPTION", "Entry", "Quota", "disk_bytes", "walk"]

DESCRIPTION = "info"
"""Name of the files that describe remote files; all others are blocks."""

_PAGE_BYTES = 4096
_BOOKS_BYTES = 29  # 20 digits, a blank, 8 digits of checksum


def disk_bytes(n_bytes: int) -> int:
    """What a file of `n_bytes` takes on disk."""
    return -(-n_bytes // _PAGE_BYTES) * _PAGE_BYTES


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file of the cache, ordered by last use."""

    last_used: int
    """Nanoseconds since 1970."""
    path: Path
    """Where it lies."""
    n_bytes: int
    """Bytes on disk."""
    used_again: bool
    """Whether it was read after the read that brought it."""


class Quota:
    """Keeps the files below `root` at `max_bytes` or less, together with all other processes."""

    def __init__(self, root: Path, max_bytes: int, file_mode: int) -> None:
        self.root = root
        self.max_bytes = max_bytes
        self._file_mode = file_mode
        self._patience = Patience()
        self._books = root / "usage"
        self.scratch: Path = root / "tmp"

    def reserve(self, n_bytes: int) -> None:
        """Count `n_bytes` as kept, after others have gone if they must."""
        with self._open_books() as fd:
            used = self._read(fd)
            if used is None or used + n_bytes > self.max_bytes:
                # A sixteenth more than needed, lest every further block walks the folder again.
                used = self._evict(self.max_bytes - n_bytes, slack_bytes=self.max_bytes // 16)
            self._write(fd, used + n_bytes)

    def give_back(self, n_bytes: int) -> None:
        """Count `n_bytes` as gone."""
        with self._open_books() as fd:
            used = self._read(fd)
            if used is not None:
                self._write(fd, max(0, used - n_bytes))

    def shrink(self, max_bytes: int) -> None:
        """Let go what must go so that `max_bytes` or less are kept; set the number to what is there."""
        with self._open_books() as fd:
            self._write(fd, self._evict(max_bytes))

    def entries(self) -> Iterator[Entry]:
        """All files that count: not those of the cache itself, nor blocks just being written."""
        for url_folder in _scan(self.root):
            if url_folder.name != self.scratch.name and url_folder.is_dir(follow_symlinks=False):
                yield from walk(Path(url_folder.path))

    def _evict(self, max_bytes: int, *, slack_bytes: int = 0) -> int:
        entries = list(self.entries())
        used = self._scratch_bytes() + sum(entry.n_bytes for entry in entries)
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
        """Bytes of blocks that are being written. Those of the dead, who hold no lock, are deleted."""
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

    @staticmethod
    def _read(fd: int) -> int | None:
        os.lseek(fd, 0, os.SEEK_SET)  # not pread, which Windows lacks
        digits, _, checksum = os.read(fd, _BOOKS_BYTES).partition(b" ")
        sound = digits.isdigit() and checksum == b"%08x" % zlib.crc32(digits)
        return int(digits) if sound else None

    @staticmethod
    def _write(fd: int, used: int) -> None:
        digits = b"%020d" % used
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, digits + b" %08x" % zlib.crc32(digits))


def _order_of_leaving(entries: list[Entry], fair_share_bytes: int) -> Iterator[Entry]:
    """Yield `entries`, the first to go first (see the module's text)."""
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
    """Entries of all files below `folder`; what disappears meanwhile is left out."""
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
    with suppress(OSError):  # the first that is not empty ends it
        while folder != root:
            folder.rmdir()
            folder = folder.parent
