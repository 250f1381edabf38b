"""The cache folder: descriptions of remote files, their blocks, and their maintenance.

::

    <cache_dir>/ranges-1/
        locks                              empty; locks on its bytes mark ranges in flight (locks.py)
        usage                              bytes kept (quota.py)
        tmp/                               blocks being written
        <hash of URL>/info                 description of the file, and when it was checked; with a checksum
        <hash of URL>/<hash of version>/<region>/<start>-<stop>-<crc32>    blocks (blocks.py)

The methods for readers (`read`, `write`, `load_info`, …) never raise for disk problems: they log one
message per kind of problem and process, and continue as if nothing were cached. The methods for people
(`info`, `clear`, `verify`, `prune`) do raise.
"""

import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from camhd_access.ranges import ByteRange
from camhd_access.storage.output_files import make_folder, replace_file
from camhd_access.storage.rangecache.blocks import (
    BLOCK_BYTES,
    Block,
    Piece,
    find_used,
    is_sound,
    note_new,
    read_pieces,
)
from camhd_access.storage.rangecache.locks import FetchLocks, Patience, writing
from camhd_access.storage.rangecache.quota import DESCRIPTION, Quota, disk_bytes, walk
from camhd_access.storage.rangecache.settings import (
    check_ours,
    default_cache_dir,
    default_max_bytes,
    default_permissions,
    fallback_dir,
    open_kept,
)

__all__ = ["CacheFolder", "CacheInfo", "FileVersion", "Remembered", "VerifyReport"]

_logger = logging.getLogger("camhd_access.storage.rangecache")
_warned: set[tuple[Path, str]] = set()


class FileVersion(NamedTuple):
    """One version of one remote file; its blocks never change."""

    url: str
    """The cache key of the remote file, such as its address (see `Identity`); only a hash is stored."""
    validator: str | None
    """Identifies this version: ETag, else modification time, and size."""
    is_kept: bool = True
    """Whether versions can be told apart, so that bytes may be cached."""


class Remembered(NamedTuple):
    """The stored description of a remote file."""

    info: dict[str, Any]
    """The description, as returned by `RangeCacheFileSystem.info`."""
    checked: float
    """When the remote side last confirmed it, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """Contents of a cache folder."""

    path: Path
    """The folder."""
    max_bytes: int
    """The quota."""
    n_bytes: int
    """Bytes on disk, including the descriptions of files."""
    n_files: int
    """Remote files with cached data."""
    n_blocks: int
    """Stretches of bytes."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Result of a check of all blocks."""

    n_blocks: int
    """Blocks with a correct checksum."""
    n_damaged: int
    """Damaged blocks and descriptions, and foreign files; all deleted now."""


class _TakenError(Exception):
    """Another process has deleted the file that was just begun; internal to this module."""


class CacheFolder:
    """A folder of blocks, shared by all processes of the machine.

    Parameters
    ----------
    path
        The folder, created when the first block is written. Only its child `ranges-1` is ever touched.
    max_bytes
        The quota, in bytes on disk. Directories are not counted.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self.path: Path = default_cache_dir() if path is None else Path(path).expanduser().absolute()
        self.max_bytes: int = default_max_bytes() if max_bytes is None else max_bytes
        self.patience: Patience = Patience()
        """Waiting time for ranges that other processes are fetching."""
        self._is_made = False
        self._permissions = default_permissions()
        self._is_fallback = self.path == fallback_dir()
        self._quota = Quota(self.path / "ranges-1", self.max_bytes, self._permissions.file)

    # For readers

    def read(self, version: FileVersion, ranges: Sequence[ByteRange]) -> list[Piece]:
        """The cached parts of `ranges` (in order, non-overlapping), checked."""
        damaged: list[Path] = []
        pieces: list[Piece] = []
        if not version.is_kept:
            return pieces
        with self._tolerance():
            for wanted in ranges:
                pieces += read_pieces(self._version_folder(version), wanted, damaged)
        for path in damaged:
            _warn_once(self.path, "damage", "contains damaged files; their content is fetched again")
            with suppress(OSError):
                self._quota.delete(path)
        return pieces

    def write(self, version: FileVersion, pieces: Sequence[Piece]) -> None:
        """Store `pieces`."""
        if not version.is_kept:
            return
        with self._tolerance():
            for piece in pieces:
                for offset in range(0, len(piece.data), BLOCK_BYTES):
                    part = piece.data[offset : offset + BLOCK_BYTES]
                    block = Block.of(piece.start + offset, part)
                    self._write_file(self._version_folder(version) / block.path, part)

    def drop(self, version: FileVersion, wanted: ByteRange) -> bool:
        """Delete the blocks of `wanted` that were read since they were written; whether there were any."""
        dropped = False
        with self._tolerance():
            for path in find_used(self._version_folder(version), wanted):
                self._quota.delete(path)
                dropped = True
        return dropped

    def claim(
        self, version: FileVersion, ranges: list[ByteRange]
    ) -> tuple[list[ByteRange], FetchLocks | None]:
        """The `ranges` that nobody else is fetching, and a lock on them, held until it is closed.

        All of them, and None, if the folder has no locks, or if the bytes will not be cached.
        """
        if not version.is_kept:
            return ranges, None
        with self._tolerance():
            self._make_folders()
            locks = FetchLocks(open_kept(self._root / "locks", self._permissions.file))
            try:
                return locks.take(version.url, ranges), locks
            except OSError:
                locks.close()
                raise
        return ranges, None

    def load_info(self, url: str) -> Remembered | None:
        """The stored description of a remote file."""
        with self._tolerance(), suppress(FileNotFoundError):
            content = (self._url_folder(url) / DESCRIPTION).read_bytes()
            if (remembered := _parse_info(content)) is not None:
                return remembered._replace(info={"name": url} | remembered.info)
            _warn_once(self.path, "damage", "contains damaged files; their content is fetched again")
        return None

    def save_info(self, url: str, info: dict[str, Any]) -> None:
        """Store `info` as confirmed now, and drop the blocks of other versions."""
        kept = {name: value for name, value in info.items() if "://" not in str(value)}  # no secrets of URLs
        text = json.dumps({"info": kept, "checked": time.time()}, default=str).encode()
        with self._tolerance():
            self._write_file(self._url_folder(url) / DESCRIPTION, _checksum(text) + b" " + text)
        with self._tolerance(), suppress(FileNotFoundError):
            current = self._version_folder(FileVersion(url, info["validator"]))
            for folder in self._url_folder(url).iterdir():
                if folder.is_dir() and folder != current:
                    self._drop(folder)

    def forget(self, version: FileVersion) -> None:
        """Drop the blocks of an outdated version."""
        remembered = self.load_info(version.url)
        with self._tolerance(), suppress(FileNotFoundError):
            if remembered is not None and remembered.info["validator"] == version.validator:
                self._quota.delete(self._url_folder(version.url) / DESCRIPTION)
        with self._tolerance():
            self._drop(self._version_folder(version))

    # For people

    def info(self) -> CacheInfo:
        """Current contents of the folder. Scans it."""
        n_bytes = n_blocks = 0
        files = set()
        for entry in self._quota.entries():
            n_bytes += entry.n_bytes
            n_blocks += entry.path.name != DESCRIPTION
            files.add(entry.path.relative_to(self._root).parts[0])
        return CacheInfo(self.path, self.max_bytes, n_bytes, len(files), n_blocks)

    def clear(self) -> None:
        """Delete everything. Readers continue from the network."""
        self.prune(0)

    def prune(self, max_bytes: int | None = None) -> None:
        """Evict the least recently used files until at most `max_bytes` (default: the quota) are left."""
        if self._root.exists():
            self._quota.shrink(self.max_bytes if max_bytes is None else max_bytes)

    def verify(self) -> VerifyReport:
        """Read all blocks and delete damaged ones. Does not count as use."""
        n_blocks = n_damaged = 0
        for entry in self._quota.entries():
            with suppress(FileNotFoundError):
                if _is_sound(entry.path):
                    n_blocks += entry.path.name != DESCRIPTION
                else:
                    self._quota.delete(entry.path)
                    n_damaged += 1
        return VerifyReport(n_blocks, n_damaged)

    # Files

    @property
    def _root(self) -> Path:
        """The folder of all cached data; `PermissionError` if it is a temporary folder of another user."""
        if self._is_fallback:
            check_ours(self.path)
        return self._quota.root

    def _url_folder(self, url: str) -> Path:
        return self._root / _hash(url)

    def _version_folder(self, version: FileVersion) -> Path:
        return self._url_folder(version.url) / _hash(str(version.validator))

    def _make_folders(self) -> None:
        """Create missing folders, and set the permissions of existing ones that belong to us."""
        root = self._root
        if not self._quota.scratch.is_dir():
            make_folder(self._quota.scratch, self._permissions.folder)
        if not self._is_made:
            with suppress(OSError):  # another user's
                root.chmod(self._permissions.folder)
            self._is_made = True

    def _write_file(self, path: Path, data: bytes | memoryview) -> None:
        n_bytes = disk_bytes(len(data))
        if n_bytes > self.max_bytes:
            return
        self._make_folders()
        while not self._place(path, data, n_bytes):
            pass

    def _place(self, path: Path, data: bytes | memoryview, n_bytes: int) -> bool:
        """Write a file atomically; False if others took its draft for abandoned before it was locked."""
        file_mode, folder_mode = self._permissions.file, self._permissions.folder
        with suppress(_TakenError), ExitStack() as until_renamed:
            with replace_file(
                path, drafts=self._quota.scratch, mode=file_mode, folder_mode=folder_mode, durable=False
            ) as file:
                if not until_renamed.enter_context(writing(file.fileno())):
                    raise _TakenError
                file.truncate(len(data))  # sparse; from now on others count it
                added = self._quota.reserve(path, n_bytes)
                try:
                    file.write(data)
                    file.flush()
                    note_new(file.fileno())
                except BaseException:
                    self._quota.give_back(added)
                    raise
            return True
        return False

    def _drop(self, folder: Path) -> None:
        for entry in walk(folder):
            with suppress(FileNotFoundError):
                self._quota.delete(entry.path)
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _tolerance(self) -> Iterator[None]:
        """A context in which disk problems are logged, and the work is skipped."""
        try:
            yield
        except OSError as error:
            _warn_once(self.path, "trouble", f"fails ({error.strerror or error}); reading on without it")


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _is_sound(path: Path) -> bool:
    if path.name == DESCRIPTION:
        return _parse_info(path.read_bytes()) is not None
    block = Block.parse(path.name)
    return block is not None and is_sound(path, block)


def _parse_info(content: bytes) -> Remembered | None:
    checksum, _, text = content.partition(b" ")
    return Remembered(**json.loads(text)) if checksum == _checksum(text) else None


def _checksum(text: bytes) -> bytes:
    return b"%08x" % zlib.crc32(text)


def _warn_once(path: Path, kind: str, message: str) -> None:
    """Log the first problem of each kind with each folder, in this process."""
    if (path, kind) not in _warned:
        _warned.add((path, kind))
        _logger.warning("the cache folder %s %s", path, message)
