"""Whether two addresses name one file: a movie is not replaced by what is made of it.

One file has many addresses: `movie.mov`, `file:///data/movie.mov`, `lazy::file:///data/movie.mov`, links.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import fsspec
from fsspec.core import split_protocol
from fsspec.implementations.local import LocalFileSystem

from camhd_access.storage.output_files import Target
from camhd_access.urls import is_place, redact_url, text_of

__all__ = ["check_not_source"]

_CACHES = ("lazy::", "simplecache::", "filecache::", "blockcache::")
"""Prefixes of URLs that are read through a cache of the same bytes."""


def check_not_source(target: Target, sources: Iterable[str]) -> None:
    """Raise a `ValueError` if `target` is one of the files that its content is made of, or a link to it."""
    if not is_place(target):
        return
    name = _without_caches(text_of(cast("str", target)))
    for source in sources:
        if _is_same(name, _without_caches(source)):
            raise ValueError(f"{redact_url(name)} is the movie itself; choose another name for the output")


def _without_caches(url: str) -> str:
    while url.startswith(_CACHES):
        url = url.partition("::")[2]
    return url


def _is_same(one: str, other: str) -> bool:
    if _is_local(one) or _is_local(other):
        with suppress(OSError, ValueError):  # one is missing, or not a path
            return _is_local(one) and _is_local(other) and _local_path(one).samefile(_local_path(other))
        return False
    return one == other or _identify(one) == _identify(other)


def _is_local(url: str) -> bool:
    return (split_protocol(url)[0] or "file") in LocalFileSystem.protocol


def _local_path(url: str) -> Path:
    return Path(LocalFileSystem._strip_protocol(url))  # noqa: SLF001 - fsspec's way of naming


def _identify(url: str) -> Any:  # noqa: ANN401 - only compared
    """The kind of filesystem, the path there, and the server; the URL itself if fsspec does not know it."""
    try:
        kind = fsspec.get_filesystem_class(split_protocol(url)[0])
    except (ImportError, ValueError):
        return url
    server = {key: value for key, value in kind._get_kwargs_from_urls(url).items() if key not in _LOGIN}  # noqa: SLF001
    return kind, kind._strip_protocol(url), server  # noqa: SLF001


_LOGIN = ("username", "password")
