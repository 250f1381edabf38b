"""Reductions of a movie's frames for small images (see `output.reductions`); they are part of the ETag."""

from camhd_access.movie.reader import MovieReader
from camhd_access.output import reductions

__all__ = ["choose_film_reduction", "choose_reduction", "find_reductions"]


def find_reductions(reader: MovieReader) -> tuple[int, ...]:
    """The factors by which frames of this movie can be reduced, the cheapest last."""
    return reductions.find_reductions(reader.index.codec)


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
    return reductions.choose_reduction(reader.index.codec, part, size)


def choose_film_reduction(reader: MovieReader, width: int) -> int:
    """The cheapest reduction for a film or sheet of this width, whose height is rounded to an even number."""
    columns, lines = reader.index.width, reader.index.height
    return choose_reduction(reader, (width, lines * width / columns))
