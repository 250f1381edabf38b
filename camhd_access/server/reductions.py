"""Reductions of small images: frames are decoded at a half, a quarter or an eighth of their size.

The choice depends on the movie, the size and the installation, never on the state of the process: the same
request gives the same bytes at any time. Halves and quarters need the compiled decoder. Where numba is
installed, the first ones wait for it; where it is not, or fails, there are only eighths. The reduction is in
the provenance record and part of the ETag.
"""

from camhd_access.decoding.machine_code import may_have_kernel
from camhd_access.movie.reader import MovieReader

__all__ = ["choose_film_reduction", "choose_reduction", "find_reductions"]

CODECS_OF_422 = {"apco", "apcs", "apcn", "apch"}


def find_reductions(reader: MovieReader) -> tuple[int, ...]:
    """The factors by which frames of this movie can be reduced, the cheapest last."""
    return (1, 2, 4, 8) if reader.index.codec in CODECS_OF_422 and may_have_kernel() else (1, 8)


def choose_reduction(
    reader: MovieReader, size: tuple[float, float], part: tuple[int, ...] | None = None
) -> int:
    """The cheapest reduction whose images are not smaller than `size`: width and height.

    Parameters
    ----------
    part
        Left, top, width and height of the part of the frame or field that is shown; None: the whole frame.
        A reduction divides all of them.
    """
    part = part or (0, 0, reader.index.width, reader.index.height)
    return max(
        reduce
        for reduce in find_reductions(reader)
        if reduce == 1
        or (
            not any(extent % reduce for extent in part)
            and part[2] // reduce >= size[0]
            and part[3] // reduce >= size[1]
        )
    )


def choose_film_reduction(reader: MovieReader, width: int) -> int:
    """The cheapest reduction for a film or sheet of this width, whose height is rounded to an even number."""
    columns, lines = reader.index.width, reader.index.height
    return choose_reduction(reader, (width, lines * width / columns))
