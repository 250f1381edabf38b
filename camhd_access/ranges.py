"""Half-open byte ranges, and which requests to make for many of them.

What comes in: the ranges somebody wants, in any order, overlapping or equal. What goes out: *spans*, each
covering some of the wanted ranges as one stretch of the file, and *requests*, the pieces in which a large
span is fetched. Two rules lead from one to the other: ranges whose gap is cheaper to read than to skip are
merged, and nothing larger than the limit is asked in one request. No input or output happens here.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias, TypeVar

__all__ = ["ByteData", "ByteRange", "Span", "Walk", "plan_spans", "run_walk", "split_range"]

T = TypeVar("T")

ByteData: TypeAlias = bytes | bytearray | memoryview

Walk: TypeAlias = Generator[list[tuple[int, int]], list[ByteData], T]
"""Yields half-open byte ranges of the sample, is sent their bytes in the same order, and returns a `T`."""


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
        What is wanted. Empty ranges are covered by no span.
    max_gap_bytes
        Two ranges are merged when no more unwanted bytes than this lie between them.
    max_span_bytes
        Merging stops where a span would grow beyond this. A single larger range still is one span.

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


def run_walk(walk: Walk[T], data: ByteData) -> T:
    """What `walk` returns when all of its questions are answered from one sample."""
    view = memoryview(data)
    try:
        ranges = next(walk)
        while True:
            ranges = walk.send([view[start:stop] for start, stop in ranges])
    except StopIteration as end:
        result: T = end.value
        return result
