"""Local files: what a path is, and its bytes without the detours of fsspec, which take as long as reading."""

import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from camhd_access.ranges import Interval
from camhd_access.storage.versions import describe_version

__all__ = ["chain_of", "find_facts", "find_special_kind", "find_version", "read_part"]

_KINDS = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
    (stat.S_ISSOCK, "socket"),
)


def read_part(path: str, wanted: Interval) -> bytes:
    """The bytes of a range of a local file; fewer if it ends before."""
    with open(path, "rb") as file:  # noqa: PTH123 - a path object would take longer
        file.seek(wanted.start)
        return file.read(wanted.stop - wanted.start)


def find_facts(path: str) -> tuple[int, ...]:
    """What differs between versions of a local file."""
    facts = os.stat(path)  # noqa: PTH116 - as above
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


@lru_cache(maxsize=1024)
def find_version(filesystem: LocalFileSystem, path: str, facts: tuple[int, ...]) -> str:  # noqa: ARG001 - a key
    """The version of a local file with these `facts`, as for other filesystems."""
    return describe_version(filesystem.info(path))


def find_special_kind(filesystem: fsspec.AbstractFileSystem, path: str) -> str | None:
    """What a local path is if not a regular file, such as "folder" or "pipe"; None for all others."""
    local = next((each for each in chain_of(filesystem) if isinstance(each, LocalFileSystem)), None)
    if local is None:
        return None
    mode = Path(local._strip_protocol(path.removeprefix("lazy::"))).stat().st_mode  # noqa: SLF001 - fsspec's way of naming
    if stat.S_ISREG(mode):
        return None
    return next((kind for is_one, kind in _KINDS if is_one(mode)), "special file")


def chain_of(filesystem: fsspec.AbstractFileSystem) -> Iterator[fsspec.AbstractFileSystem]:
    """A filesystem, and the filesystems that it wraps."""
    inner: Any = filesystem
    while inner is not None:
        yield inner
        inner = vars(inner).get("fs") or vars(inner).get("sync_fs")
