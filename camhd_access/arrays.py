"""Movies as xarray arrays: `open_movie`, and the engine `camhd`.

The last and thinnest layer: a `FrameStack` becomes the lazy data of a `DataArray`, the index becomes its
coordinates. With dask, each task holds the part of the stack that it reads, a few hundred bytes. What is
picked from the array before it is computed is picked from the stack (`StackArray`), so that tasks fetch and
decode that and no more.
"""

import os
from collections.abc import Iterable, Mapping
from functools import partial
from math import prod
from pathlib import PurePath
from threading import current_thread, main_thread
from types import EllipsisType
from typing import Any, ClassVar, Literal, TypeAlias

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.array.core import getter, normalize_chunks
from dask.base import tokenize
from dask.blockwise import BlockwiseDep, blockwise
from dask.highlevelgraph import HighLevelGraph
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from camhd_access._version import __version__
from camhd_access.frames import FrameStack, Pixels, expand_index
from camhd_access.names import find_movie_name
from camhd_access.pixels import choose_matrix
from camhd_access.reader import FrameSelection, MovieReader

__all__ = ["CamhdBackendEntrypoint", "StackArray", "open_movie"]

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
        data = StackArray.cut(stack, _complete_chunks(chunks, stack))
    movie = xr.DataArray(
        xr.Variable(_dims(stack), data, _pixel_attributes(stack) | _movie_attributes(reader)),
        coords=_coordinates(reader, stack),
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
    """A dask array of unread frames. Indexing it by slices and arrays narrows the stack, and reads nothing.

    dask alone would push slices down into the tasks, but not lists of frames: for three frames it would
    decode the three dask chunks that hold them. Everything else that is done to it gives plain dask arrays.
    """

    stack: FrameStack

    @classmethod
    def cut(cls, stack: FrameStack, chunks: Any) -> "StackArray":  # noqa: ANN401 - all that dask takes
        """The dask array of `stack`, with dask chunks as `dask.array.from_array` takes them."""
        cuts = normalize_chunks(chunks, stack.shape, dtype=stack.dtype)
        token = tokenize(__version__, stack.source.path, stack.source.version, stack.frames, stack.window)
        name = f"video-{stack.pixel_format.name}-{token}-{tokenize(cuts)}"
        axes = tuple(range(stack.ndim))
        layer = blockwise(
            getter,
            name,
            axes,
            _Blocks(stack, cuts),
            axes,
            _WholeBlocks(cuts),
            axes,
            numblocks={},
            _data_producer=True,
        )
        meta = np.empty((0,) * stack.ndim, stack.dtype)
        self = cls(HighLevelGraph.from_collections(name, layer), name, cuts, meta=meta)
        self.stack = stack
        return self

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - as dask's own
        narrowed = self._narrow(index)
        return super().__getitem__(index) if narrowed is None else narrowed

    def _narrow(self, index: Any) -> "StackArray | None":  # noqa: ANN401
        """The array of the narrower stack; None for an index that a stack cannot follow."""
        indices = index if isinstance(index, tuple) else (index,)
        if not all(isinstance(item, slice | list | np.ndarray | EllipsisType) for item in indices):
            return None
        time, *space = expand_index(indices, self.ndim)
        y, x, *channel = space
        is_list = isinstance(time, slice) or np.ndim(time) == 1
        is_rectangle = all(isinstance(item, slice) and item.step in (None, 1) for item in space)
        if not (is_list and is_rectangle and channel in ([], [slice(None)])):
            return None
        height, width = self.shape[1:3]
        stack = self.stack.select(time).crop(_bounds(y, height), _bounds(x, width))
        if stack.shape == self.shape and np.array_equal(stack.frames, self.stack.frames):
            return self
        if not all(stack.shape):
            return None
        return StackArray.cut(stack, tuple(map(min, self.chunksize, stack.shape)))


class _Blocks(BlockwiseDep):
    """The part of a stack that each dask chunk reads."""

    produces_tasks = False

    def __init__(self, stack: FrameStack, cuts: tuple[tuple[int, ...], ...]) -> None:
        self._stack = stack
        self._edges = [np.cumsum((0, *cut)).tolist() for cut in cuts]
        self.numblocks = tuple(map(len, cuts))

    def __getitem__(self, block: tuple[int, ...]) -> FrameStack:
        time, y, x, *_ = (slice(edges[i], edges[i + 1]) for i, edges in zip(block, self._edges, strict=True))
        return self._stack.select(time).crop(y, x)


class _WholeBlocks(BlockwiseDep):
    """The index by which each dask chunk is read from its part, for dask to combine with later slices."""

    produces_tasks = False

    def __init__(self, cuts: tuple[tuple[int, ...], ...]) -> None:
        self._cuts = cuts
        self.numblocks = tuple(map(len, cuts))

    def __getitem__(self, block: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(0, cut[i]) for i, cut in zip(block, self._cuts, strict=True))


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


def _bounds(extent: Any, length: int) -> slice:  # noqa: ANN401 - a slice, which mypy cannot see
    start, stop, _ = extent.indices(length)
    return slice(start, max(start, stop))


def _complete_chunks(chunks: Chunks, stack: FrameStack) -> tuple[int, ...]:
    """Length of the dask chunks along each dimension; -1 for all of it."""
    lengths = dict.fromkeys(_dims(stack), -1) | {"time": _frames_per_chunk(stack.shape, stack.dtype)}
    if isinstance(chunks, Mapping):
        unknown = chunks.keys() - lengths.keys()
        if unknown:
            raise ValueError(
                f"chunks of {', '.join(map(repr, unknown))}; dimensions are {', '.join(lengths)}"
            )
        lengths |= chunks
    elif isinstance(chunks, int):
        lengths["time"] = chunks
    elif chunks != "auto":
        raise TypeError(f'chunks are "auto", a number of frames, a mapping, or None; not {chunks!r}')
    return tuple(lengths.values())


def _frames_per_chunk(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    frame_bytes = prod(shape[1:]) * dtype.itemsize
    return max(1, min(-(-DASK_CHUNK_BYTES // max(1, frame_bytes)), shape[0]))


def _dims(stack: FrameStack) -> tuple[str, ...]:
    return ("time", "y", "x", "channel")[: stack.ndim]


def _coordinates(reader: MovieReader, stack: FrameStack) -> dict[str, Any]:
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


def _pixel_attributes(stack: FrameStack) -> dict[str, Any]:
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
        stated = choose_matrix(None, stack.track_matrix, height=stack.frame_size[0])
        attributes["color_matrix"] = (
            f"that of each ProRes frame header; where it has none {MATRIX_NAMES[stated]}, "
            + ("by the movie's index" if stated == stack.track_matrix else "by the height of the frame")
        )
    return attributes


def _movie_attributes(reader: MovieReader) -> dict[str, Any]:
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
