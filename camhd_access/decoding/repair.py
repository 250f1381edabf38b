"""Finds the slices of a damaged frame that libav can decode, and decodes those.

libav reports that a frame is damaged, not where. So each slice is decoded alone, in a frame of its own;
rejected slices are replaced by flat ones, and the frame is decoded once more. The
result equals that of the package's own decoder: the same damage map, the same pixels outside it.
"""

import struct
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from camhd_access.decoding import libav, low_pass
from camhd_access.decoding.damage import (
    IS_SOMEWHERE,
    CodedSlices,
    Coding,
    DamageMap,
    blank,
    describe_damage,
    preview_marks,
)
from camhd_access.decoding.pixels import CHROMA_MARGIN, PixelFormat
from camhd_access.decoding.windows import CodedWindow, Marks
from camhd_access.errors import FrameDecodeError
from camhd_access.formats.prores import parse_frame_header, walk_frame
from camhd_access.formats.prores.crop import cut_slice
from camhd_access.formats.prores.slices import slice_widths
from camhd_access.ranges import run_walk

__all__ = ["decode_repaired", "explain", "explain_preview", "repair_preview"]


def explain(coded: CodedWindow, error: FrameDecodeError, *, luma_only: bool) -> FrameDecodeError:
    """The error that names the first slice that libav rejects; `error` if there is none."""
    if coded.header.chroma != "422" or coded.header.alpha_bits:
        return error
    coding = Coding.of(coded, 1)
    run_walk(walk_frame(len(coding.data), n_pictures=coding.n_walked), coding.data)  # raises if inconsistent
    damage = _find_damage(coding, luma_only=luma_only)
    return describe_damage(coded, coding, 0, damage) if damage.any() else error


def decode_repaired(
    coded: CodedWindow,
    *,
    pixel_format: PixelFormat,
    track_matrix: int | None,
    out: npt.NDArray[np.unsignedinteger],
) -> Marks | None:
    """Fill `out` with the intact part of a damaged window, and with 0 elsewhere; returns the damage mask.

    Notes
    -----
    Takes a tenth of a second for 1920x1080. 4:4:4 frames and frames with alpha are masked completely.
    """
    marks: Marks | None = np.ones(out.shape[:2], np.bool_)
    try:
        if coded.header.chroma == "422" and not coded.header.alpha_bits:
            coding = Coding.of(coded, 1)
            damage = _find_damage(coding, luma_only=not pixel_format.is_color)
            whole = _repair(coding, damage)
            crop = coded.crop and replace(coded.crop, data=whole)
            repaired = replace(coded, data=whole, crop=crop)
            libav.decode_window(repaired, pixel_format=pixel_format, track_matrix=track_matrix, out=out)
            return blank(coding, damage, out, in_color=pixel_format.is_color)
    except FrameDecodeError:
        pass
    out[...] = 0
    return marks


def explain_preview(coded: CodedWindow, error: FrameDecodeError, *, luma_only: bool) -> FrameDecodeError:
    """The error that names the first slice whose DC coefficients cannot be read; `error` if there is none."""
    if coded.header.chroma != "422" or coded.header.alpha_bits:
        return error
    coding, damage = _find_preview_damage(coded, luma_only=luma_only)
    return describe_damage(coded, coding, 0, damage) if damage.any() else error


def repair_preview(coded: CodedWindow, *, luma_only: bool) -> tuple[CodedWindow | None, Marks]:
    """A damaged frame with flat slices in place of damaged ones, and the mask of the window's block means.

    None, and a mask of everything, if no part of the frame can be read.
    """
    try:
        if coded.header.chroma == "422" and not coded.header.alpha_bits:
            coding, damage = _find_preview_damage(coded, luma_only=luma_only)
            data = _repair(coding, damage)
            repaired = replace(coded, data=data, header=parse_frame_header(data))
            return repaired, preview_marks(coding, damage, in_color=not luma_only)[coded.window]
    except FrameDecodeError:
        pass
    size = tuple(extent.stop - extent.start for extent in coded.window)
    return None, np.ones(size, np.bool_)


def _find_preview_damage(coded: CodedWindow, *, luma_only: bool) -> tuple[Coding, DamageMap]:
    """The slices of a whole frame or field whose DC coefficients cannot be read."""
    coding = Coding.of(coded, 8)
    return coding, low_pass.find_damage(coding, luma_only=luma_only)


def _find_damage(coding: Coding, *, luma_only: bool) -> DamageMap:
    """The map of the window's slices that libav rejects, or whose headers are inconsistent."""
    damage = coding.no_damage()
    rows, columns = coding.wanted_slices(0 if luma_only else CHROMA_MARGIN)
    wanted = damage[:, rows, columns]
    pictures = coding.find_pictures()[max(coding.field, 0) :]
    CodedSlices.of(coding, pictures, (rows, columns), 1 if luma_only else 3, wanted)
    for shown, row, column in np.argwhere(wanted == 0).tolist():
        picture, place = pictures[shown], (rows.start + row, columns.start + column)
        assert picture is not None  # noqa: S101 - for mypy: its slices are missing
        alone = cut_slice(coding.data, coding.header, picture, place)
        try:
            libav.decode_planes(alone, luma_only=luma_only, is_crop=True)
        except FrameDecodeError:
            wanted[shown, row, column] = IS_SOMEWHERE
    return damage


def _repair(coding: Coding, damage: DamageMap) -> bytes:
    """The frame with flat slices in place of damaged ones."""
    header = coding.header
    data = bytes(coding.data).ljust(header.frame_size, b"\0")
    widths = slice_widths(-(-header.width // 16), coding.log2_slice_width)
    plain = [_plain_slice(width) for width in widths]
    parts = []
    pictures = coding.find_pictures()
    for number, picture in enumerate(pictures + [None] * (header.n_pictures - len(pictures))):
        shown = number - max(coding.field, 0)
        slices = []
        for row in range(damage.shape[1]):
            for column in range(damage.shape[2]):
                if picture is None or shown < 0 or damage[shown, row, column]:
                    slices.append(plain[column])
                else:
                    start = int(picture.slice_offset[row, column])
                    slices.append(data[start : start + int(picture.slice_size[row, column])])
        table = struct.pack(f">{len(slices)}H", *map(len, slices))
        size = 8 + len(table) + sum(map(len, slices))
        parts.append(struct.pack(">BIHB", 8 << 3, size, len(slices), coding.log2_slice_width << 4) + table)
        parts += slices
    size = 8 + len(header.raw) + sum(map(len, parts))
    return b"".join((struct.pack(">I4s", size, b"icpf"), header.raw, *parts))


def _plain_slice(width: int) -> bytes:
    """A flat slice of this many macroblocks: all coefficients are 0."""
    luma, chroma = (_plain_plane(n * width) for n in (4, 2))
    return struct.pack(">BBHH", 6 << 3, 1, len(luma), len(chroma)) + luma + 2 * chroma


def _plain_plane(n_blocks: int) -> bytes:
    """DC coefficients of 0: six bits for the first, four for the second, one for each other."""
    bits = "100000" + "1000"[: 4 * (n_blocks > 1)] + "1" * (n_blocks - 2)
    n_bytes = -(-len(bits) // 8)
    return int(bits.ljust(8 * n_bytes, "0"), 2).to_bytes(n_bytes)
