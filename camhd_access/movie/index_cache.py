"""Movies that are open: their indexes, read once and kept in memory for all who open them again.

The index is the movie's own, or rebuilt from its frames where the movie has none and the caller wants that
(see `rescue`): it is then kept in the cache folder, or was written to a sidecar before.
"""

import os
from dataclasses import dataclass
from typing import TypeAlias

from camhd_access.caching import LRUCache
from camhd_access.errors import InvalidMovieError, MissingMoovError, UnsupportedMovieError
from camhd_access.formats.quicktime import Answer, MovieIndex, Request, Tail, parse_moov, read_moov
from camhd_access.movie.rescue import Recovery, keep_recovery, load_recovery, read_sidecar, recover_index
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.storage.source import ByteSource

__all__ = ["OpenMovie", "Recover", "open_index"]

Recover: TypeAlias = bool | str | os.PathLike[str]
"""Whether to rebuild a missing index; or where a sidecar lies that was written when it was rebuilt."""

MAX_INDEXES_KEPT = 32
"""Indexes that stay in memory, so that opening a movie again costs nothing. One takes 0.8 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenMovie:
    """What opening a movie found."""

    source: ByteSource
    """The file, held to its version."""
    index: MovieIndex
    """Where its frames lie."""
    file_size: int
    """Bytes of the file."""
    recovery: Recovery | None = None
    """How the index was rebuilt; None where it is the movie's own."""


_open_movies: LRUCache[tuple[ByteSource, Recover], OpenMovie] = LRUCache(MAX_INDEXES_KEPT)
"""The movies opened last by this process."""


def open_index(address: ByteSource, *, recover: Recover = False) -> OpenMovie:
    """The movie at `address`: the one that is open, unless its file has changed since."""
    movie = _open_movies.find((address, recover))
    if movie is None or movie.source != address.pinned():
        movie = _open(address, recover)
        _open_movies.keep((address, recover), movie)
    return movie


def _open(address: ByteSource, recover: Recover) -> OpenMovie:
    """The movie at `address`; errors name it."""
    try:
        return _find_index(address, recover)
    except MissingMoovError as error:
        hint = "recover=True finds its frames without, and so does --recover on the command line"
        raise MissingMoovError(f"{address.name}: {error}; {hint}") from error
    except (InvalidMovieError, UnsupportedMovieError) as error:
        raise type(error)(f"{address.name}: {error}") from error


def _find_index(address: ByteSource, recover: Recover) -> OpenMovie:
    """The movie with its own index, or if asked for, with one that is made of its frames."""
    if not isinstance(recover, bool):
        return _recovered(address.pinned(), read_sidecar(recover, file_size=address.size))
    try:
        return _read_index(address)
    except InvalidMovieError:
        if not recover:
            raise
    return _rebuild(address.pinned())


def _read_index(address: ByteSource) -> OpenMovie:
    """The movie at `address`, by its own index."""
    source = address

    def answer(request: Request) -> Answer:
        nonlocal source
        if isinstance(request, Tail):
            data = source.read_tail(request.n_bytes)
            source = source.pinned()
            return Answer(data, source.size - len(data), source.size)
        return Answer(source.read(request), request.start, source.size)

    moov, offset, file_size = read_moov(answer)
    return OpenMovie(source, parse_moov(moov, offset=offset, file_size=file_size), file_size)


def _rebuild(source: ByteSource) -> OpenMovie:
    """The movie by an index that is made of its frames, now or when it was opened before."""
    recovery = load_recovery(source)
    if recovery is None:
        recovery = recover_index(_uncached(source))
        keep_recovery(source, recovery)
    return _recovered(source, recovery)


def _recovered(source: ByteSource, recovery: Recovery) -> OpenMovie:
    return OpenMovie(source, recovery.index, recovery.file_size, recovery)


def _uncached(source: ByteSource) -> ByteSource:
    """The same file past the cache, in which the heads of 25,000 frames would be as many small files."""
    cache = source.filesystem
    if not isinstance(cache, RangeCacheFileSystem) or cache.offline:
        return source
    path = cache.fs._strip_protocol(cache._strip_protocol(source.path))  # noqa: SLF001 - fsspec's way of naming
    return ByteSource(cache.fs, path).pinned()
