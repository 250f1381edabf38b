"""The frames of a stack in about two bytes each, as the graphs of whole movies carry them.

All but the sizes of the samples follows a rule, so differences are stored: frames follow each other, and so
do samples, except for the sound between them. The differences are compressed, with equal bytes together: two
random bytes of each size remain. The tables come back exactly, whatever they hold.
"""

import zlib
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "MIN_FRAMES_PACKED",
    "FrameTables",
    "PackedNumbers",
    "pack_frames",
    "pack_numbers",
    "reduce_stack",
    "unpack_frames",
    "unpack_numbers",
]

T = TypeVar("T")

MIN_FRAMES_PACKED = 64
"""Images from which a stack is packed; the stacks of tasks have fewer, and pickle faster as they are."""

FrameTables: TypeAlias = tuple[
    npt.NDArray[np.int64], npt.NDArray[np.int8], npt.NDArray[np.int64], npt.NDArray[np.int64]
]
"""Frame, field, sample offset and sample size of each image."""

PackedNumbers: TypeAlias = tuple[str, bytes]
"""Type of the numbers, and their compressed bytes."""


def reduce_stack(
    kind: Callable[..., object], source: object, tables: FrameTables, *image_format: object
) -> tuple[Callable[..., object], tuple[object, ...]]:
    """What `__reduce__` of a stack returns: how to make it again, with its tables packed if they are long."""
    if len(tables[0]) < MIN_FRAMES_PACKED:
        return kind, (source, *tables, *image_format)
    return _unpack_stack, (kind, source, pack_frames(*tables), *image_format)


def _unpack_stack(
    kind: Callable[..., T], source: object, packed: tuple[PackedNumbers, ...], *image_format: object
) -> T:
    return kind(source, *unpack_frames(packed), *image_format)


def pack_frames(
    frames: npt.NDArray[np.int64],
    field: npt.NDArray[np.int8],
    offset: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
) -> tuple[PackedNumbers, ...]:
    """The tables of at least one image in few bytes; fields of one frame take little more than the frame."""
    steps = np.diff(frames, prepend=0)
    is_new = np.ones(len(frames), np.bool_)
    is_new[1:] = (steps[1:] != 0) | (np.diff(offset) != 0) | (np.diff(size) != 0)
    offset, size = offset[is_new], size[is_new]
    gaps = offset - np.concatenate(([0], (offset + size)[:-1]))
    return tuple(map(pack_numbers, (steps, field, is_new, gaps, size)))


def unpack_frames(packed: tuple[PackedNumbers, ...]) -> FrameTables:
    """The tables that `pack_frames` was given."""
    steps, field, is_new, gaps, size = map(unpack_numbers, packed)
    sample = np.cumsum(is_new) - 1
    offset = np.cumsum(gaps) + np.cumsum(size) - size
    return np.cumsum(steps), field.astype(np.int8), offset[sample], size[sample]


def pack_numbers(numbers: npt.NDArray[Any]) -> PackedNumbers:
    """Whole numbers, at least one, in few bytes if they are small or alike."""
    lowest = min(int(numbers.min()), -1 - int(numbers.max()))
    dtype = np.min_scalar_type(lowest).newbyteorder("<")  # signed, and holds the largest as well
    planes = numbers.astype(dtype).view(np.uint8).reshape(-1, dtype.itemsize).T  # high bytes are alike
    return dtype.str, zlib.compress(planes.tobytes())


def unpack_numbers(packed: PackedNumbers) -> npt.NDArray[np.int64]:
    """The numbers that `pack_numbers` was given."""
    dtype = np.dtype(packed[0])
    planes = np.frombuffer(zlib.decompress(packed[1]), np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(dtype).ravel().astype(np.int64)
