"""Whether a movie is worth opening, as far as its index tells. Pure."""

from camhd_access.archive.records import Quality
from camhd_access.formats.quicktime import MovieIndex

__all__ = ["judge_frames", "judge_index"]

BLANK_BYTES_PER_FRAME = 30_000
"""Of 1920x1080: black frames take 21,600 bytes, the plainest picture of the vent several hundred thousand."""

HEADER_BYTES = 500
"""Of a frame, what does not grow with the picture."""

GIANT_FRAMES = 100_000
"""An hour; a routine recording has 27,000 frames, those of 2015 up to 45,000."""

SUSPECT_SECONDS = 3600
"""A clock that is farther off the name is not to be trusted, even where it is taken."""


def judge_index(index: MovieIndex, start_disagreement: float | None) -> tuple[Quality, str | None]:
    """The quality of a movie, and what is to be said about it."""
    bytes_per_frame = float(index.size.mean())
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
    """The same from a few numbers.

    Parameters
    ----------
    size
        Width and height of the picture.
    start_disagreement
        Seconds between the movie's clock and its name.
    """
    share = size[0] * size[1] / (1920 * 1080)
    blank = bytes_per_frame < HEADER_BYTES + (BLANK_BYTES_PER_FRAME - HEADER_BYTES) * share
    remarks = [f"{bytes_per_frame:,.0f} bytes a frame: no picture"] if blank else []
    if n_frames == 1:
        remarks.append("a single frame")
    if n_frames > GIANT_FRAMES:
        remarks.append(f"{n_frames:,} frames")
    if abs(start_disagreement or 0) > SUSPECT_SECONDS:
        remarks.append(f"its clock is {start_disagreement:,.0f} s off its name")
    return "blank" if blank else "odd" if remarks else "good", "; ".join(remarks) or None
