"""Sums over time of pixels and their squares, in integer accumulators.

Pixels are added while frames are decoded, so no frame is kept. Sums use as few bytes as possible,
because they pass through memory once per frame, and are moved to wider ones before they could overflow.

Sums of squares have several times the bytes of an image: they pass through memory once for a few images,
which are kept until then.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.kernels import parameters as at
from camhd_access.decoding.machine_code import find_kernel
from camhd_access.decoding.pixels import PixelFormat
from camhd_access.memory import empty, zeros

__all__ = ["Sums"]

MAX_IMAGES_WAITING, MAX_BYTES_WAITING = 4, 16 * 1024 * 1024
"""Images that are kept to be added together; at least two."""


@dataclass(slots=True, eq=False)
class Sums:
    """Sums of images of one format and shape."""

    values: npt.NDArray[np.unsignedinteger]
    """Sums of values since the last move to `total`, with the shape of an image: uint16, or uint32 for 16-bit
    formats."""
    squares: npt.NDArray[np.unsignedinteger] | None
    """Likewise of squares, as uint32 or, for 16-bit formats, uint64; None if not wanted."""
    pixel_format: PixelFormat
    n_room: int
    """Images that `values` and `squares` can still take."""
    total: npt.NDArray[np.uint64] | None = field(default=None)
    """Sums of earlier values; None if there are none."""
    total_squares: npt.NDArray[np.uint64] | None = field(default=None)
    """Likewise of squares."""
    _images: npt.NDArray[np.unsignedinteger] | None = field(default=None)
    """Images that are still to be added, and memory for others."""
    _n_waiting: int = 0

    @classmethod
    def zeros(cls, shape: tuple[int, ...], pixel_format: PixelFormat, *, squares: bool) -> "Sums":
        """Sums of zero images."""
        is_narrow = pixel_format.max_value < 1024
        sums = cls(
            zeros(shape, np.uint16 if is_narrow else np.uint32),
            zeros(shape, np.uint32 if is_narrow else np.uint64) if squares else None,
            pixel_format=pixel_format,
            n_room=0,
        )
        sums.n_room = sums.capacity
        return sums

    @property
    def capacity(self) -> int:
        """Images that can be added before the sums must be moved."""
        largest = self.pixel_format.max_value
        room = int(np.iinfo(self.values.dtype).max) // largest
        if self.squares is not None:
            room = min(room, int(np.iinfo(self.squares.dtype).max) // largest**2)
        return room

    def make_room(self) -> None:
        """Call before an image is added to `values` while it is decoded."""
        if self.squares is not None:
            raise ValueError("squares are not added while decoding")
        self._count_image()

    def _count_image(self) -> None:
        if not self.n_room:
            self._move()
        self.n_room -= 1

    def place(self) -> npt.NDArray[np.unsignedinteger]:
        """Memory for the next image, which `add` adds."""
        if self._images is None:
            dtype = self.pixel_format.dtype
            n_fitting = MAX_BYTES_WAITING // max(1, self.values.size * dtype.itemsize)
            n = 1 if self.squares is None else min(max(2, n_fitting), MAX_IMAGES_WAITING)
            self._images = empty((n, *self.values.shape), dtype)
        picture: npt.NDArray[np.unsignedinteger] = self._images[self._n_waiting]
        return picture

    def add(self) -> None:
        """Add the image in the memory that `place` returned."""
        self._count_image()
        self._n_waiting += 1
        if self._images is not None and self._n_waiting == len(self._images):
            self._add_waiting()

    def _add_waiting(self) -> None:
        if self._images is None:
            return
        images, squares, kernel = self._images[: self._n_waiting], self.squares, find_kernel()
        self._n_waiting = 0
        if squares is not None and kernel is not None and images.dtype.isnative:
            addresses = np.array([each.ctypes.data for each in images], np.int64)
            p = np.zeros(at.N_PARAMETERS, np.int64)
            p[at.TASK], p[at.IMAGES], p[at.N_IMAGES] = at.ADD, addresses.ctypes.data, len(images)
            p[at.ITEM_BYTES], p[at.N_ITEMS] = images.itemsize, self.values.size
            p[at.OUT], p[at.SUM_BYTES] = self.values.ctypes.data, self.values.itemsize
            p[at.SQUARES] = squares.ctypes.data
            kernel(p.ctypes.data)
            return
        for image in images:
            self.values += image
            if squares is not None:
                wide = image.astype(squares.dtype)
                wide *= wide
                squares += wide

    def merge(self, other: "Sums") -> None:
        """Add the sums of other images of the same format and shape."""
        self._move()
        values, squares = other.result()
        assert self.total is not None  # noqa: S101 - for mypy
        self.total += values
        if self.total_squares is not None and squares is not None:
            self.total_squares += squares

    def _move(self) -> None:
        self._add_waiting()
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
            self._add_waiting()
            return self.values, self.squares
        self._move()
        return self.total, self.total_squares
