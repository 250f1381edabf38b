"""Deinterlacing: frames of full height made of one field, with interpolated lines.

The two fields of an interlaced frame are recorded half a frame duration apart, so moving objects show
combing. Here the field shown first is kept, and each line of the other field is interpolated linearly between
the lines above and below. Input: pixels of some lines of the field. Output: pixels of some lines of the
frame.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["field_rows", "find_made_up", "interpolate_lines"]


def field_rows(lines: slice, n_rows: int, *, reduce: int) -> slice:
    """Rows of a field of `n_rows` that are needed for `lines` of the frame, for either field parity."""
    first, _ = _places(np.array([lines.start, lines.stop - 1]), line_offset=1, reduce=reduce)
    last, _ = _places(np.array([lines.start, lines.stop - 1]), line_offset=0, reduce=reduce)
    return slice(int(first[0].clip(0, n_rows - 1)), int((last[1] + 1).clip(0, n_rows - 1)) + 1)


def interpolate_lines(
    field: npt.NDArray[np.unsignedinteger],
    first_row: int,
    lines: slice,
    *,
    line_offset: int,
    reduce: int,
    out: npt.NDArray[np.unsignedinteger],
) -> None:
    """Fill `out` with lines of the frame: those of the field, and interpolated ones, rounded half up.

    Parameters
    ----------
    field
        Pixels of the rows given by `field_rows`, shape (y, x[, channel]).
    first_row
        Index of the first of these rows in the field.
    lines
        Lines of the frame to compute, in rows of the (reduced) frame.
    line_offset
        0 if the field contains the even lines of the frame, 1 for the odd lines.
    reduce
        Number of lines per row (reduction factor).
    """
    above, weight = _places(np.arange(lines.start, lines.stop), line_offset=line_offset, reduce=reduce)
    upper, lower = ((above + k - first_row).clip(0, len(field) - 1) for k in (0, 1))
    scale = 4 * reduce
    for line, (a, b, w) in enumerate(zip(upper.tolist(), lower.tolist(), weight.tolist(), strict=True)):
        if w == 0 or a == b:
            out[line] = field[a]
        else:
            mixed = field[a].astype(np.uint32) * (scale - w) + field[b].astype(np.uint32) * w
            out[line] = (mixed + scale // 2) // scale


def find_made_up(lines: npt.NDArray[np.int64], *, line_offset: int, reduce: int) -> npt.NDArray[np.bool_]:
    """True for the lines that are interpolated."""
    made_up: npt.NDArray[np.bool_] = _places(lines, line_offset=line_offset, reduce=reduce)[1] != 0
    return made_up


def _places(
    lines: npt.NDArray[np.int64], *, line_offset: int, reduce: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The row of the field at or above each line, and the distance of the line below it.

    Notes
    -----
    The distance is in units of 1/(4 * `reduce`) of a row. Positions are those of the centres, in lines of the
    whole frame: line i covers `reduce` lines from `reduce` * i on; row j covers `reduce` lines, every second
    one from 2 * `reduce` * j + `line_offset` on.
    """
    return np.divmod(2 * reduce * lines - (reduce - 1) - 2 * line_offset, 4 * reduce)
