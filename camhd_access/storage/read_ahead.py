"""Reading ahead: bytes that will probably be wanted next, fetched before anybody asks for them.

Frames are mostly read in order: by iteration, by a film that plays, by the chunks of an array. Each such read
begins where an earlier one ended. From the second one on, the file is fetched in pieces of equal size, past
the end of what is asked, so that the network is busy while frames are decoded, and between the reads.

A pattern that breaks costs no more than it gave: what is ahead is never more than what was read in this order
before, nor than `MAX_BYTES_AHEAD`. A read elsewhere in the file cancels what is in flight and drops what has
come; `stats` counts it. Several patterns may go on at once, in one file or in several.
"""

import os
import threading
from bisect import insort
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import TypeAlias

from camhd_access.ranges import ByteRange, missing_ranges, overlapping, split_range

__all__ = ["Piece", "ReadAhead", "ReadAheadStats", "find_read_ahead"]

PIECE_BYTES = 1024 * 1024
"""Of one request: well above its overhead, and small enough for sixteen connections to share a read."""

MAX_BYTES_AHEAD = 32 * 1024 * 1024
"""Beyond what was asked, in one pattern."""

MAX_BYTES_HELD = 2 * MAX_BYTES_AHEAD
"""Of one pattern, with what was skipped."""

MAX_GAP_BYTES = 64 * 1024
"""A read that leaves out so few bytes still goes on: sound lies between the frames of some movies."""

MAX_PATTERNS = 8
"""Followed at once by a process; the one that is used least is given up."""

Fetch: TypeAlias = Callable[[ByteRange], Future[bytes]]
"""Begins to fetch a range."""


@dataclass(slots=True)
class ReadAheadStats:
    """Bytes that were fetched before they were asked for, in this process."""

    n_bytes: int = 0
    """All of them."""
    n_bytes_unused: int = 0
    """Those that were dropped unread."""


@dataclass(slots=True, eq=False)
class Piece:
    """A stretch of a file, in flight or there."""

    start: int
    """First byte."""
    stop: int
    """One past the last byte."""
    future: "Future[bytes]"
    """Its bytes."""
    is_ahead: bool = True
    """Nobody has asked for it yet."""
    read_to: int = 0
    """What lies before was read."""

    @property
    def is_done(self) -> bool:
        """It was read to its end, or failed: who asks again fetches it again."""
        failed = self.future.done() and (self.future.cancelled() or self.future.exception() is not None)
        return failed or self.read_to >= self.stop

    def take(self, wanted: ByteRange) -> memoryview:
        """Those of its bytes that are `wanted`; what fetching them raised is raised here."""
        self.read_to = max(self.read_to, wanted.stop)
        first, last = max(wanted.start, self.start), min(wanted.stop, self.stop)
        return memoryview(self.future.result())[first - self.start : last - self.start]


@dataclass(slots=True, eq=False)
class _Pattern:
    """Reads of one file in order."""

    number: int
    """Later ones have higher numbers."""
    key: Hashable
    """Which file, and which version of it."""
    start: int
    stop: int
    """What was read in this order."""
    stats: ReadAheadStats
    """Where its bytes are counted."""
    pieces: list[Piece] = field(default_factory=list)
    """In order, none overlapping another; what lies between them was not fetched, or is dropped."""

    @property
    def n_bytes(self) -> int:
        """Bytes that are there or in flight."""
        return sum(piece.stop - piece.start for piece in self.pieces)

    def goes_on(self, wanted: ByteRange) -> bool:
        """Whether a read begins where an earlier one ended, or in what was fetched ahead."""
        is_next = 0 <= wanted.start - self.stop <= MAX_GAP_BYTES
        ahead = (piece for piece in self.pieces if not piece.is_done)
        return is_next or any(max(piece.start, piece.read_to) <= wanted.start < piece.stop for piece in ahead)

    def read_on(
        self, wanted: ByteRange, file_size: int, fetch: Fetch, others: Sequence["_Pattern"]
    ) -> list[Piece]:
        """The pieces that hold what is wanted, in flight with more beyond it that `others` have not read."""
        self.drop([piece for piece in self.pieces if piece.is_done])
        if self.n_bytes > MAX_BYTES_HELD:
            self.drop([piece for piece in self.pieces if piece.stop <= wanted.start])
        n_ahead = min(self.stop - self.start, MAX_BYTES_AHEAD)
        self.stop = max(self.stop, wanted.stop)
        self._fetch(list(missing_ranges(wanted, self.pieces)), fetch)
        if self.pieces[-1].stop - self.stop < n_ahead // 2:  # many at once make few requests
            beyond = ByteRange(wanted.stop, max(wanted.stop, min(file_size, self.stop + n_ahead)))
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
        """Begin to fetch what nobody has asked for yet."""
        for part in (part for each in ranges for part in split_range(each, max_request_bytes=PIECE_BYTES)):
            insort(self.pieces, Piece(*part, fetch(part)), key=lambda piece: piece.start)

    def drop(self, pieces: Sequence[Piece]) -> None:
        """Forget pieces; what nobody has asked for is not fetched any more."""
        for piece in pieces:
            if piece.is_ahead:
                piece.future.cancel()
                self.stats.n_bytes_unused += piece.stop - piece.start
        self.pieces = [piece for piece in self.pieces if piece not in pieces]


class ReadAhead:
    """The patterns that a process follows. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._patterns: list[_Pattern] = []  # the one used last at the end
        self._numbers = count()
        self.stats = ReadAheadStats()

    def follows(self, key: Hashable, wanted: ByteRange) -> bool:
        """Whether a read goes on from an earlier one; where not, others may go on from it.

        Parameters
        ----------
        key
            The file, and its version.
        wanted
            All that is read.
        """
        with self._lock:
            mine = [each for each in self._patterns if each.key == key]
            if any(each.goes_on(wanted) for each in mine):
                return True
            if not any(each.start <= wanted.start and wanted.stop <= each.stop for each in mine):
                for pattern in mine:  # one that goes on nevertheless begins anew
                    pattern.drop([piece for piece in pattern.pieces if piece.is_ahead])
            self._patterns.append(_Pattern(next(self._numbers), key, wanted.start, wanted.stop, self.stats))
            if len(self._patterns) > MAX_PATTERNS:
                self._give_up(next((each for each in self._patterns if not each.pieces), self._patterns[0]))
            return False

    def read_on(self, key: Hashable, wanted: ByteRange, file_size: int, fetch: Fetch) -> list[Piece]:
        """The pieces that hold one part of a read that `follows`; none where its pattern was given up.

        Parameters
        ----------
        key
            The file, and its version.
        wanted
            The part.
        file_size
            Bytes of the file.
        fetch
            Begins to fetch a range.
        """
        with self._lock:
            mine = [each for each in self._patterns if each.key == key]
            pattern = next((each for each in mine if each.goes_on(wanted)), None)
            if pattern is None:
                return []
            self._patterns.remove(pattern)
            while sum(each.n_bytes for each in self._patterns) > MAX_BYTES_HELD:
                self._give_up(next(each for each in self._patterns if each.pieces))
            self._patterns.append(pattern)
            others = [each for each in mine if each.number > pattern.number]
            return pattern.read_on(wanted, file_size, fetch, others)

    def _give_up(self, pattern: _Pattern) -> None:
        pattern.drop(pattern.pieces)
        self._patterns.remove(pattern)

    def forget(self, key: Hashable) -> None:
        """Give up the patterns of a file."""
        with self._lock:
            for pattern in [each for each in self._patterns if each.key == key]:
                self._give_up(pattern)


@cache
def find_read_ahead() -> ReadAhead:
    """That of this process."""
    return ReadAhead()


if hasattr(os, "register_at_fork"):  # what the parent has in flight never arrives in the child
    os.register_at_fork(after_in_child=find_read_ahead.cache_clear)
