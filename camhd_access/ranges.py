"""Half-open byte ranges: how to fetch many of them in few requests, which parts are missing, and walks.

Input: the wanted ranges, in any order, overlapping or equal. Output: *spans*, each covering some of the
wanted ranges as one stretch of the file, and *requests*, the pieces in which a large
span is fetched. Two rules apply: ranges whose gap is cheaper to read than to skip are
merged, and no request is larger than the limit. There is no I/O here.

A *walk* searches through bytes that it does not have: a generator that yields questions (usually byte
ranges), is sent the answers, and returns its result. The same walk can be run by a blocking function, by a
coroutine, from bytes in memory, or within another walk.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

__all__ = [
    "ByteData",
    "ByteRange",
    "Interval",
    "Span",
    "Walk",
    "drive_walk",
    "drive_walk_async",
    "missing_ranges",
    "nest_walk",
    "overlapping",
    "parse_range_header",
    "plan_spans",
    "run_walk",
    "split_range",
]

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

ByteData: TypeAlias = bytes | bytearray | memoryview

Walk: TypeAlias = Generator[Sequence[tuple[int, int]], list[ByteData], T]
"""Yields half-open byte ranges, is sent their bytes in the same order, and returns a `T`."""


class Interval(Protocol):
    """Anything that has a start and a stop."""

    @property
    def start(self) -> int:
        """First byte."""

    @property
    def stop(self) -> int:
        """One past the last byte."""


AnyInterval = TypeVar("AnyInterval", bound=Interval)


class ByteRange(NamedTuple):
    """The bytes `start` ≤ i < `stop` of a file."""

    start: int
    stop: int

    @property
    def n_bytes(self) -> int:
        """Length in bytes."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of a file that covers some of the wanted ranges."""

    start: int
    """First byte."""
    stop: int
    """One past the last byte."""
    members: tuple[int, ...]
    """Positions, in the caller's sequence, of the ranges that lie within."""

    @property
    def n_bytes(self) -> int:
        """Length in bytes, gaps included."""
        return self.stop - self.start


def plan_spans(ranges: Sequence[ByteRange], *, max_gap_bytes: int, max_span_bytes: int) -> list[Span]:
    """Spans that cover all `ranges`, in file order, every range wholly inside one span.

    Parameters
    ----------
    ranges
        The wanted ranges. Empty ranges are not covered by any span.
    max_gap_bytes
        Two ranges are merged when no more unwanted bytes than this lie between them.
    max_span_bytes
        Merging stops where a span would grow beyond this. A single range larger than this is still one span.

    Raises
    ------
    ValueError
        A range that starts before 0 or ends before it starts.
    """
    for wanted in ranges:
        if not 0 <= wanted.start <= wanted.stop:
            raise ValueError(f"not a byte range: {wanted.start} to {wanted.stop}")
    spans: list[Span] = []
    start = stop = 0
    members: list[int] = []
    for position in sorted(range(len(ranges)), key=ranges.__getitem__):
        wanted = ranges[position]
        if not wanted.n_bytes:
            continue
        joined_stop = max(stop, wanted.stop)
        near = wanted.start - stop <= max_gap_bytes and joined_stop - start <= max_span_bytes
        if members and not (near or wanted.stop <= stop):
            spans.append(Span(start, stop, tuple(members)))
            members = []
        if not members:
            start, joined_stop = wanted
        stop = joined_stop
        members.append(position)
    if members:
        spans.append(Span(start, stop, tuple(members)))
    return spans


def split_range(wanted: ByteRange, *, max_request_bytes: int) -> list[ByteRange]:
    """Pieces of equal size (± 1 byte) that make up `wanted`, none above `max_request_bytes`."""
    n_pieces = max(1, -(-wanted.n_bytes // max_request_bytes))
    edges = [wanted.start + wanted.n_bytes * i // n_pieces for i in range(n_pieces + 1)]
    return [ByteRange(a, b) for a, b in pairwise(edges)]


def overlapping(items: Sequence[AnyInterval], wanted: ByteRange) -> Sequence[AnyInterval]:
    """The `items` (in order, non-overlapping) that share at least one byte with `wanted`."""
    first = bisect_right(items, wanted.start, key=lambda item: item.stop)
    return items[first : max(first, bisect_left(items, wanted.stop, key=lambda item: item.start))]


def missing_ranges(wanted: ByteRange, held: Sequence[Interval]) -> Iterator[ByteRange]:
    """The parts of `wanted` that are not covered by `held` (in order, non-overlapping)."""
    position = wanted.start
    for item in overlapping(held, wanted):
        if item.start > position:
            yield ByteRange(position, item.start)
        position = item.stop
    if position < wanted.stop:
        yield ByteRange(position, wanted.stop)


def drive_walk(walk: Generator[Q, A, T], answer: Callable[[Q], A]) -> T:
    """Run `walk` with a blocking function that answers its questions; return its result."""
    reply: Any = None  # starts a generator
    while True:
        try:
            question = walk.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        reply = answer(question)


async def drive_walk_async(walk: Generator[Q, A, T], answer: Callable[[Q], Awaitable[A]]) -> T:
    """Run `walk` with a coroutine that answers its questions; return its result."""
    reply: Any = None  # starts a generator
    while True:
        try:
            question = walk.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        reply = await answer(question)


def nest_walk(walk: Generator[Q, A, T], answer: Callable[[Q], Walk[A]]) -> Walk[T]:
    """A walk that returns the result of `walk`, answering its questions by walks."""
    reply: Any = None  # starts a generator
    while True:
        try:
            question = walk.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        reply = yield from answer(question)


def run_walk(walk: Walk[T], data: ByteData) -> T:
    """Run `walk` on the bytes of one sample; return its result."""
    view = memoryview(data)
    return drive_walk(walk, lambda ranges: [view[start:stop] for start, stop in ranges])


_RANGE_HEADER = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII | re.IGNORECASE)


def parse_range_header(header: str, size: int) -> ByteRange | None:
    """The byte range of a file of `size` bytes that a `Range` header selects; None for the whole file.

    Notes
    -----
    RFC 9110, section 14. The range is empty if unsatisfiable (it starts beyond the end, or is a suffix of
    0 bytes). Unknown units and forms are ignored, as are requests for several ranges.
    """
    match = _RANGE_HEADER.fullmatch(header.strip())
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return ByteRange(max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return ByteRange(min(int(first), size), min(int(last) + 1, size) if last else size)
