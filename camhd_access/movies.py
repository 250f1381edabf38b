"""`open_movies`: several movies as one lazy array, on one axis of time.

A recording is often several files: the parts of a split one (`…_01.mov`), the quarters of an hour of a run of
24 hours. Their frames follow each other in order of time. Nothing is put into the gaps between them: there
the time coordinate jumps.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import Any, Literal

import xarray as xr

from camhd_access.joining import Part, Unreadable, check_paths, join_parts, name_some, read_parts
from camhd_access.reader import Errors, FrameSelection, MovieReader, check_errors

__all__ = ["open_movies"]


def open_movies(
    movies: Iterable[str | os.PathLike[str]],
    *,
    frames: FrameSelection | None = None,
    pix_fmt: str = "rgb24",
    fields: bool = False,
    reduce: int = 1,
    errors: Errors = "raise",
    unreadable: Unreadable = "raise",
    chunks: Literal["auto"] | int | Mapping[str, int] = "auto",
    recover: bool = False,
    cache: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.DataArray:
    """The frames of several movies as a lazy array "video", in order of time.

    Parameters
    ----------
    movies
        Anything that fsspec opens, in any order: the `urls` of a run (`find_runs`), a day of the archive.
    frames
        Only these frames of each movie, as for `open_movie`: `slice(None, None, 30)` for one a second.
    pix_fmt, fields, reduce, errors, recover, cache, storage_options
        As for `open_movie`; `errors` is about damaged frames.
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
        As `open_movie` returns it, and with the coordinate `movie`, the base name; `frame` counts within the
        movie. The attributes are those that are true of every movie.

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
        Movies overlap; `movie` tells then which of them a frame is of. Recorders note whole seconds, so that
        parts of one recording may seem to overlap by less than one.

    Notes
    -----
    Costs one request a movie where `moov` ends the file, 16 at once. Indexing decides what is fetched, as in
    `open_movie`.
    """
    paths = check_paths(movies)
    marks_damage = check_errors(errors) == "mask"
    chosen = slice(None) if frames is None else frames

    def read_one(path: str, frames: FrameSelection) -> Part:
        reader = MovieReader(path, recover=recover, cache=cache, storage_options=storage_options)
        return Part.of(reader, reader.stack(frames, pix_fmt=pix_fmt, fields=fields, reduce=reduce))

    parts = read_parts(paths, read_one, repeat(chosen), unreadable=unreadable, progress=progress)
    filled = [part for part in parts if len(part.stack.frames)]
    if not filled:
        raise ValueError(f"frames={frames!r:.80} chooses no frame of any of the movies")
    _check_repetition(filled)
    return join_parts(filled, chunks, marks_damage=marks_damage)


def _check_repetition(parts: list[Part]) -> None:
    """Refuse a movie that is there twice, be it from different servers."""
    counts = Counter((part.title, part.times.min()) for part in parts)
    twice = [title for (title, _), n in counts.items() if n > 1]
    if twice:
        raise ValueError(f"movies that were given more than once: {name_some(twice)}")
