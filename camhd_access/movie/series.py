"""`FrameSeries`: pictures of several movies, not read yet.

To those who index it, it is what a `FrameStack` is. Each picture stays in a stack of the movie it is from, so
that whole frames, crops and previews are read as they are from one movie. What differs is that requests for
pictures of different files cannot be merged: a few stacks are read at once.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.decoders import Decoder
from camhd_access.decoding.pixels import PixelFormat
from camhd_access.decoding.sums import Sums
from camhd_access.movie.outer_index import AxisIndex
from camhd_access.movie.stack import Damage, FrameStack, Pixels

__all__ = ["FrameSeries", "Stack"]

N_READ_AT_ONCE = 8
"""Stacks that each reader reads at once: one request is mostly waiting."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameSeries:
    """Pictures of several movies as an array of shape (picture, y, x[, channel]) that is not read yet."""

    empty: FrameStack
    """No picture at all, of the size and format of every other."""
    stacks: tuple[FrameStack, ...]
    """One after the other, none of them empty."""
    edges: npt.NDArray[np.int64]
    """Position of the first picture of each stack, and one past the last picture of all."""

    @classmethod
    def of(cls, stacks: Iterable[FrameStack], *, empty: FrameStack | None = None) -> "FrameSeries":
        """The pictures of these stacks, all of one size and format: that of `none`, if there may be none."""
        stacks = tuple(stacks)
        edges = np.cumsum([0, *(len(stack.frames) for stack in stacks)])
        return cls(empty or stacks[0].select(slice(0)), stacks, edges)

    @property
    def pixel_format(self) -> PixelFormat:
        """What the pixels are given in."""
        return self.empty.pixel_format

    @property
    def decoder(self) -> Decoder:
        """How a frame is shown; what the movies' own indexes say of colour may differ."""
        return self.empty.decoder

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array: (picture, y, x), and 3 channels where there is colour."""
        return (int(self.edges[-1]), *self.empty.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Type of one value."""
        return self.empty.dtype

    @property
    def ndim(self) -> int:
        """Number of axes: 3, or 4 with colour."""
        return self.empty.ndim

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells its pixels from those of any other series."""
        return tuple(stack.identity for stack in (self.empty, *self.stacks))

    def select(self, positions: AxisIndex) -> "FrameSeries":
        """The series of some of these pictures; `positions` count within this series."""
        chosen = np.atleast_1d(np.arange(self.edges[-1])[positions])
        owner = np.searchsorted(self.edges, chosen, side="right") - 1
        runs = zip(
            *(np.split(each, np.flatnonzero(np.diff(owner)) + 1) for each in (owner, chosen)), strict=True
        )
        stacks = [self.stacks[of[0]].select(run - self.edges[of[0]]) for of, run in runs if of.size]
        return FrameSeries.of(stacks, empty=self.empty)

    def crop(self, rows: slice, columns: slice) -> "FrameSeries":
        """The same pictures, showing some rows and columns of this window; slices have bounds and no step."""
        return FrameSeries.of(
            (s.crop(rows, columns) for s in self.stacks), empty=self.empty.crop(rows, columns)
        )

    def reduced(self) -> "FrameSeries":
        """The same pictures as previews, an eighth as high and wide."""
        return FrameSeries.of((stack.reduced() for stack in self.stacks), empty=self.empty.reduced())

    def plan(self) -> tuple[int, int]:
        """Requests and bytes that reading will take; an estimate where parts of samples are read."""
        costs = [stack.plan() for stack in self.stacks]
        return sum(n_requests for n_requests, _ in costs), sum(n_bytes for _, n_bytes in costs)

    def read(self, *, parallel: bool = True) -> Pixels:
        """All pixels; `parallel` decodes what is of one movie with all cores.

        Raises
        ------
        FrameDecodeError
            A picture is damaged; the message names movie and frame.
        RemoteFileError
            The bytes could not be had.
        """
        pixels = np.empty(self.shape, self.dtype)

        def read(stack: FrameStack, here: slice, *, parallel: bool) -> None:
            stack.read(parallel=parallel, out=pixels[here])

        self._visit(read, parallel=parallel)
        return pixels

    def read_marked(self, *, parallel: bool = True) -> tuple[Pixels, Damage]:
        """All pixels, 0 where slices are damaged; and for each damaged picture where that is.

        Raises
        ------
        RemoteFileError
            The bytes could not be had.
        """
        pixels = np.empty(self.shape, self.dtype)
        damaged: Damage = {}

        def read(stack: FrameStack, here: slice, *, parallel: bool) -> None:
            _, found = stack.read_marked(parallel=parallel, out=pixels[here])
            damaged.update((here.start + position, where) for position, where in found.items())

        self._visit(read, parallel=parallel)
        return pixels, damaged

    def add_up(self, *, squares: bool = False) -> Sums:
        """Sums over time of all pictures, and of their squares, one movie after the other.

        Raises
        ------
        FrameDecodeError, RemoteFileError
            As `read`.
        """
        sums = Sums.zeros(self.shape[1:], self.empty.pixel_format, squares=squares)
        for stack in self.stacks:
            sums.merge(stack.add_up(squares=squares))
        return sums

    def _visit(self, read: Callable[..., None], *, parallel: bool) -> None:
        """Call `read` with each stack and its place: a single one here, more in threads of their own."""
        places = map(slice, self.edges[:-1], self.edges[1:])
        if len(self.stacks) == 1:
            read(self.stacks[0], next(places), parallel=parallel)
            return
        with ThreadPoolExecutor(N_READ_AT_ONCE, thread_name_prefix="camhd-series") as pool:
            futures = [
                pool.submit(read, *job, parallel=False) for job in zip(self.stacks, places, strict=True)
            ]
            try:
                for future in futures:
                    future.result()
            finally:
                for future in futures:
                    future.cancel()


Stack: TypeAlias = FrameStack | FrameSeries
"""Pictures of one movie, or of several."""
