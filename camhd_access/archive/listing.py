"""List movies: a walk through folders by year, month and day, or through one flat folder.

Below the root, folders of years, months and days are opened if they overlap the period. A listing that fails
is an error; it is never treated as an empty day.
"""

import re
import warnings
from collections import deque
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fsspec.asyn import AsyncFileSystem
from tqdm.auto import tqdm

from camhd_access.archive.rate_limit import RateLimiter, ask_all
from camhd_access.formats.names import MovieName, find_movie_name
from camhd_access.times import Period

__all__ = ["ListedMovie", "Listing", "is_dated_folder", "list_movies"]

_DATED_FOLDER = re.compile(r"\d{4}|\d{2}")


@dataclass(frozen=True, slots=True)
class ListedMovie:
    """One movie in a listing."""

    name: MovieName
    """Its parsed name."""
    path: str
    """Its path in the filesystem."""
    file_size: int | None
    """Bytes, if the listing has the exact size."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The result of a walk."""

    movies: dict[str, ListedMovie] = field(default_factory=dict)
    """By base name: a movie in several folders is listed once."""
    skipped_days: set[str] = field(default_factory=set)
    """Days (`2016-11-13`) whose folders exist but were skipped as known."""


def list_movies(
    filesystem: AsyncFileSystem,
    root: str,
    period: Period,
    *,
    pace: RateLimiter,
    at_once: int,
    known_days: Collection[str] = (),
    progress: bool = False,
) -> Listing:
    """The movies below `root` whose file-name time is in `period`.

    Parameters
    ----------
    known_days
        Days (`2016-11-13`) whose folders are skipped.
    progress
        Show a progress bar of the listed folders.

    Raises
    ------
    OSError
        A listing failed.

    Warns
    -----
    UserWarning
        The root contains neither folders of years nor movies: it is not the root of an archive.

    Notes ----- Makes one request for the root, and one for each year, month and day of `period`. Files with
    other names than those of the camera are ignored.
    """
    listing = Listing()
    is_archive = False
    queue = deque([(root, "")])

    async def ask(job: tuple[str, str]) -> list[dict[str, Any]]:
        await pace.turn()
        filesystem.invalidate_cache(job[0])  # some filesystems cache listings
        entries: list[dict[str, Any]] = await filesystem._ls(f"{job[0]}/", detail=True)  # noqa: SLF001 - fsspec's async interface
        return entries

    answers = ask_all(queue, ask, filesystem.loop, at_once=at_once)
    with tqdm(desc="folders listed", unit=" folders", disable=not progress) as bar, closing(answers):
        for (folder, date_text), future in answers:
            entries = future.result()
            is_archive |= folder == root and any(map(_is_archives, entries))
            for entry in entries:
                if is_dated_folder(entry):
                    name = _last_part(entry)
                    inner = f"{date_text}-{name}" if date_text else name
                    if inner in known_days:
                        listing.skipped_days.add(inner)
                    elif _touches(inner, period):
                        queue.append((f"{folder}/{name}", inner))
                else:
                    _add_movie(listing, entry, period)
            bar.total = bar.n + 1 + len(queue)
            bar.update()
    if not listing.movies and not is_archive:
        warnings.warn(
            f"{root} holds neither folders of years nor movies: an archive is the folder that holds 2015, "
            "2016, …, as …/06-CAMHDA301/ of OOI's server, or one of movies",
            stacklevel=4,
        )
    return listing


def _add_movie(listing: Listing, entry: Mapping[str, Any], period: Period) -> None:
    name = _find_name(entry)
    if name and period[0] <= name.time_from_name < period[1]:
        size = None if entry.get("size") is None else int(entry["size"])
        listing.movies.setdefault(name.basename, ListedMovie(name, str(entry["name"]), size))


def _find_name(entry: Mapping[str, Any]) -> MovieName | None:
    path = str(entry["name"])
    return find_movie_name(path) if path.endswith(".mov") else None


def is_dated_folder(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a listing is a folder named like a year, a month or a day."""
    return entry["type"] == "directory" and _DATED_FOLDER.fullmatch(_last_part(entry)) is not None


def _is_archives(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a root is a year or a movie, as in an archive."""
    if is_dated_folder(entry):
        return len(_last_part(entry)) == len("2016")
    return _find_name(entry) is not None


def _last_part(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _touches(date_text: str, period: Period) -> bool:
    """Whether the year, month or day `date_text` overlaps `period`."""
    try:
        date = np.datetime64(date_text)
    except ValueError:  # a folder with another number as its name
        return False
    end = (date.astype(np.int64) + 1).astype(date.dtype)  # a year, a month or a day later
    return bool(date < period[1] and end.astype("datetime64[s]") > period[0])
