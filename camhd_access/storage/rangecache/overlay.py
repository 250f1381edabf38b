"""A folder of local copies that are read instead of remote files.

Two layouts are supported, as in go-lazycache. *Nested*: the copy has the same path as on the
server, or a tail of that path with at least one folder in it, since the rest depends on the chosen
root: for `https://host/files/A/B/x.mov` the folder may hold `files/A/B/x.mov`,
`A/B/x.mov` or `B/x.mov`; the longest is used. *Flat*: the folder holds `x.mov`. Copies are only read;
listings stay remote.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from camhd_access.errors import RemoteFileChangedError
from camhd_access.ranges import ByteRange
from camhd_access.urls import redact_url

__all__ = ["describe_copy", "find_local_copy", "read_copy"]


def find_local_copy(folder: Path, url: str, *, flatten: bool) -> Path | None:
    """The file in `folder` that replaces `url`, or None.

    Notes
    -----
    `%xx` is decoded once. A URL with `..` or a NUL in its path never matches, so none leads out of the
    folder.
    """
    parts = PurePosixPath(unquote(urlsplit(url).path).lstrip("/")).parts
    if not parts or ".." in parts or "\0" in "".join(parts):
        return None
    tails = [parts[-1:]] if flatten else [parts[i:] for i in range(max(1, len(parts) - 1))]
    copies = (folder.joinpath(*tail) for tail in tails)
    return next((copy for copy in copies if _is_file(copy)), None)


def _is_file(copy: Path) -> bool:
    try:
        return copy.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # no file has such a name
            raise
        return False


def describe_copy(path: str, copy: Path) -> dict[str, Any]:
    """The `info` of `path` when `copy` replaces it."""
    status = copy.stat()
    return {
        "name": path,
        "size": status.st_size,
        "type": "file",
        "mtime": status.st_mtime,
        "validator": _validator(status),
        "local_copy": str(copy),
    }


def read_copy(info: dict[str, Any], ranges: Sequence[ByteRange]) -> list[bytes | Exception]:
    """The bytes of `ranges` from the copy that `info` describes.

    Raises
    ------
    RemoteFileChangedError
        The copy has changed, or no longer exists.
    """
    changed = (
        f"{info['local_copy']}: this copy of {redact_url(info['name'])} was replaced while it was in use"
    )
    try:
        with Path(info["local_copy"]).open("rb") as file:
            if _validator(os.fstat(file.fileno())) != info["validator"]:
                raise RemoteFileChangedError(changed)
            return [_read(file, wanted) for wanted in ranges]
    except FileNotFoundError as error:
        raise RemoteFileChangedError(changed) from error


def _read(file: BinaryIO, wanted: ByteRange) -> bytes:
    file.seek(wanted.start)
    return file.read(wanted.n_bytes)


def _validator(status: os.stat_result) -> str:
    return f"local:{status.st_mtime_ns}:{status.st_size}"
