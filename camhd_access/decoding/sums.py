"""Sums over time of pixels and their squares, in integer accumulators.

They are added to while frames are decoded, so that no frame is kept. Sums are held in as few bytes as can
be, because they go through memory once a frame, and are moved to wider ones before they could overflow.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.pixels import PixelFormat

__all__ = ["Sums"]


@dataclass(slots=True, eq=False)
class Sums:
    """Sums of some pictures of one format and shape."""

    values: npt.NDArray[np.uint32]
    """Sums of values since they were moved to `total`, of the shape of a picture."""
    squares: npt.NDArray[np.unsignedinteger] | None
    """Likewise of squares, uint32 or, of formats of 16 bits, uint64; None where they are not wanted."""
    max_value: int
    """The largest value of a pixel."""
    n_room: int
    """Pictures that `values` and `squares` have room for."""
    total: npt.NDArray[np.uint64] | None = field(default=None)
    """Sums of the values before that; None for none."""
    total_squares: npt.NDArray[np.uint64] | None = field(default=None)
    """Likewise of squares."""

    @classmethod
    def zeros(cls, shape: tuple[int, ...], pixel_format: PixelFormat, *, squares: bool) -> "Sums":
        """Sums of no pictures yet."""
        largest = 1023 if pixel_format.layout == "code" else pixel_format.full_scale
        kind = np.uint32 if largest < 4096 else np.uint64
        sums = cls(
            np.zeros(shape, np.uint32),
            np.zeros(shape, kind) if squares else None,
            max_value=largest,
            n_room=0,
        )
        sums.n_room = sums.capacity
        return sums

    @property
    def capacity(self) -> int:
        """Pictures that can be added before the sums must be moved."""
        room = np.iinfo(np.uint32).max // self.max_value
        if self.squares is not None:
            room = min(room, int(np.iinfo(self.squares.dtype).max) // self.max_value**2)
        return room

    def make_room(self) -> None:
        """Call before each picture that is added."""
        if not self.n_room:
            self._move()
        self.n_room -= 1

    def add(self, picture: npt.NDArray[np.unsignedinteger]) -> None:
        """Add a picture that is there already."""
        self.make_room()
        self.values += picture
        if self.squares is not None:
            wide = picture.astype(self.squares.dtype)
            wide *= wide
            self.squares += wide

    def merge(self, other: "Sums") -> None:
        """Add the sums of other pictures of the same format and shape."""
        self._move()
        values, squares = other.result()
        assert self.total is not None  # noqa: S101 - tells mypy
        self.total += values
        if self.total_squares is not None and squares is not None:
            self.total_squares += squares

    def _move(self) -> None:
        if self.total is None:
            self.total = np.zeros(self.values.shape, np.uint64)
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
