"""Sidecars: rebuilt indexes as small files, so that a movie is walked only once.

A sidecar is numpy's `npz`: the arrays `offset` and `size`, and a line of JSON for the rest. It is a file
that the user wrote, or in the cache folder under the hash of the movie's address; there, it also holds
the version of the movie.
"""

import json
import logging
import os
import zipfile
import zlib
from hashlib import blake2b
from io import BytesIO
from lzma import LZMAError
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fsspec.implementations.local import LocalFileSystem
from numpy.lib import format as npy

from camhd_access.errors import InvalidMovieError, UnsupportedCodecError
from camhd_access.formats.prores import max_sample_bytes
from camhd_access.formats.quicktime import MAX_FRAMES, PRORES_CODECS
from camhd_access.movie.rescue.recovery import Recovery, build_index
from camhd_access.ranges import ByteRange
from camhd_access.storage.output_files import make_folder, open_target, replace_file, suffix_of
from camhd_access.storage.rangecache import RangeCacheFileSystem, default_cache_dir
from camhd_access.storage.rangecache.settings import check_ours, default_permissions
from camhd_access.storage.small_files import read_small_file
from camhd_access.storage.source import ByteSource
from camhd_access.urls import redact_url, text_of

__all__ = ["check_sidecar_name", "keep_recovery", "load_recovery", "read_sidecar", "write_sidecar"]

FORMAT = 1
"""Changes when an older reader would misread a newer sidecar."""

MAX_FILE_BYTES = 64 << 20
"""Limit for a sidecar, and for each of its unpacked parts: twice the size for the longest movie."""

MAX_ABOUT_BYTES = 4 << 20
"""Limit for its line of JSON, in which a hole takes 30 bytes."""

DAMAGE = (
    *(ValueError, KeyError, TypeError, IndexError, EOFError, OverflowError, RuntimeError),
    *(SyntaxError, UnicodeError, OSError, zipfile.BadZipFile, zlib.error, LZMAError),
)
"""Exceptions of reading an invalid file; zipfile raises `RuntimeError` for unsupported features."""

MOVIES = (".mov", ".qt", ".mp4", ".m4v")
"""Suffixes that a sidecar does not have."""

_logger = logging.getLogger(__name__)


def write_sidecar(urlpath: str | os.PathLike[str], recovery: Recovery) -> None:
    """Write the rebuilt index to a file for `MovieReader(movie, recover=urlpath)`.

    Raises
    ------
    UnsupportedCodecError
        The index is a part of the movie's own (H.264 or HEVC): `recover=True` finds it as fast.
    ValueError
        The file has the suffix of a movie.
    """
    check_sidecar_name(urlpath)
    if recovery.index.coded:
        raise UnsupportedCodecError(
            "the index is the movie's own, without the end: recover=True reads it, no sidecar is needed"
        )
    with open_target(urlpath) as file:
        file.write(_encode(recovery, version=None))


def check_sidecar_name(urlpath: str | os.PathLike[str]) -> None:
    """Raise a `ValueError` if the file has the suffix of a movie, which it would replace."""
    if suffix_of(urlpath) in MOVIES:
        raise ValueError(f"{redact_url(text_of(urlpath))}: an index is not a movie; name it ….npz")


def read_sidecar(urlpath: str | os.PathLike[str], *, file_size: int) -> Recovery:
    """The content of a sidecar for a movie of `file_size` bytes.

    Raises
    ------
    InvalidMovieError
        It is not a sidecar, or belongs to another movie.
    FileNotFoundError
        The file does not exist.
    """
    name = redact_url(text_of(urlpath))
    try:
        data = read_small_file(urlpath, max_bytes=MAX_FILE_BYTES)
    except ValueError as error:
        raise InvalidMovieError(str(error)) from error
    try:
        recovery, _ = _decode(data)
    except DAMAGE as error:
        raise InvalidMovieError(f"{name} is not an index written by `camhd recover`: {error}") from error
    if recovery.file_size != file_size:
        raise InvalidMovieError(
            f"{name} is the index of a file of {recovery.file_size} bytes; the movie has {file_size}"
        )
    return recovery


def load_recovery(source: ByteSource) -> Recovery | None:
    """The rebuilt index in the cache folder for this version of a movie; None if there is none."""
    path = _kept_path(source)
    if path is None:
        return None
    try:
        check_ours(path.parents[1])
        recovery, version = _decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, *DAMAGE) as error:
        _logger.warning("%s cannot be read; rebuilding the index: %s", path, error)
        return None
    return recovery if version == source.version else None


def keep_recovery(source: ByteSource, recovery: Recovery) -> None:
    """Store the index in the cache folder, if the movie was opened with a cache and the folder is usable."""
    path = _kept_path(source)
    if path is None:
        return
    try:
        check_ours(path.parents[1])
        folder_mode, file_mode = default_permissions()
        make_folder(path.parent, folder_mode)
        with replace_file(path, mode=file_mode) as file:
            file.write(_encode(recovery, version=source.version))
    except OSError as error:
        _logger.warning("the index of %s is not cached: %s", redact_url(source.path), error)


def _kept_path(source: ByteSource) -> Path | None:
    """Path of a movie's index in the cache; None if it is not cached."""
    filesystem = source.filesystem
    if isinstance(filesystem, RangeCacheFileSystem):
        folder, key = filesystem.folder.path, filesystem.key(source.path)
    elif isinstance(filesystem, LocalFileSystem):
        folder, key = default_cache_dir(), str(filesystem.unstrip_protocol(source.path))
    else:
        return None
    return folder / "recovered-1" / f"{blake2b(key.encode(), digest_size=16).hexdigest()}.npz"


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
    """The rebuilt index, and the version of its movie."""
    with zipfile.ZipFile(BytesIO(data)) as parts:
        about = json.loads(str(_read_array(parts, "about", max_bytes=MAX_ABOUT_BYTES)))
        offset, size = _read_array(parts, "offset"), _read_array(parts, "size")
    if about["format"] != FORMAT:
        raise ValueError(f"format {about['format']}; supported is {FORMAT}")
    if offset.dtype != np.int64 or size.dtype != np.int64 or not offset.ndim == size.ndim == 1:
        raise ValueError("its tables are not lists of whole numbers")
    file_size, width, height = int(about["file_size"]), int(about["width"]), int(about["height"])
    if len(offset) > MAX_FRAMES:
        raise ValueError(f"{len(offset):,} frames; at most {MAX_FRAMES:,} are read")
    if not len(offset) or (offset < 0).any() or (size <= 0).any() or (offset > file_size - size).any():
        raise ValueError("frames outside the file")
    if not (0 < width < 1 << 16 and 0 < height < 1 << 16) or size.max() > max_sample_bytes(width, height):
        raise ValueError(f"frames of {width}x{height} that take up to {size.max():,} bytes")
    if about["codec"] not in PRORES_CODECS:
        raise ValueError(f"the codec {about['codec']!r:.20}")
    index = build_index(
        offset,
        size,
        width=width,
        height=height,
        codec=str(about["codec"]),
        interlaced=bool(about["interlaced"]),
    )
    cut = ByteRange(*map(int, about["cut"])) if about["cut"] else None
    holes = tuple(ByteRange(*map(int, hole)) for hole in about["holes"])
    return Recovery(index, file_size, cut, holes), about["version"]


def _read_array(parts: zipfile.ZipFile, name: str, *, max_bytes: int = MAX_FILE_BYTES) -> npt.NDArray[Any]:
    """One array of an `npz`, checked against its actual size."""
    member = parts.getinfo(f"{name}.npy")
    if member.file_size > max_bytes:
        raise ValueError(f"its part {name} has {member.file_size:,} bytes")
    data = parts.read(member)
    file = BytesIO(data)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    shape, _, dtype = read_header[npy.read_magic(file)](file)
    if dtype.hasobject or prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"its part {name} does not match its declared size")
    return np.frombuffer(data, dtype, offset=file.tell()).reshape(shape)
