"""Small files from third parties, such as catalogues, framesets and sidecars: read completely, within limits.

These files have a few megabytes. A file that is larger, also after decompression, is rejected before memory
is allocated for it; pipes and devices are rejected too.
"""

import os
import zlib
from collections.abc import Mapping
from io import BytesIO
from lzma import LZMAError
from typing import Any

import fsspec
from fsspec.utils import infer_compression

from camhd_access.storage.filesystems import find_filesystem
from camhd_access.storage.local_files import find_special_kind
from camhd_access.urls import options_of, redact_url, text_of

__all__ = ["read_small_file"]


def read_small_file(
    urlpath: str | os.PathLike[str],
    *,
    max_bytes: int,
    compressed: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> bytes:
    """All bytes of a file, unpacked if its name has a compression suffix and `compressed` allows it.

    Parameters
    ----------
    max_bytes
        Limit for the file, and for its unpacked size.

    Raises
    ------
    ValueError
        The file is too large or cannot be decompressed, or it is a folder, a device or a pipe.
    OSError
        The file does not exist, or cannot be reached.
    """
    path = text_of(urlpath)
    filesystem, inner = find_filesystem(path, options_of(urlpath, storage_options))
    kind = find_special_kind(filesystem, inner)
    if kind is not None:
        raise ValueError(f"{redact_url(path)}: it is a {kind}, not a file")
    n_bytes = filesystem.info(inner)["size"]
    if n_bytes is not None and n_bytes > max_bytes:
        raise ValueError(
            f"{redact_url(path)} has {n_bytes:,} bytes; the limit for such files is {max_bytes:,}"
        )
    data: bytes = filesystem.cat_file(inner)
    compression = infer_compression(inner.partition("?")[0]) if compressed else None
    return _unpack(data, compression, max_bytes, path) if compression else data


def _unpack(data: bytes, kind: str, max_bytes: int, path: str) -> bytes:
    try:
        with fsspec.compression.compr[kind](BytesIO(data), mode="rb") as file:
            unpacked: bytes = file.read(max_bytes + 1)
    except (OSError, EOFError, ValueError, zlib.error, LZMAError) as error:
        raise ValueError(f"{redact_url(path)} cannot be unpacked ({kind}): {error}") from error
    if len(unpacked) > max_bytes:
        raise ValueError(f"{redact_url(path)} unpacks to more than {max_bytes:,} bytes")
    return unpacked
