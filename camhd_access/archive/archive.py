"""`Archive`: the movies below one root.

Movies are in folders by the day in their name (`2016/11/13/CAMHDA301-20161113T000000Z.mov`), as on OOI's
server, or all in one folder, as on mirrors in object storage.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import pandas as pd
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.local import LocalFileSystem

from camhd_access.archive.catalog import check_catalog_name
from camhd_access.archive.crawl import Crawl
from camhd_access.archive.folders import Folder
from camhd_access.archive.listing import Listing, list_movies
from camhd_access.archive.rate_limit import MAX_AT_ONCE, MAX_PER_SECOND, RateLimiter
from camhd_access.archive.records import NOMINAL_SECONDS
from camhd_access.formats.names import Kind, MovieName, check_kind, find_movie_name, is_of_kind
from camhd_access.movie.index_store import IndexStore, find_store
from camhd_access.storage.source import open_source
from camhd_access.tables import write_table
from camhd_access.times import Moment, Period, choose_period, parse_moment
from camhd_access.urls import is_place, options_of, redact_url, text_of

__all__ = ["OOI_ARCHIVE", "Archive", "open_archive"]

OOI_ARCHIVE = "https://rawdata.oceanobservatories.org/files/RS03ASHS/PN03B/06-CAMHDA301/"
"""The raw data server of the Ocean Observatories Initiative."""


def open_archive(
    root: str | os.PathLike[str] | None = None,
    *,
    indexes: str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> "Archive":
    """The archive at `root`. Makes no request.

    Parameters
    ----------
    root
        URL or path of a folder: OOI's server, a mirror on any filesystem of fsspec, a local copy; or the
        folder of a single year, month or day. None for the archive given by the environment variable
        `CAMHD_ARCHIVE`, or else OOI's server.
    indexes
        Path or URL of a folder, the store of indexes: `catalog(index=True)` writes the index of each movie to
        it (60 kB), and `MovieReader`, `open_movie` and others open movies from it without a request to the
        archive, if they get the same `indexes`. Several crawlers may share it. Only for archives on web
        servers. None for the store given by the environment variable `CAMHD_INDEXES`, if it is set.
    storage_options
        For the constructor of the filesystem.

    Raises
    ------
    ValueError
        `root` is a movie; or it has `indexes`, and is not on a web server.

    Notes
    -----
    The filesystem must be able to list the root. An Azure container cannot be listed over `https://`: use
    `abfs://camhd@ooiopendata.dfs.core.windows.net` (needs adlfs), or read the catalogue there with
    `read_catalog`.

    Examples
    --------
    >>> archive = open_archive()
    >>> len(archive.movies("2017-09-03"))  # of one day
    2
    """
    storage_options = options_of(root, storage_options)
    if root is None:
        root = os.environ.get("CAMHD_ARCHIVE") or OOI_ARCHIVE
    if not is_place(root):
        raise TypeError(f"root must be the path or URL of a folder, not {root!r:.80}")
    root = text_of(root)
    name = find_movie_name(root)
    if name and is_of_kind(root.partition("?")[0].rstrip("/"), "best"):
        folder = redact_url(root).rstrip("/").rpartition("/")[0]
        folder = folder.removesuffix(name.day.replace("-", "/"))
        raise ValueError(
            f"{redact_url(root)} is a movie, not a folder of movies: open it with open_movie, or open the "
            f"archive {folder or '.'}"
        )
    source = open_source(root, cache=False, storage_options=storage_options)
    if indexes is not None and not source.takes_versions:
        raise ValueError(
            f"indexes= is for archives on web servers; {redact_url(root)} opens movies without it"
        )
    store = find_store(indexes) if source.takes_versions else None
    return Archive(source.filesystem, source.path.rstrip("/"), indexes=store)


@dataclass(frozen=True, slots=True)
class Archive:
    """A folder of movies, or of folders by year, month and day.

    Notes
    -----
    To change the rate limits: `dataclasses.replace(archive, per_second=500)`.
    """

    filesystem: fsspec.AbstractFileSystem
    """The filesystem of the archive."""
    root: str
    """Its folder or URL, without a trailing slash."""
    at_once: int = MAX_AT_ONCE
    """Maximum number of requests in flight."""
    per_second: float = MAX_PER_SECOND
    """Maximum number of requests started per second; not applied to local files."""
    indexes: IndexStore | None = None
    """The store to which the indexes of movies are written."""

    def __repr__(self) -> str:
        limits = f"{self.at_once} requests at once, {self.per_second:g} a second at most"
        return f"<Archive {redact_url(self.root)}: {limits}>"

    def _repr_html_(self) -> str:
        usual = "" if self.filesystem.async_impl else "on this machine; "
        limits = f"{usual}{self.at_once} requests at once, {self.per_second:g} a second at most"
        return write_table("Archive of movies", {"root": redact_url(self.root), "limits": limits})

    def movies(
        self, start: Moment | None = None, end: Moment | None = None, *, kind: Kind = "mov"
    ) -> list[str]:
        """Paths or URLs of the movies whose file-name time is in [start, end), in chronological order.

        Parameters
        ----------
        start, end
            UTC, half-open; None for no bound. A date without an `end` is that day, month or year. Names until
            2016-11-21 give the start of the recording, later ones its end.
        kind
            "mov": the masters; "mp4": their twins (H.264), which are kept longer; "best": of each recording
            the master, or the twin if there is no master. The attributes `codec` and `coding` of an array say
            which it was.

        Raises
        ------
        OSError
            A listing failed. Folders are never skipped.
        ValueError
            `start` or `end` is not a time, or they are in the wrong order; an unknown `kind`.

        Warns
        -----
        UserWarning
            The root contains neither folders of years, months or days nor movies. The warning describes its
            contents, and suggests a folder above or below it (which takes at most 70 more listings).
            Or, movies are in the folders of other days than those in their names.

        Notes
        -----
        Each base name is returned once, from the folder of its day if it is in several; a name with the
        second 60 belongs to the minute that it begins with. Makes one request for the root, and one for each
        year, month and day of the period, with at most `at_once` in flight and `per_second` started per
        second.
        """
        listing = self._list_movies(choose_period(start, end), check_kind(kind))
        found = sorted(listing.movies.values(), key=lambda movie: movie.name.sort_key)
        return [self._urlpath(movie.path) for movie in found]

    def url(self, name_or_time: Moment) -> str:
        """Path or URL of one movie.

        Parameters
        ----------
        name_or_time
            Base name of the movie (`CAMHDA301-20161113T000000Z`), or a time (UTC) during its recording.

        Raises
        ------
        LookupError
            According to the names, no movie was recorded at that time; the message contains the nearest one.
            Or the root is the folder of a year, a month or a day without this movie.
        ValueError
            `name_or_time` is neither the name of a movie nor a time.

        Notes
        -----
        A name takes no request on OOI's server and one listing elsewhere (in the folder of a year or a month:
        up to four); a time takes the listings of two days.
        """
        name = find_movie_name(name_or_time) if isinstance(name_or_time, str) else None
        if name:
            return self._urlpath(self._path_of(name))
        try:
            time = parse_moment(name_or_time, "name_or_time")
        except ValueError as error:
            raise ValueError(f"{error}, or a name such as 'CAMHDA301-20161113T000000Z'") from error
        return self._url_at(time)

    def catalog(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        kind: Kind = "mov",
        index: bool = False,
        progress: bool = True,
        file: str | os.PathLike[str] | None = None,
    ) -> pd.DataFrame:
        """A table of the movies whose file-name time is in [start, end), in chronological order.

        Parameters
        ----------
        start, end
            As for `movies`.
        kind
            As for `movies`. With another kind than "mov", all days are listed again. Rows of files of another
            kind stay in `file`, unless the recording has one of this kind too.
        index
            Also read the index of each movie, which gives its start time, duration, frames, frame size and
            quality.
        progress
            Show progress bars.
        file
            File of the catalogue: a path or URL that fsspec can write to, ending in `.parquet` (needs
            pyarrow), `.jsonl` or `.jsonl.gz`. What is already in it is not queried again: days that were
            listed a week or longer after they had passed, and movies whose index is known. It is written
            every few hundred movies and when the crawl ends or is interrupted, so that the next crawl
            resumes there. To start again, delete it. Only one crawl at a time may use it.

        Returns
        -------
        DataFrame
            One row per movie, with its base name as the index; see `MovieRecord` for the columns.

        Raises
        ------
        OSError
            A listing failed, or the server stopped responding. Results until then are in `file`. Problems of
            a single movie do not raise; they are in the columns `quality` and `reason` of its row. Or the
            root has neither folders of years nor movies, as of a disk that is not mounted, but `file` has
            movies: it is left as it is.
        ValueError, ImportError
            `start` or `end` is not a time; an unknown `kind`; `file` has another suffix, or needs pyarrow. No
            request was made.

        Notes
        -----
        Makes the requests of `movies`, and with `index` one request of 512 KiB for each new movie, within the
        rate limits (`at_once`, `per_second`). All 9,441 movies of August 2018 take four minutes, and a second
        crawl a few seconds.
        """
        if file is not None:
            check_catalog_name(file)
        crawl = Crawl(
            self._async_filesystem, self.root, self._urlpath, self._pace(), self.at_once, self.indexes
        )
        return crawl.catalog(
            choose_period(start, end), kind=check_kind(kind), index=index, progress=progress, file=file
        )

    def _list_movies(self, period: Period, kind: Kind) -> Listing:
        return list_movies(
            self._async_filesystem,
            self.root,
            period,
            pace=self._pace(),
            at_once=self.at_once,
            urlpath=self._urlpath,
            kind=kind,
        )

    def _path_of(self, name: MovieName) -> str:
        folder = name.day.replace("-", "/")
        in_its_day = f"{self.root}/{folder}/{name.basename}.mov"
        if f"{self.root}/" == OOI_ARCHIVE:
            return in_its_day
        here = Folder.of(self.filesystem.ls(f"{self.root}/", detail=True))
        if here.is_part:
            return self._find_path(name)
        return in_its_day if here.n_years else f"{self.root}/{name.basename}.mov"

    def _find_path(self, name: MovieName) -> str:
        """The path of a movie in a part of an archive, which is found by listing its folders."""
        day = np.datetime64(name.day, "s")
        movies = self._list_movies((day, day + np.timedelta64(1, "D")), "best").movies
        if name.basename not in movies:
            raise LookupError(f"{self._urlpath(self.root)} is a part of an archive, without {name.basename}")
        return movies[name.basename].path

    def _url_at(self, time: np.datetime64) -> str:
        day = np.timedelta64(1, "D")
        near = self._list_movies((time - day, time + day), "best").movies.values()
        starts = {movie.path: movie.name.start_time(NOMINAL_SECONDS) for movie in near}
        length = np.timedelta64(NOMINAL_SECONDS, "s")
        for path in sorted(starts):
            if starts[path] <= time < starts[path] + length:
                return self._urlpath(path)
        nearest = min(starts, key=lambda path: abs(starts[path] - time), default=None)
        others = f"; the nearest is {nearest}" if nearest else ", nor within a day of it"
        raise LookupError(f"no movie was being recorded at {time}{others}")

    @property
    def _async_filesystem(self) -> AsyncFileSystem:
        return self.filesystem if self.filesystem.async_impl else AsyncFileSystemWrapper(self.filesystem)

    def _pace(self) -> RateLimiter:
        return RateLimiter(self.per_second if self.filesystem.async_impl else float("inf"))

    def _urlpath(self, path: str) -> str:
        """The path or URL that opens the file at `path` of the filesystem."""
        opens_as_is = isinstance(self.filesystem, LocalFileSystem) or path.startswith(("http://", "https://"))
        return path if opens_as_is else str(self.filesystem.unstrip_protocol(path))
