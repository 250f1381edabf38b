"""ProRes frames without decoding them: headers, slices, crops in the compressed domain, small previews.

Every slice of a ProRes frame is coded independently, and a table gives its position. This allows checks
of the frame's structure, smaller frames made of some of the slices, single fields, and previews made of the
DC coefficients alone. Everything here maps bytes to values: no I/O, and no call of libav.
"""

from camhd_access.formats.prores.crop import CroppedFrame, crop_field, crop_frame, walk_crop
from camhd_access.formats.prores.header import (
    FrameHeader,
    max_sample_bytes,
    min_sample_bytes,
    parse_frame_header,
)
from camhd_access.formats.prores.preview import decode_preview, weave_fields
from camhd_access.formats.prores.slices import Frame, Picture, check_frame, walk_frame
from camhd_access.ranges import Walk, run_walk

__all__ = [
    "CroppedFrame",
    "Frame",
    "FrameHeader",
    "Picture",
    "Walk",
    "check_frame",
    "crop_field",
    "crop_frame",
    "decode_preview",
    "max_sample_bytes",
    "min_sample_bytes",
    "parse_frame_header",
    "run_walk",
    "walk_crop",
    "walk_frame",
    "weave_fields",
]
