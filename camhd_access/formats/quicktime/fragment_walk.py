"""The walk to the index of a movie that may be fragmented: `moov`, and each `moof` after it.

Fragments are found by jumping from atom to atom, over the media. A request for a header also fetches what
follows: usually the whole `moof` and the header of its `mdat`, so that a fragment costs one request, and
several small ones cost one together. Where a table of the movie (`mfra`, `sidx`) tells where fragments begin,
the bytes of many are requested at once; the walk over them is the same, so that nothing is taken from tables.

Source: ISO/IEC 14496-12, 8.8.4 (`moof`).
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import InvalidMovieError, UnsupportedMovieError
from camhd_access.formats.quicktime.atoms import Atom, parse_header
from camhd_access.formats.quicktime.fragment_tables import (
    MAX_TABLE_BYTES,
    find_last_table,
    parse_mfra,
    parse_sidx,
)
from camhd_access.formats.quicktime.fragments import Fragment
from camhd_access.formats.quicktime.walk import MAX_MOOV_BYTES, Answer, Request, walk_moov
from camhd_access.ranges import ByteRange, drive_walk, drive_walk_async, plan_spans

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
_LISTED_BYTES = 4 << 10  # fetched at least at each fragment that a table lists
_MAX_LISTED = 1 << 17  # fragments of tables that are used
_MAX_PLANNED = 1 << 14  # of them at once
_MAX_AT_ONCE, _MAX_BYTES_AT_ONCE = 256, 8 << 20  # requests together, and what they fetch

Requests: TypeAlias = Sequence[Request]
"""Requests that may be answered at the same time."""
Answers: TypeAlias = Sequence[Answer]
"""Their answers, in the same order."""


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


def walk_movie_header(*, head_first: bool = False) -> Generator[Requests, Answers, MovieHeader]:
    """What describes the samples of a movie, by a generator that yields requests and is sent the answers.

    It yields several requests where they may be answered at the same time.

    Parameters
    ----------
    head_first
        Begin at the beginning of the file, as in `walk_moov`.

    Raises
    ------
    InvalidMovieError, UnsupportedMovieError
        As `walk_moov`; or the fragments are too many or too large.

    Notes
    -----
    As many requests as `walk_moov` for a movie without fragments. Otherwise one for each fragment besides;
    one for several of them if they are small, or at the end of the file. With a table of the fragments, up to
    256 are made at the same time.
    """
    held: list[Answer] = []
    walk = walk_moov(head_first=head_first)
    request = next(walk)
    while True:
        held.extend((yield [request]))
        try:
            request = walk.send(held[-1])
        except StopIteration as end:
            moov, offset, file_size = end.value
            break
    if not _is_fragmented(moov, offset):
        return MovieHeader(moov, offset, file_size)
    fragments, cut = yield from _walk_fragments(_Window(held, file_size), offset + len(moov))
    return MovieHeader(moov, offset, file_size, tuple(fragments), cut)


def read_movie_header(
    read: Callable[[Request], Answer],
    read_several: Callable[[Sequence[ByteRange]], Answers] | None = None,
    *,
    head_first: bool = False,
) -> MovieHeader:
    """What describes the samples of a movie, by a blocking function that answers requests.

    Parameters
    ----------
    read_several
        Answers several requests at the same time; None: they are answered by `read`, one after the other.
    head_first
        Begin at the beginning of the file, as in `walk_moov`.
    """

    def answer(requests: Requests) -> Answers:
        ranges = [request for request in requests if isinstance(request, ByteRange)]
        if read_several is None or len(ranges) < 2:
            return [read(request) for request in requests]
        return read_several(ranges)

    return drive_walk(walk_movie_header(head_first=head_first), answer)


async def read_movie_header_async(read: Callable[[Request], Awaitable[Answer]]) -> MovieHeader:
    """The same by a coroutine function, which is asked for one answer after the other."""

    async def answer(requests: Requests) -> Answers:
        return [await read(request) for request in requests]

    return await drive_walk_async(walk_movie_header(), answer)


def _is_fragmented(moov: bytes, offset: int) -> bool:
    header = parse_header(moov)
    n_bytes = header.n_bytes if header else 0
    return Atom("moov", memoryview(moov)[n_bytes:], offset, offset + n_bytes).find("mvex") is not None


class _Window:
    """The bytes at the current position: of earlier answers, which may reach ahead to listed fragments."""

    def __init__(self, held: list[Answer], file_size: int) -> None:
        self.file_size = file_size
        self.listed_bytes = 0
        """Bytes to fetch at each fragment that a table lists; 0: none are fetched ahead."""
        self._held = held
        self._last = held[-1]
        self._ahead: deque[Answer] = deque()
        self._listed: list[int] | None = None  # None: the table at the end of the file has not been read
        self._n_requests = self._n_listed_requests = 0

    def add(self, places: NDArray[np.int64]) -> None:
        """Where a table says that fragments begin."""
        known = {*(self._listed or ()), *places[places < self.file_size].tolist()}
        self._listed = sorted(known)[:_MAX_LISTED]

    def read(self, start: int, stop: int, *, ahead_bytes: int) -> Generator[Requests, Answers, bytes]:
        """The bytes `start` ≤ i < `stop` of the file; if they are fetched, with more after them."""
        while self._ahead and self._ahead[0].stop <= start:
            self._ahead.popleft()
        next_part = self._ahead[0] if self._ahead else self._last
        for part in (next_part, self._last, *self._held):
            if part.start <= start and stop <= part.stop:
                return part.data[start - part.start : stop - part.start]
        if self._listed is None:
            yield from self._read_last_table()
        ranges = self._plan_listed(start, stop)
        if not ranges:
            ranges = [ByteRange(start, min(max(stop, start + ahead_bytes), self.file_size))]
            self._count_request(start)
        parts = yield ranges
        for wanted, part in zip(ranges, parts, strict=True):
            if (part.start, part.stop) != wanted:
                told = f"{wanted.start} to {wanted.stop} were requested"
                raise ValueError(f"answer has bytes {part.start} to {part.stop}; {told}")
        self._last, *others = parts
        self._ahead = deque(others) if others else self._ahead
        return self._last.data[: stop - start]

    def _count_request(self, start: int) -> None:
        if self._n_requests == MAX_FRAGMENT_REQUESTS:
            raise UnsupportedMovieError(
                f"the movie has more fragments than {MAX_FRAGMENT_REQUESTS} requests reach (byte {start}); "
                "remux it with `ffmpeg -c copy`"
            )
        self._n_requests += 1

    def _read_last_table(self) -> Generator[Requests, Answers, None]:
        self._listed = []
        first = self._held[0]  # the end of the file, or its beginning
        end = first.data if first.stop == self.file_size else b""
        if not end:
            end = yield from self.read(max(0, self.file_size - _WINDOW_BYTES), self.file_size, ahead_bytes=0)
        n_bytes = find_last_table(end)
        if 0 < n_bytes <= self.file_size:
            data = yield from self.read(self.file_size - n_bytes, self.file_size, ahead_bytes=0)
            self.add(parse_mfra(data))

    def _plan_listed(self, start: int, stop: int) -> list[ByteRange]:
        """The bytes from `start` on and at the next listed fragments; none if none is listed near `start`.

        Atoms may precede each fragment (`styp`, `sidx`): as many bytes as before the first are fetched before
        each.
        """
        listed, n_left = self._listed or [], MAX_FRAGMENT_REQUESTS - self._n_listed_requests
        places = listed[bisect_left(listed, start) :][:_MAX_PLANNED]
        n_before = places[0] - start if places else _LISTED_BYTES
        if not (self.listed_bytes and n_left) or n_before >= _LISTED_BYTES:
            return []
        wanted = [
            ByteRange(place - n_before, min(place + self.listed_bytes, self.file_size)) for place in places
        ]
        wanted[0] = ByteRange(start, max(stop, wanted[0].stop))
        spans = plan_spans(wanted, max_gap_bytes=_WINDOW_BYTES, max_span_bytes=_LARGE_WINDOW_BYTES)
        n_bytes = np.cumsum([span.n_bytes for span in spans])
        n_spans = max(1, min(int(np.searchsorted(n_bytes, _MAX_BYTES_AT_ONCE)), _MAX_AT_ONCE, n_left))
        self._n_listed_requests += n_spans
        self._listed = [place for place in listed if place >= spans[n_spans - 1].stop]
        return [ByteRange(span.start, span.stop) for span in spans[:n_spans]]


def _walk_fragments(
    window: _Window, position: int
) -> Generator[Requests, Answers, tuple[list[Fragment], int | None]]:
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
            window.listed_bytes = min(max(_LISTED_BYTES, 2 * len(whole)), _WINDOW_BYTES)
        elif header.type == "sidx" and header.size <= MAX_TABLE_BYTES and stop <= file_size:
            window.add(
                parse_sidx((yield from window.read(position, stop, ahead_bytes=ahead_bytes)), position)
            )
        position = stop
    raise UnsupportedMovieError(f"the fragmented movie has more than {_MAX_ATOMS} atoms (byte {position})")
