"""The filesystem of a URL, and what it can do."""

from collections.abc import Mapping
from typing import Any

import fsspec

from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.urls import redact_url

__all__ = ["counts_from_end", "find_filesystem"]


def find_filesystem(
    urlpath: str, storage_options: Mapping[str, Any] | None = None
) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of `urlpath`, and the path there."""
    options = dict(storage_options or {})
    if (transport := options.pop("transport", None)) is not None:
        return _find_by_obstore(urlpath, transport, options)
    if urlpath.lower().startswith(("http://", "https://")):
        return LazyHTTPFileSystem(**options), urlpath
    filesystem, path = fsspec.core.url_to_fs(urlpath, **options)
    return filesystem, path


def _find_by_obstore(
    urlpath: str, transport: object, options: dict[str, Any]
) -> tuple[fsspec.AbstractFileSystem, str]:
    """A filesystem of obstore (an optional package), made with the options of its `FsspecStore`."""
    if transport != "obstore":
        raise ValueError(f'transport must be "obstore" if given, not {transport!r}')
    try:
        from obstore.fsspec import SUPPORTED_PROTOCOLS, FsspecStore  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("the transport obstore needs an optional package: pip install obstore") from error
    protocol, _, rest = urlpath.partition("://")
    if not rest or protocol not in SUPPORTED_PROTOCOLS:
        known = ", ".join(f"{each}://" for each in sorted(SUPPORTED_PROTOCOLS))
        raise ValueError(f"{redact_url(urlpath)}: the transport obstore supports only {known}")
    if protocol == "http":
        options = {"client_options": {"allow_http": True}} | options
    filesystem: Any = FsspecStore(protocol, **options)  # type: ignore[call-overload,unused-ignore]
    return filesystem, filesystem._strip_protocol(urlpath)  # noqa: SLF001 - fsspec's own


def counts_from_end(filesystem: fsspec.AbstractFileSystem) -> bool:
    """Whether the filesystem reads the last n bytes of a file of unknown size; only those of this package do.

    Other filesystems treat a negative start in different ways.
    """
    return isinstance(filesystem, LazyHTTPFileSystem | RangeCacheFileSystem)
