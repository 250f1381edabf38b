"""Reductions of small images: frames are decoded at a half, a quarter or an eighth of their size.

The choice depends on the movie and the size alone, and the pixels do not depend on which decoder is there:
the same call gives the same pixels at any time. The reduction is in the provenance record.
"""

__all__ = ["choose_reduction", "find_reductions"]

CODECS_OF_422 = {"apco", "apcs", "apcn", "apch"}


def find_reductions(codec: str) -> tuple[int, ...]:
    """The factors by which frames of this codec can be reduced, the cheapest last."""
    return (1, 2, 4, 8) if codec in CODECS_OF_422 else (1, 8)


def choose_reduction(codec: str, part: tuple[int, ...], size: tuple[float, float]) -> int:
    """The cheapest reduction whose images are not smaller than `size`: width and height.

    Parameters
    ----------
    part
        Left, top, width and height of the part of the frame or field that is shown. A reduction divides all
        of them.
    """
    return max(
        reduce
        for reduce in find_reductions(codec)
        if reduce == 1
        or (
            not any(extent % reduce for extent in part)
            and part[2] // reduce >= size[0]
            and part[3] // reduce >= size[1]
        )
    )
