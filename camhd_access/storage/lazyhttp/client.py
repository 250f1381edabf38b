"""One request until it succeeds or its time is up: redirects, retries, resumed downloads.

Every range, probe or page is one *task* of the client. A task may take several *tries*, a try several
*exchanges* (one more per redirect). Tries are limited by number and by a time budget, which grows with
the expected bytes, so that a slow link can finish and a trickling server cannot block anybody for long;
waiting for one of the host's slots is not charged. An interrupted body is resumed where it
ended, from the same version of the file only.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import TypeVar

import aiohttp

from camhd_access.errors import (
    RangeNotSupportedError,
    RemoteFileChangedError,
    RemoteFileError,
    RemoteFileNotFoundError,
    TruncatedResponseError,
)
from camhd_access.ranges import ByteRange, split_range
from camhd_access.storage.lazyhttp.answers import (
    Fault,
    UnsatisfiableRangeError,
    clip_range,
    parse_content_length,
    range_header,
    read_partial_headers,
    refuse_encoding,
    status_fault,
)
from camhd_access.storage.lazyhttp.bodies import end_body, receive_body
from camhd_access.storage.lazyhttp.connector import N_PARTS
from camhd_access.storage.lazyhttp.exchanges import Budget, Exchanges, parse_url
from camhd_access.storage.lazyhttp.settings import Settings
from camhd_access.storage.lazyhttp.tasks import gather
from camhd_access.storage.lazyhttp.versions import FileFacts, Version, find_date, is_same_version
from camhd_access.urls import redact_url

__all__ = ["Client", "Page"]

logger = logging.getLogger("camhd_access.storage.lazyhttp")

_MIN_PART_BYTES = 128 << 10  # received by a new connection in four round trips
_MIN_ANSWER_BYTES = 4 << 10  # a shorter part counts as a failed try
_LONGEST_PAUSE_SECONDS = 5.0
_N_PROBES = 4  # as many concurrent requests are likely to reach another replica
_MAX_VERSIONS_SEEN = 8

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Page:
    """A body that was read completely."""

    url: str
    """Its URL, after redirects."""
    body: bytes
    """Its bytes."""


class Client:
    """Fetches ranges, file facts and pages; remembers the facts of each file."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.facts: dict[str, FileFacts] = {}
        self.exchanges: Exchanges = Exchanges(settings)
        self._seen: dict[str, list[str]] = {}
        self._replicas: dict[str, str] = {}

    def version(self, url: str, validator: str | None) -> Version:
        """The version that responses must match: `validator`, or that of the first response."""
        facts = self.facts.get(url)
        same = facts is not None and validator is not None and is_same_version(validator, facts.validator)
        return Version(redact_url(url), validator, facts if same else None)

    async def fetch(self, url: str, wanted: ByteRange, version: Version) -> list[bytes]:
        """The existing bytes of `wanted`, in chunks as received; a negative start selects the last bytes.

        Raises
        ------
        RangeNotSupportedError
            The server does not send this part; an unwanted body is not read.
        RemoteFileChangedError
            The file no longer matches `version`.
        """
        chunks: list[bytes] = []
        missing = wanted

        async def attempt(budget: Budget) -> None:
            nonlocal missing
            asked = missing
            headers = {"Range": range_header(asked)}
            async with self.exchanges.exchange("GET", url, budget, headers) as response:
                size, held = read_partial_headers(response.status, response.headers, asked)
                facts = self._learn(url, response, size)
                if held is None:
                    raise Fault("HTTP 200, the whole file instead of a part", kind=RangeNotSupportedError)
                version.check(facts)
                missing = clip_range(asked, size or 0)

                def keep(chunk: bytes) -> None:
                    nonlocal missing
                    self.exchanges.mine().receive(response.url, len(chunk))
                    chunks.append(chunk)
                    missing = ByteRange(missing.start + len(chunk), missing.stop)

                await receive_body(response, held.n_bytes, keep, step_bytes=self.settings.step_bytes)
                await end_body(response, held.n_bytes)
            if missing.start < held.stop:
                n_bytes = held.stop - missing.start
                raise Fault(f"{n_bytes} bytes are missing", kind=TruncatedResponseError, retry=True)
            if missing.n_bytes and held.n_bytes < _MIN_ANSWER_BYTES:
                told = f"the server sends only {held.n_bytes} bytes at a time"
                raise Fault(told, kind=TruncatedResponseError, retry=True)

        async def fetch(budget: Budget) -> None:
            await attempt(budget)
            while missing.n_bytes:  # only a part was received
                await attempt(budget)

        try:
            await self._agree(url, version, lambda: self._persist(url, wanted, fetch))
        except UnsatisfiableRangeError:
            self.facts.pop(url, None)
            await self._agree(url, version, lambda: self._check(url, version))
            if version.size is None or (version.size and wanted.start < version.size):
                raise
        return chunks

    async def fetch_parts(self, url: str, wanted: ByteRange, version: Version) -> list[bytes]:
        """As `fetch`, but for any number of bytes, in as many requests as needed.

        A single range from a distant host is fetched in parts over several connections, because each
        connection starts slowly.
        """
        with self.exchanges.mine().fetching(parse_url(url)) as in_parts:
            limit = self.settings.max_request_bytes
            if in_parts:
                limit = min(limit, max(-(-wanted.n_bytes // N_PARTS), _MIN_PART_BYTES))
            pieces = split_range(wanted, max_request_bytes=limit)
            return list(chain(*await gather(self.fetch(url, piece, version) for piece in pieces)))

    async def size_of(self, url: str, version: Version) -> int | None:
        """Length in bytes of this version; None if the server does not send it."""
        if version.size is None:
            await self._agree(url, version, lambda: self._check(url, version))
        return version.size

    async def _check(self, url: str, version: Version) -> None:
        version.check(await self.facts_of(url))

    def vouch(self, url: str, facts: FileFacts) -> bool:
        """Take the facts of a file from the caller, unless responses have told others; whether they hold."""
        seen = self._seen.get(url)
        if seen:
            return is_same_version(seen[-1], facts.validator)
        self.facts.setdefault(url, facts)
        return True

    async def facts_of(self, url: str) -> FileFacts:
        """The facts of a file; requested only if no response has given its size yet."""
        return self.known_facts(url) or await self.probe(url)

    def known_facts(self, url: str) -> FileFacts | None:
        """The facts of a file; None if no response has given its size yet. Thread-safe."""
        facts = self.facts.get(url)
        return facts if facts and (facts.size is not None or facts.is_directory) else None

    async def probe(self, url: str) -> FileFacts:
        """Facts of a file from one `HEAD`, or a `GET` of one byte if that is refused or has no length.

        If this is refused too: one `GET` of the whole file, of which only the headers are read.
        """

        async def head(budget: Budget) -> FileFacts | None:
            async with self.exchanges.exchange("HEAD", url, budget) as response:
                if response.status != 200:
                    fault = status_fault(response.status, response.headers)
                    if fault.retry or fault.kind is RemoteFileNotFoundError:
                        raise fault
                    return None
                facts = self._learn(url, response, parse_content_length(response.headers))
                useless = "Content-Encoding" in response.headers or facts.size is None
                return None if useless and not facts.is_directory else facts

        async def get(budget: Budget) -> FileFacts | None:
            first = ByteRange(0, 1)
            headers = {"Range": range_header(first)}
            async with self.exchanges.exchange("GET", url, budget, headers) as response:
                if response.status == 416:  # an empty file, or no ranges
                    return None
                size, _ = read_partial_headers(response.status, response.headers, first)
                return self._learn(url, response, size)

        async def begin(budget: Budget) -> FileFacts:
            async with self.exchanges.exchange("GET", url, budget) as response:
                if response.status != 200:
                    raise status_fault(response.status, response.headers)
                refuse_encoding(response.headers)
                return self._learn(url, response, parse_content_length(response.headers))

        told = await self._persist(url, None, head)
        if told is None:
            told = await self._persist(url, ByteRange(0, 1), get)
        if told is None:
            return await self._persist(url, None, begin)
        return told

    async def fetch_page(self, url: str, version: Version, *, content_type: str = "") -> Page | None:
        """The whole body behind `url`; None, unread, if it is long and the server supports ranges.

        With a `content_type`, long bodies are always refused.

        Raises
        ------
        RemoteFileError
            Also if the content type does not begin with `content_type`, or if a body of unknown length
            exceeds `max_request_bytes`.
        """
        limit = self.settings.max_request_bytes

        async def attempt(budget: Budget) -> Page | None:
            async with self.exchanges.exchange("GET", url, budget) as response:
                if response.status != 200:
                    raise status_fault(response.status, response.headers)
                refuse_encoding(response.headers)
                if not response.content_type.startswith(content_type):
                    raise Fault(f"expected {content_type}, got {response.content_type}")
                length = parse_content_length(response.headers)
                if length is not None:
                    version.check(self._learn(url, response, length))
                    if length > limit and (content_type or response.headers.get("Accept-Ranges") == "bytes"):
                        return None
                    budget.extend(length / self.settings.min_bytes_per_second)
                chunks, received = [], 0
                async for chunk, _ in response.content.iter_chunks():
                    self.exchanges.mine().receive(response.url, len(chunk))
                    chunks.append(chunk)
                    received += len(chunk)
                    if length is None and received > limit:
                        raise Fault(f"more than {limit} bytes, without a Content-Length")
                if length is None:
                    version.check(self._learn(url, response, received))
            return Page(str(response.url), b"".join(chunks))

        return await self._agree(url, version, lambda: self._persist(url, None, attempt))

    def _learn(self, url: str, response: aiohttp.ClientResponse, size: int | None) -> FileFacts:
        """Facts of the file from the headers of a response; stored under `url`."""
        etag, last_modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        date = "" if self.settings.version == "size" else self._replicas.get(url)
        facts = FileFacts(size, etag, last_modified, response.url.path.endswith("/"), date)
        self.facts[url] = facts
        seen = self._seen.setdefault(url, [])
        if facts.validator not in seen:
            seen.append(facts.validator)
            del seen[:-_MAX_VERSIONS_SEEN]
        return facts

    async def _agree(self, url: str, version: Version, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """The result of `work`; repeated once if replicas of one file have different validators."""
        while True:
            try:
                return await work()
            except RemoteFileChangedError:
                if not await self._are_replicas(url, version):
                    raise

    async def _are_replicas(self, url: str, version: Version) -> bool:
        """Whether the version that did not match comes from another replica; if so, compare sizes.

        It does if the previous version comes back: either it was seen before, or the server still returns it
        when asked again several times at once.
        """
        old, new = version.validator or "", version.other
        if new is None or new.replicas_date is not None or not old.endswith(f":{new.size}"):
            return False
        async with self.exchanges.mine().probing:
            if url in self._replicas:
                return True  # another task has just found out
            found = [new, *await self._probe_replicas(url)]
            seen = self._seen[url]
            is_there = any(each.validator == old for each in found)
            if not is_there and not (old in seen and new.validator in seen[: seen.index(old)]):
                return False
            if self.settings.version == "etag":
                raise RemoteFileChangedError(
                    f"{version.url}: the replicas of this file disagree: the server gives {old} and "
                    f"{new.validator} in turn. version='size' or 'auto' (storage_options) compares sizes."
                )
            self._replicas[url] = find_date(found) if is_there else ""
            self.facts[url] = replace(new, replicas_date=self._replicas[url])
            logger.warning("%s: replicas disagree on ETag or time; comparing sizes from now on", version.url)
            return True

    async def _probe_replicas(self, url: str) -> list[FileFacts]:
        try:
            return await gather(self.probe(url) for _ in range(_N_PROBES))
        except RemoteFileError:
            return []

    async def _persist(
        self, url: str, wanted: ByteRange | None, attempt: Callable[[Budget], Awaitable[_Result]]
    ) -> _Result:
        """The result of the first try that succeeds; pauses between tries are random (full jitter).

        `Retry-After` is added to them.
        """
        settings = self.settings
        what = _describe(url, wanted)
        n_bytes = wanted.n_bytes if wanted else 0
        budget = Budget(settings.deadline_seconds + n_bytes / settings.min_bytes_per_second)
        for n_tries in count(1):
            try:
                return await attempt(budget)
            except Fault as fault:
                longest = min(_LONGEST_PAUSE_SECONDS, settings.backoff_seconds * 2 ** (n_tries - 1))
                pause = (fault.wait_seconds or 0.0) + random.uniform(0, longest)  # noqa: S311 - not for secrets
                max_tries = min(settings.tries, fault.max_tries)
                if not fault.retry or n_tries >= max_tries or pause >= budget.seconds:
                    if fault.kind is RemoteFileNotFoundError:
                        raise fault.kind(f"{fault}: {redact_url(url)}") from fault.__cause__
                    times = "1 try" if n_tries == 1 else f"{n_tries} tries"
                    raise fault.kind(f"{what}: {fault} ({times})") from fault.__cause__
                logger.info("%s: %s, next try in %.2f s", what, fault, pause)
            budget.seconds -= pause
            await asyncio.sleep(pause)
            self.exchanges.mine().retries += 1
        raise AssertionError("unreachable")


def _describe(url: str, wanted: ByteRange | None) -> str:
    """The URL, and the part of the file that is requested, for messages."""
    name = redact_url(url)
    if wanted is None:
        return name
    if wanted.start < 0:
        return f"{name}, last {-wanted.start} bytes"
    return f"{name}, bytes {wanted.start} to {wanted.stop}"
