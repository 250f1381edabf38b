"""Pictures that were made once, kept in any folder or bucket that fsspec knows, up to a quota.

It is a cache: what it cannot do costs time, never an answer. So nothing here raises; a store that fails or
does not answer is logged, left alone for a while, and asked again later. All of its work is done in threads,
since fsspec's filesystems block.

The *index* says which pictures are kept, of what size, and which of them were used last. It lies in memory
and is made from the store's own listing when the store is first used: there is no second truth on disk, and
the quota holds across restarts. Pictures lie in a folder of their own; nothing else in the folder or bucket
that was named is ever counted or deleted.
"""

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from camhd_access.storage.output_files import PART, replace_file

__all__ = ["ImageStore"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

FOLDER = "camhd-pictures"
"""Where pictures lie in the store."""

ANSWER_SECONDS = 5.0
"""A store that takes longer over a picture has failed: making the picture again is quicker."""

LISTING_SECONDS = 600.0
"""The same for its listing, of which nobody waits but pictures to be written."""

CLOSE_SECONDS = 10.0
"""For so long the end of the server waits for pictures that are being written."""

REST_SECONDS = 30.0
"""For so long a store that has failed is not asked again."""

MAX_WRITES = 32
"""Pictures that may wait to be written; further ones are not kept, since they take memory."""

N_THREADS = 8

_NAME = r"[\w,:;=+@%~()-][\w.,:;=+@%~()-]{0,199}"  # no name begins with a dot
_KEY = re.compile(rf"{_NAME}(/{_NAME})*", re.ASCII)
_MAX_KEY_CHARACTERS = 900  # S3 and Google Cloud Storage take 1,024 bytes, the folder's name included

_PART_SECONDS = 3600.0  # an unfinished file as old as this is nobody's

_IMMUTABLE = "public, max-age=31536000, immutable"


class _StoreFailedError(Exception):
    """The store could not do what it was asked to, which was logged, or is not to be asked now."""


class ImageStore:
    """Pictures by key, in a folder or bucket. All its methods are for one event loop.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens for writing: a local folder, `memory://…`, `s3://bucket/…`, `gs://bucket/…`.
    max_bytes
        What the pictures may take together; the least recently used go first.
    public_url
        Where everybody finds the contents of `urlpath`, with a slash at the end; None if nowhere.
    storage_options
        For the filesystem's constructor.

    Notes
    -----
    A key is a relative path of ASCII letters, digits and `.,:;=+@%~()_-`, no part of which begins with a dot.
    Under any other key nothing is kept: none leads out of the folder.
    """

    def __init__(
        self,
        urlpath: str,
        *,
        max_bytes: int,
        public_url: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._fs, root = fsspec.core.url_to_fs(urlpath, **(storage_options or {}))
        self._root = f"{root.rstrip('/')}/{FOLDER}"
        self._public_root = None if public_url is None else f"{public_url}{FOLDER}/"
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._n_bytes = 0
        self._n_failures = 0
        self._is_loaded = False
        self._loading: asyncio.Task[None] | None = None
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._rests_until = float("-inf")
        self._pool = ThreadPoolExecutor(N_THREADS, thread_name_prefix="camhd-images")

    @property
    def n_bytes(self) -> int:
        """Bytes of the pictures that are kept, as the index has it."""
        return self._n_bytes

    @property
    def n_pictures(self) -> int:
        """Pictures that are kept, as the index has it."""
        return len(self._sizes)

    @property
    def n_failures(self) -> int:
        """How often the store failed, so far."""
        return self._n_failures

    def public_url(self, key: str) -> str | None:
        """Where everybody finds a picture; None unless it is kept and the store is public.

        Notes
        -----
        The index tells, without a request: whoever else deletes pictures makes it wrong.
        """
        if self._public_root is None or key not in self._sizes or key in self._writing:
            return None
        self._sizes.move_to_end(key)
        return self._public_root + quote(key)

    async def get(self, key: str) -> bytes | None:
        """A picture, or None where it is not kept or the store fails.

        Notes
        -----
        One request; none for a picture that is not kept, once the index is there. So pictures of another
        server that shares the store are found after the next start. Other tasks run in between in any case:
        one that asks in a loop does not starve those that write.
        """
        await asyncio.sleep(0)
        if not _is_key(key) or (self._is_loaded and key not in self._sizes):
            return None
        self._load_soon()
        with suppress(_StoreFailedError):
            body = await self._ask(ANSWER_SECONDS, self._read, key)
            if body is None and key not in self._writing:
                self._uncount(key)
            elif key in self._sizes:
                self._sizes.move_to_end(key)
            elif body is not None and not self._is_loaded:
                self._count(key, len(body))
            return body
        return None

    async def put(self, key: str, body: bytes, content_type: str) -> None:
        """Keep a picture soon. Does not wait for the store, nor fail with it; see `aclose`."""
        full = len(self._writing) >= MAX_WRITES or len(body) > self._max_bytes
        if full or key in self._writing or not _is_key(key) or self._rests:
            return
        task = asyncio.create_task(self._put(key, body, content_type))
        self._writing[key] = task
        task.add_done_callback(lambda _: self._writing.pop(key))

    async def aclose(self) -> None:
        """Wait until what was put is kept, but for no more than `CLOSE_SECONDS`; then the store rests."""
        tasks = [*self._writing.values(), *([self._loading] if self._loading else [])]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _put(self, key: str, body: bytes, content_type: str) -> None:
        await asyncio.shield(self._load_soon())
        if not self._is_loaded:
            return
        old_size = self._sizes.get(key)
        self._count(key, len(body))
        try:
            await self._make_room()
            await self._ask(ANSWER_SECONDS, self._write, key, body, content_type)
        except _StoreFailedError:
            self._uncount(key)
            if old_size is not None:  # it is still there
                self._count(key, old_size)

    async def _make_room(self) -> None:
        """Delete what was not used for longest until the quota is kept."""
        while self._n_bytes > self._max_bytes:
            oldest = next((key for key in self._sizes if key not in self._writing), None)
            if oldest is None:  # all the room there is has been promised
                raise _StoreFailedError
            size = self._uncount(oldest)  # before it goes, so that nobody is sent there
            try:
                await self._ask(ANSWER_SECONDS, self._remove, oldest)
            except _StoreFailedError:
                self._count(oldest, size)
                self._sizes.move_to_end(oldest, last=False)
                raise

    def _count(self, key: str, size: int) -> None:
        self._uncount(key)
        self._sizes[key] = size
        self._n_bytes += size

    def _uncount(self, key: str) -> int:
        size = self._sizes.pop(key, 0)
        self._n_bytes -= size
        return size

    def _load_soon(self) -> asyncio.Task[None]:
        """The task that makes the index; a new one where the last could not."""
        if self._loading is None or (self._loading.done() and not self._is_loaded):
            self._loading = asyncio.create_task(self._load())
        return self._loading

    async def _load(self) -> None:
        with suppress(_StoreFailedError):
            listed = await self._ask(LISTING_SECONDS, self._list)
            used = self._sizes
            self._sizes, self._n_bytes = OrderedDict(), 0
            for key, size in (*listed, *used.items()):
                self._count(key, size)
            self._is_loaded = True

    @property
    def _rests(self) -> bool:
        return time.monotonic() < self._rests_until

    async def _ask(self, seconds: float, work: Callable[..., T], *args: object) -> T:
        """What `work` returns, in a thread; any error of it is the store's failure."""
        if self._rests:
            raise _StoreFailedError
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        except Exception as error:  # filesystems raise errors of all libraries, and not all are OSErrors
            self._n_failures += 1
            self._rests_until = time.monotonic() + REST_SECONDS
            logger.warning(
                "image store %s: %s: %s; it is left alone for %.0f s",
                self._root,
                type(error).__name__,
                error,
                REST_SECONDS,
            )
            raise _StoreFailedError from error

    def _read(self, key: str) -> bytes | None:
        try:
            body: bytes = self._fs.cat_file(
                f"{self._root}/{key}", start=0
            )  # else S3 is asked for the size first
        except FileNotFoundError:
            return None
        return body

    def _write(self, key: str, body: bytes, content_type: str) -> None:
        path = f"{self._root}/{key}"
        if isinstance(self._fs, LocalFileSystem):
            with replace_file(Path(path)) as file:
                file.write(body)
        else:
            self._fs.pipe_file(path, body, **_object_options(self._fs.protocol, content_type))

    def _remove(self, key: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{key}")

    def _list(self) -> list[tuple[str, int]]:
        """Keys and sizes of all pictures, those written first before the others."""
        self._fs.invalidate_cache()
        entries = self._fs.find(self._root, detail=True)
        self._fs.invalidate_cache()  # buckets' filesystems keep all of it in memory
        if isinstance(self._fs, LocalFileSystem):
            _remove_parts(entries.values())
        found = [
            (_when(entry), path.removeprefix(f"{self._root}/"), entry["size"])
            for path, entry in entries.items()
        ]
        return [(key, size) for _, key, size in sorted(found) if _is_key(key)]


def _is_key(key: str) -> bool:
    return len(key) <= _MAX_KEY_CHARACTERS and _KEY.fullmatch(key) is not None


def _object_options(protocol: str | tuple[str, ...], content_type: str) -> dict[str, Any]:
    """What tells a bucket's filesystem the headers that the object is served with."""
    names = (protocol,) if isinstance(protocol, str) else protocol
    if "s3" in names:
        return {"ContentType": content_type, "CacheControl": _IMMUTABLE}
    if "gs" in names:
        return {"content_type": content_type, "fixed_key_metadata": {"cache_control": _IMMUTABLE}}
    return {}


def _when(entry: Mapping[str, Any]) -> float:
    """When a file was written, in seconds; filesystems say it each in their own way."""
    when = next((entry[name] for name in ("mtime", "LastModified", "created") if entry.get(name)), 0.0)
    return when.timestamp() if isinstance(when, datetime) else float(when)


def _remove_parts(entries: Iterable[Mapping[str, Any]]) -> None:
    """Remove what a process left that was killed while it wrote."""
    oldest = time.time() - _PART_SECONDS
    for entry in entries:
        if Path(entry["name"]).match(f".*{PART}") and entry["mtime"] < oldest:
            Path(entry["name"]).unlink(missing_ok=True)
