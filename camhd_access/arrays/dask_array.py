# mypy: disallow-untyped-calls=False
"""Dask arrays of frames that are not read yet.

Each task holds the part of the stack that it reads, a few hundred bytes; a graph that is pickled before it
is cut into tasks holds the whole stack in about two bytes a frame (`movie.packed_frames`). Selections from an
array before computing become selections from its stack, so that tasks fetch and decode only what is selected.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from types import EllipsisType
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.array.core import normalize_chunks
from dask.base import tokenize
from dask.blockwise import BlockwiseDep, blockwise
from dask.highlevelgraph import HighLevelGraph

from camhd_access._version import __version__
from camhd_access.arrays.group_chunks import cut_selection, has_groups
from camhd_access.arrays.missing import Marked, mark_missing
from camhd_access.arrays.reductions import Moments, divide_frames, finish_moments
from camhd_access.arrays.statistics import Statistic, has_exact_squares, reduce_over_time
from camhd_access.decoding.sums import Sums
from camhd_access.movie.group_stack import GroupStack
from camhd_access.movie.outer_index import AxisIndex, expand_index, shorten_index, split_positions, take_outer
from camhd_access.movie.packed_frames import pack_numbers, unpack_numbers
from camhd_access.movie.series import FrameSeries, Stack
from camhd_access.movie.stack import Pixels

__all__ = ["DamageArray", "StackArray"]

MAX_CHUNKS_DRAWN = 10_000
"""Dask chunks up to which a layer of a graph keeps their lengths, with which notebooks draw them."""


class _TypeOfDaskArray(type):
    """Classes that compare equal to `dask.array.Array`.

    xarray computes dask arrays together only if all are of one type: without this, a Dataset of a movie
    and arrays derived from it could not be computed.
    """

    def __eq__(cls, other: object) -> bool:
        return other is da.Array or type(other) is _TypeOfDaskArray

    def __hash__(cls) -> int:
        return hash(da.Array)


class StackArray(da.Array, metaclass=_TypeOfDaskArray):
    """A dask array of unread frames. Indexing by numbers, slices and lists reads nothing.

    It selects frames, lines, columns and channels of a stack, and indexing narrows the selection. dask
    pushes integers and slices down to the tasks by itself; for lists along time and chained indexing it would
    decode whole dask chunks. All other operations return plain dask arrays.
    """

    stack: Stack
    tasks: "_TaskStacks"
    """The stack read by each task."""
    shown: tuple[npt.NDArray[np.int64], ...] | None
    """Positions along each axis of the stack, without a dimension if the axis was dropped; None after the
    array was written to."""
    marks_damage: bool
    """Whether values are float32 with NaN for damaged pixels; otherwise damage raises."""

    @classmethod
    def cut(
        cls,
        stack: Stack,
        chunks: Any,  # noqa: ANN401 - all that dask takes
        shown: tuple[npt.NDArray[np.int64], ...] | None = None,
        *,
        marks_damage: bool = False,
    ) -> "StackArray":
        """The array of the part `shown` of `stack`, by default of all of it; `chunks` as in dask.

        With `marks_damage`, damaged pixels are NaN, and `DamageArray` gives their share.
        """
        shown = shown or tuple(map(np.arange, stack.shape))
        shape = tuple(len(positions) for positions in shown if positions.ndim)
        cuts = normalize_chunks(chunks, shape, dtype=stack.dtype) if shape else ()
        parts = _TaskStacks(stack, shown, cuts)
        name = f"video-{stack.pixel_format.name}-{parts.token}"
        axes = tuple(range(len(shape)))
        if marks_damage:
            name = f"unmarked-{name}"
            graph = parts.marked_graph(name, _pixels_of)
        else:
            layer = blockwise(_Part.read, name, axes, parts, axes, numblocks={}, _data_producer=True)
            graph = HighLevelGraph.from_collections(name, layer)
        dtype = np.dtype(np.float32) if marks_damage else stack.dtype
        self = cls(graph, name, cuts, meta=np.empty((0,) * len(shape), dtype))
        if self.npartitions > MAX_CHUNKS_DRAWN:
            layer = graph.layers[name]
            about = layer.collection_annotations or {}
            layer.collection_annotations = {key: about[key] for key in about if key != "chunks"}
        self.stack, self.tasks, self.shown = stack, parts, shown
        self.marks_damage = marks_damage
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self.shown is None:
            return super().__reduce__()  # type: ignore[no-any-return]  # dask has no annotations here
        shown = tuple(map(shorten_index, self.shown))
        return _cut_again, (self.stack, self.chunks, shown, self.marks_damage)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - as dask's own
        indices = index if isinstance(index, tuple) else (index,)
        if self.shown is None or not all(map(_is_plain, indices)) or sum(map(np.ndim, indices)) > 1:
            return super().__getitem__(index)
        outer = expand_index(indices, self.ndim)
        upcoming = iter(outer)
        shown = tuple(
            np.asarray(positions[next(upcoming)]) if positions.ndim else positions for positions in self.shown
        )
        if all(map(np.array_equal, shown, self.shown)):
            return self
        lengths = iter(self.chunksize)
        kept = [(next(lengths), now) for before, now in zip(self.shown, shown, strict=True) if before.ndim]
        chunks: list[Any] = [max(1, min(length, len(now))) for length, now in kept if now.ndim]
        if shown[0].ndim:
            if np.array_equal(shown[0], self.shown[0]):
                chunks[0] = self.chunks[0]
            elif has_groups(self.stack):
                chunks[0] = cut_selection(np.arange(self.shape[0])[outer[0]], self.chunks[0])
        return StackArray.cut(self.stack, chunks, shown, marks_damage=self.marks_damage)

    def task_stacks(self) -> list[Stack]:
        """The stack that each task reads."""
        return [self.tasks[block].stack for block in np.ndindex(self.tasks.numblocks)]

    def __setitem__(self, index: Any, value: Any) -> None:  # noqa: ANN401 - as dask's own
        super().__setitem__(index, value)
        self.shown = None

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
        if func in _LEAVING_OUT and self.marks_damage and args and args[0] is self:
            return self._reduce(_LEAVING_OUT[func], *args[1:], **kwargs)
        if func in {np.mean, np.sum, np.std, np.var} and args and args[0] is self:
            return getattr(self, func.__name__)(*args[1:], **kwargs)  # xarray calls numpy's function
        return super().__array_function__(func, types, args, kwargs)

    def mean(
        self,
        axis: Any = None,  # noqa: ANN401 - as dask's own
        dtype: Any = None,  # noqa: ANN401
        keepdims: bool = False,
        split_every: Any = None,  # noqa: ANN401
        out: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Mean along axes; over time only, from integer sums."""
        if dtype is None and out is None and self._is_time(axis) and not self.marks_damage:
            return self._moments("mean", keepdims=keepdims, split_every=split_every)
        return super().mean(axis, dtype, keepdims, split_every, out)

    def sum(
        self,
        axis: Any = None,  # noqa: ANN401 - as dask's own
        dtype: Any = None,  # noqa: ANN401
        keepdims: bool = False,
        split_every: Any = None,  # noqa: ANN401
        out: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Sum along axes; over time only, from integers."""
        if dtype is None and out is None and self._is_time(axis) and not self.marks_damage:
            return self._moments("sum", keepdims=keepdims, split_every=split_every)
        return super().sum(axis, dtype, keepdims, split_every, out)

    def std(
        self,
        axis: Any = None,  # noqa: ANN401 - as dask's own
        dtype: Any = None,  # noqa: ANN401
        keepdims: bool = False,
        ddof: int = 0,
        split_every: Any = None,  # noqa: ANN401
        out: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Standard deviation along axes; over time only, from integer sums."""
        if dtype is None and out is None and self._is_time(axis) and not self.marks_damage:
            return self._moments("std", ddof=ddof, keepdims=keepdims, split_every=split_every)
        return super().std(axis, dtype, keepdims, ddof, split_every, out)

    def var(
        self,
        axis: Any = None,  # noqa: ANN401 - as dask's own
        dtype: Any = None,  # noqa: ANN401
        keepdims: bool = False,
        ddof: int = 0,
        split_every: Any = None,  # noqa: ANN401
        out: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Variance along axes; over time only, from integer sums."""
        if dtype is None and out is None and self._is_time(axis) and not self.marks_damage:
            return self._moments("var", ddof=ddof, keepdims=keepdims, split_every=split_every)
        return super().var(axis, dtype, keepdims, ddof, split_every, out)

    def _reduce(
        self,
        statistic: Statistic,
        axis: Any = None,  # noqa: ANN401 - as dask's own
        dtype: Any = None,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """The statistic without missing values: exact over time only, otherwise as in dask."""
        is_ours = dtype is None and options.get("out") is None and self._is_time(axis)
        if not is_ours or not has_exact_squares(self):
            return getattr(da, f"nan{statistic}")(self, axis, dtype=dtype, **options)
        options.pop("out", None)
        return reduce_over_time(self, statistic, **options)

    def _moments(self, name: str, *, split_every: Any, **options: Any) -> da.Array:  # noqa: ANN401 - of `finish_moments`
        """A reduction over time whose tasks add up frames while decoding, without keeping them."""
        assert self.shown is not None  # noqa: S101 - for mypy
        lengths = self.chunks[0]
        if not isinstance(self.stack, FrameSeries):  # whose movies are read at once, by many tasks
            capacity = Sums.zeros((0,), self.stack.pixel_format, squares=False).capacity
            stand_alone = not isinstance(self.stack, GroupStack)
            lengths = divide_frames((1,) * self.shape[0] if stand_alone else lengths, max_frames=capacity)
            split_every = split_every or 2
        tasks = _TaskStacks(self.stack, self.shown, (lengths, *self.chunks[1:]))
        take = _Part.add_up_squares if name in {"std", "var"} else _Part.add_up
        layer_name = f"{take.__name__}-{tasks.token}"
        axes = tuple(range(self.ndim))
        layer = blockwise(take, layer_name, axes, tasks, axes, numblocks={}, _data_producer=True)
        graph = HighLevelGraph.from_collections(layer_name, layer)
        cuts = ((1,) * tasks.numblocks[0], *self.chunks[1:])
        parts = da.Array(graph, layer_name, cuts, meta=np.empty((0,) * self.ndim, np.uint64))
        options |= {"n": self.shape[0], "max_value": self.stack.pixel_format.max_value}
        return finish_moments(parts, name, split_every=split_every, **options)

    def _is_time(self, axis: Any) -> bool:  # noqa: ANN401
        """Whether it is the time axis only."""
        axes = axis if isinstance(axis, tuple) else (axis,)
        is_first = axes in {(0,), (-self.ndim,)}
        return is_first and self.shown is not None and bool(self.shown[0].ndim) and bool(self.shape[0])

    def copy(self) -> da.Array:
        """A copy, which may be written to."""
        if self.shown is None:
            return super().copy()  # type: ignore[no-any-return]  # dask has no annotations here
        return StackArray.cut(self.stack, self.chunks, self.shown, marks_damage=self.marks_damage)


class DamageArray(da.Array, metaclass=_TypeOfDaskArray):
    """A dask array of float32: the damaged share of each image of a `StackArray` that marks damage.

    It is computed from the same tasks, so that both together cost no more than the pixels. Indexing selects
    images.
    """

    pictures: StackArray

    @classmethod
    def of(cls, pictures: StackArray) -> "DamageArray":
        """The array along the time axis of `pictures`; without axis for a single one."""
        name = f"damage-{pictures.tasks.token}"
        n_time_axes = int(pictures.tasks.has_time_axis)
        graph = pictures.tasks.marked_graph(name, _damage_of)
        cuts = (*pictures.chunks[:n_time_axes], *((1,) * len(cut) for cut in pictures.chunks[n_time_axes:]))
        shares = da.Array(graph, name, cuts, meta=np.empty((0,) * pictures.ndim, np.float32))
        # Pieces of a frame differ in size: they are weighted by their share.
        damage = (shares * _share_of_pieces(pictures.chunks[n_time_axes:])).sum(
            axis=tuple(range(n_time_axes, pictures.ndim))
        )
        self = cls(damage.dask, damage.name, damage.chunks, meta=np.empty((0,) * n_time_axes, np.float32))
        self.pictures = pictures
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return DamageArray.of, (self.pictures,)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - as dask's own
        indices = index if isinstance(index, tuple) else (index,)
        if not self.ndim or self.pictures.shown is None or not all(map(_is_plain, indices)):
            return super().__getitem__(index)
        return DamageArray.of(self.pictures[expand_index(indices, 1)])


_LEAVING_OUT: dict[Any, Statistic] = {np.nanmean: "mean", np.nanvar: "var", np.nanstd: "std"}
"""Names of reductions that skip missing values, as xarray calls them."""


def _cut_again(
    stack: Stack, chunks: tuple[tuple[int, ...], ...], shown: tuple[AxisIndex, ...], marks: bool
) -> StackArray:
    """Unpickle a `StackArray`."""
    positions = tuple(np.asarray(np.arange(n)[index]) for n, index in zip(stack.shape, shown, strict=True))
    return StackArray.cut(stack, chunks, positions, marks_damage=marks)


def _share_of_pieces(cuts: tuple[tuple[int, ...], ...]) -> npt.NDArray[np.float32]:
    """The share of the frame in each dask chunk, with as many axes as there are cuts."""
    share = np.ones((1,) * len(cuts), np.float32)
    for axis, lengths in enumerate(cuts):
        along = np.array(lengths, np.float32) / np.float32(sum(lengths) or 1)
        share = share * along.reshape([-1 if i == axis else 1 for i in range(len(cuts))])
    return share


def _is_plain(item: object) -> bool:
    """Whether it indexes one axis: no new axis, no mask of several, no dask array."""
    if isinstance(item, list | np.ndarray):
        return np.ndim(item) == 1
    return isinstance(item, int | np.integer | slice | EllipsisType) and not isinstance(item, bool)


@dataclass(frozen=True, slots=True)
class _Part:
    """The read of one task."""

    stack: Stack
    """The frames, and the smallest window of them that contains the selection."""
    index: tuple[AxisIndex, ...]
    """The selection within it, one index per axis."""

    def read(self) -> Pixels:
        """The pixels, decoded in the task's thread."""
        return take_outer(self.stack.read(parallel=False), self.index)

    def add_up(self, *, squares: bool = False) -> Moments:
        """Sums over time, accumulated while decoding in the task's thread."""
        sums = self.stack.add_up(squares=squares).result()
        values, of_squares = (
            None if each is None else take_outer(each[np.newaxis], (0, *self.index[1:])) for each in sums
        )
        assert values is not None  # noqa: S101 - for mypy
        return values, of_squares

    def add_up_squares(self) -> Moments:
        """Likewise, and sums of squares."""
        return self.add_up(squares=True)

    def read_marked(self) -> Marked:
        """The pixels in float32, and the damaged share of each image."""
        values, damaged = mark_missing(self.stack, parallel=False)
        return take_outer(values, self.index), damaged[self.index[0]]


def _pixels_of(marked: Marked) -> npt.NDArray[np.float32]:
    return marked[0]


def _damage_of(marked: Marked) -> npt.NDArray[np.float32]:
    """The damaged share, with as many axes as the pixels."""
    pixels, damaged = marked
    return np.reshape(damaged, np.shape(damaged) + (1,) * (np.ndim(pixels) - np.ndim(damaged)))


class _TaskStacks(BlockwiseDep):
    """The part for each dask chunk."""

    produces_tasks = False

    def __init__(
        self,
        stack: Stack,
        shown: tuple[npt.NDArray[np.int64], ...],
        cuts: tuple[tuple[int, ...], ...],
    ) -> None:
        self.numblocks = tuple(map(len, cuts))
        self._stack = stack.select(shown[0])
        self.token = tokenize(__version__, self._stack.identity, shown[1:], cuts)
        self._is_kept = tuple(bool(positions.ndim) for positions in shown)
        upcoming = iter(cuts if self.has_time_axis else ((1,), *cuts))
        self._edges = np.cumsum([0, *next(upcoming)])
        y, x, *channel = (_cut_axis(p, next(upcoming)) if p.ndim else [p] for p in shown[1:])
        self._y, self._x = (list(map(split_positions, pieces)) for pieces in (y, x))
        self._channel = [list(map(shorten_index, pieces)) for pieces in channel]

    @property
    def has_time_axis(self) -> bool:
        """Whether the array has a time axis, rather than a single image."""
        return self._is_kept[0]

    def marked_graph(self, name: str, take: Callable[[Marked], object]) -> HighLevelGraph:
        """The graph of `take` applied to the results of `_Part.read_marked`, which are computed once."""
        axes = tuple(range(len(self.numblocks)))
        read = f"marked-{self.token}"
        reading = blockwise(_Part.read_marked, read, axes, self, axes, numblocks={}, _data_producer=True)
        taking = blockwise(take, name, axes, read, axes, numblocks={read: self.numblocks})
        return HighLevelGraph({read: reading, name: taking}, {read: set(), name: {read}})

    def __dask_tokenize__(self) -> str:
        return self.token

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_edges": pack_numbers(np.diff(self._edges, prepend=0))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _edges=np.cumsum(unpack_numbers(state["_edges"])))

    def __getitem__(self, block: tuple[int, ...]) -> _Part:
        numbers = iter(block)
        n_time, n_y, n_x, *n_channel = (next(numbers) if is_kept else 0 for is_kept in self._is_kept)
        start, stop = self._edges[n_time : n_time + 2].tolist()
        (rows, y), (columns, x) = self._y[n_y], self._x[n_x]
        channel = [pieces[n] for pieces, n in zip(self._channel, n_channel, strict=True)]
        stack = self._stack.select(slice(start, stop)).crop(rows, columns)
        return _Part(stack, (slice(None) if self.has_time_axis else 0, y, x, *channel))


def _cut_axis(positions: npt.NDArray[np.int64], lengths: tuple[int, ...]) -> list[npt.NDArray[np.int64]]:
    """Pieces of these lengths."""
    return [positions[start:stop] for start, stop in pairwise(accumulate(lengths, initial=0))]
