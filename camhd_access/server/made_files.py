"""Files that were made for clients: kept for a while, and made once for all who ask at the same time.

Those made lately are in memory; pictures and films stay longer in the image store, where there is one.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from camhd_access.caching import LRUCache, SingleFlight
from camhd_access.server.imagestore import ImageStore

__all__ = ["MadeFile", "MadeFiles"]


@dataclass(frozen=True, slots=True)
class MadeFile:
    """One file, ready to be sent."""

    body: bytes
    """The file."""
    content_type: str
    """Its media type."""
    size: tuple[int, int] | None = None
    """Width and height of the picture; None where that is not known."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What making it took just now, by stage."""


Make = Callable[[], Coroutine[Any, Any, MadeFile]]


class MadeFiles:
    """Those made lately, those in the store, and those that are being made."""

    def __init__(self, store: ImageStore | None, max_bytes: int) -> None:
        self.memory: LRUCache[str, MadeFile] = LRUCache(max_bytes)
        self.flights: SingleFlight[str, MadeFile] = SingleFlight(is_abandoned=True)
        self.store = store

    def find_public_url(self, key: str) -> str | None:
        """Where everybody finds the file of `key` without us; None where nobody does."""
        return self.store.public_url(key) if self.store else None

    async def find(self, key: str, make: Make, *, content_type: str, is_stored: bool = True) -> MadeFile:
        """The file of `key`: from memory or the store, else what `make` returns.

        Parameters
        ----------
        content_type
            Its media type, which the store does not tell.
        is_stored
            Whether to keep it in the store; not what is made again sooner than read.

        Notes
        -----
        Who asks for the same meanwhile shares the work, which is cancelled when all of them have left.
        """
        known = self.memory.find(key)
        if known is not None:
            return known
        store = self.store if is_stored else None
        return await self.flights.share(key, lambda: self._find(key, make, content_type, store))

    async def _find(self, key: str, make: Make, content_type: str, store: ImageStore | None) -> MadeFile:
        body = await store.get(key) if store else None
        made = await make() if body is None else MadeFile(body, content_type)
        self.memory.keep(key, replace(made, seconds={}), len(made.body))
        if store and body is None:
            await store.put(key, made.body, content_type)
        return made
