"""The archive as a whole: which movies there are, and where each one lies.

Movies lie in folders by the day that their name tells (`2016/11/13/CAMHDA301-20161113T000000Z.mov`), as on
OOI's server, or all in one folder, as on mirrors in object storage. What is not there is an error: a listing
that fails is never taken for an empty day.
"""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

import fsspec
import numpy as np
import pandas as pd

from camhd_access.names import MovieName, find_movie_name
from camhd_access.source import open_source

__all__ = ["OOI_ARCHIVE", "Archive", "Moment", "open_archive"]

OOI_ARCHIVE = "https://rawdata.oceanobservatories.org/files/RS03ASHS/PN03B/06-CAMHDA301/"
"""The raw data server of the Ocean Observatories Initiative."""

Moment: TypeAlias = str | date | datetime | np.datetime64
"""A time in UTC; as text in ISO 8601."""

FIRST_TIME, LAST_TIME = np.datetime64("0001-01-01", "s"), np.datetime64("9999-01-01", "s")

N_LISTINGS_AT_ONCE = 8

NOMINAL_SECONDS = 15 * 60
"""Length of a routine recording, for what a name alone cannot tell."""

_DATED_FOLDER = re.compile(r"\d{4}|\d{2}")


def open_archive(root: str = OOI_ARCHIVE, *, storage_options: Mapping[str, Any] | None = None) -> "Archive":
    """The archive below `root`, not yet looked at.

    Parameters
    ----------
    root
        URL or path of a folder: OOI's server, a mirror in any storage that fsspec reaches, a local copy.
    storage_options
        For the constructor of the filesystem.
    """
    source = open_source(root, cache=False, storage_options=storage_options)
    return Archive(source.filesystem, source.path.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Archive:
    """A folder of movies, or of folders by year, month and day that hold them."""

    filesystem: fsspec.AbstractFileSystem
    """Where the archive lies."""
    root: str
    """Its folder there, or its URL, without a slash at the end."""

    def movies(self, start: Moment | None = None, end: Moment | None = None) -> list[str]:
        """Paths or URLs of the movies whose name tells a time from `start` to before `end`, in order of time.

        Parameters
        ----------
        start, end
            UTC, half-open; None for no bound. Names until 2016-11-21 tell the start of the recording, later
            ones its end.

        Raises
        ------
        OSError
            A listing failed. No folder is skipped.

        Notes
        -----
        One request for the root, and one for each year, month and day that the times touch; 8 at once.
        """
        first = FIRST_TIME if start is None else _seconds(start)
        stop = LAST_TIME if end is None else _seconds(end)
        found = [(name, path) for path in self._walk(first, stop) if (name := find_movie_name(path))]
        inside = [(name, path) for name, path in found if first <= name.time_from_name < stop]
        inside.sort(key=lambda item: (item[0].time_from_name, item[0].basename))
        return [path for _, path in inside]

    def url(self, name_or_time: Moment) -> str:
        """Path or URL of one movie.

        Parameters
        ----------
        name_or_time
            Base name of the movie (`CAMHDA301-20161113T000000Z`), or a time (UTC) when it was recorded.

        Raises
        ------
        LookupError
            No movie was under way at that time, as far as names tell; the message names the nearest.

        Notes
        -----
        A name costs no request on OOI's server and one listing elsewhere, a time those of two days.
        """
        name = find_movie_name(name_or_time) if isinstance(name_or_time, str) else None
        return self._url_of(name) if name else self._url_at(_seconds(name_or_time))

    def _url_of(self, name: MovieName) -> str:
        folder = str(name.time_from_name)[:10].replace("-", "/")
        return (
            f"{self.root}/{folder}/{name.basename}.mov"
            if self._is_dated()
            else f"{self.root}/{name.basename}.mov"
        )

    def _url_at(self, time: np.datetime64) -> str:
        day = np.timedelta64(1, "D")
        starts = {
            movie: name.start_time(NOMINAL_SECONDS)
            for movie in self.movies(time - day, time + day)
            if (name := find_movie_name(movie))
        }
        length = np.timedelta64(NOMINAL_SECONDS, "s")
        for movie, start in starts.items():
            if start <= time < start + length:
                return movie
        nearest = min(starts, key=lambda movie: abs(starts[movie] - time), default=None)
        raise LookupError(f"no movie was under way at {time}; the nearest within a day is {nearest}")

    def _is_dated(self) -> bool:
        """Whether movies lie in folders by day."""
        return f"{self.root}/" == OOI_ARCHIVE or any(
            _is_dated_folder(entry) for entry in self._list(self.root)
        )

    def _walk(self, first: np.datetime64, stop: np.datetime64) -> Iterator[str]:
        """Movies in the root and below all folders of a year, month or day that the times touch."""
        folders = {self.root: ""}
        with ThreadPoolExecutor(N_LISTINGS_AT_ONCE, thread_name_prefix="camhd-list") as pool:
            while folders:
                deeper = {}
                for (folder, date_text), entries in zip(
                    folders.items(), pool.map(self._list, folders), strict=True
                ):
                    yield from (entry["name"] for entry in entries if entry["name"].endswith(".mov"))
                    for entry in filter(_is_dated_folder, entries):
                        name = _last_part(entry)
                        inner = f"{date_text}-{name}" if date_text else name
                        if _touches(inner, first, stop):
                            deeper[f"{folder}/{name}"] = inner
                folders = deeper

    def _list(self, folder: str) -> list[dict[str, Any]]:
        listing: list[dict[str, Any]] = self.filesystem.ls(f"{folder}/", detail=True)
        return listing


def _last_part(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _is_dated_folder(entry: Mapping[str, Any]) -> bool:
    return entry["type"] == "directory" and _DATED_FOLDER.fullmatch(_last_part(entry)) is not None


def _touches(date_text: str, first: np.datetime64, stop: np.datetime64) -> bool:
    """Whether the year, month or day `date_text` has a moment in common with `first` to before `stop`."""
    try:
        period = np.datetime64(date_text)
    except ValueError:  # a folder of other numbers
        return False
    return bool(period < stop and (period + 1).astype("datetime64[s]") > first)


def _seconds(moment: Moment) -> np.datetime64:
    """The time in whole seconds, UTC."""
    stamp = pd.Timestamp(moment)
    utc = stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo else stamp
    seconds: np.datetime64 = utc.to_datetime64().astype("datetime64[s]")
    return seconds
