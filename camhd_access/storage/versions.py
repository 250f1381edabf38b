"""What tells the versions of a file apart on filesystems that do not compare versions themselves."""

from collections.abc import Mapping
from typing import Any

__all__ = ["VERSION_FACTS", "describe_version"]

VERSION_FACTS = ("size", "ino", "mtime", "created", "LastModified", "last_modified", "ETag", "etag", "e_tag")
"""Keys under which filesystems report properties that differ between versions of a file."""


def describe_version(info: Mapping[str, Any]) -> str:
    """The version of a file, from what fsspec tells about it (`info`, or an entry of a listing)."""
    return "|".join(str(info.get(fact)) for fact in VERSION_FACTS)
