"""Several movies as one lazy array: `open_movies`, and one frame of each, `open_timelapse`.

A recording is often several files: the parts of a split one (`…_01.mov`), the quarters of an hour of a run of
24 hours. Their frames follow each other in chronological order. Nothing is put into the gaps between them:
there the time coordinate jumps. A timelapse keeps of each index what one picture needs; the pixels are read
when they are computed, of a few movies by each dask task.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Literal

import numpy as np
import xarray as xr

from camhd_access.arrays.clocks import name_some
from camhd_access.arrays.concat import (
    MovieFrames,
    Unreadable,
    check_paths,
    concat_movies,
    read_movies,
)
from camhd_access.formats.names import Clock
from camhd_access.movie.address import Address
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import Deinterlace, Errors, Fields, FrameSelection, check_errors
from camhd_access.times import Duration, to_nanoseconds

__all__ = ["open_movies", "open_timelapse"]

MOVIES_PER_TASK = 8
"""A dask chunk holds pictures of so many movies: 50 MB of whole colour frames, asked for at once."""


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
    storage_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.DataArray:
    """The frames of several movies as a lazy array "video", in order of time.

    Parameters
    ----------
    movies
        What `MovieReader` opens, in any order: the `urls` of a run (`find_runs`), a day of the archive.
    frames
        Only these frames of each movie, as for `open_movie`: `slice(None, None, 30)` for one a second.
    pix_fmt, fields, deinterlace, reduce, recover, clock, cache, storage_options
        As for `open_movie`.
    errors
        What becomes of damaged frames, as for `open_movie`.
    unreadable
        "raise", or "skip" to leave out movies that are not there, not whole, or not ProRes; one warning then
        lists them. Trouble with the server always raises.
    chunks
        As for `open_movie`, but for None: there is always dask. A dask chunk may hold frames of two movies.
    progress
        Show a progress bar.

    Returns
    -------
    xarray.DataArray
        As `open_movie` returns it; `frame` counts within the movie, and what is one value for a movie there
        (`source`, `time_source`, …) is one for each frame. The attributes are those that are true of every
        movie.

    Raises
    ------
    InvalidMovieError, UnsupportedMovieError, FileNotFoundError
        A movie cannot be read; the message names all such movies.
    FrameIndexError
        A movie has no such frame; likewise.
    RemoteFileError
        The bytes could not be had.
    ValueError
        The same movie twice, movies that differ in size, or one that does not tell when it began.

    Warns
    -----
    UserWarning
        Clock and name of a movie lie more than a minute apart (see `open_movie`). Movies overlap; `movie`
        tells then which of them a frame is of. Recorders note whole seconds, so that parts of one recording
        may seem to overlap by less than one.

    Notes
    -----
    Costs one request a movie where `moov` ends the file, 16 at once. Indexing decides what is fetched, as in
    `open_movie`.
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
        "storage_options": storage_options,
    }

    def read_one(path: str, frames: FrameSelection) -> MovieFrames:
        reader = MovieReader(path, **options)
        stack = reader.stack(frames, **shown)
        return MovieFrames.of(reader, stack, marks_damage=marks_damage)

    parts = read_movies(paths, read_one, repeat(chosen), unreadable=unreadable, progress=progress)
    filled = [part for part in parts if len(part.stack.frames)]
    if not filled:
        raise ValueError(f"frames={frames!r:.80} chooses no frame of any of the movies")
    _check_repetition(filled)
    return concat_movies(filled, chunks, marks_damage=marks_damage, warns_of_clocks=clock == "auto")


def _check_repetition(parts: list[MovieFrames]) -> None:
    """Refuse a movie that is there twice, be it from different servers."""
    counts = Counter((part.name, part.times.min()) for part in parts)
    twice = [title for (title, _), n in counts.items() if n > 1]
    if twice:
        raise ValueError(f"movies that were given more than once: {name_some(twice)}")


def open_timelapse(
    movies: Iterable[Address],
    *,
    frame: int | Sequence[int] | None = None,
    at: Duration | None = None,
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
    storage_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.DataArray:
    """One frame of each movie as a lazy array "video", in order of time.

    Parameters
    ----------
    movies
        Anything that `MovieReader` opens, in any order: what `Archive.movies` lists, a column of a catalogue.
    frame
        Which frame: one number for all movies, or one for each; from 0, negative from the end.
    at
        Instead of `frame`: how long after its start, in seconds or as a timedelta. The frame whose time is
        nearest is taken.
    pix_fmt, deinterlace, reduce, recover, clock, cache, storage_options
        As for `open_movie`.
    fields
        "first": of each frame the field shown first alone, which shows no comb where the camera moves.
    errors
        What becomes of damaged frames, as for `open_movie`.
    unreadable
        "raise", or "skip" to leave out movies that are not there, not whole, not ProRes, or have no such
        frame; one warning then lists them. Trouble with the server always raises.
    chunks
        "auto": dask chunks of 8 pictures; a number: so many; a mapping of dimension to length.
    progress
        Show a progress bar.

    Returns
    -------
    xarray.DataArray
        As `open_movie` returns it; what is one value for a movie there (`source`, `time_source`, …) is one
        for each frame. The attributes are those that are true of every movie.

    Raises
    ------
    InvalidMovieError, UnsupportedMovieError, FileNotFoundError
        A movie cannot be read; the message names all such movies.
    FrameIndexError
        A movie has no such frame; likewise.
    RemoteFileError
        The bytes could not be had.
    ValueError
        The movies' pictures differ in size, or one does not tell when it began.

    Notes
    -----
    Costs one request a movie where `moov` ends the file, 16 at once, and then one for each picture. Indexing
    decides what is fetched, as in `open_movie`.
    """
    paths, storage_options = check_paths(movies, storage_options)
    if fields is True:
        raise ValueError('a timelapse has one picture of each movie: fields is False or "first"')
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
        "storage_options": storage_options,
    }

    def read_one(path: str, choice: Callable[[MovieReader], int]) -> MovieFrames:
        reader = MovieReader(path, **options)
        stack = reader.stack(choice(reader), **shown)
        return MovieFrames.of(reader, stack, marks_damage=marks_damage)

    parts = read_movies(paths, read_one, choices, unreadable=unreadable, progress=progress)
    chunks = {} if chunks == "auto" else chunks
    lengths = {"time": MOVIES_PER_TASK} | dict(chunks) if isinstance(chunks, Mapping) else chunks
    return concat_movies(parts, lengths, marks_damage=marks_damage, warns_of_clocks=clock == "auto")


def _choices(
    frame: int | Sequence[int] | None, at: Duration | None, n_movies: int
) -> list[Callable[[MovieReader], int]]:
    """For each movie, what chooses its frame."""
    if (frame is None) == (at is None):
        raise ValueError("give either frame=, an index, or at=, a time from the start of each movie")
    if at is not None:
        offset = to_nanoseconds(at)
        if not offset >= np.timedelta64(0, "ns"):
            raise ValueError(f"at={at!r} lies before the start of a movie")
        seconds = float(offset / np.timedelta64(1, "s"))
        return [lambda reader: reader.frame_at(seconds)] * n_movies
    numbers = np.asarray(frame)
    if numbers.dtype.kind not in "iu" or numbers.ndim > 1:
        raise TypeError(f"frame is a whole number, or a sequence of them, one a movie; not {frame!r:.80}")
    if numbers.ndim and len(numbers) != n_movies:
        raise ValueError(f"{len(numbers)} frames for {n_movies} movies: give one number, or one a movie")
    return [
        lambda _, number=int(number): number  # type: ignore[misc]  # bound here, not when it is called
        for number in np.broadcast_to(numbers, n_movies)
    ]
