"""Writing files: they appear under their name when they are complete, or not at all.

A local file is written under a unique temporary name and renamed (`replace_file`), so that two writers of
one file never mix, and readers see either the old or the new file, complete. Elsewhere the filesystem is
expected to make files appear atomically, as object stores do. Formats that need seeking are written to
disk first and copied. A folder whose files belong together is replaced as a whole too (`replace_folder`).
"""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TypeAlias, cast
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from camhd_access.urls import is_place, options_of, redact_url, text_of

__all__ = [
    "PART",
    "Target",
    "check_parquet",
    "make_folder",
    "open_target",
    "replace_file",
    "replace_folder",
    "suffix_of",
]

_BINARY = getattr(os, "O_BINARY", 0)  # Windows opens files in text mode otherwise

PART = ".part"
"""Suffix of unfinished files, whose names begin with a dot."""

Target: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, a URL of any writable fsspec filesystem, or a binary file that is open for writing."""


def suffix_of(name: str | os.PathLike[str]) -> str:
    """The suffix of a path or URL in lower case (".mov"); empty if there is none."""
    return Path(text_of(name)).suffix.lower()


def check_parquet() -> None:
    """Raise `ImportError`, before any work is done, if no Parquet library is installed."""
    if find_spec("pyarrow") is None:
        raise ImportError("Parquet needs an optional package: pip install 'camhd_access[parquet]'")


@contextmanager
def open_target(
    target: Target,
    *,
    seekable: bool = False,
    make_folders: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[BinaryIO]:
    """A file to write to; it gets its name when the block ends without an error.

    Parameters
    ----------
    seekable
        Whether the writer needs to seek.
    make_folders
        Create the folder of the file if it is missing.
    storage_options
        Arguments for the filesystem's constructor.

    Raises
    ------
    OSError
        The target is a folder or a device, or its folder is missing; or an error while writing.
    ValueError
        The URL's filesystem is read-only.
    """
    if not is_place(target):
        yield cast("BinaryIO", target)
        return
    options = options_of(target, storage_options) or {}
    filesystem, path = fsspec.core.url_to_fs(text_of(cast("str", target)), **options)
    if make_folders:
        filesystem.makedirs(filesystem._parent(path), exist_ok=True)  # noqa: SLF001 - fsspec's own dirname
    if isinstance(filesystem, LocalFileSystem):
        with _open_beside(Path(path)) as file:
            yield file
    elif isinstance(filesystem, MemoryFileSystem):  # shows files while they are written
        with BytesIO() as draft:
            yield draft
            filesystem.pipe_file(path, draft.getvalue())
    elif seekable:
        with TemporaryFile() as draft:
            yield draft
            draft.seek(0)
            with _open_remote(filesystem, path) as file:
                shutil.copyfileobj(draft, file)
    else:
        with _open_remote(filesystem, path) as file:
            yield file


@contextmanager
def replace_file(
    path: Path,
    *,
    drafts: Path | None = None,
    mode: int | None = None,
    folder_mode: int | None = None,
    durable: bool = True,
) -> Iterator[BinaryIO]:
    """A local file to write to, which replaces `path` if the block ends without an error, else is deleted.

    Parameters
    ----------
    path
        The final path; missing folders are created.
    drafts
        The folder of the temporary file, on the same filesystem; by default that of `path`.
    mode, folder_mode
        Permissions of the file, and of folders that are created, whatever the umask; None: the default.
    durable
        Sync the file to disk before it is renamed, so that it survives a power cut. Not needed for files that
        are verified when read and can be fetched again.
    """
    if drafts is None:
        make_folder(path.parent, folder_mode)
    draft = _beside(drafts / path.name if drafts else path)
    try:
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666 if mode is None else mode)
        with os.fdopen(fd, "wb+") as file:
            if mode is not None and mode & 0o077:
                draft.chmod(mode)
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        _move(draft, path, folder_mode)
        if durable:
            _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def replace_folder(
    target: str | os.PathLike[str],
    files: Mapping[str, bytes],
    *,
    marker: str,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write a folder of files that belong together; an existing one is replaced, or nothing is changed.

    On a local disk the new folder is renamed to its place when it is complete. Elsewhere the old marker is
    deleted first and the new one written last: an interrupted folder has no marker.

    Parameters
    ----------
    target
        A path, or a URL of any writable fsspec filesystem.
    files
        Contents by name within the folder.
    marker
        The name among `files` without which nobody reads the folder.
    storage_options
        Arguments for the filesystem's constructor.

    Raises
    ------
    FileExistsError
        `target` exists, and is not empty or such a folder.
    ValueError
        The URL's filesystem is read-only.
    """
    options = options_of(target, storage_options) or {}
    filesystem, path = fsspec.core.url_to_fs(text_of(target), **options)
    has_marker = _find_marker(filesystem, path, marker)
    in_order = sorted(files, key=marker.__eq__)
    if not isinstance(filesystem, LocalFileSystem):
        if has_marker:
            filesystem.rm(f"{path}/{marker}")
            filesystem.rm(path, recursive=True)
        for name in in_order:
            with open_target(f"{text_of(target)}/{name}", make_folders=True, storage_options=options) as file:
                file.write(files[name])
        return
    place = Path(path).resolve()
    draft = _beside(place)
    try:
        for name in in_order:
            with replace_file(draft / name) as file:
                file.write(files[name])
        while not _move_folder(draft, place):
            pass  # another writer was first
        _sync_folder(place.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _find_marker(filesystem: fsspec.AbstractFileSystem, path: str, marker: str) -> bool:
    """Whether there is an earlier output; raises `FileExistsError` if there is something else.

    Meanwhile another writer may rename the folder away and put its own there: what was seen counts only if
    the same folder was there all the time.
    """
    try:
        while True:
            before = _find_identity(filesystem, path)
            if filesystem.exists(f"{path}/{marker}"):
                return True
            if not (filesystem.isfile(path) or filesystem.ls(path)):
                return False
            if before == _find_identity(filesystem, path):
                raise FileExistsError(
                    errno.EEXIST,
                    f"has no {marker}; only an empty folder or an earlier output is replaced",
                    path,
                )
    except FileNotFoundError:
        return False


def _find_identity(filesystem: fsspec.AbstractFileSystem, path: str) -> tuple[int, int] | None:
    """What tells a local folder from one of the same name; None elsewhere, where folders are not renamed."""
    if not isinstance(filesystem, LocalFileSystem):
        return None
    status = Path(path).stat()
    return status.st_ino, status.st_ctime_ns


def _move_folder(source: Path, target: Path) -> bool:
    """Rename a folder, an existing one is deleted; False if another writer made one in between."""
    old = _beside(target)
    try:
        with suppress(FileNotFoundError):
            target.rename(old)
        try:
            source.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            with suppress(OSError):
                old.rename(target)
            raise
        return True
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A unique temporary name in the folder of `path`: others may write the same file now."""
    return path.parent / f".{uuid4().hex}{PART}"


def make_folder(path: Path, mode: int | None) -> None:
    """Create a folder, and missing parents, with these permissions whatever the umask."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent, mode)
    path.mkdir(0o777 if mode is None else mode, exist_ok=True)
    if mode is not None and mode & 0o077:
        path.chmod(mode)


def _move(source: Path, target: Path, folder_mode: int | None) -> None:
    """Rename, creating the target folder if it does not exist (any more)."""
    for _ in range(3):
        with suppress(FileNotFoundError):
            source.replace(target)
            return
        make_folder(target.parent, folder_mode)
    source.replace(target)


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that the new name is on disk too, on systems that can open folders."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def _open_beside(path: Path) -> Iterator[BinaryIO]:
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder; choose a file name", str(path))
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it is a device or a pipe; choose a regular file", str(path))
    with replace_file(path.resolve()) as file:  # replaces the target of a link, not the link
        yield file


@contextmanager
def _open_remote(filesystem: fsspec.AbstractFileSystem, path: str) -> Iterator[BinaryIO]:
    try:
        file = filesystem.open(path, "wb", autocommit=False)
    except NotImplementedError as error:
        raise ValueError(f"{redact_url(path)}: read-only; choose another place to write to") from error
    try:
        yield file
        file.close()
    except BaseException:
        file.discard()
        if isinstance(file, AbstractBufferedFile):
            file.closed = True  # else it would upload its buffer when garbage-collected
        raise
    file.commit()
