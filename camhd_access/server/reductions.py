"""Reductions of small images: frames are decoded at a half, a quarter or an eighth of their size.

The choice depends on the movie, the size and the installation, never on the state of the process: the same
request gives the same bytes at any time. Halves and quarters need the compiled decoder. Where numba is
installed, the first ones wait for it; where it is not, there are only eighths. The reduction is in
the provenance record and part of the ETag.
"""

from camhd_access.decoding.machine_code import can_compile
from camhd_access.movie.reader import MovieReader

__all__ = ["choose_reduction", "find_reductions"]

CODECS_OF_422 = {"apco", "apcs", "apcn", "apch"}


def find_reductions(reader: MovieReader) -> tuple[int, ...]:
    """The factors by which frames of this movie can be reduced, the cheapest last."""
    return (1, 2, 4, 8) if reader.index.codec in CODECS_OF_422 and can_compile() else (1, 8)


def choose_reduction(reader: MovieReader, size: tuple[int, int], of: tuple[int, int] | None = None) -> int:
    """The cheapest reduction whose images are not smaller than `size`: width and height.

    Parameters
    ----------
    of
        Width and height before the reduction; None: those of the movie's frames.

    Notes
    -----
    Heights are rounded to even numbers, so one line may be missing.
    """
    width, height = of or (reader.index.width, reader.index.height)
    return max(
        reduce
        for reduce in find_reductions(reader)
        if reduce == 1 or (width // reduce >= size[0] and height // reduce >= size[1] - 1)
    )
