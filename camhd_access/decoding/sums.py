"""Sums over time of pixels and their squares, in integer accumulators.

Pixels are added while frames are decoded, so no frame is kept. Sums use as few bytes as possible,
because they pass through memory once per frame, and are moved to wider ones before they could overflow.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.pixels import PixelFormat
from camhd_access.memory import zeros

__all__ = ["Sums"]


@dataclass(slots=True, eq=False)
class Sums:
    """Sums of images of one format and shape."""

    values: npt.NDArray[np.unsignedinteger]
    """Sums of values since the last move to `total`, with the shape of an image: uint16, or uint32 for 16-bit
    formats."""
    squares: npt.NDArray[np.unsignedinteger] | None
    """Likewise of squares, as uint32 or, for 16-bit formats, uint64; None if not wanted."""
    max_value: int
    """The largest value of a pixel."""
    n_room: int
    """Images that `values` and `squares` can still take."""
    total: npt.NDArray[np.uint64] | None = field(default=None)
    """Sums of earlier values; None if there are none."""
    total_squares: npt.NDArray[np.uint64] | None = field(default=None)
    """Likewise of squares."""

    @classmethod
    def zeros(cls, shape: tuple[int, ...], pixel_format: PixelFormat, *, squares: bool) -> "Sums":
        """Sums of zero images."""
        is_narrow = pixel_format.max_value < 1024
        sums = cls(
            zeros(shape, np.uint16 if is_narrow else np.uint32),
            zeros(shape, np.uint32 if is_narrow else np.uint64) if squares else None,
            max_value=pixel_format.max_value,
            n_room=0,
        )
        sums.n_room = sums.capacity
        return sums

    @property
    def capacity(self) -> int:
        """Images that can be added before the sums must be moved."""
        room = int(np.iinfo(self.values.dtype).max) // self.max_value
        if self.squares is not None:
            room = min(room, int(np.iinfo(self.squares.dtype).max) // self.max_value**2)
        return room

    def make_room(self) -> None:
        """Call before each image is added."""
        if not self.n_room:
            self._move()
        self.n_room -= 1

    def add(self, picture: npt.NDArray[np.unsignedinteger]) -> None:
        """Add an image."""
        self.make_room()
        self.values += picture
        if self.squares is not None:
            wide = picture.astype(self.squares.dtype)
            wide *= wide
            self.squares += wide

    def merge(self, other: "Sums") -> None:
        """Add the sums of other images of the same format and shape."""
        self._move()
        values, squares = other.result()
        assert self.total is not None  # noqa: S101 - for mypy
        self.total += values
        if self.total_squares is not None and squares is not None:
            self.total_squares += squares

    def _move(self) -> None:
        if self.total is None:
            self.total = zeros(self.values.shape, np.uint64)
            self.total_squares = None if self.squares is None else self.total.copy()
        self.total += self.values
        self.values[...] = 0
        if self.squares is not None and self.total_squares is not None:
            self.total_squares += self.squares
            self.squares[...] = 0
        self.n_room = self.capacity

    def result(self) -> tuple[npt.NDArray[np.unsignedinteger], npt.NDArray[np.unsignedinteger] | None]:
        """The sums of values and of squares."""
        if self.total is None:
            return self.values, self.squares
        self._move()
        return self.total, self.total_squares
