"""The quality of a movie, judged from its index. Pure."""

from math import inf

import numpy as np

from camhd_access.archive.records import Quality
from camhd_access.formats.quicktime import MovieIndex

__all__ = ["find_lit_frame", "judge_frames", "judge_index"]

BLANK_BYTES_PER_FRAME = 30_000
"""For 1920x1080: black frames have 21,600 bytes, frames of the vent several hundred thousand."""

HEADER_BYTES = 500
"""The part of a frame that does not depend on the frame size."""

GIANT_FRAMES = 100_000
"""An hour; routine recordings have 27,000 frames, those of 2015 up to 45,000."""

SUSPECT_SECONDS = 3600
"""A clock with a larger disagreement with the name is suspect, even if it is used."""


def judge_index(index: MovieIndex, start_disagreement: float | None) -> tuple[Quality, str | None]:
    """The quality of a movie, and the reason for it."""
    # With inter-frame coding, a still scene takes few bytes too: the size tells nothing about blank pictures.
    bytes_per_frame = inf if index.coded else float(index.size.mean())
    quality, reason = judge_frames(
        index.n_frames, bytes_per_frame, (index.width, index.height), start_disagreement
    )
    n_hidden = int(index.hidden.sum())
    if n_hidden and quality == "good":
        return "odd", f"its edit list hides {n_hidden} of {index.n_frames} frames"
    return quality, reason


def judge_frames(
    n_frames: int, bytes_per_frame: float, size: tuple[int, int], start_disagreement: float | None
) -> tuple[Quality, str | None]:
    """The quality, from a few numbers.

    Parameters
    ----------
    size
        Width and height of the frame.
    start_disagreement
        Seconds between the movie's clock and its name.
    """
    blank = bytes_per_frame < _blank_limit(*size)
    remarks = [f"{bytes_per_frame:,.0f} bytes per frame: no picture"] if blank else []
    if n_frames == 1:
        remarks.append("a single frame")
    if n_frames > GIANT_FRAMES:
        remarks.append(f"{n_frames:,} frames")
    if abs(start_disagreement or 0) > SUSPECT_SECONDS:
        remarks.append(f"its clock is {start_disagreement:,.0f} s off its name")
    return "blank" if blank else "odd" if remarks else "good", "; ".join(remarks) or None


def find_lit_frame(index: MovieIndex) -> int | None:
    """The index of a frame that shows something; None if there is none.

    It is the first frame as large as the median of those that are not black: recordings begin in the dark.
    With inter-frame coding it is the first key frame as large as their median: it is decoded alone. Whether
    all of them are black, their sizes do not tell.
    """
    if index.coded:
        keys = np.flatnonzero(index.is_sync)
        sizes = index.size[keys]
        return int(keys[np.argmax(sizes >= np.median(sizes))]) if keys.size else None
    limit = _blank_limit(index.width, index.height)
    lit = index.size[index.size >= limit]
    return int(np.argmax(index.size >= np.median(lit))) if len(lit) else None


def _blank_limit(width: int, height: int) -> float:
    """Bytes of a frame of this size below which it is black."""
    return HEADER_BYTES + (BLANK_BYTES_PER_FRAME - HEADER_BYTES) * width * height / (1920 * 1080)
