"""The frames of each movie in a survey: from `frames`, `at`, `every` or `scene`, or from a table.

Input: addresses of movies or a table of them, and one of these choices. Output: a `Job` for each movie. A
choice is plain values, so that it can be part of the key of a result.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePath
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from camhd_access.archive.scenes import find_scene_frames
from camhd_access.formats.names import find_movie_name
from camhd_access.messages import name_some
from camhd_access.movie.address import Address, find_address
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import FrameSelection
from camhd_access.times import Duration, to_nanoseconds
from camhd_access.urls import identify_url, is_place, redact_url, text_of

__all__ = ["FrameChoice", "Job", "Movies", "choose_jobs", "name_movie"]

Movies: TypeAlias = Iterable[Address] | pd.DataFrame
"""Addresses of movies; or a table with the column `url`, such as a catalogue."""


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """Which frames of a movie are read, in plain values."""

    kind: Literal["frames", "slice", "at"]
    """Indices; start, stop and step; or seconds from the start of the movie."""
    values: tuple[Any, ...]
    """The numbers."""

    def select(self, reader: MovieReader) -> FrameSelection:
        """The selection of frames of an open movie."""
        if self.kind == "slice":
            return slice(*self.values)
        if self.kind == "at":
            return [reader.frame_at(seconds) for seconds in self.values]
        return np.array(self.values, dtype=bool if self.values and self.values[0] is True else None)


@dataclass(frozen=True, slots=True)
class Job:
    """One movie of a survey."""

    movie: str
    """Base name of the movie, which identifies it in the results."""
    url: str
    """Path or URL that opens it."""
    choice: FrameChoice
    """Its frames."""
    file_size: int | None = None
    """Bytes of the file according to the table; None if unknown."""

    @property
    def name(self) -> str:
        """The URL for messages."""
        return redact_url(self.url)

    @property
    def is_on_web_server(self) -> bool:
        """Whether the common limit on requests applies to it."""
        return self.url.lower().startswith(("http://", "https://"))


def choose_jobs(
    movies: Movies,
    *,
    frames: FrameSelection | None,
    at: Duration | Sequence[Duration] | None,
    every: int | None,
    scene: str | None,
    regions: pd.DataFrame | None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[Job]:
    """A job for each movie, in the order given.

    Raises
    ------
    ValueError, TypeError
        Not exactly one choice of frames, an invalid one, no movies, or a movie given twice.
    LookupError
        No region shows the scene.
    """
    table = movies if isinstance(movies, pd.DataFrame) else None
    has_frames = table is not None and "frame" in table
    given = [name for name, value in _named(frames, at, every, scene) if value is not None]
    if len(given) + has_frames != 1:
        told = " and ".join([*given, *(["the table's column frame"] if has_frames else [])]) or "none"
        raise ValueError(f"choose frames by exactly one of frames, at, every and scene, not by {told}")
    if (scene is None) != (regions is None):
        raise ValueError("scene= needs regions= (the result of read_regions), and regions= a scene")
    if scene is not None and regions is not None:
        if table is None or table.index.name != "basename":
            raise TypeError("scene= needs a catalogue as movies (Archive.catalog, or read_catalog)")
        sizes = table["file_size"].to_dict()
        table = find_scene_frames(scene, regions, table)
        table = table.assign(file_size=table["basename"].map(sizes))
    if table is not None and "frame" in table:
        jobs = _jobs_of_frames(table)
    else:
        choice = _choose(frames, at, every)
        jobs = [Job(name_movie(url), url, choice, size) for url, size in _list(movies, storage_options)]
    if not jobs:
        raise ValueError("no movies: give at least one")
    twice = [movie for movie, n in Counter(job.movie for job in jobs).items() if n > 1]
    if twice:
        raise ValueError(f"movies given more than once: {name_some(twice)}")
    return jobs


def _named(*values: object) -> Iterable[tuple[str, object]]:
    return zip(("frames", "at", "every", "scene"), values, strict=True)


def _choose(
    frames: FrameSelection | None, at: Duration | Sequence[Duration] | None, every: int | None
) -> FrameChoice:
    """The choice that is the same for all movies."""
    if every is not None:
        if isinstance(every, bool) or not isinstance(every, int | np.integer) or every < 1:
            raise ValueError(f"every must be a positive whole number (every N-th frame), not {every!r:.80}")
        return FrameChoice("slice", (None, None, int(every)))
    if at is not None:
        # Not `tolist`, which makes plain numbers of nanoseconds.
        times: Sequence[Duration] = at if isinstance(at, Sequence) else list(np.atleast_1d(np.asarray(at)))
        seconds = [float(to_nanoseconds(time) / np.timedelta64(1, "s")) for time in times]
        if not seconds or not all(each >= 0 for each in seconds):
            raise ValueError(f"at={at!r:.80} must be times from the start of each movie, not negative")
        return FrameChoice("at", tuple(seconds))
    if isinstance(frames, slice):
        bounds = (frames.start, frames.stop, frames.step)
        return FrameChoice("slice", tuple(None if b is None else int(b) for b in bounds))
    numbers = np.atleast_1d(np.asarray(frames))
    if numbers.ndim != 1 or numbers.dtype.kind not in "iufb" or not numbers.size:
        raise TypeError(f"frames must be a number, a sequence of numbers, or a slice, not {frames!r:.80}")
    return FrameChoice("frames", tuple(numbers.tolist()))


def _jobs_of_frames(table: pd.DataFrame) -> list[Job]:
    """The jobs of a table with one row per frame."""
    jobs = []
    for url, rows in table.groupby("url", sort=False):
        choice = FrameChoice("frames", tuple(int(frame) for frame in rows["frame"]))
        size = rows["file_size"].iloc[0] if "file_size" in rows else None
        jobs.append(Job(name_movie(str(url)), str(url), choice, _size_of(size)))
    return jobs


def _list(movies: Movies, storage_options: Mapping[str, Any] | None) -> Iterable[tuple[str, int | None]]:
    """The URL of each movie, and its size if the table has it."""
    if not isinstance(movies, pd.DataFrame):
        if is_place(movies):
            raise TypeError(f"movies must be a list of paths or URLs: [{text_of(movies)!r}]")  # type: ignore[arg-type]
        if not isinstance(movies, Iterable):
            raise TypeError(f"movies must be a list of paths or URLs, or a table, not {movies!r:.80}")
        return [(find_address(movie, storage_options), None) for movie in movies]
    if "url" not in movies:
        raise ValueError(f"the table of movies has no column url; its columns are {list(movies)}")
    if n_missing := int(movies["url"].isna().sum()):
        raise ValueError(f"the table of movies has {n_missing} rows without a url; drop them")
    sizes = movies["file_size"] if "file_size" in movies else [None] * len(movies)
    return [(str(url), _size_of(size)) for url, size in zip(movies["url"], sizes, strict=True)]


def _size_of(size: Any) -> int | None:  # noqa: ANN401 - a cell of a table
    return None if size is None or pd.isna(size) else int(size)


def name_movie(url: str) -> str:
    """The name of a movie in the results: its base name; of other files the name and a hash of the URL."""
    name = find_movie_name(url)
    if name is not None:
        return name.basename
    identity = identify_url(url) if "://" in url else url
    stem = "".join(each if each.isprintable() else "_" for each in PurePath(redact_url(url)).stem)
    return f"{stem}-{digest(identity)[:8]}"


def digest(value: object) -> str:
    """A hash of plain values, in hexadecimal."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
