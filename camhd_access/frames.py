"""`FrameStack`: some frames of one movie, not read yet.

A stack knows where its samples lie and what is wanted of their pixels, and nothing else of the movie; the
part that one task needs is a few hundred bytes. It has a shape and a dtype like an array, and can be narrowed
to some of its frames, rows and columns without reading. What comes in: an index. What goes out: the pixels,
having fetched and decoded only the frames, and within them only the slices, that the index touches.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.decode import decode_frame
from camhd_access.errors import FrameDecodeError, UnsupportedCodecError
from camhd_access.pixels import PixelFormat
from camhd_access.ranges import ByteRange
from camhd_access.source import ByteSource

__all__ = ["AxisIndex", "FrameStack", "Index", "Pixels"]

Pixels: TypeAlias = npt.NDArray[np.unsignedinteger]
AxisIndex: TypeAlias = int | np.integer[Any] | slice | npt.NDArray[Any]
"""Index along one axis: a number, which drops the axis, a slice, or an array of numbers."""
Index: TypeAlias = AxisIndex | EllipsisType | tuple[AxisIndex | EllipsisType, ...]
"""As numpy takes it; see `FrameStack.__getitem__`."""

MAX_SLICE_THREADS = 8
"""Threads that share one frame, where one is all that is read."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameStack:
    """Frames of one movie as an array of shape (frame, y, x[, channel]) that is read when it is indexed."""

    source: ByteSource
    """The movie's bytes."""
    frames: npt.NDArray[np.int64]
    """Index in the movie of each frame of the stack; may repeat, in any order."""
    sample_offset: npt.NDArray[np.int64]
    """First byte of each sample in the file."""
    sample_size: npt.NDArray[np.int64]
    """Bytes of each sample."""
    frame_size: tuple[int, int]
    """Height and width of the whole frames."""
    window: tuple[slice, slice]
    """Rows and columns of them that the stack shows; both bounds given, no step."""
    track_matrix: int | None
    """Colour matrix that the movie's index states; None where it states none."""
    pixel_format: PixelFormat
    """What the pixels are given in."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array: (frame, y, x), and 3 channels where there is colour."""
        height, width = (extent.stop - extent.start for extent in self.window)
        return (len(self.frames), *self.pixel_format.shape(height, width))

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Type of one value."""
        return self.pixel_format.dtype

    @property
    def ndim(self) -> int:
        """Number of axes: 3, or 4 with colour."""
        return len(self.shape)

    @property
    def byte_ranges(self) -> list[ByteRange]:
        """Where the samples lie in the file."""
        stops = self.sample_offset + self.sample_size
        return [ByteRange(*both) for both in zip(self.sample_offset.tolist(), stops.tolist(), strict=True)]

    def select(self, positions: AxisIndex) -> "FrameStack":
        """The stack of some of these frames; `positions` count within this stack."""
        chosen = np.atleast_1d(np.arange(len(self.frames))[positions])
        return replace(
            self,
            frames=self.frames[chosen],
            sample_offset=self.sample_offset[chosen],
            sample_size=self.sample_size[chosen],
        )

    def crop(self, rows: slice, columns: slice) -> "FrameStack":
        """The same frames, showing some rows and columns of this window; slices have bounds and no step."""
        y, x = self.window
        return replace(
            self,
            window=(
                slice(y.start + rows.start, y.start + rows.stop),
                slice(x.start + columns.start, x.start + columns.stop),
            ),
        )

    def __getitem__(self, index: Index) -> Pixels:
        """The pixels that `index` names, decoded in the caller's thread, as suits one task among many.

        Indexing is outer: an array of numbers on one axis does not pair with one on another.
        """
        return self.read_part(index, parallel=False)

    def read_part(self, index: Index, *, parallel: bool = True) -> Pixels:
        """The pixels that `index` names; the smallest rectangle that it touches is what is decoded."""
        positions, y, x, *channel = expand_index(index, self.ndim)
        rows, inner_y = split_positions(np.arange(self.shape[1])[y])
        columns, inner_x = split_positions(np.arange(self.shape[2])[x])
        pixels = self.select(positions).crop(rows, columns).read(parallel=parallel)
        inner_time = 0 if isinstance(positions, int | np.integer) else slice(None)
        for axis, inner in reversed(list(enumerate((inner_time, inner_y, inner_x, *channel)))):
            pixels = pixels[(slice(None),) * axis + (inner,)]
        return pixels

    def read(self, *, parallel: bool = True, out: Pixels | None = None) -> Pixels:
        """All pixels of the stack: an array of its shape and dtype.

        Parameters
        ----------
        parallel
            Decode with all cores, rather than in the caller's thread.
        out
            Array to fill and return; made where None.

        Raises
        ------
        FrameDecodeError
            A frame is damaged; the message names movie and frame.
        RemoteFileError
            The bytes could not be had.
        ValueError
            `out` has another shape or dtype.
        """
        if out is None:
            out = np.empty(self.shape, self.dtype)
        elif (out.shape, out.dtype) != (self.shape, self.dtype):
            raise ValueError(f"out is {out.dtype}{out.shape}; what is read is {self.dtype}{self.shape}")
        if not out.size:
            return out
        is_single = len(self.frames) == 1
        n_slice_threads = min(n_cores(), MAX_SLICE_THREADS) if parallel and is_single else 1
        with _decoding(parallel=parallel and not is_single) as submit:
            for position, sample in self.iter_samples():
                submit(self._decode, position, sample, n_slice_threads, out[position])
        return out

    def iter_samples(self) -> Iterator[tuple[int, memoryview]]:
        """Position in the stack and bytes of every sample, as they come: empty ones, then by offset."""
        ranges = self.byte_ranges
        yield from (
            (position, memoryview(b"")) for position, wanted in enumerate(ranges) if not wanted.n_bytes
        )
        for span, data in self.source.fetch(ranges):
            view = memoryview(data)
            for position in span.members:
                start, stop = ranges[position]
                yield position, view[start - span.start : stop - span.start]

    def _decode(self, position: int, sample: memoryview, n_slice_threads: int, out: Pixels) -> None:
        try:
            decode_frame(
                sample,
                size=self.frame_size,
                window=self.window,
                pixel_format=self.pixel_format,
                track_matrix=self.track_matrix,
                n_threads=n_slice_threads,
                out=out,
            )
        except (FrameDecodeError, UnsupportedCodecError) as error:
            start = self.sample_offset[position]
            raise type(error)(
                f"frame {self.frames[position]} of {self.source.path} "
                f"(bytes {start} to {start + self.sample_size[position]}) is damaged: {error}"
            ) from error


def expand_index(index: Index, ndim: int) -> tuple[AxisIndex, ...]:
    """One index an axis: what `...` and missing ones stand for, written out."""
    indices = index if isinstance(index, tuple) else (index,)
    position = next((i for i, item in enumerate(indices) if item is Ellipsis), len(indices))
    before: Any = indices[:position]
    after: Any = indices[position + 1 :]
    n_missing = ndim - len(before) - len(after)
    if n_missing < 0:
        raise IndexError(f"too many indices: {ndim - n_missing} for {ndim} axes")
    return (*before, *[slice(None)] * n_missing, *after)


def split_positions(positions: npt.NDArray[np.int64]) -> tuple[slice, AxisIndex]:
    """The smallest stretch of an axis that holds `positions`, and the index of them within that stretch."""
    if not positions.size:
        return slice(0, 0), slice(0, 0)
    start, stop = int(positions.min()), int(positions.max()) + 1
    return slice(start, stop), shorten_index(positions - start)


def shorten_index(positions: npt.NDArray[np.int64]) -> AxisIndex:
    """The shortest index that means `positions`: a number for one without an axis, a slice for even steps."""
    if not positions.ndim:
        return int(positions)
    if not positions.size:
        return slice(0, 0)
    steps = np.diff(positions)
    step = int(steps[0]) if steps.size else 1
    if not step or (steps != step).any():
        return positions
    stop = int(positions[-1]) + step
    return slice(int(positions[0]), stop if stop >= 0 else None, step)


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _decoding_pool() -> ThreadPoolExecutor:
    """Threads that decode for direct reads. They stay, because each keeps its codec contexts."""
    return ThreadPoolExecutor(n_cores(), thread_name_prefix="camhd-decode")


os.register_at_fork(after_in_child=_decoding_pool.cache_clear)


@contextmanager
def _decoding(*, parallel: bool) -> Iterator[Callable[..., None]]:
    """A function that runs another one, at once or soon on one of the threads; on leaving, all have run.

    The first error is raised, on leaving or instead of starting more.
    """
    if not parallel:
        yield lambda function, *args: function(*args)
        return
    running: deque[Future[None]] = deque()
    max_waiting = 2 * n_cores()  # bounds the samples in memory

    def submit(function: Callable[..., None], *args: object) -> None:
        running.append(_decoding_pool().submit(function, *args))
        if len(running) > max_waiting:
            running.popleft().result()

    try:
        yield submit
        while running:
            running.popleft().result()
    finally:
        for future in running:
            future.cancel()
        for future in running:
            if not future.cancelled():
                future.exception()  # wait: it writes into the caller's array
