"""The tracks of CamHD's recorder: sample descriptions and media headers.

The rest of `moov` is written by `quicktime.tracks`.

Source: QuickTime File Format (Apple, 2016), chapter "Media Data Atom Types".
"""

import struct

from camhd_access.formats.quicktime.tracks import (
    VIDEO_HEADER,
    TrackKind,
    build_atom,
    build_geometry,
    build_video_entry,
)

__all__ = [
    "WIDE",
    "sound_track_kind",
    "timecode_track_kind",
    "video_track_kind",
]

WIDE = build_atom(b"wide")


def video_track_kind(width: int, height: int, *, interlaced: bool) -> TrackKind:
    """ProRes 422 at 30000/1001 frames a second, BT.709; interlaced means the top field first."""
    entry = build_video_entry(
        b"apcn",
        b"Apple ProRes 422",
        width,
        height,
        build_atom(b"fiel", bytes([2, 1]) if interlaced else bytes([1, 0])),
        build_atom(b"colr", struct.pack(">4sHHH", b"nclc", 1, 1, 1)),
        build_atom(b"pasp", struct.pack(">II", 1, 1)),
    )
    return TrackKind(b"vide", VIDEO_HEADER, entry, 30_000, build_geometry(width, height))


def sound_track_kind(sample_rate: int) -> TrackKind:
    """Big-endian 24-bit PCM, two channels, sound sample description version 1."""
    entry = struct.pack(">6xHHH4sHHhHI", 1, 1, 0, b"appl", 2, 16, 0, 0, sample_rate << 16)
    entry += struct.pack(">IIII", 1, 3, 6, 2)
    stereo = build_atom(b"chan", struct.pack(">IIII", 0, 101 << 16 | 2, 0, 0))
    smhd = build_atom(b"smhd", bytes(8))
    return TrackKind(b"soun", smhd, build_atom(b"in24", entry, stereo), sample_rate)


def timecode_track_kind() -> TrackKind:
    """Non-drop timecode of 30 frames per second, wrapping at 24 hours."""
    entry = struct.pack(">6xHIIIIBx", 1, 0, 2, 30_000, 1001, 30)
    gmin = build_atom(b"gmin", struct.pack(">IHHHHHH", 0, 0x40, 0x8000, 0x8000, 0x8000, 0, 0))
    tcmi = build_atom(b"tcmi", struct.pack(">IHHHHHHHHHH", 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0), b"\x05Arial")
    gmhd = build_atom(b"gmhd", gmin, build_atom(b"tmcd", tcmi))
    return TrackKind(b"tmcd", gmhd, build_atom(b"tmcd", entry), 30_000)
