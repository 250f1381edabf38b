"""Mirrors: folders of other web servers, each mounted at a path; nothing else can be reached.

The mirror `https://rawdata.oceanobservatories.org/files/` is mounted at
`/v1/org/oceanobservatories/rawdata/files/`: the host's labels reversed, then its path, as in go-lazycache.
Input: the path of a request as sent. Output: the mirror and the path on it, every part
of which is a plain name. Repeated slashes count as one, as in go-lazycache. A path with dots, an
encoded slash or backslash, a control character or a second layer of percent signs is rejected before any
request is made.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, ParamSpec, TypeVar
from urllib.parse import quote, unquote, urlsplit

from fsspec.core import url_to_fs

from camhd_access.movie.reader import MovieReader
from camhd_access.server.limits import Gate
from camhd_access.server.problems import Problem
from camhd_access.server.settings import ServerSettings
from camhd_access.storage.rangecache import RangeCacheFileSystem

__all__ = ["Mirror", "Place", "count_to_movie", "find_place", "is_plain", "open_mirrors", "split_path"]

P = ParamSpec("P")
T = TypeVar("T")

MAX_PATH_CHARACTERS = 1024
MAX_REQUESTS_AT_ONCE = 16
"""Concurrent requests to one mirror."""
DEADLINE_SECONDS, STALL_SECONDS = 18.0, 8.0
"""Time limits for a mirror's response, and for pauses in it; no longer than clients wait."""


@dataclass(frozen=True, slots=True, eq=False)
class Mirror:
    """A folder of a web server that is served."""

    url: str
    """Its URL, with a trailing slash."""
    mount: tuple[str, ...]
    """The parts of its mount path."""
    filesystem: RangeCacheFileSystem
    """The filesystem that reads and caches it."""
    storage_options: dict[str, Any]
    """That filesystem's options, for a reader."""
    gate: Gate
    """Limit for requests to it."""

    @property
    def mount_path(self) -> str:
        """Its mount path, percent-encoded, with slashes at both ends."""
        return f"/{'/'.join(quote(name, safe=':') for name in self.mount)}/"

    def url_of(self, names: Sequence[str]) -> str:
        """The URL on the mirror for these path parts."""
        return self.url + "/".join(quote(name) for name in names)

    def open_movie(self, names: Sequence[str]) -> MovieReader:
        """The movie at these path parts; makes requests, and blocks."""
        return MovieReader(f"lazy::{self.url_of(names)}", storage_options=self.storage_options)

    async def ask(
        self, question: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of an operation of its filesystem, on that filesystem's event loop.

        Raises
        ------
        Problem
            503: too many requests to this mirror are queued.
        RemoteFileError
            Errors of the filesystem.
        """
        async with self.gate:
            loop: asyncio.AbstractEventLoop = self.filesystem.loop  # type: ignore[assignment]  # never None here
            answer = asyncio.run_coroutine_threadsafe(question(*args, **kwargs), loop)
            return await asyncio.wrap_future(answer)


def open_mirrors(settings: ServerSettings) -> tuple[Mirror, ...]:
    """The mirrors in these settings; no requests are made yet.

    Raises
    ------
    ValueError
        Two mirrors have the same path, or the overlay folder does not exist.
    """
    if settings.file_overlay and not settings.file_overlay.is_dir():
        raise ValueError(f"file_overlay: there is no folder {str(settings.file_overlay)!r}")
    mirrors = tuple(_open_mirror(url, settings) for url in settings.mirrors)
    for mirror in mirrors:
        if sum(mirror.mount == other.mount for other in mirrors) > 1:
            raise ValueError(f"several mirrors have the path {mirror.mount_path}")
    return mirrors


def _open_mirror(url: str, settings: ServerSettings) -> Mirror:
    options = {
        "lazy": {
            "cache_dir": settings.cache_dir,
            "max_bytes": settings.cache_size,
            "overlay": settings.file_overlay,
            "overlay_flatten": settings.file_overlay_flatten,
        },
        urlsplit(url).scheme: {
            "redirects": url,
            "deadline_seconds": min(DEADLINE_SECONDS, settings.request_seconds),
            "stall_timeout_seconds": min(STALL_SECONDS, settings.request_seconds),
        },
    }
    filesystem, _ = url_to_fs(f"lazy::{url}", **options)
    return Mirror(url, _mount_of(url), filesystem, options, Gate(MAX_REQUESTS_AT_ONCE, settings.max_queue))


def _mount_of(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return ("v1", *reversed(host.split(".")), *(unquote(name) for name in parts.path.split("/") if name))


class Place(NamedTuple):
    """The object that a path identifies."""

    mirror: Mirror
    """Its mirror."""
    names: tuple[str, ...]
    """The path parts below the mirror's folder, decoded."""
    is_folder: bool
    """Whether the path ends in a slash."""

    @property
    def path(self) -> str:
        """The path on the mirror as shown to clients: `/` is the mirror's folder."""
        return "/" + "/".join(self.names)

    @property
    def path_here(self) -> str:
        """The path on this server, percent-encoded, without a trailing slash below the mirror's folder."""
        return self.mirror.mount_path + "/".join(map(quote, self.names))


def count_to_movie(place: Place) -> int | None:
    """Number of names up to that of a movie; None if there is none.

    Notes
    -----
    A twin (`.mp4`) itself is a file, as in the ancestor; what lies below it is served.
    """
    for n, name in enumerate(place.names, 1):
        if name.endswith(".mov") or (name.endswith(".mp4") and n < len(place.names)):
            return n
    return None


def find_place(raw_path: str, mirrors: Sequence[Mirror]) -> Place:
    """The place that the path of a request identifies.

    Parameters
    ----------
    raw_path
        As sent, percent-encoded, without a query.

    Raises
    ------
    Problem
        400 or 414 for an unsafe or overlong path; 404 if no mirror is mounted there.
    """
    names = split_path(raw_path)
    is_folder = raw_path.endswith("/")
    for mirror in sorted(mirrors, key=lambda each: -len(each.mount)):
        n = len(mirror.mount)
        if names[:n] == mirror.mount:
            return Place(mirror, names[n:], is_folder or len(names) == n)
    raise Problem(404, "There is no mirror at this path; / lists the mirrors.")


def split_path(raw_path: str) -> tuple[str, ...]:
    """The parts of a path, decoded once and checked.

    Raises
    ------
    Problem
        400: not a plain path; 414: too long.
    """
    if len(raw_path) > MAX_PATH_CHARACTERS:
        raise Problem(414, f"The path is longer than {MAX_PATH_CHARACTERS} characters.")
    if not raw_path.startswith("/"):
        raise Problem(400, "The path of a request must begin with a slash.")
    names = tuple(_decode(part) for part in raw_path.split("/") if part)
    if not all(map(is_plain, names)):
        raise Problem(400, "A path must consist of plain names, separated by slashes.")
    return names


def _decode(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError as error:
        raise Problem(400, "The path is not UTF-8.") from error


def is_plain(name: str) -> bool:
    """Whether a name can be requested as it is."""
    return name not in ("", ".", "..") and name.isprintable() and not set(name) & set("/\\%")
