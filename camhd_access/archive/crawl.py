"""A crawl: listings and the index of each movie → a catalogue, kept up to date in a file.

The index of a movie is its last half megabyte, one request. Problems of a single movie are stored in its row;
a server that stops responding ends the crawl. The file of the catalogue is written repeatedly and at the end,
also after an error, and the next crawl queries only what is missing in it:

- days that were listed at least `SETTLING` after they had passed are not listed again;
- movies whose index was read are not read again, except recent ones that were unreadable: they may have been
  in transfer to the server;
- movies that could not be reached have no quality yet, and are queried again.
"""

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import fsspec
import numpy as np
import pandas as pd
from fsspec.asyn import AsyncFileSystem
from tqdm.auto import tqdm

from camhd_access.archive.catalog import from_frame, read_catalog, to_frame, write_catalog
from camhd_access.archive.listing import Listing, list_movies
from camhd_access.archive.quality import judge_index
from camhd_access.archive.rate_limit import RateLimiter, ask_all
from camhd_access.archive.records import MovieRecord, record_of_name
from camhd_access.errors import (
    InvalidMovieError,
    RemoteFileChangedError,
    RemoteFileError,
    UnsupportedMovieError,
)
from camhd_access.formats.names import Kind, is_of_kind
from camhd_access.formats.quicktime import (
    PRORES_CODECS,
    Answer,
    MovieIndex,
    Request,
    Tail,
    parse_movie_header,
    read_movie_header_async,
)
from camhd_access.formats.quicktime.packing import can_pack
from camhd_access.movie.index_store import IndexStore, name_index
from camhd_access.ranges import ByteRange
from camhd_access.storage.filesystems import counts_from_end
from camhd_access.storage.local_files import find_special_kind
from camhd_access.times import Period
from camhd_access.urls import options_of, redact_url, text_of

__all__ = ["Crawl"]

SETTLING = np.timedelta64(7, "D")
"""Time after its day within which a movie may still appear on the server."""

MOVIES_PER_WRITE = 500
"""Number of indexes between two writes of the file; at most a minute of work is lost."""

N_WRITTEN_AT_ONCE = 8
"""Indexes that are written to the store at the same time."""

MAX_FAILURES_IN_A_ROW = 25
"""After this number of consecutive movies that cannot be reached, the server is considered down."""

_FOLDER_OF_DAY = re.compile(r"/(\d{4})/(\d{2})/(\d{2})/[^/]*$")
"""The end of a path or URL of a movie in the folder of a day."""


@dataclass(frozen=True, slots=True)
class Crawl:
    """One crawl of an archive."""

    filesystem: AsyncFileSystem
    """The filesystem of the archive."""
    root: str
    """The root folder of the archive in it."""
    urlpath: Callable[[str], str]
    """Returns the path or URL that opens a path of the filesystem."""
    pace: RateLimiter
    """The rate limit."""
    at_once: int
    """Maximum number of requests in flight."""
    store: IndexStore | None = None
    """Where the indexes of movies are kept."""

    def catalog(
        self, period: Period, *, kind: Kind, index: bool, progress: bool, file: str | os.PathLike[str] | None
    ) -> pd.DataFrame:
        """See `Archive.catalog`."""
        rows = {record.basename: record for record in _read_records(file)}
        period = self._list(rows, period, kind=kind, progress=progress)
        if file:
            write_catalog(to_frame(rows.values()), file)
        inside = [row for row in rows.values() if period[0] <= row.name.listed_time < period[1]]
        inside = [row for row in inside if is_of_kind(row.url, kind)]
        if index:
            stored = None if self.store is None else self.store.names()
            wanted = (row for row in inside if _needs_index(row) or _is_unstored(row, stored))
            self._read_all(rows, wanted, progress=progress, file=file)
        return to_frame(rows[row.basename] for row in inside)

    def _read_all(
        self,
        rows: dict[str, MovieRecord],
        wanted: Iterable[MovieRecord],
        *,
        progress: bool,
        file: str | os.PathLike[str] | None,
    ) -> None:
        """Complete the `wanted` rows, and write all rows to the file repeatedly."""
        try:
            for n, row in enumerate(self._read_indexes(list(wanted), progress=progress), 1):
                rows[row.basename] = row
                if file and n % MOVIES_PER_WRITE == 0:
                    write_catalog(to_frame(rows.values()), file)
        finally:
            if file:
                write_catalog(to_frame(rows.values()), file)

    def _list(self, rows: dict[str, MovieRecord], period: Period, *, kind: Kind, progress: bool) -> Period:
        """Bring the rows of `period` up to date with the listings; the part of it that the root covers.

        Raises
        ------
        RemoteFileError
            There are rows, but the root is not an archive.
        """
        listing = list_movies(
            self.filesystem,
            self.root,
            _whole_days(period),
            pace=self.pace,
            at_once=self.at_once,
            urlpath=self.urlpath,
            kind=kind,
            known_days=_settled_days(rows.values(), self.urlpath(self.root)) if kind == "mov" else (),
            progress=progress,
        )
        if rows and not listing.is_archive:
            raise RemoteFileError(
                f"{redact_url(self.urlpath(self.root))} has neither folders of years nor movies, but there "
                f"is a catalogue in the file (rows: {len(rows):,}), which is left as it is. Is the disk of "
                "the archive mounted, and the root the right one? If the movies are gone, delete the file"
            )
        days = listing.covers(_whole_days(period))
        for row in list(rows.values()):
            is_inside = days[0] <= row.name.listed_time < days[1] and is_of_kind(row.url, kind)
            if is_inside and not _stays(row, listing, days):
                del rows[row.basename]
        now = np.datetime64("now", "ns")
        for movie in listing.movies.values():
            url = self.urlpath(movie.path)
            known = rows.get(movie.name.basename)
            is_other = known and is_of_kind(known.url, "mov") != movie.is_master
            if known is None or is_other or movie.file_size not in (None, known.file_size):
                known = replace(record_of_name(movie.name, url), file_size=movie.file_size)
            others = " ".join(map(self.urlpath, movie.other_paths)) or None
            rows[known.basename] = replace(known, url=url, seen=now, other_urls=others)
        return listing.covers(period)

    def _read_indexes(self, rows: list[MovieRecord], *, progress: bool) -> Iterable[MovieRecord]:
        """The rows, completed from the indexes of the movies, as they arrive.

        Raises
        ------
        OSError
            Too many consecutive movies cannot be reached.
        """
        failures = 0
        answers = ask_all(deque(rows), self._read_index, self.filesystem.loop, at_once=self.at_once)
        bar = tqdm(desc="indexes read", total=len(rows), unit=" movies", disable=not progress)
        with bar, closing(answers), self._keeping() as keep:
            for row, future in answers:
                completed, error = _complete(row, future, keep)
                failures = failures + 1 if error else 0
                if error and failures >= MAX_FAILURES_IN_A_ROW:
                    raise error
                yield completed
                bar.update()

    @contextmanager
    def _keeping(self) -> Iterator[Callable[["_Found"], None]]:
        """A function that writes indexes to the store; at the end of the block, all are written."""
        if self.store is None:
            yield lambda _: None
            return
        store = self.store
        with ThreadPoolExecutor(N_WRITTEN_AT_ONCE, thread_name_prefix="camhd-indexes") as pool:
            running: deque[Future[None]] = deque()

            def write(found: _Found) -> None:
                if found.index is not None and found.row.file_size is not None and can_pack(found.index):
                    store.keep(
                        found.row.url, found.index, version=found.version, file_size=found.row.file_size
                    )

            def keep(found: _Found) -> None:
                running.append(pool.submit(write, found))
                while len(running) > 2 * N_WRITTEN_AT_ONCE or (running and running[0].done()):
                    running.popleft().result()

            yield keep
            for each in running:
                each.result()

    async def _read_index(self, row: MovieRecord) -> "_Found":
        """The row, completed from the movie's index, and the index."""
        fs = self.filesystem
        path = fs._strip_protocol(row.url)  # noqa: SLF001 - fsspec's way to parse URLs
        if (kind := find_special_kind(fs, path)) is not None:  # behind a link
            return _Found(replace(row, quality="unreadable", reason=f"it is a {kind}, not a file"))
        info: dict[str, Any] = {}

        async def answer(request: Request) -> Answer:
            nonlocal info
            await self.pace.turn()
            if isinstance(request, Tail):
                wanted: dict[str, int] = {"start": -request.n_bytes}
                if not counts_from_end(fs):
                    size = (await fs._info(path))["size"]  # noqa: SLF001 - fsspec's async interface
                    wanted = {"start": max(0, size - request.n_bytes), "end": size}
                data = await fs._cat_file(path, **wanted)  # noqa: SLF001
                info = await fs._info(path)  # noqa: SLF001
                return Answer(data, info["size"] - len(data), info["size"])
            assert isinstance(request, ByteRange)  # noqa: S101 - the end of the file is requested first
            data = await fs._cat_file(path, start=request.start, end=request.stop, **_same_version(fs, info))  # noqa: SLF001
            if len(data) != request.n_bytes:
                raise RemoteFileChangedError(f"{row.url} was replaced while it was read")
            return Answer(data, request.start, info["size"])

        try:
            header = await read_movie_header_async(answer)
            index = parse_movie_header(header)
            return _Found(_describe(row, index, header.file_size), index, str(info.get("validator")))
        except (InvalidMovieError, UnsupportedMovieError) as error:
            if info["size"] == 0:
                return _Found(replace(row, file_size=0, quality="empty", reason="0 bytes"))
            return _Found(replace(row, file_size=info["size"], quality="unreadable", reason=str(error)))


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What was found out about a movie."""

    row: MovieRecord
    """The completed row."""
    index: MovieIndex | None = None
    """The index; None if the movie has none."""
    version: str = ""
    """Version of the file, as the server gives it."""


def _read_records(file: str | os.PathLike[str] | None) -> list[MovieRecord]:
    if not file:
        return []
    filesystem, path = fsspec.core.url_to_fs(text_of(file), **(options_of(file, None) or {}))
    return from_frame(read_catalog(file)) if filesystem.exists(path) else []


def _whole_days(period: Period) -> Period:
    """The whole days of `period`: a folder is listed completely or not at all."""
    one = np.timedelta64(1, "D")
    first, last = (time.astype("datetime64[D]") for time in (period[0], period[1] - np.timedelta64(1, "s")))
    return first.astype("datetime64[s]"), (last + one).astype("datetime64[s]")


def _settled_days(rows: Iterable[MovieRecord], root: str) -> set[str]:
    """Days whose movies were all listed, below `root`, at least `SETTLING` after the day."""
    settled: dict[str, bool] = {}
    for row in rows:
        settling = np.datetime64(row.name.day) + np.timedelta64(1, "D") + SETTLING
        late = row.seen is not None and bool(row.seen > settling) and is_of_kind(row.url, "mov")
        settled[row.name.day] = late and row.url.startswith(f"{root}/") and settled.get(row.name.day, True)
    return {day for day, is_settled in settled.items() if is_settled}


def _stays(row: MovieRecord, listing: Listing, days: Period) -> bool:
    """Whether a movie is in the listing of these days, or its folder, maybe another day's, was not listed."""
    if row.basename in listing.movies or row.name.day in listing.skipped_days:
        return True
    found = _FOLDER_OF_DAY.search(row.url.partition("?")[0])
    folder_day = "-".join(found.groups()) if found else row.name.day
    is_outside = not str(days[0])[:10] <= folder_day < str(days[1])[:10]
    return is_outside or folder_day in listing.skipped_days


def _needs_index(row: MovieRecord) -> bool:
    """Whether the index of the movie may contain new information."""
    if row.quality is None:
        return True
    young = row.seen is None or bool(row.seen <= row.name.time_from_name + SETTLING)
    return young and row.quality in ("unreadable", "empty")


def _is_unstored(row: MovieRecord, stored: set[str] | None) -> bool:
    """Whether the movie has an index that is not among the names of the store; False without a store."""
    return stored is not None and row.codec in PRORES_CODECS and name_index(row.url) not in stored


def _complete(
    row: MovieRecord, future: Future[_Found], keep: Callable[[_Found], None]
) -> tuple[MovieRecord, OSError | None]:
    """The completed row; or the old row with the reason why the movie could not be reached, and the error."""
    try:
        found = future.result()
    except OSError as error:
        return replace(row, reason=f"not reached: {error}"), error
    keep(found)
    return found.row, None


def _describe(row: MovieRecord, index: MovieIndex, file_size: int) -> MovieRecord:
    duration = index.total_seconds
    row = row.timed(duration, index.creation_time)
    quality, reason = judge_index(index, row.start_disagreement)
    return replace(
        row,
        file_size=file_size,
        n_frames=index.n_frames,
        codec=index.codec,
        width=index.width,
        height=index.height,
        bytes_per_frame=float(index.size.mean()),
        quality=quality,
        reason=reason,
    )


def _same_version(fs: AsyncFileSystem, info: dict[str, Any]) -> dict[str, str]:
    """The option that pins a request to the version of the file seen first, if the filesystem has one."""
    return {"validator": info["validator"]} if getattr(fs, "checks_validator", False) else {}
