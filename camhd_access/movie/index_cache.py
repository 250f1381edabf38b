"""Open movies: their indexes are read once and kept in memory.

The index is the movie's own, or, with `recover`, rebuilt from its frames if the movie has none
(see `rescue`): it is then stored in the cache folder, or was written to a sidecar before. With inter-frame
coding, `recover` keeps the part of the movie's own index whose groups of pictures are whole.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from camhd_access.caching import LRUCache
from camhd_access.decoding.windows import check_size
from camhd_access.errors import (
    FrameDecodeError,
    InvalidMovieError,
    NotAMovieError,
    RemoteFileChangedError,
    UnsupportedCodecError,
    UnsupportedMovieError,
)
from camhd_access.formats.prores import FrameHeader, parse_frame_header
from camhd_access.formats.quicktime import (
    INTER_CODECS,
    Answer,
    CodedSamples,
    MovieIndex,
    Request,
    Tail,
    keep_whole_groups,
    parse_movie_header,
    read_movie_header,
)
from camhd_access.movie.index_store import IndexStore
from camhd_access.movie.order import check_order
from camhd_access.movie.rescue import Recovery, keep_recovery, load_recovery, read_sidecar, recover_index
from camhd_access.ranges import ByteRange
from camhd_access.storage.filesystems import counts_from_end
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.storage.source import ByteSource

__all__ = ["OpenMovie", "Recover", "find_header", "open_index", "rebuild_index"]

Recover: TypeAlias = bool | str | os.PathLike[str]
"""Whether to rebuild a missing index; or the path or URL of a sidecar with the rebuilt index."""

HINT = "use recover=True (command line: --recover) to rebuild the index of a ProRes movie"

HEAD_FIRST = (".mp4", ".m4v")
"""Suffixes of files that are read from the beginning on: `moov` is as likely there, and often longer than
what is requested of the end. Recorders of `.mov` put it at the end."""

FRAME_HEAD_BYTES = 512
"""Bytes read of a frame to get its header (156 bytes in all known files)."""

N_HEADS_TRIED = 4
"""Number of samples whose headers are tried if they are damaged."""

GROUPS_HINT = "or to read the whole groups of an H.264 or HEVC movie whose end is missing"

N_READS = 4
"""Attempts to read an index whose file is replaced meanwhile."""

MAX_INDEXES_KEPT = 32
"""Number of indexes kept in memory, so that reopening a movie costs nothing. One takes 0.8 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenMovie:
    """The result of opening a movie."""

    source: ByteSource
    """The file, pinned to its version."""
    index: MovieIndex
    """Positions and times of the frames."""
    file_size: int
    """Size of the file in bytes."""
    recovery: Recovery | None = None
    """How the index was rebuilt or shortened; None if it is the movie's own."""


_open_movies: LRUCache[tuple[ByteSource, Recover], OpenMovie] = LRUCache(MAX_INDEXES_KEPT)
"""The movies opened most recently by this process."""


def open_index(
    address: ByteSource, *, recover: Recover = False, store: IndexStore | None = None
) -> OpenMovie:
    """The movie at `address`, from memory unless its file has changed since, or from a store of indexes.

    With `recover`, not from the store: what that has may be the index that does not fit.
    """
    movie = _open_movies.find((address, recover))
    if movie is None or movie.source != address.pinned():
        found = _find_stored(address, store) if store and not recover else None
        movie = found or _open(address, recover)
        _open_movies.keep((address, recover), movie)
    return movie


def _find_stored(address: ByteSource, store: IndexStore) -> OpenMovie | None:
    """The movie with its index in the store; None if that has none, or of another version.

    Notes
    -----
    Makes no request for the movie. The version is required of all its bytes, from the first ones on.
    """
    if not address.takes_versions:
        return None
    found = store.find(address.path)
    if found is None or not address.vouch(found.version, found.file_size):
        return None
    source = replace(address, version=found.version)
    return OpenMovie(source, found.index, found.file_size)


def _open(address: ByteSource, recover: Recover) -> OpenMovie:
    """The movie at `address`; errors include its name."""
    try:
        movie = _find_index(address, recover)
        if movie.index.coded:
            check_order(movie.source, movie.index.coded)
    except (InvalidMovieError, UnsupportedMovieError) as error:
        raise type(error)(f"{address.name}: {error}") from error
    return movie


def _find_index(address: ByteSource, recover: Recover) -> OpenMovie:
    """The movie with its own index or, with `recover`, with one that is rebuilt from its frames."""
    if not isinstance(recover, bool):
        return _recovered(address.pinned(), read_sidecar(recover, file_size=address.size))
    try:
        movie = _read_index_anew(address, recover=recover)
    except InvalidMovieError as error:
        if not recover:
            told = str(error) if isinstance(error, NotAMovieError) else f"{error}; {HINT}, {GROUPS_HINT}"
            address.forget()  # may have been a login page: the next attempt may succeed
            raise type(error)(told) from error
        problem = error
    else:
        if not recover or movie.recovery or _holds_frames(movie):
            return movie
        problem = InvalidMovieError("its index points to bytes that are not frames of its size")
    try:
        return _rebuild(address.pinned())
    except InvalidMovieError as error:
        raise type(problem)(f"{problem}; {error}") from error


def _holds_frames(movie: OpenMovie) -> bool:
    """Whether one of the first samples is a frame of the movie's size; else the index is another file's."""
    try:
        find_header(movie)
    except UnsupportedCodecError:
        return True
    except FrameDecodeError:
        return False
    return True


def find_header(movie: OpenMovie) -> FrameHeader:
    """The header of the first frame that has one.

    Raises
    ------
    FrameDecodeError
        The first frames are damaged, or of another size than the movie.
    UnsupportedCodecError
        The movie is not ProRes.
    """
    source, index = movie.source, movie.index
    if index.coded:
        raise UnsupportedCodecError(
            f"{source.name}: frames of ProRes have a header; this movie is {INTER_CODECS[index.codec]}"
        )
    fault = FrameDecodeError("they are empty")
    for i in np.flatnonzero(index.size)[:N_HEADS_TRIED]:
        start, size = int(index.offset[i]), int(index.size[i])
        wanted = ByteRange(start, start + min(size, FRAME_HEAD_BYTES))
        for read in (source.read, source.read_again):  # the cached bytes may be damaged
            if (head := read(wanted)) is None:
                break
            try:
                header = parse_frame_header(head)
                check_size(header, (index.height, index.width))
            except FrameDecodeError as error:
                fault = error
            else:
                return header
    raise type(fault)(f"{source.name}: its first frames are damaged: {fault}; {HINT}") from fault


def _read_index_anew(address: ByteSource, *, recover: bool) -> OpenMovie:
    """The movie with its own index; read again if cached bytes are not an index, or the file was replaced."""
    for _ in range(N_READS - 1):
        n_bytes_kept = _n_bytes_from_cache(address)
        source = _pin_first(address)
        try:
            return _read_index(source, recover=recover)
        except InvalidMovieError:
            is_kept = _n_bytes_from_cache(address) != n_bytes_kept
            is_replaced = source.version and source != address.pinned()
            if not (is_kept or is_replaced):
                raise
        except RemoteFileChangedError:
            pass  # replaced since the last check of this session, or while it was read
        address.forget()
    return _read_index(_pin_first(address), recover=recover)


def _pin_first(address: ByteSource) -> ByteSource:
    """The file, pinned before it is read, unless its filesystem compares the version of each response."""
    return address if address.checks_itself else address.pinned()


def _n_bytes_from_cache(address: ByteSource) -> int:
    cache = address.filesystem
    return cache.stats.bytes_from_cache if isinstance(cache, RangeCacheFileSystem) else 0


def _read_index(address: ByteSource, *, recover: bool) -> OpenMovie:
    """The movie at `address`, with its own index; with `recover` also if the end of the file is missing."""
    source = address

    def answer(request: Request) -> Answer:
        nonlocal source
        if isinstance(request, ByteRange):
            return Answer(source.read(request), request.start, source.size)
        is_tail = isinstance(request, Tail)
        n_bytes = request.n_bytes
        data = source.read_tail(n_bytes) if is_tail else _read_head(source, n_bytes)
        source = source if source.version else source.pinned()
        size = source.size
        if not source.is_far:
            source.check()  # not replaced meanwhile: size and bytes are of one version
        return Answer(data, size - len(data) if is_tail else 0, size)

    def answer_several(ranges: Sequence[ByteRange]) -> list[Answer]:
        found = dict[int, Answer]()
        for span, data in source.fetch(ranges):
            for k in span.members:
                start, stop = ranges[k]
                found[k] = Answer(bytes(data[start - span.start : stop - span.start]), start, source.size)
        return [found[k] for k in range(len(ranges))]

    header = read_movie_header(
        answer, answer_several, head_first=source.is_far and source.path.lower().endswith(HEAD_FIRST)
    )
    file_size = header.file_size
    try:
        return OpenMovie(source, parse_movie_header(header), file_size)
    except InvalidMovieError:
        whole = parse_movie_header(header, must_be_whole=False) if recover else None
        if whole is None or whole.coded is None:
            raise
    return _recovered(source, _shorten(whole, whole.coded, file_size))


def _read_head(source: ByteSource, n_bytes: int) -> bytes:
    """The first bytes of a file of unknown size."""
    if not counts_from_end(source.filesystem):  # others may not cut a range that ends after the file
        n_bytes = min(n_bytes, source.size)
    return source.read(ByteRange(0, n_bytes)) if n_bytes else b""


def _shorten(whole: MovieIndex, coded: CodedSamples, file_size: int) -> Recovery:
    """The groups of pictures that are whole in a file whose end is missing."""
    index = keep_whole_groups(whole, file_size)
    cut = np.flatnonzero((coded.offset < file_size) & (coded.offset + coded.size > file_size))
    return Recovery(
        index,
        file_size,
        cut=ByteRange(int(coded.offset[cut[0]]), file_size) if cut.size else None,
        holes=(),
        n_lost=whole.n_frames - index.n_frames,
    )


def rebuild_index(address: ByteSource) -> Recovery:
    """Rebuild the index from the frames of the movie at `address`, ignoring its own index.

    Raises
    ------
    InvalidMovieError
        No frame begins within the first 20 MB.
    """
    try:
        source = address.pinned()
        recovery = recover_index(_uncached(source))
    except InvalidMovieError as error:
        raise InvalidMovieError(f"{address.name}: {error}") from error
    keep_recovery(source, recovery)
    return recovery


def _rebuild(source: ByteSource) -> OpenMovie:
    """The movie with an index that is rebuilt from its frames, now or earlier."""
    recovery = load_recovery(source)
    if recovery is None:
        recovery = recover_index(_uncached(source))
        keep_recovery(source, recovery)
    return _recovered(source, recovery)


def _recovered(source: ByteSource, recovery: Recovery) -> OpenMovie:
    return OpenMovie(source, recovery.index, recovery.file_size, recovery)


def _uncached(source: ByteSource) -> ByteSource:
    """The same file without the cache, which would store the heads of 25,000 frames as small files."""
    cache = source.filesystem
    if not isinstance(cache, RangeCacheFileSystem) or cache.offline:
        return source
    path = cache.fs._strip_protocol(cache._strip_protocol(source.path))  # noqa: SLF001 - fsspec's API
    return ByteSource(cache.fs, path).pinned()
