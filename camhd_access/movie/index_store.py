"""A store of indexes: movies of an archive open without a request to its server.

The store is a folder on any filesystem of fsspec, with one small file per movie (`quicktime.packing`), named
after the movie and a hash of its URL. Several crawlers may write to it at once: a file is complete or absent,
and two crawlers write the same. Each file has the version of the movie; a reader that opens the movie with it
requires this version of the first bytes that it reads, and of all others.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePath
from typing import Any, Self

import fsspec

from camhd_access.errors import InvalidMovieError
from camhd_access.formats.names import find_movie_name
from camhd_access.formats.quicktime import MovieIndex
from camhd_access.formats.quicktime.packing import pack_index, unpack_index
from camhd_access.storage.output_files import open_target
from camhd_access.urls import identify_url, is_place, options_of, redact_url, text_of

__all__ = ["IndexStore", "StoredIndex", "find_store", "name_index"]

SUFFIX = ".index"
"""Suffix of the files of a store."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class StoredIndex:
    """The index of a movie, and the version that it belongs to."""

    index: MovieIndex
    """Position and time of each frame."""
    version: str
    """Version of the file, as its web server gives it (ETag, else Last-Modified, and size)."""
    file_size: int
    """Bytes of the file."""


@dataclass(frozen=True, slots=True)
class IndexStore:
    """A folder of packed indexes. Pickles."""

    url: str
    """Its path or URL."""
    options: tuple[tuple[str, Any], ...] = ()
    """Arguments for the filesystem's constructor."""

    def __repr__(self) -> str:
        return f"<IndexStore {redact_url(self.url)}>"

    @classmethod
    def open(cls, place: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> Self:
        """The store at a path or URL, which need not exist."""
        if not is_place(place):
            raise TypeError(f"indexes must be the path or URL of a folder, not {place!r:.80}")
        return cls(text_of(place).rstrip("/"), tuple((options_of(place, options) or {}).items()))

    def find(self, url: str) -> StoredIndex | None:
        """The index of the movie at `url`; None if the store does not have it, or cannot be read."""
        filesystem, path = self._place(name_index(url))
        try:
            index, about = unpack_index(filesystem.cat_file(path))
            return StoredIndex(index, str(about["version"]), int(about["file_size"]))
        except FileNotFoundError:
            return None
        except (OSError, InvalidMovieError, KeyError) as error:
            _logger.warning("%s/%s is not used: %s", redact_url(self.url), name_index(url), error)
            return None

    def keep(self, url: str, index: MovieIndex, *, version: str, file_size: int) -> None:
        """Store the index of the movie at `url`."""
        target = f"{self.url}/{name_index(url)}"
        packed = pack_index(index, version=version, file_size=file_size)
        with open_target(target, make_folders=True, storage_options=dict(self.options)) as file:
            file.write(packed)

    def names(self) -> set[str]:
        """The names of all files."""
        filesystem, path = self._place("")
        filesystem.invalidate_cache()
        try:
            return {str(each).rpartition("/")[2] for each in filesystem.ls(path.rstrip("/"), detail=False)}
        except FileNotFoundError:
            return set()

    def _place(self, name: str) -> tuple[fsspec.AbstractFileSystem, str]:
        filesystem, path = fsspec.core.url_to_fs(f"{self.url}/{name}", **dict(self.options))
        return filesystem, path


def name_index(url: str) -> str:
    """The name of the file of a movie."""
    name = find_movie_name(url)
    stem = name.basename if name else PurePath(redact_url(url)).stem
    return f"{stem}-{sha256(identify_url(url).encode()).hexdigest()[:8]}{SUFFIX}"


def find_store(indexes: "str | os.PathLike[str] | IndexStore | None") -> IndexStore | None:
    """The store at a path or URL, by default that of `CAMHD_INDEXES` in the environment; none for ""."""
    if isinstance(indexes, IndexStore):
        return indexes
    place = os.environ.get("CAMHD_INDEXES") if indexes is None else indexes
    return IndexStore.open(place) if place else None
