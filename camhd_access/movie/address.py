"""Addresses of movies: a URL or a path, a base name, or a time (UTC).

Base names and times are looked up in the archive (`CAMHD_ARCHIVE`, else OOI's). `open_archive` is imported
when it is needed, because the package `archive` is built on this one.
"""

import os
from collections.abc import Mapping
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from camhd_access.errors import RemoteFileNotFoundError
from camhd_access.formats.names import find_movie_name
from camhd_access.times import is_moment
from camhd_access.urls import text_of

__all__ = ["Address", "find_address", "is_address_of_archive"]

Address: TypeAlias = str | os.PathLike[str] | date | np.datetime64
"""A path or URL, the base name of a movie (`CAMHDA301-20161113T000000Z`), or a time during its recording."""


def find_address(address: Address, storage_options: Mapping[str, Any] | None = None) -> str:
    """The path or URL of a movie.

    Raises
    ------
    RemoteFileNotFoundError
        The archive has no movie of that name or time.
    OSError
        A folder of the archive cannot be listed.

    Notes
    -----
    A name takes no request on OOI's server, and one listing elsewhere; a time takes two listings of days.
    """
    if is_address_of_archive(address):
        archive = import_module("camhd_access").open_archive(storage_options=storage_options)
        try:
            return str(archive.url(address))
        except LookupError as error:
            raise RemoteFileNotFoundError(str(error)) from error
    return text_of(address)  # type: ignore[arg-type]  # raises for anything else


def is_address_of_archive(address: Address) -> bool:
    """Whether it is a base name or a time, and not the name of an existing file."""
    if not isinstance(address, str):
        return is_moment(address)
    name = find_movie_name(address)
    return (is_moment(address) or (name is not None and name.basename == address)) and not Path(
        address
    ).exists()
