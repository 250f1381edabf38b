"""Movies as xarray arrays: `open_movie`, and the engine `camhd`.

The last and thinnest layer: a `FrameStack` becomes the lazy data of a `DataArray`, the index becomes its
coordinates. With dask, each task holds the part of the stack that it reads, a few hundred bytes. What is
picked from the array before it is computed is picked from the stack (`StackArray`), so that tasks fetch and
decode that and no more.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from math import prod
from pathlib import PurePath
from threading import current_thread, main_thread
from types import EllipsisType
from typing import Any, ClassVar, Literal, TypeAlias

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.array.core import normalize_chunks
from dask.base import tokenize
from dask.blockwise import BlockwiseDep, blockwise
from dask.highlevelgraph import HighLevelGraph
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from camhd_access._version import __version__
from camhd_access.frames import (
    AxisIndex,
    FrameStack,
    Pixels,
    expand_index,
    shorten_index,
    split_positions,
    take_outer,
)
from camhd_access.names import find_movie_name
from camhd_access.pixels import choose_matrix
from camhd_access.reader import FrameSelection, MovieReader
from camhd_access.series import Stack

__all__ = [
    "CamhdBackendEntrypoint",
    "Chunks",
    "StackArray",
    "complete_chunks",
    "coordinates_of",
    "dims_of",
    "movie_attributes",
    "open_movie",
    "pixel_attributes",
]

Chunks: TypeAlias = Literal["auto"] | int | Mapping[str, int] | None

DASK_CHUNK_BYTES = 64 * 1024 * 1024
"""A dask chunk holds the least number of frames that makes this. With one frame a chunk, a mean over time
costs four times what the decoding does."""

PLACE = {
    "platform": "Axial Seamount, ASHES vent field, cabled seafloor node PN03B",
    "instrument": "RS03ASHS-PN03B-06-CAMHDA301",
    "geospatial_lat": 45.933636,
    "geospatial_lon": -130.013636,
    "acknowledgement": "NSF Ocean Observatories Initiative, Regional Cabled Array",
}
"""What is known of every CamHD movie (ACDD-1.3)."""

CODECS = {
    "apco": "Apple ProRes 422 Proxy",
    "apcs": "Apple ProRes 422 LT",
    "apcn": "Apple ProRes 422",
    "apch": "Apple ProRes 422 HQ",
    "ap4h": "Apple ProRes 4444",
    "ap4x": "Apple ProRes 4444 XQ",
}


MATRIX_NAMES = {1: "ITU-R BT.709", 5: "ITU-R BT.601", 6: "ITU-R BT.601", 7: "SMPTE 240M", 9: "ITU-R BT.2020"}


def open_movie(
    urlpath: str | os.PathLike[str],
    *,
    frames: FrameSelection | None = None,
    pix_fmt: str = "rgb24",
    chunks: Chunks = "auto",
    cache: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """A movie as a lazy array "video" of dimensions time, y, x and, where there is colour, channel.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens: `https://…`, `s3://…`, a local path, `memory://…`.
    frames
        Only these frames, by index: a slice or a sequence, whose numbers are rounded, so that
        `np.linspace(0, 25_000, 100)` will do. They are chosen before the array is cut into chunks.
    pix_fmt
        `rgb24`, `bgr24`, `rgb48le`, …; of one plane `gray`, `gray16le`, … and `gray10le`, which is luma as
        coded: black is 64, white 940.
    chunks
        "auto": dask chunks of whole frames, 64 to 128 MiB; a number: so many frames; a mapping of dimension
        to length; None: no dask, but lazy all the same.
    cache
        Keep fetched bytes on disk, for this and other processes.
    storage_options
        For the constructor of the filesystem.

    Returns
    -------
    xarray.DataArray
        With the coordinates `time` (when the frame is shown, UTC, datetime64[ns]; timedelta64[ns] since the
        movie's start where nothing tells when that was), `frame` (index in the movie, from 0),
        `encoded_size` (bytes of the sample) and `channel`.

    Raises
    ------
    CamhdError
        As `MovieReader` raises it.
    FrameIndexError
        The movie has none of that index.

    Notes
    -----
    Costs one request where `moov` ends the file. Indexing by numbers, slices and lists, by `sel` and `isel`,
    decides what is fetched and decoded: `movie[7200, :64, :64]` decodes four rows of slices of one frame.
    """
    reader = MovieReader(urlpath, cache=cache, storage_options=storage_options)
    stack = reader.stack(slice(None) if frames is None else frames, pix_fmt=pix_fmt)
    data: Any
    if chunks is None:
        data = indexing.LazilyIndexedArray(_LazyStack(stack))
    else:
        data = StackArray.cut(stack, complete_chunks(chunks, stack))
    movie = xr.DataArray(
        xr.Variable(dims_of(stack), data, pixel_attributes(stack) | movie_attributes(reader)),
        coords=coordinates_of(reader, stack),
        name="video",
    )
    movie.encoding = {"source": reader.urlpath}
    return movie


class CamhdBackendEntrypoint(BackendEntrypoint):
    """`xarray.open_dataset(urlpath, engine="camhd")`: a movie as a Dataset with the variable "video"."""

    description: ClassVar[str] = "Movies of the seafloor camera CamHD (ProRes in QuickTime), from any server"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj",
        "drop_variables",
        "frames",
        "pix_fmt",
        "storage_options",
    )

    def open_dataset(  # type: ignore[override]  # a backend names the options it has
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        frames: FrameSelection | None = None,
        pix_fmt: str = "rgb24",
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """The movie, without dask; xarray adds it where `chunks` are asked for, whole frames by default."""
        movie = open_movie(
            filename_or_obj, frames=frames, pix_fmt=pix_fmt, chunks=None, storage_options=storage_options
        )
        movie.encoding["preferred_chunks"] = dict(
            zip(movie.dims, (_frames_per_chunk(movie.shape, movie.dtype), *movie.shape[1:]), strict=True)
        )
        attributes = {name: movie.attrs.pop(name) for name in list(movie.attrs) if name not in _OF_PIXELS}
        dataset = movie.to_dataset()
        dataset.attrs = {"Conventions": "CF-1.11, ACDD-1.3"} | attributes
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        return dataset.drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:  # noqa: ANN401 - xarray asks of anything
        """Whether it is a path or URL with the name of a CamHD movie."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        path = os.fspath(filename_or_obj)
        name = find_movie_name(path) if isinstance(path, str) else None
        return name is not None and PurePath(path.partition("?")[0]).suffix.lower() == ".mov"


class StackArray(da.Array):
    """A dask array of unread frames. Indexing it by numbers, slices and lists reads nothing.

    It shows some frames, lines, columns and channels of a stack, and indexing chooses among them. dask alone
    would index what its tasks have decoded: for one frame, the dask chunk that holds it. Everything else that
    is done to it gives plain dask arrays.
    """

    stack: Stack
    parts: "_Parts"
    """What each task reads."""
    shown: tuple[npt.NDArray[np.int64], ...] | None
    """Positions along each axis of the stack, without a dimension where the axis was dropped; None once the
    array was written to."""

    @classmethod
    def cut(
        cls,
        stack: Stack,
        chunks: Any,  # noqa: ANN401 - all that dask takes
        shown: tuple[npt.NDArray[np.int64], ...] | None = None,
    ) -> "StackArray":
        """The array of what is `shown` of `stack`, by default all; `chunks` as dask takes them."""
        shown = shown or tuple(map(np.arange, stack.shape))
        shape = tuple(len(positions) for positions in shown if positions.ndim)
        cuts = normalize_chunks(chunks, shape, dtype=stack.dtype) if shape else ()
        parts = _Parts(stack, shown, cuts)
        name = f"video-{stack.pixel_format.name}-{parts.token}"
        axes = tuple(range(len(shape)))
        layer = blockwise(_Part.read, name, axes, parts, axes, numblocks={}, _data_producer=True)
        graph = HighLevelGraph.from_collections(name, layer)
        self = cls(graph, name, cuts, meta=np.empty((0,) * len(shape), stack.dtype))
        self.stack, self.parts, self.shown = stack, parts, shown
        return self

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - as dask's own
        indices = index if isinstance(index, tuple) else (index,)
        if self.shown is None or not all(map(_is_plain, indices)) or sum(map(np.ndim, indices)) > 1:
            return super().__getitem__(index)
        upcoming = iter(expand_index(indices, self.ndim))
        shown = tuple(
            np.asarray(positions[next(upcoming)]) if positions.ndim else positions for positions in self.shown
        )
        if all(map(np.array_equal, shown, self.shown)):
            return self
        lengths = iter(self.chunksize)
        kept = [(next(lengths), now) for before, now in zip(self.shown, shown, strict=True) if before.ndim]
        chunks = tuple(max(1, min(length, len(now))) for length, now in kept if now.ndim)
        return StackArray.cut(self.stack, chunks, shown)

    def plan(self) -> tuple[int, int]:
        """Requests and bytes that computing it takes, task by task; an estimate where crops are fetched."""
        costs = [self.parts[block].stack.plan() for block in np.ndindex(self.parts.numblocks)]
        return sum(n_requests for n_requests, _ in costs), sum(n_bytes for _, n_bytes in costs)

    def __setitem__(self, index: Any, value: Any) -> None:  # noqa: ANN401 - as dask's own
        super().__setitem__(index, value)
        self.shown = None

    def copy(self) -> da.Array:
        """Another array of the same, to be written to or not."""
        return super().copy() if self.shown is None else StackArray.cut(self.stack, self.chunks, self.shown)


def _is_plain(item: object) -> bool:
    """Whether it is an index along one axis: no new axis, no mask of several, no dask array."""
    if isinstance(item, list | np.ndarray):
        return np.ndim(item) == 1
    return isinstance(item, int | np.integer | slice | EllipsisType) and not isinstance(item, bool)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one task reads."""

    stack: Stack
    """The frames, and the smallest window of them that holds what is wanted."""
    index: tuple[AxisIndex, ...]
    """What is wanted of that, one index an axis."""

    def read(self) -> Pixels:
        """The pixels, decoded in the thread of the task."""
        return take_outer(self.stack.read(parallel=False), self.index)


class _Parts(BlockwiseDep):
    """The part of each dask chunk."""

    produces_tasks = False

    def __init__(
        self,
        stack: Stack,
        shown: tuple[npt.NDArray[np.int64], ...],
        cuts: tuple[tuple[int, ...], ...],
    ) -> None:
        self.numblocks = tuple(map(len, cuts))
        self.token = tokenize(__version__, stack.select(shown[0]).identity, shown[1:], cuts)
        self._stack = stack
        self._is_kept = tuple(bool(positions.ndim) for positions in shown)
        upcoming = iter(cuts)
        time, y, x, *channel = (_cut_axis(p, next(upcoming)) if p.ndim else [p] for p in shown)
        self._time = time
        self._y, self._x = (list(map(split_positions, pieces)) for pieces in (y, x))
        self._channel = [list(map(shorten_index, pieces)) for pieces in channel]

    def __dask_tokenize__(self) -> str:
        return self.token

    def __getitem__(self, block: tuple[int, ...]) -> _Part:
        numbers = iter(block)
        n_time, n_y, n_x, *n_channel = (next(numbers) if is_kept else 0 for is_kept in self._is_kept)
        time = self._time[n_time]
        (rows, y), (columns, x) = self._y[n_y], self._x[n_x]
        channel = [pieces[n] for pieces, n in zip(self._channel, n_channel, strict=True)]
        stack = self._stack.select(time).crop(rows, columns)
        return _Part(stack, (slice(None) if time.ndim else 0, y, x, *channel))


def _cut_axis(positions: npt.NDArray[np.int64], lengths: tuple[int, ...]) -> list[npt.NDArray[np.int64]]:
    """Pieces of these lengths."""
    return [positions[start:stop] for start, stop in pairwise(accumulate(lengths, initial=0))]


class _LazyStack(BackendArray):
    """A stack as xarray reads it without dask."""

    def __init__(self, stack: FrameStack) -> None:
        self.shape = stack.shape
        self.dtype = stack.dtype
        self._stack = stack

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Pixels:
        # Direct reads come from the main thread and may use all cores; dask's tasks from one of many threads.
        read = partial(self._stack.read_part, parallel=current_thread() is main_thread())
        pixels: Pixels = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, read
        )
        return pixels


def complete_chunks(chunks: Chunks, stack: Stack) -> tuple[int, ...]:
    """Length of the dask chunks along each dimension; -1 for all of it."""
    lengths = dict.fromkeys(dims_of(stack), -1) | {"time": _frames_per_chunk(stack.shape, stack.dtype)}
    if isinstance(chunks, Mapping):
        unknown = chunks.keys() - lengths.keys()
        if unknown:
            raise ValueError(
                f"chunks of {', '.join(map(repr, unknown))}; dimensions are {', '.join(lengths)}"
            )
        lengths |= chunks
    elif isinstance(chunks, int | np.integer) and not isinstance(chunks, bool):
        lengths["time"] = int(chunks)
    elif chunks != "auto":
        raise TypeError(f'chunks are "auto", a number of frames, a mapping, or None; not {chunks!r}')
    for name, length in lengths.items():
        if isinstance(length, int) and length < 1 and length != -1:
            raise ValueError(f"chunks of {length} along {name!r}: they are 1 long at least, or -1 for all")
    return tuple(lengths.values())


def _frames_per_chunk(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    frame_bytes = prod(shape[1:]) * dtype.itemsize
    return max(1, min(-(-DASK_CHUNK_BYTES // max(1, frame_bytes)), shape[0]))


def dims_of(stack: Stack) -> tuple[str, ...]:
    """Names of the array's dimensions."""
    return ("time", "y", "x", "channel")[: stack.ndim]


def coordinates_of(reader: MovieReader, stack: FrameStack) -> dict[str, Any]:
    """Coordinates of a movie's array: when its frames are shown, which they are, and how large."""
    time: npt.NDArray[Any]
    if reader.start_time is None:
        time = reader.elapsed()
        about_time = {"long_name": "time since the start of the movie, which is not known", "axis": "T"}
    else:
        time = reader.times()
        about_time = {"standard_name": "time", "long_name": "time when the frame is shown, UTC", "axis": "T"}
    coordinates: dict[str, Any] = {
        "time": ("time", time[stack.frames], about_time),
        "frame": (
            "time",
            stack.frames,
            {"long_name": "index of the frame in the movie, from 0", "units": "1"},
        ),
        "encoded_size": (
            "time",
            stack.sample_size,
            {"long_name": "size of the encoded frame", "units": "byte"},
        ),
    }
    if stack.pixel_format.is_color:
        coordinates["channel"] = ("channel", list(stack.pixel_format.channels))
    return coordinates


_OF_PIXELS = ("long_name", "units", "valid_range", "pix_fmt", "color_range", "color_matrix")


def pixel_attributes(stack: FrameStack) -> dict[str, Any]:
    """What the values of the array mean."""
    pixel_format = stack.pixel_format
    coded = pixel_format.layout == "code"
    attributes = {
        "long_name": {"code": "luma as coded", "gray": "luma"}.get(
            pixel_format.layout, "brightness of R'G'B'"
        ),
        "units": "1",
        "valid_range": [4, 1019] if coded else [0, pixel_format.full_scale],
        "pix_fmt": pixel_format.name,
        "color_range": "video: black 64, white 940"
        if coded
        else f"full: black 0, white {pixel_format.full_scale}",
    }
    if pixel_format.is_color:
        stated = choose_matrix(None, stack.view.track_matrix, height=stack.view.frame_size[0])
        attributes["color_matrix"] = (
            f"that of each ProRes frame header; where it has none {MATRIX_NAMES[stated]}, "
            + ("by the movie's index" if stated == stack.view.track_matrix else "by the height of the frame")
        )
    return attributes


def movie_attributes(reader: MovieReader) -> dict[str, Any]:
    """Where the movie comes from, and how its times are known."""
    name = find_movie_name(reader.urlpath)
    start = reader.start
    attributes: dict[str, Any] = {
        "title": name.basename if name else PurePath(reader.urlpath.partition("?")[0]).name,
        "source": reader.urlpath.partition("?")[0],  # what follows may be a key
        "codec": f"{CODECS[reader.index.codec]} ({reader.index.codec})",
        "time_source": start.source,
    }
    if start.disagreement_seconds is not None:
        attributes["time_disagreement_seconds"] = start.disagreement_seconds
    return attributes | (PLACE if name else {})
