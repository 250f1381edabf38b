"""Movies as xarray arrays: `open_movie`, and the engine `camhd`.

The last and thinnest layer: a `FrameStack` becomes the lazy data of a `DataArray`, with dask (`StackArray`)
or without, and the index becomes its coordinates.
"""

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from math import prod
from pathlib import Path, PurePath
from threading import current_thread, main_thread
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from camhd_access.arrays.attributes import (
    ABOUT_DAMAGE,
    OF_PIXELS,
    coordinates_of,
    dims_of,
    movie_attributes,
    pixel_attributes,
)
from camhd_access.arrays.clocks import find_start, warn_of_clocks
from camhd_access.arrays.dask_array import DamageArray, StackArray
from camhd_access.arrays.group_chunks import cut_between_groups
from camhd_access.arrays.missing import mark_missing
from camhd_access.formats.names import Clock, find_movie_name, is_of_kind
from camhd_access.movie.address import Address, is_address_of_archive
from camhd_access.movie.index_cache import Recover
from camhd_access.movie.outer_index import AxisIndex, Index, take_outer
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import Deinterlace, Errors, Fields, FrameSelection, check_errors
from camhd_access.movie.series import Stack
from camhd_access.movie.stack import FrameStack, Pixels
from camhd_access.urls import is_place, redact_url, text_of

__all__ = ["CamhdBackendEntrypoint", "Chunks", "complete_chunks", "open_movie"]

Chunks: TypeAlias = Literal["auto"] | int | Mapping[str, int] | None

DASK_CHUNK_BYTES = 64 * 1024 * 1024
"""Smallest dask chunk: as many frames as needed for this size. With one frame per chunk, a mean over time
takes four times as long as the decoding."""


def open_movie(
    urlpath: Address,
    *,
    frames: FrameSelection | None = None,
    pix_fmt: str = "rgb24",
    fields: Fields = False,
    deinterlace: Deinterlace = None,
    reduce: int = 1,
    errors: Errors = "raise",
    chunks: Chunks = "auto",
    recover: Recover = False,
    clock: Clock = "auto",
    cache: bool = True,
    indexes: str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """A movie as a lazy array "video" with dimensions time, y, x and, for colour, channel.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens: `https://…`, `s3://…`, a local path, `memory://…`; or, as for
        `MovieReader`, the base name of a movie in the archive, or a time (UTC) during its recording.
    frames
        Only these frames, by index: a slice, a sequence of numbers (which are rounded, so that
        `np.linspace(0, 25_000, 100)` works), or a boolean mask. They are selected before chunking.
    pix_fmt
        `rgb24`, `bgr24`, `rgb48le`, …; single-plane formats are `gray`, `gray16le`, … and `gray10le`, which
        is luma as coded: black is 64, white 940.
    fields
        True: return the two fields of each frame of an interlaced movie instead of the frames: half the
        lines, twice the rate, in the order in which they are shown; "first": only the field shown first.
        Each field is decoded independently. One small request finds out whether the movie is interlaced.
    deinterlace
        "linear": whole frames made from the field shown first, without combing; every other
        line is interpolated, as the coordinate `interpolated` says (see `MovieReader.read`).
    reduce
        2, 4 or 8: reduce lines and columns by this factor (see `MovieReader.read`).
    errors
        "raise", or "mask" to continue in spite of damage: values are then float32, and NaN in damaged
        slices, which means, weights and plots skip. The coordinate `damaged` is the damaged share of
        each frame. It is as lazy as the pixels. With dask it comes from the same tasks, so compute
        both together; without, it is decoded separately. It refers to whole frames even if the array is
        cropped: drop it (`drop_vars`) if that is not worth decoding them. Errors while reading bytes
        always raise.
    chunks
        "auto": dask chunks of whole frames, 64 to 128 MiB, or of whole groups of pictures where frames depend
        on each other (H.264, HEVC); a number of frames; a mapping from dimension
        to length; None: lazy without dask.
    recover
        True: rebuild the index of a truncated recording by walking its frames (see `MovieReader`). A
        path or URL: use an index that `camhd recover` wrote.
    clock
        Source of the start time: "mvhd", the movie's own clock; "name", its name, corrected for its period;
        or "auto", the clock unless it is missing or differs from the name by more than a day.
    cache
        Cache fetched bytes on disk, for this and other processes.
    indexes
        Store of indexes, from which a movie opens without a request (see `MovieReader`).
    storage_options
        Arguments for the filesystem's constructor.

    Returns
    -------
    xarray.DataArray
        With the coordinates `time` (when the frame is shown, UTC, datetime64[ns]; timedelta64[ns] since the
        movie's start if that is unknown), `y` and `x` (pixels of the whole frame, also after cropping or
        reducing), `channel`, `frame` (index in the movie, from 0), `encoded_size` (bytes of the
        sample), `movie` (base name of each frame's movie), `source`, `file_size` and `etag` (of the file),
        `hidden` (whether the movie's edit list hides the frame from players), and the accuracy of the times:
        `time_source`, `time_disagreement_seconds`, `time_uncertainty_seconds` and
        `timecode_disagreement_seconds` (the movie's timecode minus its start; read from local files, and
        from remote ones if clock and name differ by more than a minute). With `fields` also `field` (0 is
        shown first, 1 half a frame later) and `line_offset` (0: the even lines, 1: the odd lines). For a clip
        written by this package, `frame`, `movie` and `source` are those of the original movie.

    Raises
    ------
    CamhdError
        As raised by `MovieReader`.
    FrameIndexError
        The movie has no frame with that index.
    ValueError
        `fields` or `deinterlace` of a progressive movie, or both; an unknown `pix_fmt`, `reduce`, `errors` or
        `clock`.

    Warns
    -----
    UserWarning
        Clock and name of the movie differ by more than a minute, and `clock` does not choose one.

    Notes
    -----
    Makes one request if `moov` is at the end of the file, and one of 4 bytes for the timecode if clock and
    name of the movie differ by more than a minute. Indexing with numbers, slices and lists, also by `sel`
    and `isel`, determines what is fetched and decoded: `movie[7200, :64, :64]` decodes four rows of slices
    of one frame.

    Examples
    --------
    >>> movie = open_movie(url)
    >>> movie[7200, :64, :64].values.shape  # reads a corner of one frame
    (64, 64, 3)
    >>> open_movie(url, frames=[0, 900, 1800], pix_fmt="gray").mean("time").dims
    ('y', 'x')
    """
    options: dict[str, Any] = {"indexes": indexes, "storage_options": storage_options}
    reader = MovieReader(urlpath, recover=recover, clock=clock, cache=cache, **options)
    chosen = slice(None) if frames is None else frames
    stack = reader.stack(chosen, pix_fmt=pix_fmt, fields=fields, deinterlace=deinterlace, reduce=reduce)
    marks_damage = check_errors(errors) == "mask"
    if clock == "auto":
        warn_of_clocks({reader.movie_name: find_start(reader)})
    attributes = pixel_attributes(stack, marks_damage=marks_damage) | movie_attributes(reader)
    data: Any
    damaged: Any = None
    if chunks is None:
        data = indexing.LazilyIndexedArray(_LazyStack(stack, marks_damage=marks_damage))
        damaged = indexing.LazilyIndexedArray(_LazyDamage(stack))
    else:
        lengths = complete_chunks(chunks, stack, marks_damage=marks_damage)
        data = StackArray.cut(stack, lengths, marks_damage=marks_damage)
        damaged = DamageArray.of(data) if marks_damage else None
    movie = xr.DataArray(
        xr.Variable(dims_of(stack), data, attributes), coords=coordinates_of(reader, stack), name="video"
    )
    if marks_damage:
        movie = movie.assign_coords(damaged=xr.Variable("time", damaged, ABOUT_DAMAGE))
    movie.encoding = {"source": redact_url(reader.urlpath)}
    return movie


class CamhdBackendEntrypoint(BackendEntrypoint):
    """`xarray.open_dataset(urlpath, engine="camhd")`: a movie as a Dataset with the variable "video"."""

    description: ClassVar[str] = (
        "Movies of the seafloor camera CamHD (.mov) and their twins (.mp4), from any server"
    )
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj",
        "drop_variables",
        "frames",
        "pix_fmt",
        "fields",
        "deinterlace",
        "reduce",
        "errors",
        "recover",
        "clock",
        "disk_cache",
        "storage_options",
    )

    def open_dataset(  # type: ignore[override]  # xarray requires backends to list their options
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        frames: FrameSelection | None = None,
        pix_fmt: str = "rgb24",
        fields: Fields = False,
        deinterlace: Deinterlace = None,
        reduce: int = 1,
        errors: Errors = "raise",
        recover: Recover = False,
        clock: Clock = "auto",
        disk_cache: bool = True,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """The movie, without dask; xarray adds it if `chunks` are given, by default of whole frames.

        Notes
        -----
        The options are those of `open_movie`, except that `cache` is called `disk_cache` here: xarray uses
        the other name itself, and `cache=False` means that no pixels are kept in memory.
        """
        movie = open_movie(
            _without_folder(filename_or_obj),
            frames=frames,
            pix_fmt=pix_fmt,
            fields=fields,
            deinterlace=deinterlace,
            reduce=reduce,
            errors=errors,
            chunks=None,
            recover=recover,
            clock=clock,
            cache=disk_cache,
            storage_options=storage_options,
        )
        lazy: Any = movie.variable._data  # noqa: SLF001 - the property would load it
        n_at_once = _chunks_along_time(lazy.array.stack, movie.dtype)
        movie.encoding["preferred_chunks"] = dict(zip(movie.dims, (n_at_once, *movie.shape[1:]), strict=True))
        if errors == "mask":
            movie.coords["damaged"].encoding["preferred_chunks"] = {"time": n_at_once}
        attributes = {name: movie.attrs.pop(name) for name in list(movie.attrs) if name not in OF_PIXELS}
        video = _VideoVariable(movie.dims, lazy, movie.attrs, movie.encoding)
        coordinates = dict(_hold(movie))
        dataset = xr.Dataset({"video": video} | coordinates).set_coords(list(coordinates))
        dataset.attrs = {"Conventions": "CF-1.11"} | attributes
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        dataset = dataset.drop_vars(dropped, errors="ignore")
        if "://" in (path := text_of(filename_or_obj)):
            dataset.encoding["source"] = redact_url(path)  # xarray's own would have user, password and query
        return dataset

    def guess_can_open(self, filename_or_obj: Any) -> bool:  # noqa: ANN401 - xarray passes anything
        """Whether it is the path or URL of a file named like a CamHD movie or its twin."""
        if not is_place(filename_or_obj):
            return False
        path = text_of(filename_or_obj)
        return find_movie_name(path) is not None and is_of_kind(path.lower(), "best")


def _without_folder(path: str | os.PathLike[str]) -> Address:
    """A base name or a time without the current folder, which xarray prepends; other paths unchanged."""
    if isinstance(path, str) and not Path(path).exists():
        name = PurePath(path).name
        if Path(path).parent == Path.cwd() and is_address_of_archive(name):
            return name
    return path


def _reads_in_parallel() -> bool:
    """Whether reads may use all cores: in the main thread. dask's tasks run in one of many threads."""
    return current_thread() is main_thread()


class _VideoVariable(xr.Variable):
    """The variable of a movie: if it is chunked while unread, it becomes that of `open_movie`.

    xarray alone would create tasks that decode whole dask chunks for a list of frames.
    """

    def chunk(self, chunks: Any = {}, **options: Any) -> Any:  # type: ignore[override]  # noqa: ANN401, B006 - as in xarray
        """The same variable with dask."""
        lazy = _find_lazy(self._data)
        if lazy is None:
            return super().chunk(chunks, **options)
        if isinstance(chunks, Mapping):
            chunks = tuple(chunks.get(dim, -1) for dim in self.dims)
        stack, key = lazy.array, lazy.key.tuple
        shown = tuple(
            np.asarray(np.arange(length)[index]) for length, index in zip(stack.shape, key, strict=True)
        )
        data = StackArray.cut(stack.stack, chunks, shown, marks_damage=stack.marks_damage)
        return self._replace(data=data)


class _HeldVariable(xr.Variable):
    """A coordinate that stays in memory: xarray would chunk it, which fails for text."""

    _in_memory = True


def _hold(movie: xr.DataArray) -> Iterator[tuple[Hashable, xr.Variable]]:
    """The coordinates, kept in memory; indexes are in memory anyway."""
    for name, coordinate in movie.coords.items():
        is_held = name not in movie.indexes and name != "damaged"
        known = coordinate.variable
        yield name, _HeldVariable(known.dims, known.values, known.attrs) if is_held else known


def _find_lazy(data: Any) -> indexing.LazilyIndexedArray | None:  # noqa: ANN401 - of any kind
    """The unread frames inside xarray's wrappers; None if they were read."""
    while isinstance(data, indexing.CopyOnWriteArray | indexing.MemoryCachedArray):
        data = data.array
    is_unread = isinstance(data, indexing.LazilyIndexedArray) and isinstance(data.array, _LazyStack)
    return data if is_unread else None


class _LazyStack(BackendArray):
    """A stack as xarray reads it without dask."""

    def __init__(self, stack: FrameStack, *, marks_damage: bool = False) -> None:
        self.shape = stack.shape
        self.dtype = np.dtype(np.float32) if marks_damage else stack.dtype
        self.stack = stack
        self.marks_damage = marks_damage

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Pixels:
        pixels: Pixels = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return pixels

    def _read(self, index: Index) -> Pixels:
        parallel = _reads_in_parallel()
        if not self.marks_damage:
            return self.stack.read_part(index, parallel=parallel)
        stack, inner = self.stack.narrow(index)
        return take_outer(mark_missing(stack, parallel=parallel)[0], inner)


class _LazyDamage(BackendArray):
    """The damaged share of each image without dask; reading it decodes the images."""

    def __init__(self, stack: FrameStack) -> None:
        self.shape = stack.shape[:1]
        self.dtype = np.dtype(np.float32)
        self._stack = stack

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[np.float32]:
        damaged: npt.NDArray[np.float32] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )
        return damaged

    def _read(self, index: tuple[AxisIndex]) -> npt.NDArray[np.float32]:
        positions = np.arange(self.shape[0])[index]
        damaged = np.zeros(positions.size, np.float32)
        n_at_once = _frames_per_chunk(self._stack.shape, self._stack.dtype)
        for start in range(0, positions.size, n_at_once):
            part = slice(start, start + n_at_once)
            stack = self._stack.select(positions.ravel()[part])
            damaged[part] = mark_missing(stack, parallel=_reads_in_parallel())[1]
        return damaged.reshape(positions.shape)


def complete_chunks(
    chunks: Chunks, stack: Stack, *, marks_damage: bool = False
) -> tuple[int | tuple[int, ...], ...]:
    """Length of the dask chunks along each dimension, or all lengths; -1 for the whole dimension."""
    dtype = np.dtype(np.float32) if marks_damage else stack.dtype
    lengths: dict[str, int | tuple[int, ...]] = dict.fromkeys(dims_of(stack), -1)
    lengths["time"] = _chunks_along_time(stack, dtype)
    if isinstance(chunks, Mapping):
        unknown = chunks.keys() - lengths.keys()
        if unknown:
            raise ValueError(
                f"chunks: unknown dimensions {', '.join(map(repr, unknown))}; known are {', '.join(lengths)}"
            )
        lengths |= chunks
    elif isinstance(chunks, int | np.integer) and not isinstance(chunks, bool):
        lengths["time"] = int(chunks)
    elif chunks != "auto":
        raise TypeError(f'chunks must be "auto", a number of frames, a mapping, or None, not {chunks!r}')
    for name, length in lengths.items():
        if isinstance(length, int | np.integer) and length < 1 and length != -1:
            raise ValueError(f"chunks of {length} along {name!r}: use a length of at least 1, or -1 for all")
    return tuple(lengths.values())


def _chunks_along_time(stack: Stack, dtype: np.dtype[Any]) -> int | tuple[int, ...]:
    frame_bytes = prod(stack.shape[1:]) * dtype.itemsize
    n_at_once = _frames_per_chunk(stack.shape, dtype)
    return cut_between_groups(stack, n_at_once=n_at_once, frame_bytes=frame_bytes)


def _frames_per_chunk(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    frame_bytes = prod(shape[1:]) * dtype.itemsize
    return max(1, min(-(-DASK_CHUNK_BYTES // max(1, frame_bytes)), shape[0]))
