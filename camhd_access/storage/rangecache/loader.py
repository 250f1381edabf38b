"""Ranges of one file version, from wherever they are: another task, the folder, the filesystem behind.

Ranges that another task of this process is already reading, from the same address, are awaited. Of the
others, those in the folder are read from it. Missing ranges are locked, so that no other process, and no
task with another signature of the URL, fetches them at the same time, looked up once more, fetched by one
call, and stored.
Nobody waits for a lock while holding one, so there are no deadlocks. Disk work is done in threads,
never on the event loop.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from camhd_access.caching import SingleFlight
from camhd_access.errors import RemoteFileError, TruncatedResponseError
from camhd_access.ranges import ByteRange, missing_ranges, overlapping, plan_spans
from camhd_access.storage.lazyhttp.tasks import in_thread
from camhd_access.storage.rangecache.blocks import Piece
from camhd_access.storage.rangecache.folder import CacheFolder, FileVersion
from camhd_access.urls import redact_url

__all__ = ["Answer", "CacheStats", "RangeLoader", "claim"]

Answer = bytes | Exception
"""The result for a range."""

_Key = tuple[str, FileVersion, ByteRange]
"""A read in flight: the path to fetch from, and what."""

_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.002, 0.05
_PATIENCE_SECONDS = 10.0  # longer claims come from a stopped process or a very slow link


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Reads of a filesystem since it was created."""

    hits: int = 0
    """Ranges read without a byte from the filesystem behind. Concurrent callers of one range count once."""
    misses: int = 0
    """Ranges that needed it."""
    requests: int = 0
    """Requests for ranges and descriptions to the filesystem behind."""
    bytes_from_cache: int = 0
    """Bytes read from the folder."""
    bytes_fetched: int = 0
    """Bytes fetched from the filesystem behind."""


class Failure(NamedTuple):
    """A range that could not be read."""

    start: int
    """First byte."""
    stop: int
    """One past the last byte."""
    error: Exception
    """Why."""


class Fetch(Protocol):
    """Fetches ranges from the filesystem behind; failed ones are replaced by an exception."""

    def __call__(
        self, path: str, version: FileVersion, ranges: list[ByteRange], max_gap: int | None
    ) -> Awaitable[list[Answer]]:
        """The results, in the order of `ranges`."""


class RangeLoader:
    """Reads ranges, each once, however many callers ask at the same time.

    Parameters
    ----------
    folder
        Where blocks are kept.
    fetch
        Fetches missing ranges.
    """

    def __init__(self, folder: CacheFolder, fetch: Fetch) -> None:
        self.stats = CacheStats()
        self._folder = folder
        self._fetch = fetch
        self._in_flight: SingleFlight[_Key, Answer] = SingleFlight()

    def count(self, **added: int) -> None:
        """Add to the counters. Only on the event loop, so that no other thread interferes."""
        self.stats = replace(self.stats, **{name: getattr(self.stats, name) + n for name, n in added.items()})

    def forget_flights(self) -> None:
        """Forget reads in flight: after a fork, those tasks belong to the parent."""
        self._in_flight.forget()

    async def load(
        self, path: str, version: FileVersion, ranges: Sequence[ByteRange], *, max_gap: int | None = None
    ) -> list[Answer]:
        """The bytes of each of `ranges`, or the error.

        Parameters
        ----------
        path
            Path to fetch them from; the folder may hold them under another address, such as one whose
            signature has expired.
        """

        async def load(keys: Sequence[_Key]) -> Mapping[_Key, Answer]:
            return await self._load(path, version, [wanted for _, _, wanted in keys], max_gap)

        return await self._in_flight.share_all([(path, version, wanted) for wanted in ranges], load)

    async def _load(
        self, path: str, version: FileVersion, ranges: list[ByteRange], max_gap: int | None
    ) -> dict[_Key, Answer]:
        # Overlapping ranges (a gap of -1 or less) are merged, so that no byte is requested twice.
        spans = plan_spans(ranges, max_gap_bytes=-1, max_span_bytes=1 << 62)
        wanted = [ByteRange(span.start, span.stop) for span in spans]
        pieces = await self._read(version, wanted)
        gaps = [gap for span in wanted for gap in missing_ranges(span, pieces)]
        brought, failures = await self._bring(path, version, gaps, max_gap)
        pieces = sorted(pieces + brought, key=lambda piece: piece.start)
        n_misses = sum(bool(overlapping(gaps, r)) for r in ranges)
        self.count(hits=len(ranges) - n_misses, misses=n_misses)
        return {(path, version, r): _answer(r, pieces, failures) for r in ranges}

    async def _read(self, version: FileVersion, ranges: list[ByteRange]) -> list[Piece]:
        pieces = await in_thread(self._folder.read, version, ranges)
        self.count(bytes_from_cache=sum(len(piece.data) for piece in pieces))
        return pieces

    async def _bring(
        self, path: str, version: FileVersion, gaps: list[ByteRange], max_gap: int | None
    ) -> tuple[list[Piece], list[Failure]]:
        pieces: list[Piece] = []
        failures: list[Failure] = []
        async with aclosing(claim(self._folder, version, gaps)) as batches:
            async for batch in batches:
                # The previous holder of the lock may have fetched it.
                pieces += (found := await self._read(version, batch))
                holes = [hole for gap in batch for hole in missing_ranges(gap, found)]
                if holes:
                    answers = await self._fetch(path, version, holes, max_gap)
                    fetched, failed = _sort(path, holes, answers)
                    self.count(requests=len(holes), bytes_fetched=sum(len(piece.data) for piece in fetched))
                    await in_thread(self._folder.write, version, fetched)
                    pieces += fetched
                    failures += failed
        return pieces, failures


async def claim(
    folder: CacheFolder, version: FileVersion, ranges: list[ByteRange]
) -> AsyncGenerator[list[ByteRange]]:
    """Yield `ranges` in batches as they are locked for us; each lock is released at the next batch.

    Notes
    -----
    A range is yielded without a lock if the folder supports none, or if another process holds it for
    longer than any fetch takes.
    """
    pending = ranges
    pause_seconds = _SHORTEST_PAUSE_SECONDS
    patience_ends = folder.patience.deadline(_PATIENCE_SECONDS)
    while pending:
        batch, locks = await in_thread(folder.claim, version, pending)
        if len(batch) < len(pending) and time.monotonic() >= patience_ends:
            folder.patience.lose()
            batch = pending
        try:
            if batch:
                yield batch
        finally:
            if locks is not None:
                await in_thread(locks.close)
        pending = [r for r in pending if r not in batch]
        if pending:
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(1.5 * pause_seconds, _LONGEST_PAUSE_SECONDS)


def _sort(path: str, ranges: list[ByteRange], answers: list[Answer]) -> tuple[list[Piece], list[Failure]]:
    """Split the results into complete and failed ones."""
    pieces = []
    failures = []
    for wanted, answer in zip(ranges, answers, strict=True):
        if isinstance(answer, Exception):
            failures.append(Failure(*wanted, answer))
        elif len(answer) != wanted.n_bytes:
            kind = TruncatedResponseError if len(answer) < wanted.n_bytes else RemoteFileError
            what = (
                f"{wanted.n_bytes} bytes from byte {wanted.start} on were requested, {len(answer)} received"
            )
            failures.append(Failure(*wanted, kind(f"{redact_url(path)}: {what}")))
        else:
            pieces.append(Piece(wanted.start, memoryview(answer)))
    return pieces, failures


def _answer(wanted: ByteRange, pieces: list[Piece], failures: list[Failure]) -> Answer:
    """The bytes of `wanted`, from pieces in order and without overlap."""
    if failed := overlapping(failures, wanted):
        return failed[0].error
    parts = overlapping(pieces, wanted)
    if len(parts) == 1 and isinstance(whole := parts[0].data.obj, bytes) and len(whole) == wanted.n_bytes:
        return whole  # one block, all of it: no copy
    return b"".join(part.data[max(0, wanted.start - part.start) : wanted.stop - part.start] for part in parts)
