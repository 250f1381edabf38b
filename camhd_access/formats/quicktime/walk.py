"""The walk to `moov`: the byte ranges of a file to read to get its index.

A generator yields requests and is sent the answers, so that the same logic serves a blocking and an async
caller. It requests the end of the file first, where recorders put `moov`: if it is there, one request
suffices. Otherwise it starts at the beginning and jumps from atom to atom, over the media, until it finds
`moov`: three requests in all with at most one media atom before it, and one more for each further
one. Without the end, which is not worth a request if `moov` is as likely at the beginning, or is long, it
takes two.

A `moov` near the end is told from the same four letters within a frame by what follows: its first
child, and atoms that fill the file exactly to its end. Any doubt costs requests, not correctness.
"""

import re
from collections.abc import Generator
from dataclasses import dataclass

from camhd_access.errors import InvalidMovieError, MissingMoovError, NotAMovieError, UnsupportedMovieError
from camhd_access.formats.quicktime.atoms import AtomHeader, parse_header
from camhd_access.formats.quicktime.other_formats import name_format
from camhd_access.ranges import ByteRange

__all__ = [
    "MAX_MOOV_BYTES",
    "MAX_REQUESTS",
    "Answer",
    "Head",
    "MoovBytes",
    "Request",
    "Tail",
    "walk_moov",
]

MAX_MOOV_BYTES = 64 << 20
"""Twelve million frames as CamHD writes them. Keeps what a lying size can cost below 200 MB."""
MAX_REQUESTS = 16
"""A movie with more media atoms before `moov` than this is rejected."""

_TAIL_BYTES = 512 << 10
_HEAD_BYTES = 64 << 10
_WINDOW_BYTES = 1 << 20  # read after each skipped atom: the next header, likely a whole moov
_LAST_GAP_BYTES = 32 << 20  # this near to the end, all is requested: likely one moov that fills it
_MAX_ATOMS = 1024
_FIRST_TYPES = {
    *("ftyp", "wide", "mdat", "moov", "free", "skip", "junk", "pnot"),
    *("PICT", "pict", "udta", "uuid", "meta", "prfl", "styp", "sidx", "moof"),
}
_MOOV_BEGINS = re.compile(rb"moov(?=(?:.{8})?.{4}(?:mvhd|cmov|rmra))", re.DOTALL)  # its first child follows


@dataclass(frozen=True, slots=True)
class Tail:
    """A request for the last bytes of a file: HTTP's suffix range."""

    n_bytes: int
    """Number of bytes. Shorter files are returned whole."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request for the first bytes of a file."""

    n_bytes: int
    """Number of bytes. Shorter files are returned whole."""


Request = Tail | Head | ByteRange


@dataclass(frozen=True, slots=True)
class Answer:
    """The requested bytes."""

    data: bytes
    start: int
    """Their offset in the file."""
    file_size: int
    """Length of the whole file in bytes."""

    @property
    def stop(self) -> int:
        """One past the last byte."""
        return self.start + len(self.data)


MoovBytes = tuple[bytes, int, int]
"""The `moov` atom whole, its offset in the file, and the file's size in bytes: what `parse_moov` takes."""

Fetch = Generator[Request, Answer, bytes]


def walk_moov(
    tail_bytes: int = _TAIL_BYTES, *, head_first: bool = False
) -> Generator[Request, Answer, MoovBytes]:
    """Bytes, offset and file size of `moov`, by a generator that yields requests and is sent the answers.

    Parameters
    ----------
    tail_bytes
        Length of the first request.
    head_first
        Do not request the end of the file, but begin at its beginning.

    Raises
    ------
    MissingMoovError
        The file has media, but no index: a truncated recording.
    InvalidMovieError
        Empty, truncated within `moov`, or not QuickTime at all.
    UnsupportedMovieError
        Fragmented, or too many media atoms before `moov`.

    Notes
    -----
    One request if `moov` lies within the tail. Otherwise at most three with at most one media atom before
    `moov`, one more for each further one, never more than `MAX_REQUESTS`. With `head_first` at most two, and
    one more for each further one.
    """
    first = yield (Head(_HEAD_BYTES) if head_first else Tail(tail_bytes))
    if not first.file_size:
        raise NotAMovieError("empty file: 0 bytes")
    if head_first and (first.start, first.stop) != (0, min(_HEAD_BYTES, first.file_size)):
        raise ValueError(
            f"answer has bytes {first.start} to {first.stop}; the first {_HEAD_BYTES} were requested"
        )
    if not head_first and first.stop != first.file_size:
        raise ValueError(
            f"answer ends at byte {first.stop} of {first.file_size}; the end of the file was requested"
        )
    known = _Known(first)
    place = _find_moov(first) if first.start else None
    if place is None:
        place = yield from _walk_atoms(known)
    if place.n_bytes > MAX_MOOV_BYTES:
        raise InvalidMovieError(
            f"moov atom at byte {place.start}: {place.n_bytes} bytes; at most {MAX_MOOV_BYTES} are read"
        )
    moov = yield from known.read(place.start, place.stop)
    return moov, place.start, known.file_size


class _Known:
    """The parts of a file that have been fetched so far."""

    def __init__(self, first: Answer) -> None:
        self.file_size = first.file_size
        self.tail_start = first.start if first.stop == first.file_size else first.file_size
        self._parts = [first]

    def read(self, start: int, stop: int, *, ahead_stop: int = 0) -> Fetch:
        """The bytes `start` ≤ i < `stop`; fetches the missing ones, and more up to `ahead_stop`."""
        pieces = []
        while start < stop:
            part = next((p for p in self._parts if p.start <= start < p.stop), None)
            if part is None:
                part = yield from self._fetch(start, max(stop, ahead_stop))
            pieces.append(part.data[start - part.start : stop - part.start])
            start = part.stop
        return b"".join(pieces)

    def _fetch(self, start: int, stop: int) -> Generator[Request, Answer, Answer]:
        """The missing bytes from `start` on, up to the next known ones, by one request."""
        if len(self._parts) == MAX_REQUESTS:
            raise UnsupportedMovieError(
                f"no moov found in {MAX_REQUESTS} requests; remux the movie with `ffmpeg -c copy`"
            )
        stop = min([stop, self.file_size, *(part.start for part in self._parts if part.start > start)])
        part = yield ByteRange(start, stop)
        if (part.start, part.stop) != (start, stop):
            raise ValueError(
                f"answer has bytes {part.start} to {part.stop}; {start} to {stop} were requested"
            )
        self._parts.append(part)
        return part


def _find_moov(tail: Answer) -> ByteRange | None:
    """Range of `moov`, if it begins in the tail and atoms fill the file from there to its end."""
    visited: set[int] = set()
    for letters in _MOOV_BEGINS.finditer(tail.data):
        start = letters.start() - 4
        header = parse_header(tail.data, start) if start >= 0 else None
        if header and _fills(tail.data, start, visited):
            return ByteRange(
                tail.start + start, tail.start + (start + header.size if header.size else len(tail.data))
            )
    return None


def _fills(data: bytes, position: int, visited: set[int]) -> bool:
    """Whether atoms follow each other from `position` to the very end; each position is tried only once."""
    while position < len(data):
        header = parse_header(data, position)
        if position in visited or header is None or not _is_plausible(header):
            return False
        visited.add(position)
        position = position + header.size if header.size else len(data)
    return position == len(data)


def _is_plausible(header: AtomHeader) -> bool:
    """Whether the type of a top-level atom is printable ASCII."""
    return header.type.isascii() and header.type.isprintable()


def _walk_atoms(known: _Known) -> Generator[Request, Answer, ByteRange]:
    """Range of `moov`, found by jumping from atom to atom from the beginning of the file."""
    position, has_media = 0, False
    for _ in range(_MAX_ATOMS):
        data = yield from known.read(
            position, min(position + 16, known.file_size), ahead_stop=_plan_ahead(known, position, has_media)
        )
        header = parse_header(data)
        if not position and (kind := name_format(data)):
            raise NotAMovieError(f"not a QuickTime movie: the file begins with {data!r}; it is {kind}")
        if not position and (header is None or header.type not in _FIRST_TYPES):
            raise InvalidMovieError(f"not a QuickTime movie: the file begins with {data!r}")
        if header is None or not _is_plausible(header):
            break
        place = ByteRange(position, position + header.size if header.size else known.file_size)
        if header.type == "moof":
            raise UnsupportedMovieError("the movie is fragmented (moof atom); remux it with `ffmpeg -c copy`")
        if header.type == "moov":
            if place.stop > known.file_size:
                raise InvalidMovieError(
                    f"moov atom at byte {position}: {place.n_bytes} bytes, cut off by the end of the file"
                    f" at byte {known.file_size}"
                )
            return place
        has_media |= header.type == "mdat"
        position = place.stop
        if position >= known.file_size:
            break
    raise MissingMoovError("no index (moov atom): recording interrupted or file incomplete")


def _plan_ahead(known: _Known, position: int, has_media: bool) -> int:
    """Where to end a request for the header at `position`, to read what follows at the same time."""
    if has_media and known.tail_start - position <= _LAST_GAP_BYTES:
        return known.tail_start
    return position + (_WINDOW_BYTES if position else _HEAD_BYTES)
