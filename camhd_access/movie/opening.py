"""Open a movie by its address; if the archive has only its twin, the twin.

OOI keeps the masters (`.mov`) for months and their twins (`.mp4`, H.264) for years. A base name or a time
stands for the recording, so either is opened; a path or URL stands for one file.
"""

from collections.abc import Mapping
from typing import Any

from camhd_access.formats.names import name_twin
from camhd_access.movie.address import Address, find_address, is_address_of_archive
from camhd_access.movie.index_cache import OpenMovie, Recover, open_index
from camhd_access.movie.index_store import IndexStore
from camhd_access.storage.source import open_source

__all__ = ["open_address"]


def open_address(
    address: Address,
    recover: Recover,
    cache: bool,
    storage_options: Mapping[str, Any] | None,
    store: IndexStore | None = None,
) -> tuple[str, OpenMovie]:
    """The path or URL of a movie, and the open movie.

    Notes
    -----
    A twin is looked for only if the archive has no master: one more request.
    """
    urlpath = find_address(address, storage_options)

    def open_movie(urlpath: str) -> tuple[str, OpenMovie]:
        source = open_source(urlpath, cache=cache, storage_options=storage_options)
        return urlpath, open_index(source, recover=recover, store=store)

    try:
        return open_movie(urlpath)
    except FileNotFoundError as error:
        twin = name_twin(urlpath) if is_address_of_archive(address) else None
        if twin is None:
            raise
        try:
            return open_movie(twin)
        except FileNotFoundError:
            raise error from None
