"""Pixels of decoded H.264 and HEVC frames by the compiled kernel: those of `subsampled`, bit by bit.

This module prepares the parameters of `kernels.planes`, and its memory (one set per thread). Until the kernel
is compiled, and for the frames that it does not support, `subsampled` converts.
"""

import threading

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.kernels import parameters as at
from camhd_access.decoding.kernels.parameters import Kernel
from camhd_access.decoding.pixels import NEUTRAL, VIDEO, PixelFormat, choose_matrix, color_scales
from camhd_access.decoding.prores422 import GRAY_STRETCH, LAYOUTS, allocate
from camhd_access.decoding.subsampled import CENTERED_COLUMNS, ChromaPlace, CodedFrame
from camhd_access.decoding.windows import Window

__all__ = ["convert_colors", "is_supported"]

PAD_COLUMNS = 2 * at.PIXELS_AT_ONCE
N_BUFFERS = 5
MAX_PIXEL_BYTES = 6

_thread = threading.local()


class _Memory:
    """Working memory of one thread's conversions; it grows as needed, and is reused."""

    def __init__(self) -> None:
        self.parameters = np.zeros(at.N_PARAMETERS, np.int64)
        self.factors = np.zeros(8, np.float32)
        self.lines = np.zeros((0, 4), np.int64)
        self.buffers = self.line = allocate(0)

    def grow(self, n_columns: int) -> int:
        """Make room for lines of `n_columns`; returns the bytes of one buffer."""
        n_padded = n_columns + PAD_COLUMNS
        if self.line.size < n_padded * MAX_PIXEL_BYTES:
            self.buffers = allocate(N_BUFFERS * 2 * n_padded)
            self.line = allocate(n_padded * MAX_PIXEL_BYTES)
        return 2 * n_padded


def is_supported(
    frame: CodedFrame, pixel_format: PixelFormat, window: Window, out: npt.NDArray[np.unsignedinteger]
) -> bool:
    """Whether the kernel fills `out` with this window.

    It makes colours, of chroma with luma's size or half of it, and luma in full range from that in limited
    range.
    """
    planes = frame.planes if pixel_format.is_color else frame.planes[:1]
    size, *chroma_sizes = (plane.shape for plane in planes)
    is_known = len(planes) == 3 or (pixel_format.layout == "gray" and frame.levels == VIDEO)
    return (
        is_known
        and len(set(chroma_sizes)) < 2
        and all(m in (n, (n + 1) // 2) for each in chroma_sizes for m, n in zip(each, size, strict=True))
        and all(0 <= part.start <= part.stop <= n for part, n in zip(window, size, strict=True))
        and out.shape == pixel_format.shape(*(part.stop - part.start for part in window))
        and len({plane.dtype for plane in planes}) == 1
        and all(plane.dtype.isnative and plane.strides[1] == plane.itemsize for plane in planes)
        and out[:1].flags.c_contiguous
    )


def convert_colors(
    kernel: Kernel,
    frame: CodedFrame,
    pixel_format: PixelFormat,
    *,
    window: Window,
    track_matrix: int | None,
    out: npt.NDArray[np.unsignedinteger],
) -> None:
    """Fill `out` with the pixels of a window of a frame; parameters as for `subsampled.convert_frame`."""
    if not out.size:
        return
    memory: _Memory | None = getattr(_thread, "memory", None)
    if memory is None:
        memory = _thread.memory = _Memory()
    luma = frame.planes[0]
    rows, columns = window
    even = columns.start // 2 * 2
    n_luma = columns.stop - even
    p, n_buffer_bytes = memory.parameters, memory.grow(n_luma)
    n_lines = rows.stop - rows.start
    p[at.TASK : at.N_LUMA + 1] = at.CONVERT, luma.itemsize, columns.start - even, n_lines, n_luma
    n_channels, n_bytes = len(pixel_format.channels) or 1, pixel_format.dtype.itemsize
    p[at.LAYOUT : at.IS_SWAPPED + 1] = (
        LAYOUTS[pixel_format.layout],
        n_bytes,
        n_bytes * n_channels,
        (columns.stop - columns.start) * n_channels,
        not pixel_format.dtype.isnative,
    )
    p[at.Y_PLANE], p[at.Y_LINE_BYTES] = luma[rows.start :, even:].ctypes.data, luma.strides[0]
    p[at.OUT], p[at.LINE_BYTES], p[at.LINE] = out.ctypes.data, out.strides[0], memory.line.ctypes.data
    p[at.BUFFERS], p[at.BUFFER_BYTES] = memory.buffers.ctypes.data, n_buffer_bytes
    if pixel_format.is_color:
        matrix = choose_matrix(frame.matrix, track_matrix, height=len(luma))
        _set_chroma(memory, frame, pixel_format, rows, even, matrix=matrix)
    else:
        p[at.GRAY_FACTOR], p[at.GRAY_SHIFT] = GRAY_STRETCH[pixel_format.full_scale]
    kernel(p.ctypes.data)


def _set_chroma(
    memory: _Memory,
    frame: CodedFrame,
    pixel_format: PixelFormat,
    rows: slice,
    even: int,
    *,
    matrix: int,
) -> None:
    """Set what the kernel needs to know of chroma and colours, from the column `even` on."""
    p, (luma, cb, cr) = memory.parameters, frame.planes
    n_luma = int(p[at.N_LUMA])
    if cb.shape[1] == luma.shape[1]:
        place, left, n_before, n_chroma = at.WIDE, even, 0, n_luma
    else:
        place = at.BETWEEN if frame.chroma_location in CENTERED_COLUMNS else at.EVEN
        n_before = int(place == at.BETWEEN and even > 0)
        left = even // 2 - n_before
        n_chroma = min(even // 2 + n_luma // 2 + 1, cb.shape[1]) - left
    memory.lines = _find_lines(frame, rows)
    _set_factors(
        memory.factors,
        frame,
        pixel_format,
        matrix=matrix,
        parts=at.EIGHTHS * (at.QUARTERS if place == at.BETWEEN else 1),
    )
    planes = (cb, cr) if pixel_format.layout == "rgb" else (cr, cb)  # what is red to one is blue to the other
    p[at.N_CHROMA : at.N_BEFORE + 1] = n_chroma, place, n_before
    p[at.CB_PLANE : at.CHROMA_LINES + 1] = (
        planes[0][:, left:].ctypes.data,
        planes[0].strides[0],
        planes[1][:, left:].ctypes.data,
        planes[1].strides[0],
        memory.lines.ctypes.data,
    )
    p[at.COLOR_FACTORS] = memory.factors.ctypes.data


def _find_lines(frame: CodedFrame, rows: slice) -> npt.NDArray[np.int64]:
    """For each line of the window: two lines of chroma, and their weights in eighths."""
    table = np.zeros((rows.stop - rows.start, 4), np.int64)
    height, n_lines = (len(plane) for plane in frame.planes[:2])
    if n_lines == height:
        table[:, 0] = table[:, 1] = np.arange(rows.start, rows.stop)
        weight: npt.NDArray[np.float32] = np.zeros(len(table), np.float32)
    else:
        place = ChromaPlace(frame, rows, slice(0, 0))
        *lines, weight = place.lines(n_lines)
        table[:, :2] = np.stack(lines, axis=1).clip(0, n_lines - 1)  # one line has no second field
    table[:, 3] = at.EIGHTHS * weight
    table[:, 2] = at.EIGHTHS - table[:, 3]
    return table


def _set_factors(
    factors: npt.NDArray[np.float32], frame: CodedFrame, pixel_format: PixelFormat, *, matrix: int, parts: int
) -> None:
    """Set the factors of colour for luma as coded, and for chroma in parts of a code.

    `color_scales` are for codes of 10 bits. They change by powers of two only, which is exact.
    """
    scale = frame.scale
    (per_code, offset), chroma = color_scales(matrix, pixel_format.full_scale, frame.levels)
    if pixel_format.layout == "bgr":
        chroma = chroma[::-1]
    factors[:2] = scale * per_code, offset
    factors[2:6] = chroma
    factors[2:6] *= scale / parts
    factors[6:] = 0.5, NEUTRAL // scale * parts
