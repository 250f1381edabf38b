"""`FrameSeries`: frames or fields of several movies, not read yet.

It is indexed like a `FrameStack`. Each image stays in a stack of its movie, so
that whole frames, crops and previews are read as from one movie. The difference: requests for
different files cannot be merged, so a few stacks are read in parallel.
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
from camhd_access.ending import submit
from camhd_access.memory import empty
from camhd_access.movie.filesystem_identity import identify_filesystem
from camhd_access.movie.outer_index import AxisIndex, choose_positions
from camhd_access.movie.stack import Damage, FrameStack, Pixels

__all__ = ["FrameSeries", "Stack"]

N_READ_AT_ONCE = 8
"""Stacks per reader that are read in parallel: a request mostly waits."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameSeries:
    """Images of several movies as an array of shape (picture, y, x[, channel]) that is not read yet."""

    empty: FrameStack
    """An empty stack with the size and format of all others."""
    stacks: tuple[FrameStack, ...]
    """The stacks in order, none of them empty."""
    edges: npt.NDArray[np.int64]
    """Position of the first image of each stack, and one past the last image of all."""

    @classmethod
    def of(cls, stacks: Iterable[FrameStack], *, empty: FrameStack | None = None) -> "FrameSeries":
        """The images of these stacks, all of one size and format, given by `empty` if there are none."""
        stacks = tuple(stacks)
        edges = np.cumsum([0, *(len(stack.frames) for stack in stacks)])
        return cls(empty or stacks[0].select(slice(0)), stacks, edges)

    @property
    def pixel_format(self) -> PixelFormat:
        """Format of the pixels."""
        return self.empty.pixel_format

    @property
    def decoder(self) -> Decoder:
        """The decoder; the colour matrices of the movies' own indexes may differ."""
        return self.empty.decoder

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the images in the series; both bounds given, no step."""
        return self.empty.window

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array: (picture, y, x), plus 3 channels for colour."""
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
        """Identifies its pixels among all series.

        Notes
        -----
        Not the identities of its stacks: a token of thousands of decoders takes a second.
        """
        stacks = (self.empty, *self.stacks)
        formats = [(stack.decoder, str(stack.window)) for stack in stacks]
        numbers = {each: number for number, each in enumerate(dict.fromkeys(formats))}
        return (
            tuple(identify_filesystem(stack.source.filesystem) for stack in stacks),
            tuple(stack.source.path for stack in stacks),
            tuple(stack.source.version for stack in stacks),
            tuple(numbers),
            np.array([numbers[each] for each in formats]),
            self.edges,
            np.concatenate([stack.frames for stack in stacks]),
            np.concatenate([stack.field for stack in stacks]),
        )

    def select(self, positions: AxisIndex) -> "FrameSeries":
        """The series of some of these images; `positions` count within this series."""
        chosen = choose_positions(positions, int(self.edges[-1]))
        owner = np.searchsorted(self.edges, chosen, side="right") - 1
        runs = zip(
            *(np.split(each, np.flatnonzero(np.diff(owner)) + 1) for each in (owner, chosen)), strict=True
        )
        stacks = [self.stacks[of[0]].select(run - self.edges[of[0]]) for of, run in runs if of.size]
        return FrameSeries.of(stacks, empty=self.empty)

    def crop(self, rows: slice, columns: slice) -> "FrameSeries":
        """The same images, cropped to rows and columns of this window; slices have bounds and no step."""
        return FrameSeries.of(
            (s.crop(rows, columns) for s in self.stacks), empty=self.empty.crop(rows, columns)
        )

    def reduced(self, reduce: int) -> "FrameSeries":
        """The same images, decoded at a half, a quarter or an eighth of their size."""
        return FrameSeries.of(
            (stack.reduced(reduce) for stack in self.stacks), empty=self.empty.reduced(reduce)
        )

    def plan(self) -> tuple[int, int]:
        """Requests and bytes of a read; an estimate if parts of samples are read."""
        costs = [stack.plan() for stack in self.stacks]
        return sum(n_requests for n_requests, _ in costs), sum(n_bytes for _, n_bytes in costs)

    def read(self, *, parallel: bool = True) -> Pixels:
        """All pixels; `parallel` decodes frames of one movie on all cores.

        Raises
        ------
        FrameDecodeError
            An image is damaged; the message names movie and frame.
        RemoteFileError
            The bytes could not be read.
        """
        pixels = empty(self.shape, self.dtype)

        def read(stack: FrameStack, here: slice, *, parallel: bool) -> None:
            stack.read(parallel=parallel, out=pixels[here])

        self._visit(read, parallel=parallel)
        return pixels

    def read_marked(self, *, parallel: bool = True) -> tuple[Pixels, Damage]:
        """All pixels, 0 where slices are damaged; and the mask of each damaged image.

        Raises
        ------
        RemoteFileError
            The bytes could not be read.
        """
        pixels = empty(self.shape, self.dtype)
        damaged: Damage = {}

        def read(stack: FrameStack, here: slice, *, parallel: bool) -> None:
            _, found = stack.read_marked(parallel=parallel, out=pixels[here])
            damaged.update((here.start + position, where) for position, where in found.items())

        self._visit(read, parallel=parallel)
        return pixels, damaged

    def add_up(self, *, squares: bool = False) -> Sums:
        """Sums over time of all images, and of their squares, one movie after the other.

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
        """Call `read` with each stack and its slice: a single one directly, several in threads."""
        places = map(slice, self.edges[:-1], self.edges[1:])
        if len(self.stacks) == 1:
            read(self.stacks[0], next(places), parallel=parallel)
            return
        with ThreadPoolExecutor(N_READ_AT_ONCE, thread_name_prefix="camhd-series") as pool:
            futures = [
                submit(pool, read, *job, parallel=False) for job in zip(self.stacks, places, strict=True)
            ]
            try:
                for future in futures:
                    future.result()
            finally:
                for future in futures:
                    future.cancel()


Stack: TypeAlias = FrameStack | FrameSeries
"""Images of one movie, or of several."""
