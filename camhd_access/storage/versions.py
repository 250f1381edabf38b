"""What tells the versions of a file apart on filesystems that do not compare versions themselves."""

from collections.abc import Mapping
from typing import Any

__all__ = ["VERSION_FACTS", "describe_version", "etag_of", "find_mark", "find_size"]

_ETAGS = ("ETag", "etag", "e_tag")
_HASHES = ("sha", "hex", "blob_id", "CRC")
_TIMES = (
    "mtime",
    "LastModified",
    "last_modified",
    "modified",
    "updated",
    "modify",
    "last_write_time",
    "modificationTime",
    "modifiedTime",
    "modified_at",
    "server_modified",
    "created",
)

VERSION_FACTS = ("size", "ino", *_TIMES, *_HASHES, *_ETAGS)
"""Keys under which filesystems report properties that differ between versions of a file."""


def describe_version(info: Mapping[str, Any]) -> str:
    """The version of a file, from what fsspec tells about it (`info`, or an entry of a listing).

    Notes
    -----
    Times are left out if there is an ETag: some stores round them in responses, but not in listings.
    """
    facts = ("size", *_ETAGS) if etag_of(info) else VERSION_FACTS
    return "|".join(str(info.get(fact) if fact in facts else None) for fact in VERSION_FACTS)


def find_mark(info: Mapping[str, Any]) -> str | None:
    """What identifies the version besides the size: an ETag, else times and hashes; None if there is nothing.

    A number of an inode does not identify a version: files are overwritten in place.
    """
    etag = next((str(info[name]) for name in _ETAGS if info.get(name)), None)
    found = [str(info[name]) for name in (*_TIMES, *_HASHES) if info.get(name) is not None]
    return etag or "|".join(found) or None


def etag_of(info: Mapping[str, Any]) -> str:
    """The ETag of a file without quotes, under the name that its filesystem has for it; empty if none."""
    return next((str(info[name]).strip('"') for name in _ETAGS if info.get(name)), "")


def find_size(version: str) -> int | None:
    """The size that is a part of a version; None if it has none."""
    n_bytes = version.partition("|")[0]
    return int(n_bytes) if n_bytes.isdigit() else None
