"""Arrays of several movies: indexes are read concurrently, frames are put on one time axis.

Opening a movie is mostly waiting, so many are opened at the same time. A movie that cannot be read is an
error, unless `unreadable="skip"`: then a warning names it. Errors that are not specific to a
movie (of the network or the server) are always raised.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
import xarray as xr
from tqdm.auto import tqdm

from camhd_access.arrays.attributes import (
    ABOUT_DAMAGE,
    coordinates_of,
    dims_of,
    movie_attributes,
    pixel_attributes,
)
from camhd_access.arrays.clocks import find_start, warn_of_clocks
from camhd_access.arrays.dask_array import DamageArray, StackArray
from camhd_access.arrays.open_movie import complete_chunks
from camhd_access.ending import submit
from camhd_access.errors import (
    FrameDecodeError,
    FrameIndexError,
    InvalidMovieError,
    UnsupportedMovieError,
)
from camhd_access.formats.names import StartTime
from camhd_access.messages import MAX_NAMED, name_some
from camhd_access.movie.address import Address, find_address
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.series import FrameSeries
from camhd_access.movie.stack import FrameStack
from camhd_access.urls import is_place, options_of, redact_url, text_of

__all__ = [
    "MovieFrames",
    "Unreadable",
    "check_paths",
    "common_attributes",
    "concat_coordinates",
    "concat_movies",
    "read_movies",
]

T = TypeVar("T")

Unreadable: TypeAlias = Literal["raise", "skip"]
"""What to do with movies that cannot be read."""

N_OPENED_AT_ONCE = 16
"""Number of movies opened concurrently, as many as requests to one host."""

FAULTS = (FileNotFoundError, FrameDecodeError, FrameIndexError, InvalidMovieError, UnsupportedMovieError)
"""Errors specific to a movie. Others come from the server or the network, and affect all movies."""


@dataclass(frozen=True, slots=True)
class MovieFrames:
    """The frames of one movie in an array of several movies."""

    stack: FrameStack
    """The frames, at least one."""
    coordinates: dict[str, Any]
    """Coordinates of an array of these frames only."""
    attributes: dict[str, Any]
    """Attributes of such an array."""
    name: str
    """Base name of the movie."""
    start: StartTime
    """Start time of the movie, and its source."""

    @classmethod
    def of(cls, reader: MovieReader, stack: FrameStack, *, marks_damage: bool) -> "MovieFrames":
        """The `MovieFrames` of selected frames of a movie."""
        attributes = pixel_attributes(stack, marks_damage=marks_damage) | movie_attributes(reader)
        return cls(stack, coordinates_of(reader, stack), attributes, reader.movie_name, find_start(reader))

    @property
    def times(self) -> npt.NDArray[np.datetime64]:
        """Presentation times of the frames, UTC."""
        times: npt.NDArray[np.datetime64] = self.coordinates["time"][1]
        return times


def check_paths(
    movies: Iterable[Address], storage_options: Mapping[str, Any] | None = None
) -> tuple[list[str], Mapping[str, Any] | None]:
    """The paths or URLs of several movies, and the options for their filesystem (of `UPath`s: of the first).

    Raises
    ------
    TypeError, ValueError
        A single movie was given, or none.
    RemoteFileNotFoundError
        The archive has no movie of a given name or time.
    """
    if is_place(movies):
        raise TypeError(f"movies must be a list of paths or URLs: [{text_of(cast('str', movies))!r}]")
    places = list(movies)
    paths = [find_address(place, storage_options) for place in places]
    if not paths:
        raise ValueError("no movies: give at least one")
    return paths, options_of(places[0], storage_options)


def read_movies(
    paths: Sequence[str],
    read_one: Callable[[str, T], MovieFrames],
    choices: Iterable[T],
    *,
    unreadable: Unreadable = "raise",
    progress: bool = True,
) -> list[MovieFrames]:
    """The result of `read_one` for each movie and its choice of frames, 16 movies at once.

    Raises
    ------
    InvalidMovieError, UnsupportedMovieError, FileNotFoundError, FrameDecodeError, FrameIndexError
        A movie cannot be read; the message names all such movies. Not with `unreadable="skip"`, which warns.
    RemoteFileError
        The bytes could not be read.
    """
    if unreadable not in ("raise", "skip"):
        raise ValueError(f'unreadable must be "raise" or "skip", not {unreadable!r}')
    movies: list[MovieFrames] = []
    faults: list[Exception] = []
    for each in _read_all(read_one, paths, choices, progress=progress):
        if isinstance(each, Exception):
            faults.append(each)
        else:
            movies.append(each)
    hint = " (use unreadable='skip' to leave them out)" if unreadable == "raise" else ""
    _report(faults, n_movies=len(paths), fatal=unreadable == "raise" or not movies, hint=hint)
    return movies


def _read_all(
    read_one: Callable[[str, T], MovieFrames],
    paths: Sequence[str],
    choices: Iterable[T],
    *,
    progress: bool,
) -> Iterator[MovieFrames | Exception]:
    """The result for each movie, in order: a movie, or an error specific to it. Other errors are raised."""

    def read(path: str, choice: T) -> MovieFrames | Exception:
        try:
            return read_one(path, choice)
        except FAULTS as error:
            return error if redact_url(path) in str(error) else type(error)(f"{redact_url(path)}: {error}")

    pool = ThreadPoolExecutor(N_OPENED_AT_ONCE, thread_name_prefix="camhd-open")
    waits = True
    futures = [submit(pool, read, *job) for job in zip(paths, choices, strict=False)]
    try:
        yield from tqdm(
            (future.result() for future in futures),
            desc="indexes read",
            total=len(paths),
            unit=" movies",
            disable=not progress,
        )
    except KeyboardInterrupt:
        waits = False  # do not make the user wait for a server that does not respond
        raise
    finally:
        pool.shutdown(wait=waits, cancel_futures=True)


def _report(faults: list[Exception], *, n_movies: int, fatal: bool, hint: str) -> None:
    """Raise, or warn, about unreadable movies."""
    if not faults:
        return
    lines = [str(fault) for fault in faults[:MAX_NAMED]]
    if len(faults) > MAX_NAMED:
        lines.append(f"and {len(faults) - MAX_NAMED} more")
    listed = "\n  ".join(lines)
    if fatal:
        raise type(faults[0])(f"{len(faults)} of {n_movies} movies cannot be used{hint}:\n  {listed}")
    warnings.warn(f"{len(faults)} of {n_movies} movies are left out:\n  {listed}", stacklevel=4)


def concat_movies(
    movies: Sequence[MovieFrames],
    chunks: Literal["auto"] | int | Mapping[str, int],
    *,
    marks_damage: bool,
    warns_of_clocks: bool,
) -> xr.DataArray:
    """The array of the frames of several movies, in chronological order.

    Raises
    ------
    ValueError
        The movies differ in size, or the start time of one is unknown.

    Warns
    -----
    UserWarning
        Movies overlap: their frames are interleaved in time. Or, with `warns_of_clocks`,
        clock and name of some movies differ by more than a minute.
    """
    if chunks is None:
        raise TypeError("chunks=None is for open_movie: an array of several movies always has dask chunks")
    _check_times(movies)
    _check_sizes(movies)
    if warns_of_clocks:
        warn_of_clocks({movie.name: movie.start for movie in movies}, stacklevel=4)
    ordered = sorted(movies, key=lambda movie: movie.times.min())
    series = FrameSeries.of(movie.stack for movie in ordered)
    coordinates = concat_coordinates([movie.coordinates for movie in ordered])
    times = coordinates["time"][1]
    if (times[1:] < times[:-1]).any():
        _warn_of_overlap(ordered)
        order = np.argsort(times, kind="stable")
        series = series.select(order)
        coordinates = {
            name: (dim, values[order] if dim == "time" else values, *attributes)
            for name, (dim, values, *attributes) in coordinates.items()
        }
    lengths = complete_chunks(chunks, series, marks_damage=marks_damage)
    data = StackArray.cut(series, lengths, marks_damage=marks_damage)
    if marks_damage:
        coordinates["damaged"] = xr.Variable("time", DamageArray.of(data), ABOUT_DAMAGE)
    attributes = common_attributes([movie.attributes for movie in ordered]) | {
        "title": _describe_days(ordered)
    }
    array = xr.DataArray(xr.Variable(dims_of(series), data, attributes), name="video")
    return array.assign_coords({name: _without_copy(each) for name, each in coordinates.items()})


def _without_copy(coordinate: Any) -> Any:  # noqa: ANN401 -- what xarray takes as a coordinate
    """A coordinate of texts as a variable.

    From an array, xarray would make one by looking at each of millions of texts, and copying it.
    """
    if not isinstance(coordinate, tuple) or getattr(coordinate[1], "dtype", None) != np.dtype(object):
        return coordinate
    dims, texts, *attributes = coordinate
    return xr.Variable(dims, texts, dict(*attributes), fastpath=True)


def _warn_of_overlap(ordered: Sequence[MovieFrames]) -> None:
    """Warn about movies that begin before an earlier one has ended."""
    lines = []
    last, *others = ordered
    for movie in others:
        seconds = float((last.times.max() - movie.times.min()) / np.timedelta64(1, "s"))
        if seconds >= 0:
            lines.append(f"{movie.name} begins {seconds:.3f} s before the last frame of {last.name}")
        last = max(last, movie, key=lambda each: each.times.max())
    if lines:
        warnings.warn(f"movies overlap; their frames are sorted by time: {name_some(lines)}", stacklevel=4)


def _check_times(movies: Sequence[MovieFrames]) -> None:
    untimed = [movie.stack.source.path for movie in movies if movie.start.time is None]
    if untimed:
        raise ValueError(f"the start time of these movies is unknown: {name_some(untimed)}")


def _check_sizes(movies: Sequence[MovieFrames]) -> None:
    sizes = Counter(movie.stack.decoder.frame_size for movie in movies)
    (usual, n_usual), *others = sizes.most_common()
    if others:
        odd = [
            f"{p.name} ({_describe_size(p.stack.decoder.frame_size)})"
            for p in movies
            if p.stack.decoder.frame_size != usual
        ]
        raise ValueError(
            f"the movies differ in size: {n_usual} of {_describe_size(usual)}, and {name_some(odd)}"
        )


def _describe_size(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width}x{height}"


def concat_coordinates(movies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The coordinates of all arrays, concatenated along time.

    Values that are one per movie become one per frame. Of the coordinates along other dimensions, those that
    differ are left out: `interpolated` of movies whose first fields have different lines.
    """
    joined = {}
    for name, (dim, values, *attributes) in movies[0].items():
        if dim not in ("time", ()):
            if all(np.array_equal(movie[name][1], values) for movie in movies):
                joined[name] = (dim, values, *attributes)
            continue
        parts = [np.broadcast_to(movie[name][1], np.shape(movie["time"][1])) for movie in movies]
        joined[name] = ("time", np.concatenate(parts), *attributes)
    return joined


def common_attributes(movies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The attributes that all arrays share."""
    first, *others = movies
    return {
        name: value
        for name, value in first.items()
        if all(name in other and np.array_equal(other[name], value) for other in others)
    }


def _describe_days(movies: Sequence[MovieFrames]) -> str:
    """Text with the number of movies and their dates."""
    days = " to ".join(dict.fromkeys(np.datetime_as_string(movies[i].times[i], "D") for i in (0, -1)))
    n_movies = len({movie.name for movie in movies})
    return f"{n_movies} {'movie' if n_movies == 1 else 'movies'}, {days}"
