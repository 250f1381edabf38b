"""The bytes of one version of one file, on any filesystem.

Modules above this one do not depend on whether a movie is on a web server, in a bucket, in memory or on
disk. Input: byte ranges. Output: their bytes, prefetched, so that the network is busy while frames are
decoded. The version of the file is pinned when it is opened: bytes of another version are never returned.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.cached import CachingFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from camhd_access.ending import submit
from camhd_access.errors import NotAMovieError, RemoteFileChangedError, RemoteFileError
from camhd_access.ranges import ByteData, ByteRange, Interval, Span, Walk, drive_walk_async, plan_spans
from camhd_access.storage.compared_reads import describe_anew, forget_listings, read_ranges
from camhd_access.storage.filesystems import counts_from_end, find_filesystem
from camhd_access.storage.lazyhttp.tasks import blocking, settle
from camhd_access.storage.lazyhttp.versions import is_by_size
from camhd_access.storage.local_files import chain_of, find_facts, find_special_kind, find_version, read_part
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.storage.read_ahead import MAX_BYTES_AHEAD, find_read_ahead
from camhd_access.storage.versions import VERSION_FACTS, describe_version, find_size
from camhd_access.urls import redact_url

__all__ = ["ByteSource", "open_source"]

Job = TypeVar("Job")
T = TypeVar("T")

MIN_GAP_BYTES, MAX_GAP_BYTES = 64 * 1024, 1024 * 1024
"""Gap that is read instead of making another request, at least and at most: the cost of a request."""

MAX_SPAN_BYTES = 1536 * 1024
"""Neighbouring frames are fetched together up to this size: two of 1080p; thirty then use all connections."""

MAX_WALKS_AHEAD = 16
"""Samples with parts in flight or waiting to be read."""

MANY_REQUESTS = 16
"""Number of concurrent requests (lazyhttp's `max_concurrency`): up to this, one more costs no time."""

_FOLDER = "it is a folder, not a movie; open one of the files in it"
_SPECIAL = "it is a {}, not a file; reading a movie needs random access"

N_FILE_THREADS, MAX_FILE_BYTES_AHEAD = 2, 4 * MAX_SPAN_BYTES
"""Concurrent reads from a blocking filesystem, such as a disk, and the bytes read ahead from it."""


@dataclass(frozen=True, slots=True)
class ByteSource:
    """One version of one file on a filesystem. Small, and pickles."""

    filesystem: fsspec.AbstractFileSystem
    """The filesystem of the file."""
    path: str
    """Its path there, or its URL."""
    version: str | None = None
    """Identifies the version of the file; None while unknown."""

    def __repr__(self) -> str:
        return f"<ByteSource {self.name}, version {self.version}>"

    @property
    def name(self) -> str:
        """The path for messages, without user, password and query."""
        return redact_url(self.path)

    @property
    def etag(self) -> str:
        """ETag of this version, else Last-Modified; empty if the server sends neither."""
        if self.version is None:
            return ""
        if self.checks_itself:
            return "" if is_by_size(self.version) else self.version.rpartition(":")[0].strip('"')
        tags = self.version.split("|")[VERSION_FACTS.index("ETag") :]
        return next((tag.strip('"') for tag in tags if tag != "None"), "")

    @property
    def size(self) -> int:
        """Size of the file in bytes; takes no request after any part of the file has been read."""
        if self._is_compared and self.etag and (n_bytes := find_size(str(self.version))):
            return n_bytes
        info = self.filesystem.info(self.path)
        if info["type"] == "directory":
            raise NotAMovieError(_FOLDER)
        _refuse_special_file(self.filesystem, self.path)
        if info["size"] is None:
            raise RemoteFileError(f"{self.name}: the server does not send the length of the file")
        return int(info["size"])

    def pinned(self) -> "ByteSource":
        """The same file, pinned to its current version."""
        return replace(self, version=self._current_version())

    @property
    def takes_versions(self) -> bool:
        """Whether the filesystem can take a version from a caller, and compare responses with it."""
        inner = getattr(self.filesystem, "fs", self.filesystem)
        return hasattr(self.filesystem, "vouch") and hasattr(inner, "vouch")

    def vouch(self, version: str, size: int) -> bool:
        """Take the version from the caller, and compare it with the first response; False if impossible."""
        vouch = getattr(self.filesystem, "vouch", None)
        return bool(vouch and vouch(self.path, version, size))

    def forget(self) -> None:
        """Drop the file's cached properties and bytes, because they are wrong."""
        getattr(self.filesystem, "discard", self.filesystem.invalidate_cache)(self.path)

    def read_tail(self, n_bytes: int) -> bytes:
        """The last `n_bytes` of the file, or all of a shorter one, by one request where HTTP allows it."""
        _refuse_special_file(self.filesystem, self.path)
        try:
            if counts_from_end(self.filesystem):
                data: bytes = self.filesystem.cat_file(self.path, start=-n_bytes, **self._options)
            else:
                size = self.size
                data = self._read_at_once(ByteRange(max(0, size - n_bytes), size)) if size else b""
        except IsADirectoryError as error:
            raise NotAMovieError(_FOLDER) from error
        return data

    def read(self, wanted: ByteRange) -> bytes:
        """The bytes of one range."""
        data = self._read_at_once(wanted)
        self._check_version()
        return data

    def _read_at_once(self, wanted: Interval) -> bytes:
        """The bytes of one range; of a filesystem nearby, of whatever version it has now."""
        if type(self.filesystem) is LocalFileSystem:
            return read_part(self.path, wanted)
        if self._is_compared:
            return self._cat_file_blocking(wanted)
        data: bytes = self.filesystem.cat_file(
            self.path, start=wanted.start, end=wanted.stop, **self._options
        )
        return data

    def read_again(self, wanted: ByteRange) -> bytes | None:
        """The bytes of one range, bypassing the disk cache; None if they were not read from the cache."""
        if not isinstance(self.filesystem, RangeCacheFileSystem):
            return None
        data: bytes | None = self.filesystem.cat_again(self.path, wanted.start, wanted.stop, **self._options)
        return data

    def check(self) -> None:
        """Raise `RemoteFileChangedError` if the file was replaced; any replica may confirm the version."""
        if self.checks_itself:
            self.read(ByteRange(0, 1))
        elif self.version != self._current_version():
            raise RemoteFileChangedError(f"{self.name} was replaced since it was opened; open it again")

    def plan(self, ranges: Sequence[ByteRange], *, n_times: int = 1, split: bool = True) -> list[Span]:
        """The spans in which these ranges, or `n_times` such, are fetched; of any size unless `split`."""
        gap = self.request_worth_bytes(n_times * len(ranges))
        limit = MAX_SPAN_BYTES if split else sys.maxsize
        return plan_spans(ranges, max_gap_bytes=gap, max_span_bytes=limit)

    def fetch(self, ranges: Sequence[ByteRange]) -> Iterator[tuple[Span, ByteData]]:
        """The spans that cover `ranges`, in file order, with their bytes; the next ones are then in flight.

        Raises
        ------
        RemoteFileError
            Errors of the filesystem; nothing more is fetched then.
        """
        spans = self.plan(ranges)
        if self._goes_on(spans):
            yield from self._read_on(ranges, spans[-1].stop)
            return
        if len(spans) == 1:
            yield spans[0], self.read(ByteRange(spans[0].start, spans[0].stop))
            return
        loop = self.loop if self.is_far else None
        limit = MAX_BYTES_AHEAD if self.is_far else MAX_FILE_BYTES_AHEAD
        with self._submitting(loop) as submit:
            for span, future in _run_ahead(spans, submit, cost=_n_bytes, limit=limit):
                settle(future, loop)
                data = future.result()
                self._check_version()
                yield span, data

    def _goes_on(self, spans: Sequence[Span]) -> bool:
        """Whether these spans have no large gaps and continue an earlier read."""
        if not (spans and self.is_far):
            return False
        has_gaps = any(b.start - a.stop > MIN_GAP_BYTES for a, b in pairwise(spans))
        return find_read_ahead().follows(self, ByteRange(spans[0].start, spans[-1].stop), has_gaps=has_gaps)

    def _read_on(self, ranges: Sequence[ByteRange], stop: int) -> Iterator[tuple[Span, ByteData]]:
        """Each range with its bytes, while later ranges, and bytes beyond the last one, are in flight."""
        loop, ahead = self.filesystem.loop, find_read_ahead()
        size = _find_size(self) if self.version else self.size
        with self._submitting(loop) as fetch:
            for span in plan_spans(ranges, max_gap_bytes=0, max_span_bytes=0):
                wanted = ByteRange(span.start, span.stop)
                pieces = ahead.read_on(self, wanted, stop, size, fetch)
                try:
                    for piece in pieces:
                        settle(piece.future, loop)
                    parts: list[ByteData] = [piece.take(wanted) for piece in pieces]
                except Exception:
                    ahead.forget(self)
                    raise
                yield span, parts[0] if len(parts) == 1 else b"".join(parts or [self.read(wanted)])

    def expect_sequence(self, start: int, n_bytes: int) -> None:
        """Expect reads in order from byte `start` on, as if `n_bytes` before it had been read in order."""
        if self.is_far:
            find_read_ahead().expect(self, start, n_bytes)

    def request_worth_bytes(self, n_requests: int) -> int:
        """Bytes that are read rather than making one more than `n_requests` requests.

        More over a long and fast link, where requests have to wait for each other.
        """
        if n_requests <= MANY_REQUESTS:
            return MIN_GAP_BYTES
        worth = getattr(self.filesystem, "request_worth_bytes", None)
        return min(MAX_GAP_BYTES, max(MIN_GAP_BYTES, int(worth(self.path)) if worth else 0))

    def estimate_cost(self, n_requests: int, n_bytes: int) -> int:
        """Cost of fetching, in bytes, with each request counted as the bytes it is worth."""
        return n_requests * self.request_worth_bytes(n_requests) + n_bytes

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the filesystem, for blocking reads."""
        found: asyncio.AbstractEventLoop | None = self.filesystem.loop
        return found

    @property
    def is_far(self) -> bool:
        """Whether partial reads of samples pay off: not from a disk, nor from memory."""
        return bool(self.filesystem.async_impl)

    def answer(self, walks: Iterable[tuple[int, Walk[T]]], *, n_walks: int) -> Iterator[Future[T]]:
        """The result of each walk, in order, as it completes; the next ones are then in flight.

        Parameters
        ----------
        walks
            First byte of the sample in the file, and a walk (see `prores.slices`) through it. Taken from the
            iterable as needed.
        n_walks
            Their number.

        Notes
        -----
        Only for files that are `is_far`. The future has the error of the walk or the filesystem, if any.
        """
        loop = self.filesystem.loop

        def start(placed: tuple[int, Walk[T]]) -> Future[T]:
            return asyncio.run_coroutine_threadsafe(self._answer(*placed, n_walks), loop)

        for _, future in _run_ahead(walks, start, cost=_one, limit=MAX_WALKS_AHEAD):
            settle(future, loop)
            yield future

    async def _answer(self, offset: int, walk: Walk[T], n_walks: int) -> T:
        async def read(ranges: Sequence[tuple[int, int]]) -> list[ByteData]:
            return await self._read_ranges([ByteRange(offset + a, offset + b) for a, b in ranges], n_walks)

        return await drive_walk_async(walk, read)

    async def _read_ranges(self, ranges: Sequence[ByteRange], n_walks: int) -> list[ByteData]:
        """The bytes of ranges that are near each other, in as few requests as `plan` makes of them."""
        spans = self.plan(ranges, n_times=n_walks)
        answers = await self._cat_ranges(spans)
        parts: list[ByteData] = [b""] * len(ranges)
        for span, data in zip(spans, answers, strict=True):
            if isinstance(data, BaseException):
                raise data
            for k in span.members:
                parts[k] = memoryview(data)[ranges[k].start - span.start : ranges[k].stop - span.start]
        return parts

    @contextmanager
    def _submitting(
        self, loop: asyncio.AbstractEventLoop | None
    ) -> Iterator[Callable[[Interval], Future[bytes]]]:
        """A function that starts to fetch a span: on the filesystem's event loop, or in threads."""
        if loop is not None:
            yield lambda span: asyncio.run_coroutine_threadsafe(self._cat_file(span), loop)
        else:
            with ThreadPoolExecutor(N_FILE_THREADS, thread_name_prefix="camhd-fetch") as pool:
                yield lambda span: submit(pool, self._read_at_once, span)

    async def _cat_file(self, wanted: Interval) -> bytes:
        if self._is_compared:
            (data,) = await self._cat_ranges([wanted])
            if isinstance(data, BaseException):
                raise data
            return bytes(data)
        found: bytes = await self.filesystem._cat_file(  # noqa: SLF001 - fsspec's async interface
            self.path, start=wanted.start, end=wanted.stop, **self._options
        )
        return found

    _cat_file_blocking = blocking(_cat_file)

    async def _cat_ranges(self, ranges: Sequence[Interval]) -> list[Any]:
        if self._is_compared:
            return await read_ranges(
                self.filesystem, self.path, ranges, etag=self.etag, is_current=self._is_current
            )
        starts, stops = [each.start for each in ranges], [each.stop for each in ranges]
        answers: list[Any] = await self.filesystem._cat_ranges(  # noqa: SLF001 - as above
            [self.path] * len(ranges), starts, stops, on_error="return", **self._options
        )
        return answers

    async def _is_current(self) -> bool:
        return describe_version(await describe_anew(self.filesystem, self.path)) == self.version

    @property
    def _options(self) -> dict[str, Any]:
        return {"validator": self.version} if self.version and self.checks_itself else {}

    @property
    def checks_itself(self) -> bool:
        """Whether the filesystem compares the version with each response."""
        return getattr(self.filesystem, "checks_validator", False)

    @property
    def _is_compared(self) -> bool:
        """Whether this source compares the version with each response, because the filesystem does not."""
        return bool(self.version and self.is_far and not self.checks_itself)

    def _current_version(self) -> str:
        if type(self.filesystem) is LocalFileSystem:
            return find_version(self.filesystem, self.path, find_facts(self.path))
        if not self.checks_itself:
            forget_listings(self.filesystem, self.path)
        info = self.filesystem.info(self.path)
        return info.get("validator") or describe_version(info)

    def _check_version(self) -> None:
        """Check the version of a local file after each read; with remote ones each response is compared."""
        if self.version and not self.is_far:
            self.check()


@lru_cache(maxsize=64)
def _find_size(source: ByteSource) -> int:
    """Size of a pinned version, cached because each request to the event loop takes time."""
    return source.size


def _n_bytes(span: Span) -> int:
    return span.n_bytes


def _one(_: object) -> int:
    return 1


def _run_ahead(
    jobs: Iterable[Job], start: Callable[[Job], Future[T]], *, cost: Callable[[Job], int], limit: int
) -> Iterator[tuple[Job, Future[T]]]:
    """Each job with its future, in order; up to `limit` of total cost are in flight ahead of it."""
    under_way: deque[tuple[Job, Future[T]]] = deque()
    total_cost = 0
    try:
        for job in jobs:
            while under_way and total_cost + cost(job) > limit:
                yield under_way[0]
                total_cost -= cost(under_way.popleft()[0])
            under_way.append((job, start(job)))
            total_cost += cost(job)
        while under_way:
            yield under_way[0]
            under_way.popleft()
    finally:
        for _, future in under_way:
            future.cancel()


def open_source(
    urlpath: str, *, cache: bool = True, storage_options: Mapping[str, Any] | None = None
) -> ByteSource:
    """The file at `urlpath`, without reading it.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens. `http(s)://` goes through `LazyHTTPFileSystem`.
    cache
        Cache fetched bytes on disk (`RangeCacheFileSystem`), unless the file is local.
    storage_options
        Arguments for the filesystem's constructor.
    """
    filesystem, path = find_filesystem(urlpath, storage_options)
    _refuse_copies(filesystem, urlpath)
    is_near = isinstance(filesystem, LocalFileSystem | MemoryFileSystem | RangeCacheFileSystem)
    if cache and not is_near:
        filesystem = RangeCacheFileSystem(fs=filesystem)
    return ByteSource(filesystem, path)


def _refuse_special_file(filesystem: fsspec.AbstractFileSystem, path: str) -> None:
    """Raise `NotAMovieError` if a local path is a folder, a device or a pipe."""
    kind = find_special_kind(filesystem, path)
    if kind is not None:
        raise NotAMovieError(_FOLDER if kind == "folder" else _SPECIAL.format(kind))


def _refuse_copies(filesystem: fsspec.AbstractFileSystem, urlpath: str) -> None:
    """Raise for fsspec's own caches, which copy whole movies, or do not notice changes of the file."""
    for each in chain_of(filesystem):
        if isinstance(each, CachingFileSystem):
            kind = each.protocol if isinstance(each.protocol, str) else each.protocol[0]
            rest = redact_url(urlpath.removeprefix("lazy::").partition("::")[2])
            raise ValueError(  # noqa: TRY004 - the address is wrong, not a type
                f"{kind}:: cannot be used for movies: it copies whole files, or misses changes of the file. "
                f"Use lazy::{rest or '…'} to cache what is read, or the plain URL with cache=False"
            )
