"""Folder listings of mirrors, cached for a while and requested once for concurrent callers.

A failed listing is an error: it is neither cached nor treated as an empty folder.
"""

import time
from dataclasses import dataclass
from urllib.parse import unquote

from camhd_access.caching import LRUCache, SingleFlight
from camhd_access.errors import RemoteFileNotFoundError
from camhd_access.server.mirrors import Place, is_plain

__all__ = ["Folder", "Listings"]

FRESH_SECONDS = 300.0
MAX_FOLDERS = 2000


@dataclass(frozen=True, slots=True)
class Folder:
    """Contents of one folder."""

    path: str
    """Its path on the mirror, with slashes at both ends."""
    files: tuple[str, ...]
    """Names of files, in the mirror's order."""
    directories: tuple[str, ...]
    """Names of folders, without slashes."""
    listed_at: float
    """Time of the mirror's response, by the monotonic clock."""

    def describe(self) -> dict[str, object]:
        """The JSON of go-lazycache."""
        return {"Path": self.path, "Files": list(self.files), "Directories": list(self.directories)}


class Listings:
    """The folders of all mirrors."""

    def __init__(self) -> None:
        self.memory: LRUCache[str, Folder] = LRUCache(MAX_FOLDERS)
        self.flights: SingleFlight[str, Folder] = SingleFlight()

    async def read(self, place: Place) -> Folder:
        """The folder at a place, at most five minutes old.

        Raises
        ------
        RemoteFileError
            The mirror failed; `RemoteFileNotFoundError` if it has no such folder.
        Problem
            503: too many requests to the mirror.
        """
        url = place.mirror.url_of(place.names)
        folder = self.memory.find(url)
        if folder is None or time.monotonic() - folder.listed_at > FRESH_SECONDS:
            folder = await self.flights.share(url, lambda: self._ask(place, url))
        return folder

    async def _ask(self, place: Place, url: str) -> Folder:
        entries = await place.mirror.ask(place.mirror.filesystem._ls, f"{url.rstrip('/')}/")  # noqa: SLF001 - fsspec's async interface
        if any(entry["name"].rstrip("/") == url.rstrip("/") for entry in entries):
            raise RemoteFileNotFoundError(f"{url} is a file")
        names: dict[str, list[str]] = {"file": [], "directory": []}
        for entry in entries:
            name = unquote(entry["name"].rstrip("/").rpartition("/")[2])
            if is_plain(name):  # other names cannot be requested
                names[entry["type"]].append(name)
        path = "/".join(("", *place.names, ""))
        folder = Folder(path, tuple(names["file"]), tuple(names["directory"]), time.monotonic())
        self.memory.keep(url, folder)
        return folder
