"""`FrameSeries`: one picture of each of several movies, not read yet.

To those who index it, it is what a `FrameStack` is: an array that reads what its index touches. Each picture
keeps the stack it is from, so that whole frames, crops and previews are read as they are from one movie. What
differs is that no two pictures lie in one file: nothing can be merged, so a few are asked for at once.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from camhd_access.frames import AxisIndex, FrameStack, Index, Pixels, expand_index
from camhd_access.pixels import PixelFormat

__all__ = ["FrameSeries", "Stack"]

N_READ_AT_ONCE = 8
"""Pictures asked for at once by each reader. A request is mostly waiting, and there are several readers."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameSeries:
    """Pictures of several movies as an array of shape (picture, y, x[, channel]), read when indexed."""

    none: FrameStack
    """No picture at all, of the size and format of every other."""
    pictures: tuple[FrameStack, ...]
    """Stacks of one picture each."""

    @classmethod
    def of(cls, pictures: "tuple[FrameStack, ...]") -> "FrameSeries":
        """The series of these pictures, at least one, all of one size and format."""
        return cls(pictures[0].select(slice(0)), pictures)

    @property
    def pixel_format(self) -> PixelFormat:
        """What the pixels are given in."""
        return self.none.pixel_format

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

    def __getitem__(self, index: Index) -> Pixels:
        """The pixels that `index` names; indexing is outer, as of a `FrameStack`."""
        return self.read_part(index, parallel=False)

    def read_part(self, index: Index, *, parallel: bool = True) -> Pixels:
        """The pixels that `index` names, of a few pictures at once.

        Parameters
        ----------
        index
            As `FrameStack` takes it.
        parallel
            Decode a picture with all cores where there is but one.
        """
        positions, *within = expand_index(index, self.ndim)
        chosen = self.select(positions)
        like = self.none.read_part((slice(None), *within))
        out = np.empty((len(chosen.pictures), *like.shape[1:]), like.dtype)
        is_single = len(chosen.pictures) == 1

        def read(position: int) -> None:
            picture = chosen.pictures[position]
            out[position] = picture.read_part((0, *within), parallel=parallel and is_single)

        if is_single:
            read(0)
        else:
            # Short-lived threads: the one of the task would wait for one answer after the other.
            with ThreadPoolExecutor(N_READ_AT_ONCE, thread_name_prefix="camhd-series") as pool:
                for _ in pool.map(read, range(len(chosen.pictures))):
                    pass
        return out[0] if isinstance(positions, int | np.integer) else out


Stack: TypeAlias = FrameStack | FrameSeries
"""Pictures of one movie, or of several."""
