"""ProRes 4:2:2 samples to pixels, by the package's own decoder (`kernels`).

Input: the bytes of one frame. Output: the pixels of a window of it, in the wanted format, in
the caller's array, or added to sums. Only the slices that the window touches are decoded, directly from the
sample. This module prepares the parameters of the kernel, keeps its memory (one set per thread), and
turns its map of damaged slices into an error that names the first, or into a mask.
"""

import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.damage import Coding, DamageMap, blank, describe_damage
from camhd_access.decoding.kernels import parameters as at
from camhd_access.decoding.kernels.parameters import Kernel
from camhd_access.decoding.kernels.scans import INTERLACED_SCAN, PROGRESSIVE_SCAN
from camhd_access.decoding.pixels import CHROMA_MARGIN, PixelFormat, Planes, choose_matrix, color_scales
from camhd_access.decoding.sums import Sums
from camhd_access.decoding.threads import share
from camhd_access.decoding.windows import CodedWindow, Marks, Window
from camhd_access.formats.prores import FrameHeader, parse_frame_header, weave_fields
from camhd_access.ranges import ByteData

__all__ = ["decode_window", "is_supported", "sample_means", "sample_planes"]

BANDS_PER_THREAD = 2
"""A band is what is left of the frame, divided by this and the number of threads."""

PAD_PIXELS = 64
"""Extra columns after those of a strip, which conversion reads and writes without effect."""

GRAY_STRETCH = {255: (38155, 17), 65535: (612857, 13)}
"""Factor and shift that stretch luma above black (0 to 876) to the full scale, rounded half up."""
LAYOUTS = {"code": at.CODE, "gray": at.GRAY, "rgb": at.COLOR, "bgr": at.COLOR}

WORKING_MEMORY = range(at.TAIL, at.LINE + 1)
"""Parameters that are addresses of working memory."""

SET_PARAMETERS = struct.Struct(f"{at.N_PARAMETERS}q").pack_into

_thread = threading.local()


class _Memory:
    """Working memory of one thread's kernel calls; it grows as needed, and is reused."""

    def __init__(self) -> None:
        self._parameters = allocate(8 * at.N_PARAMETERS)
        self.parameters = self._parameters.data.cast("q")
        self.parameters_at: int = self._parameters.ctypes.data
        matrices, self.factors = allocate(128), allocate(32).view(np.float32)
        self.matrices, self.matrices_at = matrices.data, matrices.ctypes.data
        self.factors_at: int = self.factors.ctypes.data
        self.blocks = [allocate(0)] * len(WORKING_MEMORY)
        """The working memory, by its place among the parameters."""
        self._wanted: tuple[int, ...] = ()
        self._addresses: list[int] = []

    def find(self, n_bytes: tuple[int, ...]) -> list[int]:
        """Addresses of at least this many bytes each, initially 0, aligned to 64 bytes."""
        if n_bytes != self._wanted:
            for i, wanted in enumerate(n_bytes):
                if len(self.blocks[i]) < wanted:
                    self.blocks[i] = allocate(wanted)
            self._wanted, self._addresses = n_bytes, [block.ctypes.data for block in self.blocks]
        return self._addresses


def allocate(n_bytes: int) -> npt.NDArray[np.uint8]:
    """Zeros, aligned to 64 bytes."""
    memory = np.zeros(n_bytes + 64, np.uint8)
    skip = -memory.ctypes.data % 64
    return memory[skip : skip + n_bytes]


def is_supported(header: FrameHeader) -> bool:
    """Whether the kernel supports such frames: 4:2:2 without alpha. libav decodes all others."""
    return header.chroma == "422" and not header.alpha_bits


def _places(scan: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The position in the scan of each place in a block, and the first of each row."""
    positions = np.argsort(scan)
    return np.concatenate([positions, positions.reshape(8, 8).min(axis=1)])


SCANS = _places(PROGRESSIVE_SCAN), _places(INTERLACED_SCAN)
SCANS_AT = tuple(scan.ctypes.data for scan in SCANS)


def decode_window(
    kernel: Kernel,
    coded: CodedWindow,
    *,
    pixel_format: PixelFormat,
    track_matrix: int | None,
    reduce: int = 1,
    n_threads: int = 1,
    masks: bool = False,
    out: npt.NDArray[np.unsignedinteger] | Sums,
) -> Marks | None:
    """Fill `out` with the pixels of a window, or add them to its sums; returns the damage mask.

    Parameters
    ----------
    coded
        The window, in lines and columns of the output: reduced, of the frame or of the field.
    pixel_format, track_matrix
        As for `libav.decode_frame`.
    reduce
        1, 2 or 4: factor by which lines and columns are reduced.
    n_threads
        Threads that share the rows of slices.
    masks
        Set pixels of damaged slices to 0 instead of raising. All others are correct.
    out
        Array of `pixel_format.shape(height, width)` of the window.

    Returns
    -------
    Mask of damaged pixels, shape (y, x); None if the window is intact.

    Raises
    ------
    FrameDecodeError
        The sample is damaged; the message names the first damaged slice.
    """
    if not isinstance(out, Sums) and not (out[:1].flags.c_contiguous and out.strides[0] > 0):
        pixels = np.empty(out.shape, out.dtype)
        marks = decode_window(
            kernel,
            coded,
            pixel_format=pixel_format,
            track_matrix=track_matrix,
            reduce=reduce,
            n_threads=n_threads,
            masks=masks,
            out=pixels,
        )
        out[...] = pixels
        return marks
    coding = Coding.of(coded, reduce)
    damage = coding.no_damage()
    parameters, n_bytes = _describe(coding, damage, n_planes=3 if pixel_format.is_color else 1)
    matrix = choose_matrix(coded.header.matrix, track_matrix, height=coded.header.height)
    _set_format(parameters, pixel_format, matrix, coding.window)
    _set_target(parameters, out, pixel_format)
    parameters[at.IS_LENIENT] = masks
    top, first_byte = coding.window[0].start, parameters[at.OUT]

    def decode_bands(bands: Iterator[slice]) -> int:
        """Decode in one thread; returns the first fault, or 0."""
        memory, fault = _find_memory(), 0
        parameters_at = _set_parameters(memory, parameters, n_bytes)
        for lines in bands:
            memory.parameters[at.WINDOW_TOP] = top + lines.start
            memory.parameters[at.WINDOW_BOTTOM] = top + lines.stop
            memory.parameters[at.OUT] = first_byte + lines.start * parameters[at.LINE_BYTES]
            fault = min(fault, kernel(parameters_at))
        return fault

    n_threads = 1 if isinstance(out, Sums) else n_threads
    fault = min(share(decode_bands, _cut_bands(coding, n_threads), n_threads=n_threads), default=0)
    if not fault and not damage.any():
        return None
    if not masks or isinstance(out, Sums):
        raise describe_damage(coded, coding, fault, damage)
    return blank(coding, damage, out, in_color=pixel_format.is_color)


def _cut_bands(coding: Coding, n_threads: int) -> list[slice]:
    """Lines of the window in bands of whole rows of slices, shorter and shorter: all threads end together."""
    lines, step = coding.window[0], coding.lines_per_row
    row, stop = lines.start // step, -(-lines.stop // step)
    n_bands = BANDS_PER_THREAD * n_threads if n_threads > 1 else 1
    edges = [lines.start]
    while row < stop:
        row += -(-(stop - row) // n_bands)
        edges.append(min(row * step, lines.stop))
    return [slice(a - lines.start, b - lines.start) for a, b in pairwise(edges)]


def sample_planes(
    kernel: Kernel, sample: ByteData, *, luma_only: bool = False, reduce: int = 1, out: Planes | None = None
) -> Planes:
    """The planes of a whole frame as 10-bit codes, as from `libav.decode_planes`.

    Parameters
    ----------
    out
        Planes to fill and return, for instance those of the frame before.

    Raises
    ------
    FrameDecodeError
        The sample is damaged.
    """
    header = parse_frame_header(sample)
    window = slice(0, header.height // reduce), slice(0, header.width // reduce)
    return _decode_planes(
        kernel, CodedWindow(sample, header, window, None), reduce, luma_only=luma_only, out=out
    )


def sample_means(
    kernel: Kernel, coded: CodedWindow, *, luma_only: bool = False
) -> list[npt.NDArray[np.uint16]]:
    """The block means of a whole frame or field, as from `formats.prores.decode_preview`: Y, or Y, Cb and Cr.

    Raises
    ------
    FrameDecodeError
        The sample is damaged.
    """
    header, is_frame = coded.header, coded.field is None
    n_shown = header.n_pictures if is_frame else 1
    n_lines = 2 * n_shown * -(-header.height // (16 * header.n_pictures))
    whole = replace(coded, window=(slice(0, n_lines), slice(0, header.width // 8)))
    decoded = _decode_planes(kernel, whole, 8, luma_only=luma_only)
    planes: list[npt.NDArray[np.uint16]] = list(decoded)[: 1 if luma_only else 3]
    if n_shown == 2:  # alternating lines of both fields
        codes = [plane.view(np.int16) for plane in planes]
        planes = [weave_fields((each[::2] + each[1::2])[None])[0].view(np.uint16) for each in codes]
    n_rows, chroma_width = header.height // (8 if is_frame else 16), -(-header.width // 2) // 8
    luma, *chroma = (plane[:n_rows].astype(np.uint16, copy=False) for plane in planes)
    return [luma, *(plane[:, :chroma_width] for plane in chroma)]


def _decode_planes(
    kernel: Kernel, coded: CodedWindow, reduce: int, *, luma_only: bool, out: Planes | None = None
) -> Planes:
    """The planes of a window that begins at the upper left corner."""
    coding = Coding.of(coded, reduce)
    height, width = (each.stop for each in coded.window)
    damage = coding.no_damage()
    p, n_bytes = _describe(coding, damage, n_planes=1 if luma_only else 3)
    if out is None:
        widths = (width, *((0, 0) if luma_only else ((width + 1) // 2,) * 2))
        out = Planes(*(np.empty((height, each), np.uint16) for each in widths))
    p[at.LAYOUT] = at.CODE if luma_only else at.PLANES
    p[at.ITEM_BYTES], p[at.BYTES_OF_PIXEL], p[at.N_ITEMS], p[at.STORES] = 2, 2, width, 1
    for place, plane in zip((at.OUT, at.OUT_CB, at.OUT_CR), out, strict=True):
        p[place : place + 2] = plane.ctypes.data, plane.strides[0]
    fault = kernel(_set_parameters(_find_memory(), p, n_bytes))
    if fault or damage.any():
        raise describe_damage(coded, coding, fault, damage)
    return out


def _find_memory() -> _Memory:
    memory: _Memory | None = getattr(_thread, "memory", None)
    if memory is None:
        memory = _thread.memory = _Memory()
    return memory


def _set_parameters(memory: _Memory, parameters: list[int], n_bytes: tuple[int, ...]) -> int:
    """Set parameters, and the addresses of a thread's working memory; returns their own address."""
    SET_PARAMETERS(memory.parameters, 0, *parameters)
    for place, address in zip(WORKING_MEMORY, memory.find(n_bytes), strict=True):
        memory.parameters[place] = address
    return memory.parameters_at


def _describe(coding: Coding, damage: DamageMap, *, n_planes: int) -> tuple[list[int], tuple[int, ...]]:
    """The parameters of a sample and of the wanted part of it, and the bytes of working memory."""
    memory, header, reduce, edges = _find_memory(), coding.header, coding.reduce, coding.edges
    data = np.frombuffer(coding.data, np.uint8)
    memory.matrices[:64], memory.matrices[64:] = header.luma_matrix, header.chroma_matrix
    p = [0] * at.N_PARAMETERS
    p[at.DATA : at.SCAN + 1] = (
        data.ctypes.data,
        len(data),
        header.frame_size,
        header.picture_offset,
        header.n_pictures,
        header.interlace == 2,
        memory.matrices_at,
        SCANS_AT[header.interlaced],
    )
    rows, columns = coding.window
    _, wanted = coding.wanted_slices(CHROMA_MARGIN if n_planes == 3 else 0)
    first_mb, stop_mb = edges[wanted.start], edges[wanted.stop]
    p[at.FIELD : at.PICTURE_CHROMA_WIDTH + 1] = (
        coding.field,
        n_planes,
        reduce,
        coding.n_rows,
        edges[-1],
        coding.log2_slice_width,
        first_mb,
        stop_mb,
        rows.start,
        rows.stop,
        columns.start,
        columns.stop - columns.start,
        (columns.stop + 1) // 2 - columns.start // 2,
        (coding.width + 1) // 2,
    )
    stride = -(-2 * ((stop_mb - first_mb) * 16 // reduce + PAD_PIXELS) // 64) * 64
    max_jobs = coding.n_shown * n_planes * (len(edges) - 1)
    strip_bytes = 2 * coding.lines_per_row * stride + 64
    p[at.DAMAGE] = damage.ctypes.data
    p[at.MAX_JOBS], p[at.STRIP_BYTES], p[at.STRIDE] = max_jobs, strip_bytes, stride
    n_bytes = (
        at.MAX_SLICE_BYTES + 2 * at.PADDING_BYTES,
        16 * coding.n_rows,
        2 * at.N_LANES * at.ROOM,
        at.BLOCKS_BYTES,
        at.N_LANES * at.LANE_BYTES + 64,
        2 * max_jobs * at.JOB_BYTES,
        at.N_STRIPS * strip_bytes,
        6 * (columns.stop - columns.start + PAD_PIXELS),
    )
    return p, n_bytes


def _set_format(p: list[int], pixel_format: PixelFormat, matrix: int, window: Window) -> None:
    """Set the pixel format."""
    memory = _find_memory()
    n_values, n_bytes = len(pixel_format.channels) or 1, pixel_format.dtype.itemsize
    width = window[1].stop - window[1].start
    if pixel_format.is_color:
        luma, chroma = color_scales(matrix, pixel_format.full_scale)
        memory.factors[:] = (*luma, *chroma, 0.5, at.NEUTRAL)
    factor, shift = GRAY_STRETCH.get(pixel_format.full_scale, (0, 0))
    p[at.LAYOUT : at.COLOR_FACTORS + 1] = (
        LAYOUTS[pixel_format.layout],
        n_bytes,
        n_bytes * n_values,
        width * n_values,
        not pixel_format.dtype.isnative,
        pixel_format.layout == "bgr",
        factor,
        shift,
        memory.factors_at,
    )


def _set_target(p: list[int], out: npt.NDArray[np.unsignedinteger] | Sums, pixel_format: PixelFormat) -> None:
    """Set the output address."""
    if isinstance(out, Sums):
        out.make_room()
        if not pixel_format.dtype.isnative:
            raise ValueError(f"sums of {pixel_format.name} need this machine's byte order")
        values, n_bytes = out.values, out.values.itemsize
        p[at.STORES : at.LINE_BYTES + 1] = 0, values.ctypes.data, n_bytes * values[0].size
        p[at.SUM_BYTES] = n_bytes
        return
    p[at.STORES : at.LINE_BYTES + 1] = 1, out.ctypes.data, out.strides[0]
