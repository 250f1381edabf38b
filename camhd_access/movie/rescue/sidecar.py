"""Sidecars: rebuilt indexes as small files, so that a movie is walked once.

A sidecar is numpy's `npz`: the arrays `offset` and `size`, and a line of JSON for the rest. It lies where
somebody wrote it, or in the cache folder under the hash of the movie's address; there, it is known to be of
the version of the movie that was walked.
"""

import json
import logging
import os
import secrets
import zipfile
import zlib
from contextlib import suppress
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

import numpy as np
from fsspec.implementations.local import LocalFileSystem

from camhd_access.errors import InvalidMovieError
from camhd_access.movie.rescue.recovery import Recovery, build_index
from camhd_access.ranges import ByteRange
from camhd_access.storage.output_files import open_target
from camhd_access.storage.rangecache import RangeCacheFileSystem, default_cache_dir
from camhd_access.storage.source import ByteSource, open_source

__all__ = ["keep_recovery", "load_recovery", "read_sidecar", "write_sidecar"]

FORMAT = 1
"""Changes when an older reader would misread a newer sidecar."""

DAMAGE = (ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a file raises that is no sidecar, or no longer; zipfile raises `RuntimeError` for what it does
not know."""

_logger = logging.getLogger(__name__)


def write_sidecar(urlpath: str | os.PathLike[str], recovery: Recovery) -> None:
    """Write what was found to a file that `MovieReader(movie, recover=urlpath)` opens at once."""
    with open_target(urlpath) as file:
        file.write(_encode(recovery, version=None))


def read_sidecar(urlpath: str | os.PathLike[str], *, file_size: int) -> Recovery:
    """What a sidecar says of a movie of `file_size` bytes.

    Raises
    ------
    InvalidMovieError
        It is none, or of another movie.
    FileNotFoundError
        There is no such file.
    """
    file = open_source(os.fspath(urlpath), cache=False)
    data = file.read(ByteRange(0, file.size))
    try:
        recovery, _ = _decode(data)
    except DAMAGE as error:
        raise InvalidMovieError(f"{urlpath} is no index written by `camhd recover`: {error}") from error
    if recovery.file_size != file_size:
        raise InvalidMovieError(
            f"{urlpath} is the index of a file of {recovery.file_size} bytes; the movie has {file_size}"
        )
    return recovery


def load_recovery(source: ByteSource) -> Recovery | None:
    """What is kept in the cache folder of this version of a movie; None where nothing is."""
    path = _kept_path(source)
    try:
        recovery, version = _decode(path.read_bytes()) if path else (None, None)
    except FileNotFoundError:
        return None
    except (OSError, *DAMAGE) as error:
        _logger.warning("%s cannot be read, the movie is walked again: %s", path, error)
        return None
    return recovery if version == source.version else None


def keep_recovery(source: ByteSource, recovery: Recovery) -> None:
    """Keep it in the cache folder, unless the movie was opened without a cache, or the folder is no good."""
    path = _kept_path(source)
    if path is None:
        return
    unfinished = path.with_name(secrets.token_hex(8))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(_encode(recovery, version=source.version))
        unfinished.replace(path)
    except OSError as error:
        _logger.warning("the index of %s is not kept: %s", source.path, error)
        with suppress(OSError):
            unfinished.unlink()


def _kept_path(source: ByteSource) -> Path | None:
    """Where the index of a movie is kept; None where nothing is kept of it."""
    filesystem = source.filesystem
    if isinstance(filesystem, RangeCacheFileSystem):
        folder = filesystem.folder.path
    elif isinstance(filesystem, LocalFileSystem):
        folder = default_cache_dir()
    else:
        return None
    url = str(filesystem.unstrip_protocol(source.path))
    return folder / "recovered-1" / f"{blake2b(url.encode(), digest_size=16).hexdigest()}.npz"


def _encode(recovery: Recovery, *, version: str | None) -> bytes:
    index = recovery.index
    about = {
        "format": FORMAT,
        "version": version,
        "file_size": recovery.file_size,
        "cut": recovery.cut,
        "holes": recovery.holes,
        "width": index.width,
        "height": index.height,
        "codec": index.codec,
        "interlaced": index.interlaced,
    }
    file = BytesIO()
    np.savez_compressed(file, about=np.array(json.dumps(about)), offset=index.offset, size=index.size)
    return file.getvalue()


def _decode(data: bytes) -> tuple[Recovery, str | None]:
    """What was found, and the version of the movie in which it was."""
    with np.load(BytesIO(data), allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"]))
        offset, size = arrays["offset"], arrays["size"]
    if about["format"] != FORMAT:
        raise ValueError(f"format {about['format']}; known is {FORMAT}")
    if (
        not len(offset)
        or (offset < 0).any()
        or (size <= 0).any()
        or (offset > about["file_size"] - size).any()
    ):
        raise ValueError("frames outside the file")
    index = build_index(
        offset,
        size,
        width=int(about["width"]),
        height=int(about["height"]),
        codec=str(about["codec"]),
        interlaced=bool(about["interlaced"]),
    )
    cut = ByteRange(*about["cut"]) if about["cut"] else None
    return Recovery(index, int(about["file_size"]), cut, tuple(ByteRange(*h) for h in about["holes"])), about[
        "version"
    ]
