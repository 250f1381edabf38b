"""The parameters of the kernels, and constants shared by them and the Python code that calls them.

`entry.perform` takes the address of `N_PARAMETERS` int64, at these indices. All intervals start
at 0, are half-open, and count lines and columns of the output, unless stated otherwise.
"""

from collections.abc import Callable
from itertools import count
from typing import TypeAlias

Kernel: TypeAlias = Callable[[int], int]
"""The compiled `entry.perform`; takes the address of its parameters."""

_place = count()


def _next() -> int:
    return next(_place)


# ---- the sample
DATA = _next()
"""Address of its bytes."""
SIZE = _next()
"""Their number."""
FRAME_SIZE = _next()
"""Size of the sample according to its header."""
PICTURE_OFFSET = _next()
"""Byte of the sample where its first picture begins."""
N_PICTURES = _next()
"""2 for an interlaced frame, else 1."""
BOTTOM_FIRST = _next()
"""1 if the first picture has the odd lines."""
MATRICES = _next()
"""Address of the quantisation matrices: 64 bytes for luma, 64 for chroma, by place in the block."""
SCAN = _next()
"""Address of int64 [72]: the position in the scan of each place in a block, and the first of each row."""

# ---- the wanted part of it
FIELD = _next()
"""The picture of an interlaced frame to output; -1 for the whole frame."""
N_PLANES = _next()
"""1 for luma alone, 3 for all."""
REDUCE = _next()
"""1, 2, 4 or 8: factor by which lines and columns are reduced."""
N_ROWS = _next()
"""Rows of slices in each picture."""
MB_WIDTH = _next()
"""Macroblocks per row."""
LOG2_WIDTH = _next()
"""Slices are 2 ** this macroblocks wide."""
FIRST_MB = _next()
STOP_MB = _next()
"""Macroblocks per row that are decoded; the first is the left edge of a slice."""
WINDOW_TOP = _next()
WINDOW_BOTTOM = _next()
WINDOW_LEFT = _next()
WINDOW_WIDTH = _next()
CHROMA_WIDTH = _next()
"""Columns of chroma that the window touches."""
PICTURE_CHROMA_WIDTH = _next()
"""Columns of chroma in the whole picture."""
IS_LENIENT = _next()
"""1 to mark unreadable parts of a sample and go on; 0 to return at the first fault."""

# ---- output
LAYOUT = _next()
"""`CODE`, `GRAY`, `COLOR` or `PLANES`."""
ITEM_BYTES = _next()
"""Bytes per number: 1 or 2."""
BYTES_OF_PIXEL = _next()
N_ITEMS = _next()
"""Numbers in a line of the window."""
IS_SWAPPED = _next()
"""1 for the other byte order than that of this machine."""
IS_BGR = _next()
GRAY_FACTOR = _next()
GRAY_SHIFT = _next()
"""Luma above black times the factor, shifted right and rounded, is luma in full range."""
COLOR_FACTORS = _next()
"""Address of float32 [8]; see `strips`."""
STORES = _next()
"""1 to store pixels, 0 to add them to sums."""
OUT = _next()
LINE_BYTES = _next()
"""Address of the first pixel, and bytes from line to line."""
OUT_CB = _next()
LINE_BYTES_CB = _next()
OUT_CR = _next()
LINE_BYTES_CR = _next()
"""Likewise of the chroma planes of `PLANES`."""
SUM_BYTES = _next()
"""Bytes of each sum, 2 or 4; the sums are at `OUT`, one for each number of the window."""
SQUARES = _next()
"""Address of as many sums of squares, of twice as many bytes each. For `ADD` only."""
DAMAGE = _next()
"""Address of uint8 [wanted picture][row of slices][slice], initially 0."""

# ---- memory
MAX_JOBS = _next()
"""Capacity of `JOBS` for one strip."""
STRIP_BYTES = _next()
STRIDE = _next()
"""Bytes of a strip, and from line to line of luma in it; half as many in chroma."""
TAIL = _next()
"""Memory for copies of the slices that end with the sample, so that they may be read beyond their ends: that
of the largest slice, and twice `PADDING_BYTES`."""
ROW_STARTS = _next()
"""int64 [picture][row of slices]."""
COEFFICIENTS = _next()
"""int16 [N_LANES * ROOM], 0 before and after."""
BLOCKS = _next()
"""`BLOCKS_BYTES`, aligned to 64 bytes."""
LANES = _next()
"""N_LANES * LANE_BYTES, and 64 bytes for the jobs in them, and for what is left of two strips."""
JOBS = _next()
"""`JOB_BYTES` for every plane of a slice of two strips."""
STRIPS = _next()
"""`N_STRIPS` times `STRIP_BYTES`."""
LINE = _next()
"""A line of pixels in the wanted format, with room for `PIXELS_AT_ONCE` more."""

# ---- conversion of decoded planes; its output is described by the parameters above
TASK = _next()
"""`DECODE` a sample, `CONVERT` planes, or `ADD` images."""
CODE_BYTES = _next()
"""Bytes per code of the planes: 1 or 2."""
FIRST_COLUMN = _next()
"""0 or 1: columns from an even one to the window's first."""
N_LINES = _next()
N_LUMA = _next()
N_CHROMA = _next()
"""Lines of the window, and columns that are read from a line of luma and chroma."""
CHROMA_PLACE = _next()
"""`WIDE` if chroma has the columns of luma, `EVEN` if it lies on even ones, `BETWEEN` if after them."""
N_BEFORE = _next()
"""1 if the first column of chroma is the one before the even column, else 0."""
Y_PLANE = _next()
Y_LINE_BYTES = _next()
"""Address of the first column, an even one, in the first line of the window, and bytes from line to line."""
CB_PLANE = _next()
CB_LINE_BYTES = _next()
CR_PLANE = _next()
CR_LINE_BYTES = _next()
"""Likewise of chroma, in the first line of its planes."""
CHROMA_LINES = _next()
"""Address of int64 [line of the window][4]: two lines of chroma, and their weights in eighths."""
BUFFERS = _next()
BUFFER_BYTES = _next()
"""Five buffers, each of 16 bits per column, with room for `2 * PIXELS_AT_ONCE` more."""

# ---- images to be added to sums, which the parameters above describe, with all numbers in a single line
IMAGES = _next()
N_IMAGES = _next()
"""Address of int64, the addresses of the images; and their number."""

N_PARAMETERS = _next()

DECODE, CONVERT, ADD = range(3)
EVEN, BETWEEN, WIDE = range(3)
EIGHTHS, QUARTERS = 8, 4
"""Chroma is computed in these parts of a code, between lines and between columns."""

CODE, GRAY, COLOR, PLANES = range(4)
"""Luma as coded; luma stretched to full range; R'G'B'; all three planes as coded."""

N_LANES = 4
"""Planes of slices that are read side by side."""
LANE_BYTES = 48
N_LOOKUPS = 5
"""Look-ups for each load of 64 bits, 57 of which are valid."""
ROOM = 2048 + N_LOOKUPS * 64
"""Coefficients of a lane: of 32 blocks, plus the overrun of some runs of 64."""
BLOCKS_BYTES = 6400
"""Coefficients, factors and pixels of 16 blocks."""
PIXELS_AT_ONCE = 16
BLACK, NEUTRAL = 64, 512
LOWEST, HIGHEST = 4, 1019
"""Codes that pixels may have (RDD 36, 7.5.1)."""
HALF = 512
"""The code of a block of zeros: no signal."""
H1, H2, H3 = 5352, 4096, 2217
"""sqrt(2) cos(k pi / 8) times 2 ** 12, for the inverse transform of 4x4 frequencies."""
PADDING_BYTES = 256
"""Limit for reads beyond the end of a damaged slice: 32 codes of a DC coefficient, 31 bits each, or four
long pairs, and the 8 bytes of a load."""
MAX_SLICE_BYTES = 0xFFFF
N_STRIPS = 2
MAX_BLOCKS = 32
"""Blocks of a plane of a slice: four in each of eight macroblocks."""
JOB_BYTES = 96 + 2 * MAX_BLOCKS

IS_HEADER, IS_LUMA, IS_CB, IS_CR, IS_MISSING = 1, 2, 4, 8, 16
"""The damaged part of a slice: its header, or one of its planes; or it is missing."""
