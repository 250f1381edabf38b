"""Storage of finished images in any folder or bucket that fsspec supports, up to a quota.

It is a cache: failures cost time, but never fail a request. So nothing here raises; a store that fails or
does not respond is logged, not used for a while, and tried again later. All of its work is done in threads,
since fsspec's filesystems block.

An image is verified before it is served. Its length and SHA-256 are written first, to a small file of their
own, then the image; local files are synced to disk before they get their name. An image that does not match
is ignored and made again. Several processes, on several machines, may share a store: whether an image is
stored is checked in the store, never inferred.

The *index* lists the stored images, their sizes, and the order of last use. It is in memory
and is built from the store's listing when the store is first used, and again when it is old or much
was written, so that one quota applies to all processes, with a delay of seconds (50 times the duration of a
listing, if longer). There is no copy of it on disk, and the quota holds across restarts. Images and
their checksums are in separate folders; nothing else in the given folder or bucket is ever
counted or deleted.
"""

import asyncio
import errno
import hashlib
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
from urllib.parse import quote, urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from camhd_access.server.settings import ServerSettings
from camhd_access.storage.output_files import PART, replace_file

__all__ = ["ImageStore", "open_store"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

FOLDER = "camhd-pictures"
"""Folder of the images in the store."""
CHECKSUMS = "camhd-checksums"
"""Folder of the length and SHA-256 of each image, under the same key."""

FRESH_SECONDS, FRESH_LISTINGS = 5.0, 50
"""An index older than this, and than this multiple of the duration of the listing, is rebuilt."""
FRESH_SHARE = 64
"""It is also rebuilt after this share of the quota was written."""

ANSWER_SECONDS = 5.0
"""Time limit for an image: after that, making the image again is quicker."""

LISTING_SECONDS = 600.0
"""Time limit for the listing, for which only images to be written wait."""

CLOSE_SECONDS = 10.0
"""Longest time that the server's shutdown waits for images being written."""

REST_SECONDS = 30.0
"""A store that has failed is not used for this time."""

MAX_WRITES = 32
"""Images that may wait to be written; further ones are not stored, since they take memory."""

N_THREADS = 8

_NAME = r"[\w,:;=+@%~()-][\w.,:;=+@%~()-]{0,199}"  # names must not begin with a dot
_KEY = re.compile(rf"{_NAME}(/{_NAME})*", re.ASCII)
_MAX_KEY_CHARACTERS = 900  # S3 and Google Cloud Storage allow 1,024 bytes, including the folder's name

_PART_SECONDS = 3600.0  # older unfinished files are abandoned

_IMMUTABLE = "public, max-age=31536000, immutable"


class _StoreFailedError(Exception):
    """The store failed (already logged), or is not to be used now."""


class ImageStore:
    """Images by key, in a folder or bucket. All methods are for one event loop.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens for writing: a local folder, `memory://…`, `s3://bucket/…`,
        `gs://bucket/…`.
    max_bytes
        Quota of the images; the least recently used are deleted first.
    public_url
        Public URL of the contents of `urlpath`, with a trailing slash; None if not public.
    sign_seconds
        Validity of signed URLs, by which a private bucket is read; None for no such URLs.
    storage_options
        Arguments for the filesystem's constructor.

    Notes
    -----
    A key is a relative path of ASCII letters, digits and `.,:;=+@%~()_-`, no part of which begins with a dot.
    Nothing is stored under other keys, so none leads out of the folder.
    """

    def __init__(
        self,
        urlpath: str,
        *,
        max_bytes: int,
        public_url: str | None = None,
        sign_seconds: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._fs, root = fsspec.core.url_to_fs(urlpath, **(storage_options or {}))
        self._root = f"{root.rstrip('/')}/{FOLDER}"
        self._checksums = f"{root.rstrip('/')}/{CHECKSUMS}"
        self._public_root = None if public_url is None else f"{public_url}{FOLDER}/"
        self._sign_seconds = sign_seconds
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._n_bytes = 0
        self._n_failures = 0
        self._is_loaded = False
        self._fresh_until = float("-inf")
        self._n_puts = 0
        self._n_bytes_since = 0
        self._changed: dict[str, int | None] = {}
        self._loading: asyncio.Task[None] | None = None
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._rests_until = float("-inf")
        self._pool = ThreadPoolExecutor(N_THREADS, thread_name_prefix="camhd-images")

    @property
    def n_bytes(self) -> int:
        """Bytes of the stored images, according to the index."""
        return self._n_bytes

    @property
    def n_pictures(self) -> int:
        """Number of stored images, according to the index."""
        return len(self._sizes)

    @property
    def n_failures(self) -> int:
        """Number of failures so far."""
        return self._n_failures

    async def public_url(self, key: str) -> str | None:
        """Public or signed URL of an image; None unless it is stored, of the right length, and the store has
        such URLs.

        Notes
        -----
        Two small requests: other processes may have deleted it.
        """
        await asyncio.sleep(0)
        has_urls = self._public_root is not None or self._sign_seconds is not None
        if not has_urls or not _is_key(key) or key in self._writing:
            return None
        with suppress(_StoreFailedError):
            n_puts = self._n_puts
            size = await self._ask(ANSWER_SECONDS, self._measure, key)
            self._note(key, size, n_puts)
            if size is None:
                return None
            if self._public_root is not None:
                return self._public_root + quote(key)
            return await self._ask(ANSWER_SECONDS, self._sign, key)
        return None

    def _sign(self, key: str) -> str:
        url: str = self._fs.sign(f"{self._root}/{key}", expiration=self._sign_seconds)
        return url

    def find_site(self) -> str | None:
        """Scheme and host of the URLs of images, such as `https://bucket.s3.amazonaws.com`, if it has any.

        Raises
        ------
        ValueError
            URLs cannot be signed: the filesystem has none, or there are no credentials.

        Notes
        -----
        Makes no requests.
        """
        if self._public_root is None and self._sign_seconds is None:
            return None
        try:
            parts = urlsplit(self._public_root or self._sign("site"))
        except Exception as error:  # filesystems raise many kinds of errors
            raise ValueError(f"image_store_sign: {type(error).__name__}: {error}") from error
        return f"{parts.scheme}://{parts.netloc}"

    async def get(self, key: str) -> bytes | None:
        """An image, or None if it is not stored or the store fails.

        Notes
        -----
        Two requests; one for an image that is not stored. Other tasks run in between in any case, so a
        loop of calls does not starve writers.
        """
        await asyncio.sleep(0)
        if not _is_key(key):
            return None
        self._load_soon()
        with suppress(_StoreFailedError):
            n_puts = self._n_puts
            body = await self._ask(ANSWER_SECONDS, self._read, key)
            self._note(key, None if body is None else len(body), n_puts)
            return body
        return None

    def _note(self, key: str, size: int | None, n_puts: int) -> None:
        """Update the index with the store's response, unless the image may have been written meanwhile."""
        if key in self._writing:
            return
        if size is not None:
            self._count(key, size)
        elif n_puts == self._n_puts:
            self._uncount(key)

    async def put(self, key: str, body: bytes, content_type: str) -> asyncio.Task[None] | None:
        """Store an image in the background. Does not wait for the store, nor fail with it; see `aclose`.

        Returns
        -------
        task
            The write; None if the image is not stored.
        """
        full = len(self._writing) >= MAX_WRITES or len(body) > self._max_bytes
        if full or key in self._writing or not _is_key(key) or self._rests:
            return None
        self._n_puts += 1
        task = asyncio.create_task(self._put(key, body, content_type))
        self._writing[key] = task
        task.add_done_callback(lambda _: self._writing.pop(key))
        return task

    async def aclose(self) -> None:
        """Wait for pending writes, for at most `CLOSE_SECONDS`; after that the store is not used."""
        tasks = [*self._writing.values(), *([self._loading] if self._loading else [])]
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _put(self, key: str, body: bytes, content_type: str) -> None:
        loading = self._load_soon(len(body))
        if not self._is_loaded or self._n_bytes_since + len(body) > self._max_bytes // FRESH_SHARE:
            await asyncio.shield(loading)
        if not self._is_loaded:
            return
        self._n_bytes_since += len(body)
        old_size = self._sizes.get(key)
        self._count(key, len(body))
        try:
            await self._make_room()
            await self._ask(ANSWER_SECONDS, self._write, key, body, content_type)
        except _StoreFailedError:
            self._uncount(key)
            if old_size is not None:  # it still exists
                self._count(key, old_size)

    async def _make_room(self) -> None:
        """Delete the least recently used images until the quota is kept."""
        while self._n_bytes > self._max_bytes:
            oldest = next((key for key in self._sizes if key not in self._writing), None)
            if oldest is None:  # all space is taken by pending writes
                raise _StoreFailedError
            size = self._uncount(oldest)  # before it is deleted, so that nobody is redirected to it
            try:
                await self._ask(ANSWER_SECONDS, self._remove, oldest)
            except _StoreFailedError:
                self._count(oldest, size)
                self._sizes.move_to_end(oldest, last=False)
                raise

    def _count(self, key: str, size: int) -> None:
        self._uncount(key)
        self._sizes[key] = self._changed[key] = size
        self._n_bytes += size

    def _uncount(self, key: str) -> int:
        size = self._sizes.pop(key, 0)
        self._n_bytes -= size
        self._changed[key] = None
        return size

    def _load_soon(self, n_bytes: int = 0) -> asyncio.Task[None]:
        """The task that builds the index; a new one if it is old, or after many writes."""
        is_old = (
            time.monotonic() > self._fresh_until
            or self._n_bytes_since + n_bytes > self._max_bytes // FRESH_SHARE
        )
        if self._loading is None or (self._loading.done() and (is_old or not self._is_loaded)):
            self._loading = asyncio.create_task(self._load())
        return self._loading

    async def _load(self) -> None:
        """Build the index from a listing and the changes since, in our own order of use."""
        self._n_bytes_since = 0
        self._changed = {key: self._sizes[key] for key in self._writing if key in self._sizes}
        begin = time.monotonic()
        with suppress(_StoreFailedError):
            found: dict[str, int | None] = dict(await self._ask(LISTING_SECONDS, self._list))
            found |= self._changed
            for key in (*(key for key in found if key not in self._sizes), *list(self._sizes)):
                self._uncount(key)
                if (size := found.get(key)) is not None:
                    self._count(key, size)
            now = time.monotonic()
            self._fresh_until = now + max(FRESH_SECONDS, FRESH_LISTINGS * (now - begin))
            self._is_loaded = True

    @property
    def _rests(self) -> bool:
        return time.monotonic() < self._rests_until

    async def _ask(self, seconds: float, work: Callable[..., T], *args: object) -> T:
        """The result of `work`, run in a thread; any error of it is a failure of the store."""
        if self._rests:
            raise _StoreFailedError
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        except Exception as error:  # filesystems raise many kinds of errors, not only OSError
            self._n_failures += 1
            self._rests_until = time.monotonic() + REST_SECONDS
            logger.warning(
                "image store %s: %s: %s; it is not used for %.0f s",
                self._root,
                type(error).__name__,
                error,
                REST_SECONDS,
            )
            raise _StoreFailedError from error

    def _read(self, key: str) -> bytes | None:
        """The image, if it is complete."""
        if not (told := self._read_checksum(key)):
            return None
        try:
            body = self._fs.cat_file(f"{self._root}/{key}", start=0)  # else s3fs requests the size first
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:  # raised by S3 for an empty object
                raise
            body = b""
        if told != _checksum_of(body):
            logger.warning("image store %s: %s does not match its checksum", self._root, key)
            return None
        return bytes(body)

    def _measure(self, key: str) -> int | None:
        """The length of an image, if it is the one that was written."""
        with suppress(FileNotFoundError):
            size: int = self._fs.info(f"{self._root}/{key}", refresh=True)["size"]
            return size if self._read_checksum(key).partition(b" ")[0] == str(size).encode() else None
        return None

    def _read_checksum(self, key: str) -> bytes:
        """Expected length and SHA-256 of an image; empty if it was never written."""
        with suppress(FileNotFoundError):
            return bytes(self._fs.cat_file(f"{self._checksums}/{key}", start=0))
        return b""

    def _write(self, key: str, body: bytes, content_type: str) -> None:
        """Write the checksum, then the image, which is invalid without it."""
        for root, data, kind in (
            (self._checksums, _checksum_of(body), "text/plain"),
            (self._root, body, content_type),
        ):
            path = f"{root}/{key}"
            if isinstance(self._fs, LocalFileSystem):
                with replace_file(Path(path)) as file:
                    file.write(data)
            else:
                self._fs.pipe_file(path, data, **_object_options(self._fs.protocol, kind))

    def _remove(self, key: str) -> None:
        for root in (self._root, self._checksums):
            with suppress(FileNotFoundError):
                self._fs.rm_file(f"{root}/{key}")

    def _list(self) -> list[tuple[str, int]]:
        """Keys and sizes of all images, oldest first."""
        self._fs.invalidate_cache()
        entries = self._fs.find(self._root, detail=True)
        self._fs.invalidate_cache()  # filesystems of buckets cache listings in memory
        if isinstance(self._fs, LocalFileSystem):
            _remove_parts(entries.values())
            _remove_parts(self._fs.find(self._checksums, detail=True).values())
        found = [
            (_when(entry), path.removeprefix(f"{self._root}/"), entry["size"])
            for path, entry in entries.items()
        ]
        return [(key, size) for _, key, size in sorted(found) if _is_key(key)]


def open_store(settings: ServerSettings) -> ImageStore | None:
    """The store of these settings; None if there is none."""
    if settings.image_store is None:
        return None
    return ImageStore(
        settings.image_store,
        max_bytes=settings.image_store_size,
        public_url=settings.image_store_url,
        sign_seconds=settings.image_store_sign,
    )


def _checksum_of(body: bytes) -> bytes:
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}\n".encode()


def _is_key(key: str) -> bool:
    return len(key) <= _MAX_KEY_CHARACTERS and _KEY.fullmatch(key) is not None


def _object_options(protocol: str | tuple[str, ...], content_type: str) -> dict[str, Any]:
    """Options that set the HTTP headers of an object in a bucket."""
    names = (protocol,) if isinstance(protocol, str) else protocol
    if "s3" in names:
        return {"ContentType": content_type, "CacheControl": _IMMUTABLE}
    if "gs" in names:
        return {"content_type": content_type, "fixed_key_metadata": {"cache_control": _IMMUTABLE}}
    return {}


def _when(entry: Mapping[str, Any]) -> float:
    """Modification time of a file in seconds, from the keys of various filesystems."""
    when = next((entry[name] for name in ("mtime", "LastModified", "created") if entry.get(name)), 0.0)
    return when.timestamp() if isinstance(when, datetime) else float(when)


def _remove_parts(entries: Iterable[Mapping[str, Any]]) -> None:
    """Remove unfinished files of a process that was killed while writing."""
    oldest = time.time() - _PART_SECONDS
    for entry in entries:
        if Path(entry["name"]).match(f".*{PART}") and entry["mtime"] < oldest:
            Path(entry["name"]).unlink(missing_ok=True)
