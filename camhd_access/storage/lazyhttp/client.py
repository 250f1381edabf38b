"""One request made good: through redirects, again after faults, until its bytes are there or its time is up.

Every range, probe or page is one *task* for the client. A task may take several *tries*, a try several
*exchanges* (one more a redirect). Tries are bounded by number and by a budget of seconds, which grows with
the bytes expected, so that a slow link can finish and a dripping server cannot hold anybody for long;
waiting for one of the host's slots costs none of it. A try that broke off in the body is continued where it
ended, from the same version of the file only.
"""

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TypeVar

import aiohttp
from yarl import URL

from camhd_access.errors import (
    RangeNotSupportedError,
    RemoteFileError,
    RemoteFileNotFoundError,
    TruncatedResponseError,
)
from camhd_access.ranges import ByteRange, split_range
from camhd_access.storage.lazyhttp.answers import (
    Fault,
    FileFacts,
    UnsatisfiableRangeError,
    Version,
    parse_content_length,
    range_header,
    read_partial_headers,
    readable_url,
    refuse_encoding,
    status_fault,
)
from camhd_access.storage.lazyhttp.connections import Connections, TransferStats
from camhd_access.storage.lazyhttp.connector import N_PARTS
from camhd_access.storage.lazyhttp.tasks import gather

__all__ = ["Client", "Page", "Settings", "parse_url"]

logger = logging.getLogger("camhd_access.storage.lazyhttp")

_MAX_REDIRECTS = 5
_MIN_PART_BYTES = 128 << 10  # what a new connection brings in four round trips
_LONGEST_PAUSE_SECONDS = 5.0

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to deal with servers; see `LazyHTTPFileSystem` for each."""

    headers: dict[str, str] = field(default_factory=dict)
    """Sent with each request, but not to other hosts."""
    max_concurrency: int = 16
    """Requests at once to one host."""
    max_request_bytes: int = 8 << 20
    """Longest body asked for at once."""
    tries: int = 5
    """Tries of one request, the first included."""
    connect_timeout_seconds: float = 8.0
    """Longest wait for a connection."""
    stall_timeout_seconds: float = 8.0
    """Longest wait for the next bytes."""
    deadline_seconds: float = 18.0
    """Longest time for all tries of one request, beyond that of its bytes."""
    min_bytes_per_second: int = 64 << 10
    """Slowest transfer that is put up with."""
    backoff_seconds: float = 0.2
    """Longest pause before the second try; doubles with each further one."""
    long_link_seconds: float = 0.01
    """Round trip from which a range that is alone is fetched in parts."""
    redirects: str = "any"
    """Where redirects may lead: "any", "same-host", or the URL of a folder, which they must not leave."""

    def __post_init__(self) -> None:
        if min(self.max_concurrency, self.max_request_bytes, self.tries, self.min_bytes_per_second) < 1:
            raise ValueError("max_concurrency, max_request_bytes, tries, min_bytes_per_second: at least 1")
        if min(self.connect_timeout_seconds, self.stall_timeout_seconds, self.deadline_seconds) <= 0:
            raise ValueError("time-outs must be above 0 s")
        if self.redirects not in ("any", "same-host") and not self.redirects.endswith("/"):
            raise ValueError(f"redirects: 'any', 'same-host' or the URL of a folder, not {self.redirects!r}")


@dataclass(frozen=True, slots=True)
class Page:
    """A body that was read whole."""

    url: str
    """Where it came from, after redirects."""
    body: bytes
    """Its bytes."""


class _Budget:
    """Seconds that one task may still take."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timeout = asyncio.timeout(None)

    def extend(self, seconds: float) -> None:
        """Allow `seconds` more, within a block that spends."""
        self.seconds += seconds
        self._timeout.reschedule((self._timeout.when() or 0.0) + seconds)

    @asynccontextmanager
    async def spend(self) -> AsyncIterator[None]:
        """Charge the time of the block to the budget; `TimeoutError` where it is used up."""
        begin = time.monotonic()
        try:
            self._timeout = asyncio.timeout(self.seconds)
            async with self._timeout:
                yield
        finally:
            self.seconds -= time.monotonic() - begin


class Client:
    """Fetches ranges, facts and pages; remembers what it was told about each file."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.facts: dict[str, FileFacts] = {}
        self._connections: dict[tuple[int, asyncio.AbstractEventLoop], Connections] = {}

    @property
    def stats(self) -> TransferStats:
        """Sum over the event loops of this process."""
        pid = os.getpid()
        mine = (each.stats for (owner, _), each in list(self._connections.items()) if owner == pid)
        return sum(mine, start=TransferStats())

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if connections := self._connections.pop((os.getpid(), asyncio.get_running_loop()), None):
            await connections.session.close()

    def version(self, url: str, validator: str | None) -> Version:
        """The version that answers must be of: `validator`, or whichever the first answer tells."""
        facts = self.facts.get(url)
        same = facts is not None and facts.validator == validator
        return Version(readable_url(url), validator, facts if same else None)

    async def fetch(self, url: str, wanted: ByteRange, version: Version) -> list[bytes]:
        """The bytes of `wanted` that the file has, as they arrived; a start below 0 means the last bytes.

        Raises
        ------
        RangeNotSupportedError
            The server does not send this part; a body that is not wanted was not read.
        RemoteFileChangedError
            The file is not the one of `version`.
        """
        chunks: list[bytes] = []
        missing = wanted

        async def attempt(budget: _Budget) -> None:
            nonlocal missing
            async with self._exchange("GET", url, budget, {"Range": range_header(missing)}) as response:
                size, held = read_partial_headers(response.status, response.headers, missing)
                facts = self._learn(url, response, size)
                if held is None:
                    raise Fault("status 200, the whole file instead of a part", kind=RangeNotSupportedError)
                version.check(facts)
                missing = held
                async for chunk, _ in response.content.iter_chunks():
                    self._mine().receive(response.url, len(chunk))
                    chunks.append(chunk)
                    missing = ByteRange(missing.start + len(chunk), missing.stop)
                    if missing.n_bytes < 0:
                        raise Fault("the body is longer than announced")
            if missing.n_bytes:
                raise Fault(f"{missing.n_bytes} bytes are missing", kind=TruncatedResponseError, retry=True)

        try:
            await self._persist(f"{readable_url(url)}, {range_header(wanted)}", wanted.n_bytes, attempt)
        except UnsatisfiableRangeError:
            self.facts.pop(url, None)
            facts = await self.probe(url)
            version.check(facts)
            if facts.size is None or (facts.size and wanted.start < facts.size):
                raise
        return chunks

    async def fetch_parts(self, url: str, wanted: ByteRange, version: Version) -> list[bytes]:
        """As `fetch`, but any number of bytes, by as many requests as they need.

        A range that is fetched alone from a distant host comes in parts over several connections, which all
        start slowly, but together bring it sooner.
        """
        with self._mine().fetching(parse_url(url)) as in_parts:
            limit = self.settings.max_request_bytes
            if in_parts:
                limit = min(limit, max(-(-wanted.n_bytes // N_PARTS), _MIN_PART_BYTES))
            pieces = split_range(wanted, max_request_bytes=limit)
            return list(chain(*await gather(self.fetch(url, piece, version) for piece in pieces)))

    def request_worth_bytes(self, url: str) -> float:
        """See `Connections`; the most that any event loop of this process has seen."""
        pid = os.getpid()
        mine = [each for (owner, _), each in list(self._connections.items()) if owner == pid]
        return max((each.request_worth_bytes(parse_url(url)) for each in mine), default=0.0)

    async def facts_of(self, url: str) -> FileFacts:
        """What is known of a file; asked only where no answer told its size yet."""
        facts = self.facts.get(url)
        known = facts is not None and (facts.size is not None or facts.is_directory)
        return facts if facts and known else await self.probe(url)

    async def probe(self, url: str) -> FileFacts:
        """Facts of a file, of one `HEAD`; of a `GET` of one byte where that is refused or tells no length.

        Where that byte is refused too, one `GET` of the whole file, of which only the headers are read.
        """

        async def head(budget: _Budget) -> FileFacts | None:
            async with self._exchange("HEAD", url, budget) as response:
                if response.status != 200:
                    fault = status_fault(response.status, response.headers)
                    if fault.retry or fault.kind is RemoteFileNotFoundError:
                        raise fault
                    return None
                facts = self._learn(url, response, parse_content_length(response.headers))
                useless = "Content-Encoding" in response.headers or facts.size is None
                return None if useless and not facts.is_directory else facts

        async def get(budget: _Budget) -> FileFacts | None:
            first = ByteRange(0, 1)
            async with self._exchange("GET", url, budget, {"Range": range_header(first)}) as response:
                if response.status == 416:  # an empty file, or no ranges
                    return None
                size, _ = read_partial_headers(response.status, response.headers, first)
                return self._learn(url, response, size)

        async def begin(budget: _Budget) -> FileFacts:
            async with self._exchange("GET", url, budget) as response:
                if response.status != 200:
                    raise status_fault(response.status, response.headers)
                refuse_encoding(response.headers)
                return self._learn(url, response, parse_content_length(response.headers))

        told = await self._persist(f"HEAD {readable_url(url)}", 0, head)
        if told is None:
            told = await self._persist(f"{readable_url(url)}, bytes=0-0", 1, get)
        if told is None:
            return await self._persist(readable_url(url), 0, begin)
        return told

    async def fetch_page(self, url: str, version: Version, *, content_type: str = "") -> Page | None:
        """The whole body behind `url`, or None (nothing read) where it is long and can be had in ranges.

        Raises
        ------
        RemoteFileError
            Also where the type of the content does not begin with `content_type`, or where its length is
            not told and it is longer than `max_request_bytes`.
        """
        limit = self.settings.max_request_bytes

        async def attempt(budget: _Budget) -> Page | None:
            async with self._exchange("GET", url, budget) as response:
                if response.status != 200:
                    raise status_fault(response.status, response.headers)
                refuse_encoding(response.headers)
                if not response.content_type.startswith(content_type):
                    raise Fault(f"not {content_type}, but {response.content_type}")
                length = parse_content_length(response.headers)
                if length is not None:
                    version.check(self._learn(url, response, length))
                    if length > limit and response.headers.get("Accept-Ranges") == "bytes":
                        return None
                    budget.extend(length / self.settings.min_bytes_per_second)
                chunks, received = [], 0
                async for chunk, _ in response.content.iter_chunks():
                    self._mine().receive(response.url, len(chunk))
                    chunks.append(chunk)
                    received += len(chunk)
                    if length is None and received > limit:
                        raise Fault(f"more than {limit} bytes, of untold length")
                if length is None:
                    version.check(self._learn(url, response, received))
            return Page(str(response.url), b"".join(chunks))

        return await self._persist(readable_url(url), 0, attempt)

    def _learn(self, url: str, response: aiohttp.ClientResponse, size: int | None) -> FileFacts:
        """Facts of the file from the headers of an answer about it; remembered under `url`."""
        etag, last_modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        facts = FileFacts(size, etag, last_modified, response.url.path.endswith("/"))
        self.facts[url] = facts
        return facts

    async def _persist(
        self, what: str, n_bytes: int, attempt: Callable[[_Budget], Awaitable[_Result]]
    ) -> _Result:
        """The result of the first try that succeeds; pauses between tries are random (full jitter)."""
        settings = self.settings
        budget = _Budget(settings.deadline_seconds + n_bytes / settings.min_bytes_per_second)
        for n_tries in count(1):
            try:
                return await attempt(budget)
            except Fault as fault:
                longest = min(_LONGEST_PAUSE_SECONDS, settings.backoff_seconds * 2 ** (n_tries - 1))
                pause = random.uniform(0, longest) if fault.wait_seconds is None else fault.wait_seconds  # noqa: S311 - not for secrets
                if not fault.retry or n_tries >= settings.tries or pause >= budget.seconds:
                    times = "1 try" if n_tries == 1 else f"{n_tries} tries"
                    raise fault.kind(f"{what}: {fault} ({times})") from fault.__cause__
                logger.info("%s: %s, next try in %.2f s", what, fault, pause)
            budget.seconds -= pause
            await asyncio.sleep(pause)
            self._mine().retries += 1
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: str, budget: _Budget, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request after at most five redirects; its body, if unread, is never downloaded."""
        origin = target = parse_url(url)
        for _ in range(_MAX_REDIRECTS + 1):
            own = self.settings.headers if _same_host(origin, target) else {}
            async with self._hop(method, target, budget, {**own, **(headers or {})}) as response:
                if response.status not in (301, 302, 303, 307, 308):
                    yield response
                    return
                target = self._redirect_target(origin, target, response.headers.get("Location", ""))
        raise Fault(f"more than {_MAX_REDIRECTS} redirects, the last to {readable_url(str(target))}")

    def _redirect_target(self, origin: URL, source: URL, location: str) -> URL:
        try:
            target = source.join(URL(location))
        except ValueError:
            target = URL()
        if not location or target.scheme not in ("http", "https") or not target.host:
            raise Fault(f"redirect to nowhere ({location!r})")
        if source.scheme == "https" and target.scheme == "http":
            raise Fault("redirect from https to http refused")
        allowed = self.settings.redirects
        if allowed != "any" and not _same_host(origin, target):
            raise Fault(f"redirect to another host refused ({target.host})")
        if allowed.endswith("/") and not target.raw_path.startswith(parse_url(allowed).raw_path):
            raise Fault(f"redirect out of the folder refused ({target.raw_path})")
        return target

    @asynccontextmanager
    async def _hop(
        self, method: str, target: URL, budget: _Budget, headers: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to one request, with what can happen to a connection turned into `Fault`."""
        connections = self._mine()
        response = None
        async with connections.slot(target):
            begin = time.monotonic()
            connections.requests += 1
            try:
                async with budget.spend():
                    response = await connections.session.request(
                        method, target, headers=headers, allow_redirects=False
                    )
                    asked = headers.get("Range", "")
                    logger.debug("%s %s %s: %d", method, readable_url(str(target)), asked, response.status)
                    yield response
                if response.status == 206:
                    connections.weigh(target, response.content_length or 0, time.monotonic() - begin)
            except RemoteFileError:
                raise
            except aiohttp.ClientSSLError as error:
                raise Fault(f"no trusted connection: {error}") from error
            except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
                broke_off = response is not None and not isinstance(error, TimeoutError)
                kind = TruncatedResponseError if broke_off else RemoteFileError
                told = error.message if isinstance(error, aiohttp.ClientResponseError) else error  # no URL
                told = str(told).replace(" ssl:default", "")  # which is said of http as well
                why = f"{type(error).__name__}: {told}" if budget.seconds > 0 else "took too long"
                raise Fault(why, kind=kind, retry=True) from error
            finally:
                if response is not None:
                    response.release()  # closes the connection where the body was not read to its end
                connections.seconds += time.monotonic() - begin

    def _mine(self) -> Connections:
        """The connections of the running loop in this process."""
        key = (os.getpid(), asyncio.get_running_loop())
        if key not in self._connections:
            settings = self.settings
            self._connections[key] = Connections(
                max_concurrency=settings.max_concurrency,
                connect_timeout_seconds=settings.connect_timeout_seconds,
                stall_timeout_seconds=settings.stall_timeout_seconds,
                long_link_seconds=settings.long_link_seconds,
            )
            self._connections[key].close_with(self)
        return self._connections[key]


def parse_url(url: str) -> URL:
    """`url` taken apart; `ValueError` for anything but http and https."""
    target = URL(url)
    if target.scheme not in ("http", "https") or not target.host:
        raise ValueError(f"not an http or https URL: {url!r}")
    return target


def _same_host(a: URL, b: URL) -> bool:
    """Whether what is meant for `a` may go to `b`: same name and port, or both on their default ports."""
    return a.host == b.host and (a.port == b.port or (a.is_default_port() and b.is_default_port()))
