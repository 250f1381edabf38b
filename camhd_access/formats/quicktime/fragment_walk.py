"""The walk to the index of a movie that may be fragmented: `moov`, and each `moof` after it.

Fragments are found by jumping from atom to atom, over the media. A request for a header also fetches what
follows: usually the whole `moof` and the header of its `mdat`, so that a fragment costs one request, and
several small ones cost one together.

Source: ISO/IEC 14496-12, 8.8.4 (`moof`).
"""

from collections.abc import Awaitable, Callable, Generator
from typing import NamedTuple

from camhd_access.errors import InvalidMovieError, UnsupportedMovieError
from camhd_access.formats.quicktime.atoms import Atom, parse_header
from camhd_access.formats.quicktime.fragments import Fragment
from camhd_access.formats.quicktime.walk import MAX_MOOV_BYTES, Answer, Request, walk_moov
from camhd_access.ranges import ByteRange, drive_walk, drive_walk_async

__all__ = [
    "MAX_FRAGMENT_REQUESTS",
    "MovieHeader",
    "read_movie_header",
    "read_movie_header_async",
    "walk_movie_header",
]

MAX_FRAGMENT_REQUESTS = 4096
"""A movie whose fragments take more requests is rejected: 2 hours in fragments of 2 seconds are 3,600."""

_MAX_ATOMS = 1 << 17  # at the top level, of a fragmented movie
_WINDOW_BYTES = 64 << 10  # fetched at each fragment: moof and the header of mdat
_SMALL_BYTES = 256 << 10  # fragments below are fetched several at a time
_LARGE_WINDOW_BYTES = 1 << 20


class MovieHeader(NamedTuple):
    """The atoms of a file that describe its samples."""

    moov: bytes
    """The whole atom."""
    offset: int
    """Its first byte in the file."""
    file_size: int
    """Bytes of the file."""
    fragments: tuple[Fragment, ...] = ()
    """Each `moof`, in the order of the file."""
    cut: int | None = None
    """First byte of a `moof` that the end of the file cuts off; None if there is none."""


def walk_movie_header() -> Generator[Request, Answer, MovieHeader]:
    """What describes the samples of a movie, by a generator that yields requests and is sent the answers.

    Raises
    ------
    InvalidMovieError, UnsupportedMovieError
        As `walk_moov`; or the fragments are too many or too large.

    Notes
    -----
    As many requests as `walk_moov` for a movie without fragments. Otherwise one for each fragment besides;
    one for several of them if they are small, or at the end of the file.
    """
    held: list[Answer] = []
    walk = walk_moov()
    request = next(walk)
    while True:
        held.append((yield request))
        try:
            request = walk.send(held[-1])
        except StopIteration as end:
            moov, offset, file_size = end.value
            break
    if not _is_fragmented(moov, offset):
        return MovieHeader(moov, offset, file_size)
    fragments, cut = yield from _walk_fragments(_Window(held, file_size), offset + len(moov))
    return MovieHeader(moov, offset, file_size, tuple(fragments), cut)


def read_movie_header(read: Callable[[Request], Answer]) -> MovieHeader:
    """What describes the samples of a movie, by a blocking function that answers requests."""
    return drive_walk(walk_movie_header(), read)


async def read_movie_header_async(read: Callable[[Request], Awaitable[Answer]]) -> MovieHeader:
    """What describes the samples of a movie, by a coroutine function that answers requests."""
    return await drive_walk_async(walk_movie_header(), read)


def _is_fragmented(moov: bytes, offset: int) -> bool:
    header = parse_header(moov)
    n_bytes = header.n_bytes if header else 0
    return Atom("moov", memoryview(moov)[n_bytes:], offset, offset + n_bytes).find("mvex") is not None


class _Window:
    """The bytes at the current position: of an earlier answer, or of the last request."""

    def __init__(self, held: list[Answer], file_size: int) -> None:
        self.file_size = file_size
        self._held = held
        self._last = held[-1]
        self._n_requests = 0

    def read(self, start: int, stop: int, *, ahead_bytes: int) -> Generator[Request, Answer, bytes]:
        """The bytes `start` ≤ i < `stop` of the file; if they are fetched, with more after them."""
        for part in (self._last, *self._held):
            if part.start <= start and stop <= part.stop:
                return part.data[start - part.start : stop - part.start]
        if self._n_requests == MAX_FRAGMENT_REQUESTS:
            raise UnsupportedMovieError(
                f"the movie has more fragments than {MAX_FRAGMENT_REQUESTS} requests reach (byte {start}); "
                "remux it with `ffmpeg -c copy`"
            )
        self._n_requests += 1
        wanted = ByteRange(start, min(max(stop, start + ahead_bytes), self.file_size))
        part = yield wanted
        if (part.start, part.stop) != wanted:
            raise ValueError(
                f"answer has bytes {part.start} to {part.stop}; {start} to {wanted.stop} were requested"
            )
        self._last = part
        return part.data[: stop - start]


def _walk_fragments(
    window: _Window, position: int
) -> Generator[Request, Answer, tuple[list[Fragment], int | None]]:
    """The fragments from `position` on, and where one begins that is cut off."""
    found: list[Fragment] = []
    ahead_bytes, n_bytes_left, file_size = _WINDOW_BYTES, MAX_MOOV_BYTES, window.file_size
    for _ in range(_MAX_ATOMS):
        if file_size - position < 8:
            return found, None
        data = yield from window.read(position, min(position + 16, file_size), ahead_bytes=ahead_bytes)
        header = parse_header(data)
        if file_size - position < 16 and data[:4] == b"\0\0\0\1":
            return found, None  # cut off within a 64-bit size
        if header is None or not (header.type.isascii() and header.type.isprintable()):
            if not data.strip(b"\0"):
                return found, None  # padding
            raise InvalidMovieError(f"no atom can begin at byte {position}: {data[:8]!r}")
        stop = position + header.size if header.size else file_size
        if header.type == "moof":
            if stop > file_size:
                return found, position
            n_bytes_left -= stop - position
            if n_bytes_left < 0:
                raise InvalidMovieError(
                    f"moof atom at byte {position}: the fragments describe their samples in more than "
                    f"{MAX_MOOV_BYTES} bytes"
                )
            whole = yield from window.read(position, stop, ahead_bytes=stop - position + ahead_bytes)
            if found:
                near = position - found[-1].offset <= _SMALL_BYTES
                ahead_bytes = _LARGE_WINDOW_BYTES if near else _WINDOW_BYTES
            found.append(Fragment(whole, position))
        position = stop
    raise UnsupportedMovieError(f"the fragmented movie has more than {_MAX_ATOMS} atoms (byte {position})")
