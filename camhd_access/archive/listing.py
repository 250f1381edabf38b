"""List movies: a walk through folders by year, month and day, or through one flat folder.

Below the root, folders of years, months and days are opened if they overlap the period. The root may itself
be the folder of a year, a month or a day. A listing that fails is an error, never an empty day. A movie in
several folders is listed once, in the folder of the day in its name; a warning names movies in other folders.
"""

import asyncio
import warnings
from collections import deque
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from fsspec.asyn import AsyncFileSystem
from tqdm.auto import tqdm

from camhd_access.archive.folders import Entry, Folder, find_name, is_dated, last_part
from camhd_access.archive.rate_limit import RateLimiter, ask_all
from camhd_access.archive.wrong_root import explain_wrong_root
from camhd_access.formats.names import Kind, MovieName, is_of_kind
from camhd_access.messages import name_some
from camhd_access.times import Period
from camhd_access.urls import redact_url

__all__ = ["ListedMovie", "Listing", "list_movies"]

MAX_MISPLACED_NAMED = 10
"""Maximum number of misplaced movies that a warning names."""

_Job: TypeAlias = tuple[str, str | None]
"""A folder, and its date: "" for the root of an archive, None if unknown."""


@dataclass(frozen=True, slots=True)
class ListedMovie:
    """One movie in a listing."""

    name: MovieName
    """Its parsed name."""
    path: str
    """Its path in the filesystem."""
    file_size: int | None
    """Bytes, if the listing has the exact size."""
    other_paths: tuple[str, ...] = ()
    """Paths of its copies in other folders."""

    @property
    def is_master(self) -> bool:
        """Whether it is not a twin."""
        return is_of_kind(self.path, "mov")

    @property
    def _rank(self) -> tuple[bool, str]:
        """Sort key: the copy in the folder of the movie's day comes first."""
        folder = self.path.rpartition("/")[0]
        return not folder.endswith(self.name.day.replace("-", "/")), self.path

    def merged(self, other: "ListedMovie | None") -> "ListedMovie":
        """The movie with the paths of both copies."""
        if other is None:
            return self
        first, second = sorted((self, other), key=lambda copy: copy._rank)  # noqa: SLF001 - of this class
        paths = {*first.other_paths, second.path, *second.other_paths} - {first.path}
        return replace(first, other_paths=tuple(sorted(paths)))


@dataclass(frozen=True, slots=True)
class Listing:
    """The result of a walk."""

    movies: dict[str, ListedMovie] = field(default_factory=dict)
    """By base name: a movie in several folders is listed once."""
    skipped_days: set[str] = field(default_factory=set)
    """Days (`2016-11-13`) whose folders exist but were skipped as known."""
    misplaced: set[str] = field(default_factory=set)
    """Paths of movies in the folders of other days than those in their names, also outside the period."""
    date: str = ""
    """The year or month (`2016`, `2016-11`) whose folder the root is; "" for all other roots."""
    is_archive: bool = True
    """Whether the root has folders of years, months or days, or movies of either kind."""

    def covers(self, period: Period) -> Period:
        """The part of `period` for which the root can have movies."""
        if not self.date:
            return period
        first, last = _bounds(self.date)
        start = max(period[0], first)
        return start, max(start, min(period[1], last))


def list_movies(
    filesystem: AsyncFileSystem,
    root: str,
    period: Period,
    *,
    pace: RateLimiter,
    at_once: int,
    urlpath: Callable[[str], str],
    kind: Kind = "mov",
    known_days: Collection[str] = (),
    progress: bool = False,
) -> Listing:
    """The movies below `root` whose file-name time is in `period`.

    Parameters
    ----------
    urlpath
        Returns the path or URL that opens a path of the filesystem.
    kind
        Masters, twins, or for each recording the master if there is one.
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
        The root contains neither folders of years, months or days nor movies. The warning describes its
        contents, and suggests a folder above or below it. Or, movies are in folders of other days.

    Notes
    -----
    Makes one request for the root, and one for each year, month and day of `period`. Files with other names
    than those of the camera are ignored. Before it warns, it lists at most 70 folders around the root.
    """

    async def list_folder(path: str) -> list[Entry]:
        await pace.turn()
        filesystem.invalidate_cache(path)  # some filesystems cache listings
        entries: list[Entry] = await filesystem._ls(f"{path}/", detail=True)  # noqa: SLF001 - fsspec's async interface
        return entries

    async def ask(job: _Job) -> list[Entry]:
        return at_root if job[0] == root else await list_folder(job[0])

    at_root = asyncio.run_coroutine_threadsafe(list_folder(root), filesystem.loop).result()
    here = Folder.of(at_root)
    listing = Listing(date=here.date_of(root))
    is_known = here.is_archive or bool(listing.date)
    queue = deque([(root, None if here.is_part and not listing.date else listing.date)])
    answers = ask_all(queue, ask, filesystem.loop, at_once=at_once)
    with tqdm(desc="folders listed", unit=" folders", disable=not progress) as bar, closing(answers):
        for (folder, date), future in answers:
            for entry in future.result():
                if is_dated(entry):
                    inner = _date_inside(date, last_part(entry))
                    if inner is not None and inner in known_days:
                        listing.skipped_days.add(inner)
                    elif inner is None or _touches(inner, period):
                        queue.append((f"{folder}/{last_part(entry)}", inner))
                elif name := find_name(entry, kind):
                    is_known = True
                    _add_movie(listing, name, entry, period, folder_date=date or "")
            bar.total = bar.n + 1 + len(queue)
            bar.update()
    if not is_known:
        explanation = explain_wrong_root(
            root, at_root, list_folder, filesystem.loop, at_once=at_once, urlpath=urlpath
        )
        warnings.warn(explanation, stacklevel=4)
    if listing.misplaced:
        warnings.warn(_describe_misplaced(listing.misplaced, urlpath), stacklevel=4)
    has_movies = is_known or any(find_name(entry, "best") for entry in at_root)
    return replace(listing, is_archive=has_movies or here.is_part)


def _describe_misplaced(paths: Collection[str], urlpath: Callable[[str], str]) -> str:
    shown = name_some([redact_url(urlpath(path)) for path in sorted(paths)], at_most=MAX_MISPLACED_NAMED)
    return (
        f"movies in folders of other days than those in their names: {shown}. A movie is listed by its "
        "name, once; one that is only in another day's folder is found only if the period includes both days"
    )


def _add_movie(listing: Listing, name: MovieName, entry: Entry, period: Period, *, folder_date: str) -> None:
    path = str(entry["name"])
    if len(folder_date) == len(name.day) and folder_date != name.day:
        listing.misplaced.add(path)
    if period[0] <= name.listed_time < period[1]:
        size = None if entry.get("size") is None else int(entry["size"])
        movie, known = ListedMovie(name, path, size), listing.movies.get(name.basename)
        if known and known.is_master != movie.is_master:
            listing.movies[name.basename] = known if known.is_master else movie
        else:
            listing.movies[name.basename] = movie.merged(known)


def _date_inside(date: str | None, name: str) -> str | None:
    """The date of a folder `name` in the folder of `date`; None if that is unknown."""
    return None if date is None else f"{date}-{name}" if date else name


def _touches(date_text: str, period: Period) -> bool:
    """Whether the year, month or day `date_text` overlaps `period`."""
    try:
        first, last = _bounds(date_text)
    except ValueError:  # a folder with another number as its name
        return False
    return bool(first < period[1] and last > period[0])


def _bounds(date_text: str) -> Period:
    """The first second of a year, a month or a day, and the first after it."""
    if len(date_text) < len("2016"):
        raise ValueError(f"{date_text} is not a year")
    date = np.datetime64(date_text)
    end = (date.astype(np.int64) + 1).astype(date.dtype)
    return date.astype("datetime64[s]"), end.astype("datetime64[s]")
