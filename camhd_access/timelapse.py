"""`open_timelapse`: the same moment of many movies, as one lazy array.

Opening reads the index of each movie, many at once, and keeps of it what one picture needs; the pixels are
read when they are computed, of a few movies by each dask task. A movie that cannot be read is an error,
unless it was said that such movies may be missing: then a warning names them.
"""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr
from tqdm.auto import tqdm

from camhd_access.arrays import (
    ABOUT_DAMAGE,
    complete_chunks,
    coordinates_of,
    dims_of,
    movie_attributes,
    pixel_attributes,
)
from camhd_access.errors import (
    FrameIndexError,
    InvalidMovieError,
    UnsupportedMovieError,
)
from camhd_access.frames import FrameStack
from camhd_access.reader import Errors, MovieReader, check_errors
from camhd_access.series import FrameSeries
from camhd_access.stackarrays import DamageArray, StackArray

__all__ = ["Duration", "open_timelapse", "to_nanoseconds"]

Duration: TypeAlias = float | timedelta | np.timedelta64
"""Numbers are seconds."""

N_OPENED_AT_ONCE = 16
"""As many as a host is asked at once."""

MOVIES_PER_TASK = 8
"""A dask chunk holds pictures of so many movies: 50 MB of whole colour frames, asked for at once."""

MAX_NAMED = 20
"""Movies that a message names before it says how many more there are."""

FAULTS = (FileNotFoundError, FrameIndexError, InvalidMovieError, UnsupportedMovieError)
"""Errors that are the movie's own. Any other is the server's or the network's, and the next movie's too."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """What the array needs to know of one movie."""

    stack: FrameStack
    """The one frame."""
    coordinates: dict[str, Any]
    """Of an array of this frame alone."""
    attributes: dict[str, Any]
    """Of such an array."""

    @property
    def time(self) -> np.datetime64:
        """When the frame was shown, UTC."""
        time: np.datetime64 = self.coordinates["time"][1][0]
        return time


def open_timelapse(
    movies: Iterable[str | os.PathLike[str]],
    *,
    frame: int | Sequence[int] | None = None,
    at: Duration | None = None,
    pix_fmt: str = "rgb24",
    reduce: int = 1,
    errors: Errors = "raise",
    unreadable: Literal["raise", "skip"] = "raise",
    chunks: Literal["auto"] | int | Mapping[str, int] = "auto",
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
    pix_fmt, reduce, errors, cache, storage_options
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
    paths = _check_paths(movies)
    choices = _choices(frame, at, len(paths))
    marks_damage = check_errors(errors) == "mask"
    if unreadable not in ("raise", "skip"):
        raise ValueError(f'unreadable is "raise" or "skip", not {unreadable!r}')

    def read_one(path: str, choice: Callable[[MovieReader], int]) -> _Picture:
        reader = MovieReader(path, cache=cache, storage_options=storage_options)
        stack = reader.stack(choice(reader), pix_fmt=pix_fmt, reduce=reduce)
        attributes = pixel_attributes(stack) | movie_attributes(reader)
        return _Picture(stack, coordinates_of(reader, stack), attributes)

    found: list[_Picture] = []
    faults: list[Exception] = []
    for each in _read_all(read_one, paths, choices, progress=progress):
        if isinstance(each, Exception):
            faults.append(each)
        else:
            found.append(each)
    _report(faults, n_movies=len(paths), fatal=unreadable == "raise" or not found)
    return _join(found, chunks, marks_damage=marks_damage)


def _check_paths(movies: Iterable[str | os.PathLike[str]]) -> list[str]:
    if isinstance(movies, str | os.PathLike):
        raise TypeError(f"movies is a list of paths or URLs, not one: [{os.fspath(movies)!r}]")
    paths = [os.fspath(movie) for movie in movies]
    if not paths:
        raise ValueError("no movies: a timelapse takes one at least")
    return paths


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
        return [lambda reader: _find_frame(reader, offset)] * n_movies
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
    """
    if isinstance(duration, timedelta | np.timedelta64):
        return np.timedelta64(duration).astype("timedelta64[ns]")  # type: ignore[no-any-return]
    if isinstance(duration, int | float | np.number):
        return np.timedelta64(round(float(duration) * 1e9), "ns")
    raise TypeError(f"a number of seconds or a timedelta is wanted, not {duration!r:.80}")


def _find_frame(reader: MovieReader, offset: np.timedelta64) -> int:
    """The frame whose time is nearest to `offset` from the start."""
    seconds = float(offset / np.timedelta64(1, "s"))
    if seconds > reader.duration:
        raise FrameIndexError(f"no frame at {seconds:g} s: the movie is {reader.duration:.3f} s long")
    return int(np.abs(reader.elapsed() - offset).argmin())


def _read_all(
    read_one: Callable[[str, Callable[[MovieReader], int]], _Picture],
    paths: list[str],
    choices: list[Callable[[MovieReader], int]],
    *,
    progress: bool,
) -> Iterator[_Picture | Exception]:
    """What each movie gives, in order: a picture, or an error that is its own. Any other error is raised."""

    def read(path: str, choice: Callable[[MovieReader], int]) -> _Picture | Exception:
        try:
            return read_one(path, choice)
        except FAULTS as error:
            return error if path in str(error) else type(error)(f"{path}: {error}")

    with ThreadPoolExecutor(N_OPENED_AT_ONCE, thread_name_prefix="camhd-open") as pool:
        yield from tqdm(
            pool.map(read, paths, choices),
            desc="indexes read",
            total=len(paths),
            unit=" movies",
            disable=not progress,
        )


def _report(faults: list[Exception], *, n_movies: int, fatal: bool) -> None:
    """Raise, or warn of, what is wrong with some movies."""
    if not faults:
        return
    lines = [str(fault) for fault in faults[:MAX_NAMED]]
    if len(faults) > MAX_NAMED:
        lines.append(f"and {len(faults) - MAX_NAMED} more")
    listed = "\n  ".join(lines)
    if fatal:
        message = f"{len(faults)} of {n_movies} movies cannot be used (unreadable='skip' leaves them out):"
        raise type(faults[0])(f"{message}\n  {listed}")
    warnings.warn(f"{len(faults)} of {n_movies} movies are left out:\n  {listed}", stacklevel=3)


def _join(
    pictures: list[_Picture], chunks: Literal["auto"] | int | Mapping[str, int], *, marks_damage: bool
) -> xr.DataArray:
    """The array of pictures of one size, in order of time."""
    _check_times(pictures)
    _check_sizes(pictures)
    ordered = sorted(pictures, key=lambda picture: picture.time)
    series = FrameSeries.of(tuple(picture.stack for picture in ordered))
    chunks = {} if chunks == "auto" else chunks
    lengths = {"time": MOVIES_PER_TASK} | dict(chunks) if isinstance(chunks, Mapping) else chunks
    data = StackArray.cut(series, complete_chunks(lengths, series), marks_damage=marks_damage)
    coordinates = _join_coordinates(ordered)
    if marks_damage:
        coordinates["damaged"] = xr.Variable("time", DamageArray.of(data), ABOUT_DAMAGE)
    return xr.DataArray(
        xr.Variable(dims_of(series), data, _common_attributes(ordered)), coords=coordinates, name="video"
    )


def _check_times(pictures: list[_Picture]) -> None:
    untimed = [p.attributes["source"] for p in pictures if p.attributes["time_source"] == "unknown"]
    if untimed:
        raise ValueError(f"nothing tells when these movies began: {_name_some(untimed)}")


def _check_sizes(pictures: list[_Picture]) -> None:
    sizes = Counter(picture.stack.view.frame_size for picture in pictures)
    (usual, n_usual), *others = sizes.most_common()
    if others:
        odd = [
            f"{p.attributes['title']} ({_describe_size(p.stack.view.frame_size)})"
            for p in pictures
            if p.stack.view.frame_size != usual
        ]
        raise ValueError(
            f"the movies differ in size: {n_usual} of {_describe_size(usual)}, and {_name_some(odd)}"
        )


def _describe_size(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width}x{height}"


def _name_some(names: list[str]) -> str:
    more = f", and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _join_coordinates(pictures: list[_Picture]) -> dict[str, Any]:
    """The coordinates of all, one after the other; those that are not on time as the first has them."""
    joined: dict[str, Any] = {}
    for name, (dim, values, *attributes) in pictures[0].coordinates.items():
        if dim == "time":
            each: list[npt.NDArray[Any]] = [picture.coordinates[name][1] for picture in pictures]
            joined[name] = (dim, np.concatenate(each), *attributes)
        else:
            joined[name] = (dim, values, *attributes)
    names = [picture.attributes["title"] for picture in pictures]
    return joined | {"movie": ("time", names, {"long_name": "base name of the movie"})}


def _common_attributes(pictures: list[_Picture]) -> dict[str, Any]:
    """The attributes that are true of all."""
    common = {
        name: value
        for name, value in pictures[0].attributes.items()
        if all(name in other.attributes and other.attributes[name] == value for other in pictures[1:])
    }
    days = " to ".join(dict.fromkeys(np.datetime_as_string(pictures[i].time, "D") for i in (0, -1)))
    return common | {"title": f"{len(pictures)} movies, {days}"}
