"""`open_timelapse`: the same moment of many movies, as one lazy array.

Opening reads the index of each movie, many at once, and keeps of it what one picture needs; the pixels are
read when they are computed, of a few movies by each dask task.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr

from camhd_access.joining import Part, Unreadable, check_paths, join_parts, read_parts
from camhd_access.reader import Errors, MovieReader, check_errors

__all__ = ["Duration", "open_timelapse", "to_nanoseconds"]

Duration: TypeAlias = float | timedelta | np.timedelta64
"""Numbers are seconds."""

MOVIES_PER_TASK = 8
"""A dask chunk holds pictures of so many movies: 50 MB of whole colour frames, asked for at once."""


def open_timelapse(
    movies: Iterable[str | os.PathLike[str]],
    *,
    frame: int | Sequence[int] | None = None,
    at: Duration | None = None,
    pix_fmt: str = "rgb24",
    reduce: int = 1,
    errors: Errors = "raise",
    unreadable: Unreadable = "raise",
    chunks: Literal["auto"] | int | Mapping[str, int] = "auto",
    recover: bool = False,
    cache: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.DataArray:
    """One frame of each movie as a lazy array "video", in order of time.

    Parameters
    ----------
    movies
        Anything that fsspec opens, in any order: what `Archive.movies` lists, a column of a catalogue.
    frame
        Which frame: one number for all movies, or one for each; from 0, negative from the end.
    at
        Instead of `frame`: how long after its start, in seconds or as a timedelta. The frame whose time is
        nearest is taken.
    pix_fmt, reduce, errors, recover, cache, storage_options
        As for `open_movie`; `errors` is about damaged frames.
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
        As `open_movie` returns it, and with the coordinate `movie`, the base name. The attributes are those
        that are true of every movie.

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
    paths = check_paths(movies)
    choices = _choices(frame, at, len(paths))
    marks_damage = check_errors(errors) == "mask"

    def read_one(path: str, choice: Callable[[MovieReader], int]) -> Part:
        reader = MovieReader(path, recover=recover, cache=cache, storage_options=storage_options)
        return Part.of(reader, reader.stack(choice(reader), pix_fmt=pix_fmt, reduce=reduce))

    parts = read_parts(paths, read_one, choices, unreadable=unreadable, progress=progress)
    chunks = {} if chunks == "auto" else chunks
    lengths = {"time": MOVIES_PER_TASK} | dict(chunks) if isinstance(chunks, Mapping) else chunks
    return join_parts(parts, lengths, marks_damage=marks_damage)


def _choices(
    frame: int | Sequence[int] | None, at: Duration | None, n_movies: int
) -> list[Callable[[MovieReader], int]]:
    """For each movie, what chooses its frame."""
    if (frame is None) == (at is None):
        raise ValueError("give either frame=, an index, or at=, a time from the start of each movie")
    if at is not None:
        offset = to_nanoseconds(at)
        if not offset >= np.timedelta64(0):
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


def to_nanoseconds(duration: Duration) -> np.timedelta64:
    """The duration in nanoseconds.

    Raises
    ------
    TypeError
        It is neither a number nor a timedelta.
    ValueError
        It is no time at all, or too long (292 years).
    """
    if isinstance(duration, timedelta | np.timedelta64):
        return np.timedelta64(duration).astype("timedelta64[ns]")  # type: ignore[no-any-return]
    if isinstance(duration, int | float | np.number):
        try:
            return np.timedelta64(round(float(duration) * 1e9), "ns")
        except (OverflowError, ValueError) as error:
            raise ValueError(f"{duration!r} s is no duration") from error
    raise TypeError(f"a number of seconds or a timedelta is wanted, not {duration!r:.80}")
