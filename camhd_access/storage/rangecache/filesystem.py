"""`RangeCacheFileSystem`: the fsspec interface over `FileVersions` and a `RangeLoader`."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from fsspec.utils import stringify_path

from camhd_access.errors import RemoteFileChangedError, RemoteFileError
from camhd_access.ranges import ByteRange
from camhd_access.storage.compared_reads import describe_anew, read_ranges
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.lazyhttp.tasks import blocking, in_thread, one_at_a_time, running, shared_loop
from camhd_access.storage.rangecache.folder import CacheFolder, FileVersion
from camhd_access.storage.rangecache.identity import Identity
from camhd_access.storage.rangecache.loader import Answer, CacheStats, RangeLoader
from camhd_access.storage.rangecache.overlay import read_copy
from camhd_access.storage.rangecache.settings import parse_size
from camhd_access.storage.rangecache.versions import FileVersions, find_validator
from camhd_access.storage.versions import etag_of
from camhd_access.urls import redact_url

__all__ = ["RangeCacheFileSystem"]


class RangeCacheFileSystem(AsyncFileSystem, ChainedFileSystem):  # type: ignore[misc]  # untyped base
    """An fsspec filesystem that caches on disk what is read through it: `lazy::https://host/movie.mov`.

    Read-only. One instance can be used by several threads, and in forked or other processes (it pickles).

    Parameters
    ----------
    target_protocol, target_options
        The filesystem behind, as in fsspec's URL chains. `http` and `https` mean `LazyHTTPFileSystem`.
    fs
        The filesystem behind as an instance, instead.
    fo
        Passed by URL chains; not used.
    cache_dir
        The cache folder; by default `default_cache_dir()`.
    max_bytes
        The quota, in bytes or as text with a unit ("20 GiB"); by default `default_max_bytes()`.
    offline
        Use only the cache folder; anything missing is a `RemoteFileError`.
    revalidate
        Seconds for which later sessions trust a file that was checked. 0: each session checks each file
        once. None: never checks a known file.
    overlay, overlay_flatten
        A folder of local copies to read instead of remote files (see `find_local_copy`).

    Notes
    -----
    A *session* is the life of an instance: facts about a file are valid until `invalidate_cache`, or
    until the filesystem behind reports that the file has changed. Files without ETag and modification
    time are read, but not cached.
    """

    protocol = "lazy"
    checks_validator = True
    """Tells callers that `cat_file` and `cat_ranges` accept `validator`."""
    _strip_tokenize_options = ("fo",)

    def __init__(
        self,
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
        *,
        fo: str | None = None,  # noqa: ARG002 - see above
        cache_dir: str | os.PathLike[str] | None = None,
        max_bytes: int | str | None = None,
        offline: bool = False,
        revalidate: float | None = 0.0,
        overlay: str | os.PathLike[str] | None = None,
        overlay_flatten: bool = False,
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(asynchronous=asynchronous, loop=loop if loop or asynchronous else shared_loop())
        if (fs is None) == (target_protocol is None):
            raise ValueError("a cache needs a filesystem behind it: give either fs or target_protocol")
        self.fs = fs or _make_target(
            str(target_protocol), target_options or {}, asynchronous=asynchronous, loop=loop
        )
        self._trusts_target = getattr(self.fs, "checks_validator", False)
        identify = Identity(self.fs)  # before it is wrapped
        if not self.fs.async_impl:
            self.fs = AsyncFileSystemWrapper(self.fs, asynchronous=asynchronous)
        self.folder: CacheFolder = CacheFolder(
            cache_dir, None if max_bytes is None else parse_size(max_bytes)
        )
        self.offline = offline
        self._pid = os.getpid()
        self._loader = RangeLoader(self.folder, self._fetch)
        self._knowledge = FileVersions(
            lambda: self.fs,
            self.folder,
            self._loader,
            identify=identify,
            offline=offline,
            revalidate=None if revalidate is None else float(revalidate),
            overlay=None if overlay is None else Path(overlay).expanduser().absolute(),
            overlay_flatten=overlay_flatten,
        )

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop for blocking calls; a forked child gets its own, and its own filesystem behind."""
        if self._pid != os.getpid():
            with one_at_a_time():
                if self._pid != os.getpid():
                    self._start_anew()
        return None if self._loop is None else running(self._loop)

    def _start_anew(self) -> None:
        self._loop = None if self.asynchronous else shared_loop()
        self._loader.forget_flights()
        self._knowledge.forget_answers()
        self.fs = type(self.fs)(*self.fs.storage_args, **self.fs.storage_options)
        self._pid = os.getpid()  # last: it signals other threads that all is ready

    def request_worth_bytes(self, path: str) -> float:
        """The value of the filesystem behind; 0 if it has none."""
        worth = getattr(self.fs, "request_worth_bytes", None)
        return float(worth(path)) if worth else 0.0

    @property
    def stats(self) -> CacheStats:
        """Reads so far in this process."""
        return self._loader.stats

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:  # noqa: ANN401 - one path or many, as in fsspec
        if isinstance(path, list):
            return [cls._strip_protocol(p) for p in path]
        return stringify_path(path).removeprefix("lazy::").removeprefix("lazy://")

    def _behind(self, path: str) -> str:
        """The path in the filesystem behind."""
        return str(self.fs._strip_protocol(self._strip_protocol(path)))  # noqa: SLF001

    def unstrip_protocol(self, name: str) -> str:
        """The URL chain of `name`."""
        return f"lazy::{self._knowledge.url(self._behind(name))}"

    def vouch(self, path: str, validator: str, size: int) -> bool:
        """As of the filesystem behind; False if it cannot compare versions, or this cache has another one."""
        behind = self._behind(path)
        known = self._knowledge.known(behind)
        if known is not None:
            return bool(known["validator"] == validator)
        vouch = getattr(self.fs, "vouch", None)
        if vouch is None or self.offline or self._knowledge.has_copies or not vouch(behind, validator, size):
            return False
        self._knowledge.vouch(behind, validator, size)
        return True

    def invalidate_cache(self, path: str | None = None) -> None:
        """Check `path` (or all files) again on next use; cached bytes of this version stay."""
        self._knowledge.forget(None if path is None else self._behind(path))
        self.fs.invalidate_cache(path)

    def discard(self, path: str) -> None:
        """Drop the description and bytes of a file that are wrong; does nothing if offline."""
        version = self._knowledge.known_version(self._behind(path))
        if not self.offline:
            self.invalidate_cache(path)
            if version is not None:
                self.folder.forget(version)

    def key(self, path: str) -> str:
        """The cache key of a file, without secrets."""
        return self._knowledge.key(self._behind(path))

    async def _ls(self, path: str, detail: bool = True, **kwargs: object) -> list[Any]:
        """The listing of the filesystem behind; not cached."""
        if self.offline:
            raise RemoteFileError(f"{redact_url(path)}: listings are not cached, and offline is set")
        entries: list[Any] = await self.fs._ls(self._behind(path), detail=detail, **kwargs)  # noqa: SLF001
        return entries

    async def _walk(self, path: str, *args: object, **kwargs: object) -> AsyncIterator[Any]:
        # The filesystem behind handles folders that cannot be listed.
        async for step in self.fs._walk(self._behind(path), *args, **kwargs):  # noqa: SLF001
            yield step

    async def _info(self, path: str) -> dict[str, Any]:
        """The `info` of the filesystem behind, plus `validator`, which identifies the version.

        Notes
        -----
        Costs one request per file and session; none if another session checked within the last
        `revalidate` seconds, and none offline.
        """
        return await self._knowledge.describe(self._behind(path))

    _info_blocking = blocking(_info)

    def info(self, path: str, **_: object) -> dict[str, Any]:
        """The blocking version of `_info`; known descriptions do not use the event loop."""
        return self._knowledge.known(self._behind(path)) or self._info_blocking(path)

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, *, validator: str | None = None
    ) -> bytes:
        """The bytes `start` ≤ i < `end` of a file, clipped to its size; negative numbers count from its end.

        Parameters
        ----------
        validator
            The required version (see `info`); by default the version of this session.

        Raises
        ------
        RemoteFileChangedError
            The file is now of another version.

        Notes
        -----
        The last bytes of an unknown file cost one request, which also gets its facts.
        """
        path = self._behind(path)
        if start is not None and start < 0 and end is None and validator is None:
            tail = await self._knowledge.read_tail(path, -start)
            if tail is not None:
                return tail
        (answer,) = await self._read_one_file(path, [(start, end)], validator, None)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _cat_ranges(  # noqa: PLR0917 - fsspec's signature
        self,
        paths: list[str],
        starts: Sequence[int | None] | int | None,
        ends: Sequence[int | None] | int | None,
        max_gap: int | None = None,
        batch_size: int | None = None,  # noqa: ARG002 - concurrency is up to the filesystem behind
        on_error: str = "return",
        *,
        validator: str | None = None,
    ) -> list[Any]:
        """The bytes of many ranges, in the given order; missing ranges of a file are fetched in one call.

        Parameters
        ----------
        max_gap
            For the filesystem behind: merge ranges with no more bytes than this between them.
        on_error
            "return" puts the error in place of each failed range; "raise" raises the first.
        validator
            As for `cat_file`.
        """
        starts = list(starts) if isinstance(starts, Iterable) else [starts] * len(paths)
        ends = list(ends) if isinstance(ends, Iterable) else [ends] * len(paths)
        if not len(starts) == len(ends) == len(paths):
            raise ValueError(f"{len(paths)} paths, but {len(starts)} starts and {len(ends)} ends")
        members: dict[str, list[int]] = {}
        for i, path in enumerate(paths):
            members.setdefault(self._behind(path), []).append(i)
        answers: list[Any] = [b""] * len(paths)
        files = await asyncio.gather(
            *(
                self._read_one_file(path, [(starts[i], ends[i]) for i in positions], validator, max_gap)
                for path, positions in members.items()
            ),
            return_exceptions=on_error == "return",
        )
        for positions, file_answers in zip(members.values(), files, strict=True):
            for k, i in enumerate(positions):
                answers[i] = file_answers if isinstance(file_answers, BaseException) else file_answers[k]
        if on_error != "return" and (errors := [a for a in answers if isinstance(a, Exception)]):
            raise errors[0]
        return answers

    async def _cat_again(
        self, path: str, start: int, end: int, *, validator: str | None = None
    ) -> bytes | None:
        """Read again, from the filesystem behind, bytes that were read from disk and proved to be damaged.

        None if they were not read from disk, if they cannot be read, or if offline.
        """
        path = self._behind(path)
        info = await self._knowledge.describe_version(path, validator)
        wanted = _clip(path, start, end, info["size"])
        if self.offline or "local_copy" in info:
            return None
        if not await in_thread(self.folder.drop, self._knowledge.version(path, info), wanted):
            return None
        (answer,) = await self._read_one_file(path, [wanted], validator, None)
        return None if isinstance(answer, Exception) else answer

    cat_again = blocking(_cat_again)

    async def _read_one_file(
        self,
        path: str,
        bounds: list[tuple[int | None, int | None]],
        validator: str | None,
        max_gap: int | None,
    ) -> list[Answer]:
        info = await self._knowledge.describe_version(path, validator)
        ranges = [_clip(path, start, end, info["size"]) for start, end in bounds]
        if "local_copy" in info:
            return await in_thread(read_copy, info, ranges)
        version = self._knowledge.version(path, info)
        answers = await self._loader.load(path, version, ranges, max_gap=max_gap)
        await self._knowledge.adopt(path, info)
        if not any(isinstance(answer, Exception) for answer in answers):
            await self._knowledge.confirm(path, info)
        if any(isinstance(answer, RemoteFileChangedError) for answer in answers):
            self.invalidate_cache(path)
            await in_thread(self.folder.forget, version)
        return answers

    async def _fetch(
        self, path: str, version: FileVersion, ranges: list[ByteRange], max_gap: int | None
    ) -> list[Answer]:
        """Bytes of this version from the filesystem behind, which checks it if it can."""
        if self.offline:
            error = RemoteFileError(f"{redact_url(path)}: not completely in the cache, and offline is set")
            return [error] * len(ranges)
        if self._trusts_target:
            starts, stops = [r.start for r in ranges], [r.stop for r in ranges]
            options = {"max_gap": max_gap, "validator": version.validator}
            answers: list[Answer] = await self.fs._cat_ranges(  # noqa: SLF001
                [path] * len(ranges), starts, stops, on_error="return", **options
            )
            return answers
        info = self._knowledge.known(path) or {}
        etag = etag_of(info) if info.get("validator") == version.validator else ""

        async def is_current() -> bool:
            self._loader.count(requests=1)
            return find_validator(await describe_anew(self.fs, path)) == version.validator

        return await read_ranges(self.fs, path, ranges, etag=etag, is_current=is_current)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        *,
        cache_type: str = "readahead",
    ) -> "RangeCacheFile":
        """A seekable file object over one version of a file; blocks of 1 MiB by default."""
        if mode != "rb":
            raise NotImplementedError("this cache is read-only")
        info = self.info(path)
        block_size = block_size or RangeCacheFile.DEFAULT_BLOCK_SIZE
        options = {"size": info["size"], "validator": info["validator"]}
        return RangeCacheFile(self, path, mode, block_size, autocommit, cache_type, cache_options, **options)

    cat_file = blocking(_cat_file)
    cat_ranges = blocking(_cat_ranges)


class RangeCacheFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no annotations
    """A file object; all reads are from the version that was opened."""

    DEFAULT_BLOCK_SIZE = 1 << 20

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = self.fs.cat_file(self.path, start, end, **self.kwargs)
        return data


def _make_target(
    protocol: str, options: dict[str, Any], *, asynchronous: bool, loop: asyncio.AbstractEventLoop | None
) -> AbstractFileSystem:
    cls = LazyHTTPFileSystem if protocol in ("http", "https") else fsspec.get_filesystem_class(protocol)
    if cls.async_impl:
        options = {"asynchronous": asynchronous, "loop": loop} | options
    return cls(**options)


def _clip(path: str, start: int | None, end: int | None, size: int | None) -> ByteRange:
    if size is None:
        if end is None or min(start or 0, end) < 0:
            raise RemoteFileError(
                f"{redact_url(path)}: its size is unknown, so positions from its end cannot be resolved"
            )
        return ByteRange(start or 0, max(start or 0, end))
    first, stop, _ = slice(start, end).indices(size)
    return ByteRange(first, max(first, stop))
