"""What tells a filesystem from others that have the same paths: the host, or the archive that it shows.

In URLs and local paths, the path alone identifies a file. In a ZIP file, or on a host given by options, files
of the same path, size and time may differ.
"""

import os
import pickle
import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256

from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.local_files import chain_of
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.urls import identify_url

__all__ = ["identify_filesystem"]

_WITHOUT_EFFECT = re.compile(
    "key|secret|token|pass|user|login|auth|cookie|header|cred|session|sas$|^loop$|^asynchronous$",
    re.IGNORECASE,
)
"""Names of options that are left out: logins, and those that do not change which files there are."""

_WRAPPERS = (RangeCacheFileSystem, AsyncFileSystemWrapper)
_KNOWN_BY_PATH = (LazyHTTPFileSystem, LocalFileSystem, MemoryFileSystem)


@lru_cache(maxsize=64)
def identify_filesystem(filesystem: AbstractFileSystem) -> str:
    """A hash of the options of a filesystem, without logins; empty if paths suffice.

    Notes
    -----
    The same in each process, unless options are objects that cannot be pickled.
    """
    told = [
        (
            type(each).__module__,
            type(each).__qualname__,
            _describe(each.storage_args),
            _describe(each.storage_options),
        )
        for each in chain_of(filesystem)
        if not isinstance(each, _WRAPPERS + _KNOWN_BY_PATH)
    ]
    return sha256(repr(told).encode()).hexdigest()[:16] if told else ""


def _describe(value: object) -> str:
    """A value as text; of an object that cannot be pickled, a text unique to this process."""
    if isinstance(value, Mapping):
        shown = ((str(name), item) for name, item in value.items() if not _WITHOUT_EFFECT.search(str(name)))
        return repr(sorted((name, _describe(item)) for name, item in shown))
    if isinstance(value, list | tuple):
        return repr([_describe(each) for each in value])
    if isinstance(value, AbstractFileSystem):
        return identify_filesystem(value)
    if isinstance(value, str | bytes | int | float | None):
        return repr(identify_url(value) if isinstance(value, str) and "://" in value else value)
    try:
        return sha256(pickle.dumps(value)).hexdigest()
    except Exception:  # noqa: BLE001 - whatever the object raises
        return f"{type(value).__qualname__} {id(value)} {os.getpid()}"
