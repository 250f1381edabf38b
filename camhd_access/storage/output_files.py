"""Files that are written: they appear under their name when they are complete, or not at all.

A local file is written beside its place and renamed. Elsewhere it is the filesystem's to make a file appear
at once, as object stores do. What needs to go back and forth in a file is written to disk first and copied.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, TypeAlias
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile

__all__ = ["Target", "check_parquet", "open_target", "suffix_of"]

Target: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, a URL of any filesystem of fsspec that writes, or a binary file that is open for writing."""


def suffix_of(name: str | os.PathLike[str]) -> str:
    """How a path or URL ends, in small letters: ".mov"; empty where it has no suffix."""
    return Path(os.fsdecode(name)).suffix.lower()


def check_parquet() -> None:
    """Raise `ImportError`, before work is done, where Parquet can neither be written nor read."""
    if find_spec("pyarrow") is None:
        raise ImportError("Parquet needs one more package: pip install 'camhd_access[parquet]'")


@contextmanager
def open_target(target: Target, *, seekable: bool = False) -> Iterator[BinaryIO]:
    """A file to write to; on leaving without an error it is complete and has its name.

    Parameters
    ----------
    seekable
        What is written is not written from the beginning to the end.

    Raises
    ------
    OSError
        The target is a folder or a device, or lies in no folder; or what writing raises.
    ValueError
        The URL's filesystem only reads.
    """
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    filesystem, path = fsspec.core.url_to_fs(os.fsdecode(target))
    if isinstance(filesystem, LocalFileSystem):
        with _open_beside(Path(path)) as file:
            yield file
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
def _open_beside(path: Path) -> Iterator[BinaryIO]:
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file to write", str(path))
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it is a device or a pipe, not a file to replace", str(path))
    path = path.resolve()  # what a link leads to is replaced, not the link
    unfinished = path.with_name(f".{uuid4().hex}.part")  # nobody else's, who may write the same file now
    try:
        with unfinished.open("xb+") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _open_remote(filesystem: fsspec.AbstractFileSystem, path: str) -> Iterator[BinaryIO]:
    try:
        file = filesystem.open(path, "wb", autocommit=False)
    except NotImplementedError as error:
        raise ValueError(f"{path}: nothing can be written there, only read") from error
    try:
        yield file
        file.close()
    except BaseException:
        file.discard()
        if isinstance(file, AbstractBufferedFile):
            file.closed = True  # it would send what it holds when it is collected
        raise
    file.commit()
