"""Files that are written: they appear under their name when they are complete, or not at all.

A local file is written under a temporary name of its own and renamed (`replace_file`), so that two writers of
one file never mix, and who reads it has the old one or the new one, whole. Elsewhere it is the filesystem's
to make a file appear at once, as object stores do. What needs to go back and forth in a file is written to
disk first and copied.
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

__all__ = ["PART", "Target", "check_parquet", "make_folder", "open_target", "replace_file", "suffix_of"]

_BINARY = getattr(os, "O_BINARY", 0)  # of Windows, which takes what `os.open` opens for text

PART = ".part"
"""How the names of unfinished files end; they begin with a dot."""

Target: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, a URL of any filesystem of fsspec that writes, or a binary file that is open for writing."""


def suffix_of(name: str | os.PathLike[str]) -> str:
    """How a path or URL ends, in small letters: ".mov"; empty where it has no suffix."""
    return Path(text_of(name)).suffix.lower()


def check_parquet() -> None:
    """Raise `ImportError`, before work is done, where Parquet can neither be written nor read."""
    if find_spec("pyarrow") is None:
        raise ImportError("Parquet needs one more package: pip install 'camhd_access[parquet]'")


@contextmanager
def open_target(
    target: Target,
    *,
    seekable: bool = False,
    make_folders: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[BinaryIO]:
    """A file to write to; on leaving without an error it is complete and has its name.

    Parameters
    ----------
    seekable
        What is written is not written from the beginning to the end.
    make_folders
        Make the folder in which the file shall lie, where there is none.
    storage_options
        For the constructor of the filesystem.

    Raises
    ------
    OSError
        The target is a folder or a device, or lies in no folder; or what writing raises.
    ValueError
        The URL's filesystem only reads.
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
    elif isinstance(filesystem, MemoryFileSystem):  # which shows a file as soon as it is opened
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
    """A local file to write to, which takes the place of `path` on leaving without an error; else it is gone.

    Parameters
    ----------
    path
        Where the file belongs; folders that are missing are made.
    drafts
        The folder in which it is written, of the same filesystem; by default that of `path`.
    mode, folder_mode
        Permissions of the file, and of folders that are made, whatever the umask is; None: as it has them.
    durable
        It must survive a power cut: it is on the disk before it has its name. What proves itself when it is
        read, and can be had again, need not.
    """
    if drafts is None:
        make_folder(path.parent, folder_mode)
    draft = (drafts or path.parent) / f".{uuid4().hex}{PART}"  # nobody else's, who may write the same now
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


def make_folder(path: Path, mode: int | None) -> None:
    """Make a folder, and those above it that are missing, with these permissions whatever the umask is."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent, mode)
    path.mkdir(0o777 if mode is None else mode, exist_ok=True)
    if mode is not None and mode & 0o077:
        path.chmod(mode)


def _move(source: Path, target: Path, folder_mode: int | None) -> None:
    """Rename, into a folder that may not exist yet, or no longer."""
    for _ in range(3):
        with suppress(FileNotFoundError):
            source.replace(target)
            return
        make_folder(target.parent, folder_mode)
    source.replace(target)


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too, where a system lets folders be opened for that."""
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
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file to write", str(path))
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it is a device or a pipe, not a file to replace", str(path))
    with replace_file(path.resolve()) as file:  # what a link leads to is replaced, not the link
        yield file


@contextmanager
def _open_remote(filesystem: fsspec.AbstractFileSystem, path: str) -> Iterator[BinaryIO]:
    try:
        file = filesystem.open(path, "wb", autocommit=False)
    except NotImplementedError as error:
        raise ValueError(f"{redact_url(path)}: nothing can be written there, only read") from error
    try:
        yield file
        file.close()
    except BaseException:
        file.discard()
        if isinstance(file, AbstractBufferedFile):
            file.closed = True  # it would send what it holds when it is collected
        raise
    file.commit()
