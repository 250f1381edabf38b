"""Files made for clients: cached for a while, and made once for concurrent requests.

Recent files are in memory; images and films stay longer in the image store, if there is one.
Processes that share the store and the cache folder make each file only once: the first one holds a lock
until the file is stored, and the others wait and find it there.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from camhd_access.caching import LRUCache, SingleFlight
from camhd_access.server.imagestore import ImageStore
from camhd_access.storage.rangecache.locks import WHOLE_FILE, FetchLocks

__all__ = ["MadeFile", "MadeFiles"]


@dataclass(frozen=True, slots=True)
class MadeFile:
    """One file, ready to be sent."""

    body: bytes
    """The file."""
    content_type: str
    """Its media type."""
    size: tuple[int, int] | None = None
    """Width and height of the image; None if unknown."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Duration of each stage of making it."""


POLL_SECONDS = 0.02
"""Interval between checks whether another process has made the file."""

Make = Callable[[], Coroutine[Any, Any, MadeFile]]


class MadeFiles:
    """Recent files, stored files, and files being made."""

    def __init__(self, store: ImageStore | None, max_bytes: int, claims: Path) -> None:
        self.memory: LRUCache[str, MadeFile] = LRUCache(max_bytes)
        self.flights: SingleFlight[str, MadeFile] = SingleFlight(is_abandoned=True)
        self.store = store
        self._claims = claims

    async def find_public_url(self, key: str) -> str | None:
        """Public URL of the file of `key`; None if there is none."""
        return await self.store.public_url(key) if self.store else None

    async def has(self, key: str) -> bool:
        """Whether the file of `key` is in memory or stored."""
        return bool(self.memory.find(key) or (self.store and await self.store.get(key)))

    async def find(self, key: str, make: Make, *, content_type: str, is_stored: bool = True) -> MadeFile:
        """The file of `key`: from memory or the store, else from `make`.

        Parameters
        ----------
        content_type
            Its media type, which is not in the store.
        is_stored
            Whether to keep it in the store; not for files that are made faster than read.

        Notes
        -----
        Concurrent requests for the same file share the work, which is cancelled if all of them are.
        """
        known = self.memory.find(key)
        if known is not None:
            return known
        store = self.store if is_stored else None
        return await self.flights.share(key, lambda: self._find(key, make, content_type, store))

    async def _find(self, key: str, make: Make, content_type: str, store: ImageStore | None) -> MadeFile:
        made = await (self._find_stored(key, make, content_type, store) if store else make())
        self.memory.keep(key, replace(made, seconds={}), len(made.body))
        return made

    async def _find_stored(self, key: str, make: Make, content_type: str, store: ImageStore) -> MadeFile:
        """The file from the store, or made by one of the processes that share the cache folder."""
        if (body := await store.get(key)) is not None:
            return MadeFile(body, content_type)
        claim = _open_claim(self._claims)
        writing = None
        try:
            if claim and not claim.take(key, [WHOLE_FILE]):
                while not claim.take(key, [WHOLE_FILE]):  # noqa: ASYNC110 - processes have no other signal
                    await asyncio.sleep(POLL_SECONDS)
                if (body := await store.get(key)) is not None:
                    return MadeFile(body, content_type)
            made = await make()
            writing = await store.put(key, made.body, content_type)
            return made
        finally:
            if claim and writing:  # others look for it in the store after that
                writing.add_done_callback(lambda _: claim.close())
            elif claim:
                claim.close()


def _open_claim(path: Path) -> FetchLocks | None:
    """Locks that mark files being made; None if the folder supports none."""
    try:
        return FetchLocks(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError:
        return None
