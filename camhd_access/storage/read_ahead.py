"""Read-ahead: fetch the bytes after the end of sequential reads before they are requested.

Frames are mostly read sequentially: by iteration, by playback, by the chunks of an array. Each such read
begins where an earlier one ended. From the second one on, or the first if the reader expects more, the whole
read is requested when it begins, and pieces of equal size beyond its end, so that the network is busy while
frames are decoded, and between reads.

A sequence that ends never wastes more bytes than it used: at most as many bytes are fetched beyond a read as
were read in sequence before, and at most `MAX_BYTES_AHEAD`. A read elsewhere in the file cancels requests in
flight and drops the bytes that have arrived; `stats` counts them. Several sequences ("patterns") are followed
at the same time, in one file or in several.
"""

import os
import threading
from bisect import insort
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import TypeAlias

from camhd_access.ranges import ByteRange, missing_ranges, overlapping, split_range

__all__ = ["MAX_BYTES_AHEAD", "Piece", "ReadAhead", "ReadAheadStats", "find_read_ahead"]

PIECE_BYTES = 1024 * 1024
"""Bytes per request: well above its overhead, and small enough for sixteen connections to share a read."""

MAX_REFILL_BYTES = 4 * PIECE_BYTES
"""Once so much has been read of what was fetched ahead, as much is requested, so that no connection waits."""

MAX_BYTES_AHEAD = 32 * 1024 * 1024
"""Once this much of a read or a sequence is in flight or waiting to be read, no more is requested."""

MAX_BYTES_HELD = 2 * MAX_BYTES_AHEAD
"""Maximum number of bytes kept for one sequence, including bytes that were skipped."""

MAX_GAP_BYTES = 64 * 1024
"""Maximum gap between sequential reads: some movies have sound between the frames."""

MAX_PATTERNS = 8
"""Maximum number of sequences of a process; the least recently used one is dropped."""

Fetch: TypeAlias = Callable[[ByteRange], Future[bytes]]
"""Starts to fetch a range."""


@dataclass(slots=True)
class ReadAheadStats:
    """Bytes that were fetched ahead in this process."""

    n_bytes: int = 0
    """All bytes that were fetched ahead."""
    n_bytes_unused: int = 0
    """Bytes that were dropped without being read."""


@dataclass(slots=True, eq=False)
class Piece:
    """A part of a file, in flight or fetched."""

    start: int
    """First byte."""
    stop: int
    """One past the last byte."""
    future: "Future[bytes]"
    """The bytes of the piece."""
    is_ahead: bool = True
    """True until the first read of the piece."""
    read_to: int = 0
    """Bytes before this offset have been read."""

    @property
    def is_done(self) -> bool:
        """Whether it was read to its end, or failed; a later read fetches the bytes again."""
        return self.read_to >= self.stop or (
            self.future.done() and (self.future.cancelled() or self.future.exception() is not None)
        )

    def take(self, wanted: ByteRange) -> memoryview:
        """The part of its bytes within `wanted`; raises the error of the fetch, if any."""
        self.read_to = max(self.read_to, wanted.stop)
        first, last = max(wanted.start, self.start), min(wanted.stop, self.stop)
        return memoryview(self.future.result())[first - self.start : last - self.start]


@dataclass(slots=True, eq=False)
class _Pattern:
    """Sequential reads of one file."""

    number: int
    """Serial number, in the order of creation."""
    key: Hashable
    """Identifies the file and its version."""
    start: int
    stop: int
    """The bytes from `start` to `stop` were read in sequence."""
    stats: ReadAheadStats
    """Counters of the process."""
    n_expected: int = 0
    """Bytes that are fetched ahead although fewer have been read so far."""
    pieces: list[Piece] = field(default_factory=list)
    """Pieces in file order, without overlap; bytes between them were not fetched, or were dropped."""

    @property
    def n_bytes(self) -> int:
        """Bytes fetched or in flight."""
        return sum(piece.stop - piece.start for piece in self.pieces)

    def goes_on(self, wanted: ByteRange) -> bool:
        """Whether a read begins where an earlier one ended, or within the bytes fetched ahead."""
        if 0 <= wanted.start - self.stop <= MAX_GAP_BYTES:
            return True
        there = overlapping(self.pieces, ByteRange(wanted.start, wanted.start + 1))
        return any(piece.read_to <= wanted.start and not piece.is_done for piece in there)

    def read_on(
        self,
        wanted: ByteRange,
        read_stop: int,
        file_size: int,
        fetch: Fetch,
        others: Sequence["_Pattern"],
    ) -> list[Piece]:
        """The pieces that contain `wanted`; fetches these, and more bytes that `others` have not read."""
        self.drop([piece for piece in self.pieces if piece.start < wanted.stop and piece.is_done])
        if self.n_bytes > MAX_BYTES_HELD:
            self.drop([piece for piece in self.pieces if piece.stop <= wanted.start])
        n_read = self.stop - self.start
        self.stop = max(self.stop, wanted.stop)
        n_beyond = max(n_read, self.n_expected)
        n_ahead = min(max(read_stop, self.stop) + n_beyond - self.stop, MAX_BYTES_AHEAD)
        self._fetch(list(missing_ranges(wanted, self.pieces)), fetch)
        last = self.pieces[-1].stop
        n_missing = self.stop + n_ahead - last
        if n_missing > min(n_ahead // 2, MAX_REFILL_BYTES):
            n_missing = n_missing // PIECE_BYTES * PIECE_BYTES or n_missing
            beyond = ByteRange(wanted.stop, max(wanted.stop, min(file_size, last + n_missing)))
            missing = list(missing_ranges(beyond, self.pieces))
            for other in others:
                missing = [part for each in missing for part in missing_ranges(each, [other])]
            self._fetch(missing, fetch)
            self.stats.n_bytes += sum(part.n_bytes for part in missing)
        held = list(overlapping(self.pieces, wanted))
        for piece in held:
            piece.is_ahead = False
        return held

    def _fetch(self, ranges: Sequence[ByteRange], fetch: Fetch) -> None:
        """Start to fetch `ranges`."""
        for part in (part for each in ranges for part in split_range(each, max_request_bytes=PIECE_BYTES)):
            insort(self.pieces, Piece(*part, fetch(part)), key=lambda piece: piece.start)

    def drop(self, pieces: Sequence[Piece]) -> None:
        """Forget pieces, and cancel those that no read has requested."""
        for piece in pieces:
            if piece.is_ahead:
                piece.future.cancel()
                self.stats.n_bytes_unused += piece.stop - piece.start
        self.pieces = [piece for piece in self.pieces if piece not in pieces]


class ReadAhead:
    """The sequences of reads in a process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_held = False
        self._patterns: list[_Pattern] = []  # least recently used first
        self._numbers = count()
        self.stats = ReadAheadStats()

    def follows(self, key: Hashable, wanted: ByteRange, *, has_gaps: bool = False) -> bool:
        """Whether a read continues an earlier one; if not, it may be the first of a sequence.

        Parameters
        ----------
        key
            Identifies the file and its version.
        wanted
            The range of the whole read.
        has_gaps
            Whether only parts of it are read: such a read belongs to no sequence.
        """
        with self._alone() as is_alone:
            if not is_alone:
                return False
            mine = [each for each in self._patterns if each.key == key]
            if not has_gaps and any(each.goes_on(wanted) for each in mine):
                return True
            if not any(each.start <= wanted.start and wanted.stop <= each.stop for each in mine):
                for pattern in mine:  # a sequence that continues later starts again
                    pattern.drop([piece for piece in pattern.pieces if piece.is_ahead])
            if not has_gaps:
                self._begin(key, wanted.start, wanted.stop)
            return False

    def expect(self, key: Hashable, start: int, n_bytes: int) -> None:
        """Expect a sequence of reads from byte `start` on: its first read is followed by `n_bytes`."""
        with self._alone() as is_alone:
            if is_alone:
                self._begin(key, start, start, n_expected=n_bytes)

    def read_on(
        self, key: Hashable, wanted: ByteRange, read_stop: int, file_size: int, fetch: Fetch
    ) -> list[Piece]:
        """The pieces that contain a part of a sequential read; none if its sequence was dropped.

        Parameters
        ----------
        key
            Identifies the file and its version.
        wanted
            The range of the part.
        read_stop
            One past the last byte of the whole read: its other parts are fetched too.
        file_size
            Size of the file in bytes.
        fetch
            Starts to fetch a range.
        """
        with self._alone():
            mine = [each for each in self._patterns if each.key == key]
            pattern = next((each for each in mine if each.goes_on(wanted)), None)
            if pattern is None:
                return []
            self._patterns.remove(pattern)
            while sum(each.n_bytes for each in self._patterns) > MAX_BYTES_HELD:
                self._give_up(next(each for each in self._patterns if each.pieces))
            self._patterns.append(pattern)
            others = [each for each in mine if each.number > pattern.number]
            return pattern.read_on(wanted, read_stop, file_size, fetch, others)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """A context for one thread; False within another one, where a `__del__` that reads may run."""
        with self._lock:
            is_alone, self._is_held = not self._is_held, True
            try:
                yield is_alone
            finally:
                self._is_held = not is_alone

    def _begin(self, key: Hashable, start: int, stop: int, *, n_expected: int = 0) -> None:
        if len(self._patterns) == MAX_PATTERNS:
            is_read = (each for each in self._patterns if all(piece.is_done for piece in each.pieces))
            self._give_up(next(is_read, self._patterns[0]))
        self._patterns.append(_Pattern(next(self._numbers), key, start, stop, self.stats, n_expected))

    def _give_up(self, pattern: _Pattern) -> None:
        pattern.drop(pattern.pieces)
        self._patterns.remove(pattern)

    def forget(self, key: Hashable) -> None:
        """Drop the sequences of a file."""
        with self._alone():
            for pattern in [each for each in self._patterns if each.key == key]:
                self._give_up(pattern)


@cache
def find_read_ahead() -> ReadAhead:
    """The `ReadAhead` of this process."""
    return ReadAhead()


if hasattr(os, "register_at_fork"):  # the parent's requests in flight never complete in the child
    os.register_at_fork(after_in_child=find_read_ahead.cache_clear)
