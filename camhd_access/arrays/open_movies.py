"""Several movies as one lazy array: `open_movies`, and one frame of each, `open_timelapse`.

A recording often consists of several files: parts (`…_01.mov`), or the quarters of an hour of a run of 24
hours. Their frames are in chronological order. Gaps between them are not filled: the time coordinate jumps. A
timelapse keeps only the entry of one frame of each index; pixels are read when they are computed, a few
movies per dask task.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Literal

import numpy as np
import xarray as xr

from camhd_access.arrays.concat import (
    MovieFrames,
    Unreadable,
    check_paths,
    concat_movies,
    read_movies,
)
from camhd_access.formats.names import Clock
from camhd_access.messages import name_some
from camhd_access.movie.address import Address
from camhd_access.movie.key_frames import nearest_key_frames
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import Deinterlace, Errors, Fields, FrameSelection, check_errors
from camhd_access.times import Duration, to_nanoseconds

__all__ = ["open_movies", "open_timelapse"]

MOVIES_PER_TASK = 8
"""Movies per dask chunk: 50 MB of whole colour frames, requested at once."""


def open_movies(
    movies: Iterable[Address],
    *,
    frames: FrameSelection | None = None,
    pix_fmt: str = "rgb24",
    fields: Fields = False,
    deinterlace: Deinterlace = None,
    reduce: int = 1,
    errors: Errors = "raise",
    unreadable: Unreadable = "raise",
    chunks: Literal["auto"] | int | Mapping[str, int] = "auto",
    recover: bool = False,
    clock: Clock = "auto",
    cache: bool = True,
    indexes: str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.DataArray:
    """The frames of several movies as a lazy array "video", in chronological order.

    Parameters
    ----------
    movies
        Anything that `MovieReader` opens, in any order: the `urls` of a run (`find_runs`), a day of the
        archive.
    frames
        Only these frames of each movie, as for `open_movie`: `slice(None, None, 30)` for one per second.
    pix_fmt, fields, deinterlace, reduce, recover, clock, cache, indexes, storage_options
        As for `open_movie`.
    errors
        How to treat damaged frames, as for `open_movie`.
    unreadable
        "raise", or "skip" to leave out movies that are missing, truncated, or in a codec that is not read; a
        single warning lists them. Server and network errors always raise.
    chunks
        As for `open_movie`, except None: dask is always used. A dask chunk may hold frames of two movies.
    progress
        Show a progress bar.

    Returns
    -------
    xarray.DataArray
        As from `open_movie`; `frame` counts within the movie, and coordinates with one value per movie
        (`source`, `time_source`, …) have one value per frame. The attributes are those that all movies
        share.

    Raises
    ------
    InvalidMovieError, UnsupportedMovieError, FileNotFoundError
        A movie cannot be read; the message names all such movies.
    FrameIndexError
        A movie has no such frame; likewise.
    RemoteFileError
        The bytes could not be read.
    ValueError
        A movie given twice, movies that differ in size, or one without a known start time.

    Warns
    -----
    UserWarning
        Clock and name of a movie differ by more than a minute (see `open_movie`). Or movies overlap; the
        coordinate `movie` then identifies the frames of each. Recorders store start times in whole seconds,
        so the parts of one recording can appear to overlap by less than a second.

    Notes
    -----
    Costs one request per movie if `moov` is at the end of the file, 16 at once; none for movies in `indexes`.
    Indexing decides what is
    fetched, as in `open_movie`.

    Examples
    --------
    >>> both = open_movies(urls[:2], progress=False)
    >>> both.sizes["time"]
    53910
    """
    paths, storage_options = check_paths(movies, storage_options)
    marks_damage = check_errors(errors) == "mask"
    chosen = slice(None) if frames is None else frames

    shown: dict[str, Any] = {
        "pix_fmt": pix_fmt,
        "fields": fields,
        "deinterlace": deinterlace,
        "reduce": reduce,
    }
    options: dict[str, Any] = {
        "recover": recover,
        "clock": clock,
        "cache": cache,
        "indexes": indexes,
        "storage_options": storage_options,
    }

    def read_one(path: str, frames: FrameSelection) -> MovieFrames:
        reader = MovieReader(path, **options)
        stack = reader.stack(frames, **shown)
        return MovieFrames.of(reader, stack, marks_damage=marks_damage)

    parts = read_movies(paths, read_one, repeat(chosen), unreadable=unreadable, progress=progress)
    filled = [part for part in parts if len(part.stack.frames)]
    if not filled:
        raise ValueError(f"frames={frames!r:.80} selects no frames from any of the movies")
    _check_repetition(filled)
    return concat_movies(filled, chunks, marks_damage=marks_damage, warns_of_clocks=clock == "auto")


def _check_repetition(parts: list[MovieFrames]) -> None:
    """Raise if a movie is given twice, even from different servers."""
    counts = Counter((part.name, part.times.min()) for part in parts)
    twice = [title for (title, _), n in counts.items() if n > 1]
    if twice:
        raise ValueError(f"movies given more than once: {name_some(twice)}")


def open_timelapse(
    movies: Iterable[Address],
    *,
    frame: int | Sequence[int] | None = None,
    at: Duration | None = None,
    keyframes: bool = False,
    pix_fmt: str = "rgb24",
    fields: Fields = False,
    deinterlace: Deinterlace = None,
    reduce: int = 1,
    errors: Errors = "raise",
    unreadable: Unreadable = "raise",
    chunks: Literal["auto"] | int | Mapping[str, int] = "auto",
    recover: bool = False,
    clock: Clock = "auto",
    cache: bool = True,
    indexes: str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.DataArray:
    """One frame of each movie as a lazy array "video", in chronological order.

    Parameters
    ----------
    movies
        Anything that `MovieReader` opens, in any order: the result of `Archive.movies`, a column of a
        catalogue.
    frame
        Frame index: one number for all movies, or one per movie; from 0, negative from the end.
    at
        Instead of `frame`: time after the start of each movie, in seconds or as a timedelta. The nearest
        frame is used.
    keyframes
        Instead of this frame, the nearest key frame of the movie: where frames depend on each other (H.264,
        HEVC), it costs one sample, any other those before it in its group. `frame` and `time` are those of
        the frame shown. No difference for ProRes.
    pix_fmt, deinterlace, reduce, recover, clock, cache, indexes, storage_options
        As for `open_movie`.
    fields
        "first": only the field of each frame that is shown first, without combing when the camera moves.
    errors
        How to treat damaged frames, as for `open_movie`.
    unreadable
        "raise", or "skip" to leave out movies that are missing, truncated, in a codec that is not read, or
        too short; a single warning lists them. Server and network errors always raise.
    chunks
        "auto": dask chunks of 8 frames; a number of frames; a mapping from dimension to length.
    progress
        Show a progress bar.

    Returns
    -------
    xarray.DataArray
        As from `open_movie`; coordinates with one value per movie (`source`, `time_source`, …) have one
        value per frame. The attributes are those that all movies share.

    Raises
    ------
    InvalidMovieError, UnsupportedMovieError, FileNotFoundError
        A movie cannot be read; the message names all such movies.
    FrameIndexError
        A movie has no such frame; likewise.
    RemoteFileError
        The bytes could not be read.
    ValueError
        The movies differ in size, or the start time of one is unknown.

    Notes
    -----
    Costs one request per movie if `moov` is at the end of the file, 16 at once (none for movies in
    `indexes`), and then one per frame.
    Indexing decides what is fetched, as in `open_movie`.

    Examples
    --------
    >>> lapse = open_timelapse(urls, at=240, progress=False)  # four minutes after the start of each movie
    >>> lapse.sizes["time"] == len(urls)
    True
    """
    paths, storage_options = check_paths(movies, storage_options)
    if fields is True:
        raise ValueError('a timelapse has one image of each movie: fields must be False or "first"')
    choices = _choices(frame, at, len(paths))
    marks_damage = check_errors(errors) == "mask"

    shown: dict[str, Any] = {
        "pix_fmt": pix_fmt,
        "fields": fields,
        "deinterlace": deinterlace,
        "reduce": reduce,
    }
    options: dict[str, Any] = {
        "recover": recover,
        "clock": clock,
        "cache": cache,
        "indexes": indexes,
        "storage_options": storage_options,
    }

    def read_one(path: str, choice: Callable[[MovieReader], int]) -> MovieFrames:
        reader = MovieReader(path, **options)
        stack = reader.stack(choice(reader), **shown)
        if keyframes:
            everything = reader.stack(slice(None), **shown)
            stack = everything.select(nearest_key_frames(everything, stack.frames, reader.elapsed()))
        return MovieFrames.of(reader, stack, marks_damage=marks_damage)

    parts = read_movies(paths, read_one, choices, unreadable=unreadable, progress=progress)
    chunks = {} if chunks == "auto" else chunks
    lengths = {"time": MOVIES_PER_TASK} | dict(chunks) if isinstance(chunks, Mapping) else chunks
    return concat_movies(parts, lengths, marks_damage=marks_damage, warns_of_clocks=clock == "auto")


def _choices(
    frame: int | Sequence[int] | None, at: Duration | None, n_movies: int
) -> list[Callable[[MovieReader], int]]:
    """For each movie, the function that chooses its frame."""
    if (frame is None) == (at is None):
        raise ValueError("give either frame= (an index) or at= (a time from the start of each movie)")
    if at is not None:
        offset = to_nanoseconds(at)
        if not offset >= np.timedelta64(0, "ns"):
            raise ValueError(f"at={at!r} is before the start of the movies")
        seconds = float(offset / np.timedelta64(1, "s"))
        return [lambda reader: reader.frame_at(seconds)] * n_movies
    numbers = np.asarray(frame)
    if numbers.dtype.kind not in "iu" or numbers.ndim > 1:
        raise TypeError(f"frame must be a whole number, or a sequence with one per movie, not {frame!r:.80}")
    if numbers.ndim and len(numbers) != n_movies:
        raise ValueError(f"{len(numbers)} frames for {n_movies} movies: give one number, or one per movie")
    return [
        lambda _, number=int(number): number  # type: ignore[misc]  # bound here, not when it is called
        for number in np.broadcast_to(numbers, n_movies)
    ]
