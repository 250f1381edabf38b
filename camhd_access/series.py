"""`FrameSeries`: one picture of each of several movies, not read yet.

To those who index it, it is what a `FrameStack` is. Each picture keeps the stack it is from, so that whole
frames, crops and previews are read as they are from one movie. What differs is that no two pictures lie in
one file: requests cannot be merged, so a few are under way at once.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.frames import AxisIndex, FrameStack, Pixels
from camhd_access.pixels import PixelFormat
from camhd_access.views import View

__all__ = ["FrameSeries", "Stack"]

N_READ_AT_ONCE = 8
"""Pictures asked for at once by each reader: one request is mostly waiting."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameSeries:
    """Pictures of several movies as an array of shape (picture, y, x[, channel]) that is not read yet."""

    none: FrameStack
    """No picture at all, of the size and format of every other."""
    pictures: tuple[FrameStack, ...]
    """Stacks of one picture each."""

    @classmethod
    def of(cls, pictures: tuple[FrameStack, ...]) -> "FrameSeries":
        """The series of these pictures, at least one, all of one size and format."""
        return cls(pictures[0].select(slice(0)), pictures)

    @property
    def pixel_format(self) -> PixelFormat:
        """What the pixels are given in."""
        return self.none.pixel_format

    @property
    def view(self) -> View:
        """How a frame is shown; what the movies' own indexes say of colour may differ."""
        return self.none.view

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array: (picture, y, x), and 3 channels where there is colour."""
        return (len(self.pictures), *self.none.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Type of one value."""
        return self.none.dtype

    @property
    def ndim(self) -> int:
        """Number of axes: 3, or 4 with colour."""
        return self.none.ndim

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells its pixels from those of any other series."""
        return tuple(picture.identity for picture in (self.none, *self.pictures))

    def select(self, positions: AxisIndex) -> "FrameSeries":
        """The series of some of these pictures; `positions` count within this series."""
        chosen = np.atleast_1d(np.arange(len(self.pictures))[positions])
        return replace(self, pictures=tuple(self.pictures[i] for i in chosen))

    def crop(self, rows: slice, columns: slice) -> "FrameSeries":
        """The same pictures, showing some rows and columns of this window; slices have bounds and no step."""
        return FrameSeries(self.none.crop(rows, columns), tuple(p.crop(rows, columns) for p in self.pictures))

    def reduced(self) -> "FrameSeries":
        """The same pictures as previews, an eighth as high and wide."""
        return FrameSeries(self.none.reduced(), tuple(picture.reduced() for picture in self.pictures))

    def plan(self) -> tuple[int, int]:
        """Requests and bytes that reading will take; an estimate where parts of samples are read."""
        costs = [picture.plan() for picture in self.pictures]
        return sum(n_requests for n_requests, _ in costs), sum(n_bytes for _, n_bytes in costs)

    def read(self, *, parallel: bool = True) -> Pixels:
        """All pixels; `parallel` decodes a single picture with all cores.

        Raises
        ------
        FrameDecodeError
            A picture is damaged; the message names movie and frame.
        RemoteFileError
            The bytes could not be had.
        """
        pixels = np.empty(self.shape, self.dtype)

        def read(picture: FrameStack, position: int, *, parallel: bool) -> None:
            picture.read(parallel=parallel, out=pixels[position : position + 1])

        self._visit(read, parallel=parallel)
        return pixels

    def read_marked(self, *, parallel: bool = True) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """All pixels, 0 in damaged pictures; and for each picture, whether it is damaged.

        Raises
        ------
        RemoteFileError
            The bytes could not be had.
        """
        pixels, damaged = np.empty(self.shape, self.dtype), np.empty(len(self.pictures), np.bool_)

        def read(picture: FrameStack, position: int, *, parallel: bool) -> None:
            here = slice(position, position + 1)
            _, damaged[here] = picture.read_marked(parallel=parallel, out=pixels[here])

        self._visit(read, parallel=parallel)
        return pixels, damaged

    def _visit(self, read: Callable[..., None], *, parallel: bool) -> None:
        """Call `read` with each picture and its position: a single one here, more in threads of their own."""
        if len(self.pictures) == 1:
            read(self.pictures[0], 0, parallel=parallel)
            return
        with ThreadPoolExecutor(N_READ_AT_ONCE, thread_name_prefix="camhd-series") as pool:
            futures = [pool.submit(read, p, i, parallel=False) for i, p in enumerate(self.pictures)]
            try:
                for future in futures:
                    future.result()
            finally:
                for future in futures:
                    future.cancel()


Stack: TypeAlias = FrameStack | FrameSeries
"""Pictures of one movie, or of several."""
