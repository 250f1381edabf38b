"""The file versions of a session: version and size of each file.

Each is determined once per file and session: from the response with the file's end, if that is
requested first; or from the stored description, once a request has confirmed it. From then on bytes
are identified by version, and need no request to be trusted.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fsspec.spec import AbstractFileSystem

from camhd_access.caching import SingleFlight
from camhd_access.errors import RemoteFileChangedError, RemoteFileError
from camhd_access.storage.compared_reads import forget_listings
from camhd_access.storage.lazyhttp.tasks import in_thread
from camhd_access.storage.lazyhttp.versions import is_by_size, is_same_version
from camhd_access.storage.rangecache.blocks import Piece
from camhd_access.storage.rangecache.folder import CacheFolder, FileVersion
from camhd_access.storage.rangecache.loader import RangeLoader, claim
from camhd_access.storage.rangecache.locks import WHOLE_FILE
from camhd_access.storage.rangecache.overlay import describe_copy, find_local_copy
from camhd_access.storage.versions import describe_version, find_mark
from camhd_access.urls import redact_url

__all__ = ["FileVersions", "find_validator"]

Answer = tuple[dict[str, Any], bytes | None]

_VOUCHED = "vouched"
"""Key of descriptions that no response has confirmed yet."""


class FileVersions:
    """Descriptions of files as in `RangeCacheFileSystem.info`, each fetched once.

    Parameters
    ----------
    target
        Returns the filesystem behind (after a fork, another one).
    identify
        Returns the cache key of an address.
    folder, loader
        Where descriptions and bytes are stored, and where requests are counted.
    offline, revalidate, overlay, overlay_flatten
        As for `RangeCacheFileSystem`.
    """

    def __init__(
        self,
        target: Callable[[], AbstractFileSystem],
        folder: CacheFolder,
        loader: RangeLoader,
        *,
        identify: Callable[[str], str],
        offline: bool,
        revalidate: float | None,
        overlay: Path | None,
        overlay_flatten: bool,
    ) -> None:
        self._target = target
        self._folder = folder
        self._loader = loader
        self._identify = identify
        self._offline = offline
        self._revalidate = revalidate
        self._overlay = overlay
        self._overlay_flatten = overlay_flatten
        self._infos: dict[str, dict[str, Any]] = {}
        self._keys: dict[str, str] = {}
        self._in_flight: SingleFlight[tuple[str, int], Answer] = SingleFlight()

    def url(self, path: str) -> str:
        """The address of a file, with protocol."""
        return path if "://" in path else str(self._target().unstrip_protocol(path))

    def key(self, path: str) -> str:
        """The cache key of a file: its address, and a digest of the credentials used.

        Data fetched with credentials is only used with the same credentials. Signatures in URLs are ignored,
        as far as the filesystem behind recognises them.
        """
        if path not in self._keys:
            self._keys[path] = self._identify(self.url(path))
        return self._keys[path]

    def version(self, path: str, info: dict[str, Any]) -> FileVersion:
        """The version that `info` describes."""
        return FileVersion(self.key(path), info["validator"], is_kept=find_mark(info) is not None)

    def known(self, path: str) -> dict[str, Any] | None:
        """The description of `path` in this session; None if unknown. Thread-safe."""
        return self._infos.get(path)

    def known_version(self, path: str) -> FileVersion | None:
        """The version in this session; None if unknown."""
        info = self._infos.get(path)
        return None if info is None else self.version(path, info)

    def forget(self, path: str | None) -> None:
        """Check `path` (or all files) again on next use."""
        if path is None:
            self._infos.clear()
        else:
            self._infos.pop(path, None)

    def forget_answers(self) -> None:
        """Forget requests in flight: after a fork, those tasks belong to the parent."""
        self._in_flight.forget()

    async def describe(self, path: str) -> dict[str, Any]:
        """The description of `path`."""
        return self._infos.get(path) or (await self._ask_once(path, 0))[0]

    async def describe_version(self, path: str, validator: str | None) -> dict[str, Any]:
        """The description of `path`, after a check that it is of the required version.

        Raises
        ------
        RemoteFileChangedError
            It is of another version.
        """
        if path not in self._infos and validator is not None:
            stored = await in_thread(self._folder.load_info, self.key(path))
            if stored is not None and stored.info["validator"] == validator:
                self._note(path, stored.info)  # the caller vouches for it
        info = await self.describe(path)
        if validator is None or is_same_version(validator, info["validator"]):
            return info
        if not self._offline and hasattr(self._target(), "known_validator"):
            # Replicas may disagree; then the filesystem behind decides whether they are the same.
            await self._target()._cat_file(path, 0, 1, validator=validator)  # noqa: SLF001
            return await self.adopt(path, info)
        raise RemoteFileChangedError(
            f"{redact_url(path)}: the file was replaced while it was in use (before: {validator}, now: "
            f"{info['validator']}). Open it again to read the new version."
        )

    async def adopt(self, path: str, info: dict[str, Any]) -> dict[str, Any]:
        """The description of `path`, after the filesystem behind has switched to comparing sizes."""
        known = getattr(self._target(), "known_validator", None)
        now = known(path) if known else None
        if now is None or now == info["validator"] or not is_by_size(now):
            return info
        return await self._remember(path, info | {"validator": now})

    async def read_tail(self, path: str, n_bytes: int) -> bytes | None:
        """The last bytes of an unknown file; None if it became known without reading them."""
        return None if path in self._infos else (await self._ask_once(path, n_bytes))[1]

    async def _ask_once(self, path: str, tail_bytes: int) -> Answer:
        """The result of `_ask`, shared by concurrent callers."""
        return await self._in_flight.share((path, tail_bytes), lambda: self._ask(path, tail_bytes))

    async def _ask(self, path: str, tail_bytes: int) -> Answer:
        """The description of `path`, and its last bytes if they were read to get it."""
        if self._overlay is not None and (copy := await in_thread(self._describe_copy, path)):
            return self._note(path, copy), None
        stored = await in_thread(self._folder.load_info, self.key(path))
        if stored is not None and self._is_trusted(stored.checked):
            return self._note(path, stored.info), None
        if self._offline:
            where = f"the cache folder {self._folder.path}"
            raise RemoteFileError(f"{redact_url(path)}: not in {where}, and offline is set")
        forget_listings(self._target(), path)  # its facts may be older than this session
        if stored is None and tail_bytes and getattr(self._target(), "checks_validator", False):
            return await self._ask_by_tail(path, tail_bytes)
        self._loader.count(requests=1)
        info = await self._target()._info(path)  # noqa: SLF001
        if stored is not None and is_same_version(stored.info["validator"], str(info.get("validator"))):
            info = info | {"validator": stored.info["validator"]}  # also if only the size is compared
        return await self._remember(path, info), None

    async def _ask_by_tail(self, path: str, tail_bytes: int) -> Answer:
        asked = time.time()
        anything = FileVersion(self.key(path), None)
        async with aclosing(claim(self._folder, anything, [WHOLE_FILE])) as claims:
            await anext(claims)
            stored = await in_thread(self._folder.load_info, self.key(path))
            if stored is not None and stored.checked >= asked:  # another process has just checked it
                return self._note(path, stored.info), None
            data: bytes = await self._target()._cat_file(path, start=-tail_bytes)  # noqa: SLF001
            info = await self._target()._info(path)  # noqa: SLF001 - costs no request now
            is_whole = info["size"] is not None and len(data) == min(tail_bytes, info["size"])
            info = await self._remember(path, info, tail=data if is_whole else b"")
            self._loader.count(requests=1, misses=1, bytes_fetched=len(data))
            return info, data

    @property
    def has_copies(self) -> bool:
        """Whether local copies of files may be read instead."""
        return self._overlay is not None

    def vouch(self, path: str, validator: str, size: int) -> None:
        """Take the version of `path` from a caller who knows it; the first bytes that are read confirm it."""
        etag = validator.rpartition(":")[0]
        self._note(path, {"size": size, "type": "file", "validator": validator, "etag": etag, _VOUCHED: True})

    async def confirm(self, path: str, info: dict[str, Any]) -> None:
        """Keep the description of `path` if it came from a caller: bytes of this version have been read."""
        if info.get(_VOUCHED) and self._infos.get(path) is info:
            await self._remember(path, {name: value for name, value in info.items() if name != _VOUCHED})

    def _note(self, path: str, info: dict[str, Any]) -> dict[str, Any]:
        self._infos[path] = info | {"name": path}
        return self._infos[path]

    def _is_trusted(self, checked: float) -> bool:
        # A time in the future comes from a clock that was set back since.
        return self._offline or self._revalidate is None or 0 <= time.time() - checked < self._revalidate

    async def _remember(self, path: str, info: dict[str, Any], *, tail: bytes = b"") -> dict[str, Any]:
        """Keep the description of `path` and, if given, the last bytes of the file."""
        mark = find_mark(info)
        info = info | {"validator": find_validator(info)}

        def keep() -> None:
            if mark:
                kept = {name: value for name, value in info.items() if name != "name"}  # may contain secrets
                self._folder.save_info(self.key(path), kept)
            if tail:
                piece = Piece(info["size"] - len(tail), memoryview(tail))
                self._folder.write(self.version(path, info), [piece])

        if mark or tail:
            await in_thread(keep)
        return self._note(path, info)

    def _describe_copy(self, path: str) -> dict[str, Any] | None:
        copy = find_local_copy(Path(str(self._overlay)), self.url(path), flatten=self._overlay_flatten)
        return None if copy is None else describe_copy(path, copy)


def find_validator(info: Mapping[str, Any]) -> str:
    """Identifies the version that `info` describes, as far as it can be told from others."""
    if told := info.get("validator"):
        return str(told)
    mark = find_mark(info)
    return f"{mark}:{info['size']}" if mark else describe_version(info)
