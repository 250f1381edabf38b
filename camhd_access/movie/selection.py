"""Selections of frames, lines and columns, and the options for damaged frames: parsed and checked."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.decoders import choose_decoder
from camhd_access.decoding.groups import choose_group_decoder
from camhd_access.errors import FrameIndexError
from camhd_access.movie.group_stack import GroupStack
from camhd_access.movie.index_cache import OpenMovie
from camhd_access.movie.stack import FrameStack

__all__ = [
    "Deinterlace",
    "Errors",
    "Fields",
    "FrameSelection",
    "check_errors",
    "check_scan",
    "choose_frames",
    "crop_stack",
    "stack_frames",
]

FrameSelection: TypeAlias = int | slice | Sequence[float] | npt.NDArray[np.number[Any]]
"""Frame indices from 0 (negative: from the end; fractions are rounded), or a boolean mask of all frames."""

Fields: TypeAlias = bool | Literal["first"]
"""True: both fields of each frame instead of the frame; "first": only the field that is shown first."""

Deinterlace: TypeAlias = Literal["linear"] | None
"""How the lines of the field shown second are interpolated; None: interlaced frames as recorded."""

Errors: TypeAlias = Literal["raise", "mask"]
"""What to do with a damaged frame."""


def choose_frames(frames: FrameSelection, n_frames: int) -> npt.NDArray[np.int64]:
    """The indices of the selected frames, none of them negative."""
    if isinstance(frames, slice):
        return np.arange(*frames.indices(n_frames), dtype=np.int64)
    numbers = np.atleast_1d(np.asarray(frames))
    if numbers.dtype.kind == "b" and np.ndim(frames):
        if numbers.shape != (n_frames,):
            raise TypeError(
                "frames must be a number, a sequence of numbers, or a slice, not a mask of "
                f"{numbers.size} for {n_frames} frames: a mask has one value for each frame"
            )
        return np.flatnonzero(numbers)
    if numbers.ndim != 1 or not (numbers.dtype.kind in "iuf" or numbers.size == 0):
        raise TypeError(f"frames must be a number, a sequence of numbers, or a slice, not {frames!r:.80}")
    chosen = np.rint(numbers) if numbers.dtype.kind == "f" else numbers
    wrong = ~((chosen >= -n_frames) & (chosen < n_frames))
    if wrong.any():
        raise FrameIndexError(f"no frame {numbers[wrong][0]}: the movie has frames 0 to {n_frames - 1}")
    indices: npt.NDArray[np.int64] = chosen.astype(np.int64)
    indices[indices < 0] += n_frames
    return indices


def stack_frames(
    movie: OpenMovie,
    frames: FrameSelection,
    *,
    pix_fmt: str,
    fields: Fields,
    deinterlace: Deinterlace,
    reduce: int,
) -> FrameStack:
    """The selected frames of a movie with all lines and columns; parameters as in `MovieReader.stack`."""
    index = movie.index
    choose = choose_decoder if index.coded is None else partial(choose_group_decoder, index.coded.stream)
    decoder = choose(
        (index.height, index.width),
        pix_fmt=pix_fmt,
        track_matrix=index.color_matrix,
        fields=bool(fields),
        deinterlace=deinterlace is not None,
        reduce=reduce,
    )
    n = 1 if fields == "first" else decoder.n_per_frame
    chosen = np.repeat(choose_frames(frames, index.n_frames), n)
    kind: Callable[..., FrameStack] = FrameStack
    if index.coded is not None:
        kind = partial(GroupStack, is_recovered=movie.recovery is not None, _coded=index.coded)
    return kind(
        source=movie.source,
        frames=chosen,
        field=(np.arange(len(chosen)) % n).astype(np.int8),
        sample_offset=index.offset[chosen],
        sample_size=index.size[chosen],
        decoder=decoder,
        window=(slice(0, decoder.size[0]), slice(0, decoder.size[1])),
    )


def check_scan(fields: Fields, deinterlace: Deinterlace) -> bool:
    """Whether frames are divided into fields; raises `ValueError` for invalid choices."""
    if not isinstance(fields, bool) and fields != "first":
        raise ValueError(f'fields must be True, False or "first", not {fields!r:.80}')
    if deinterlace not in (None, "linear"):
        raise ValueError(f'deinterlace must be "linear" or None, not {deinterlace!r:.80}')
    if fields and deinterlace:
        raise ValueError("fields and deinterlace cannot be combined: deinterlace returns whole frames")
    return bool(fields or deinterlace)


def check_errors(errors: Errors) -> Errors:
    """`errors`, if it is a valid choice."""
    if errors not in ("raise", "mask"):
        raise ValueError(f'errors must be "raise" or "mask", not {errors!r}')
    return errors


def crop_stack(stack: FrameStack, y: slice | None, x: slice | None) -> FrameStack:
    """The stack cropped to these lines and columns; None means all."""
    _, height, width, *_ = stack.shape
    return stack.crop(_check_slice(y, height, "y"), _check_slice(x, width, "x"))


def _check_slice(wanted: slice | None, length: int, name: str) -> slice:
    if wanted is None:
        return slice(0, length)
    if not isinstance(wanted, slice) or wanted.step not in (None, 1):
        raise TypeError(f"{name} must be a slice without step, such as slice(0, 64), not {wanted!r}")
    start, stop, _ = wanted.indices(length)
    if start >= stop:
        raise ValueError(f"{name}={wanted.start}:{wanted.stop} is empty: {name} goes from 0 to {length}")
    return slice(start, stop)
