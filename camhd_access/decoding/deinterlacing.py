"""Full-height pictures of one field: its own lines, and between them lines that are made up.

Of a frame filmed as two fields, half a frame's time apart, whatever moves shows a comb. Here the field shown
first is kept, and the lines of the other are interpolated linearly between those above and below. What comes
in: the pixels of some lines of the field. What goes out: those of some lines of the frame.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["field_rows", "find_made_up", "interpolate_lines"]


def field_rows(lines: slice, n_rows: int, *, reduce: int) -> slice:
    """Rows, of a field of `n_rows`, that some lines of the frame are made of, whichever lines it holds."""
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
    """Fill `out` with some lines of the frame, made up but for those that the field holds; rounded half up.

    Parameters
    ----------
    field
        Pixels of some rows of the field, shape (y, x[, channel]), those of `field_rows`.
    first_row
        Which row of the field is the first of these.
    lines
        Those wanted, of the frame reduced alike.
    line_offset
        0 where the field holds the even lines of the frame, 1 for the odd.
    reduce
        Lines of the field of which one row of it was made.
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
    """True for the lines that no row of the field shows as it is."""
    made_up: npt.NDArray[np.bool_] = _places(lines, line_offset=line_offset, reduce=reduce)[1] != 0
    return made_up


def _places(
    lines: npt.NDArray[np.int64], *, line_offset: int, reduce: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The row of the field above each line, or at it, and how far below it the line is: of 4 * `reduce`.

    Notes
    -----
    By the middle of what each shows, in lines of the whole frame: line i that of `reduce` lines from
    `reduce` * i on, row j that of every other line from 2 * `reduce` * j + `line_offset` on.
    """
    return np.divmod(2 * reduce * lines - (reduce - 1) - 2 * line_offset, 4 * reduce)
