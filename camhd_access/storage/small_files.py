"""Small files that others wrote: read whole, within bounds, whatever they are.

A catalogue, a frameset or a sidecar is some megabytes long. What claims or unpacks to more is refused before
memory is spent on it, and what is no file at all (a pipe would never end) is refused by name.
"""

import os
import zlib
from collections.abc import Mapping
from io import BytesIO
from lzma import LZMAError
from typing import Any

import fsspec
from fsspec.utils import infer_compression

from camhd_access.storage.source import find_filesystem, refuse_special_file
from camhd_access.urls import options_of, redact_url, text_of

__all__ = ["read_small_file"]


def read_small_file(
    urlpath: str | os.PathLike[str],
    *,
    max_bytes: int,
    compressed: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> bytes:
    """All bytes of a file, unpacked where its name says that it is compressed, and `compressed` allows it.

    Parameters
    ----------
    max_bytes
        Of the file, and of what it unpacks to.

    Raises
    ------
    ValueError
        It is longer; or its compression is damaged; or it is a folder, a device or a pipe.
    OSError
        There is no such file, or it cannot be reached.
    """
    path = text_of(urlpath)
    filesystem, inner = find_filesystem(path, options_of(urlpath, storage_options))
    refuse_special_file(filesystem, inner, path)
    n_bytes = filesystem.info(inner)["size"]
    if n_bytes is not None and n_bytes > max_bytes:
        raise ValueError(
            f"{redact_url(path)} has {n_bytes:,} bytes; a file of its kind has {max_bytes:,} at most"
        )
    data: bytes = filesystem.cat_file(inner)
    kind = infer_compression(inner.partition("?")[0]) if compressed else None
    return _unpack(data, kind, max_bytes, path) if kind else data


def _unpack(data: bytes, kind: str, max_bytes: int, path: str) -> bytes:
    try:
        with fsspec.compression.compr[kind](BytesIO(data), mode="rb") as file:
            unpacked: bytes = file.read(max_bytes + 1)
    except (OSError, EOFError, ValueError, zlib.error, LZMAError) as error:
        raise ValueError(f"{redact_url(path)} cannot be unpacked ({kind}): {error}") from error
    if len(unpacked) > max_bytes:
        raise ValueError(f"{redact_url(path)} unpacks to more than {max_bytes:,} bytes")
    return unpacked
