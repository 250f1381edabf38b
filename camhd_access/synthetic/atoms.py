"""QuickTime atoms as a recorder writes them: tables of numbers in, the bytes of `moov` out.

One `Track` describes video, sound or timecode; `build_moov` turns tracks into the index. Nothing here depends
on values but on counts alone for its length, so `moov` can be sized before any frame is coded. The layout is
that of Apple's own files: `tkhd`, `edts`, then `mdia` with two `hdlr`, and 64-bit chunk offsets throughout.

Source: QuickTime File Format (Apple, 2016), chapters "Movie Atoms" and "Media Data Atom Types".
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FILE_TYPE",
    "WIDE",
    "Track",
    "build_atom",
    "build_mdat_header",
    "build_moov",
    "sound_track_kind",
    "timecode_track_kind",
    "video_track_kind",
]

_IDENTITY_MATRIX = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def build_atom(kind: bytes, *parts: bytes) -> bytes:
    """An atom with a 32-bit size."""
    return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def build_mdat_header(n_bytes: int) -> bytes:
    """The 16 bytes before `n_bytes` of media: `mdat` with a 64-bit size."""
    return struct.pack(">I4sQ", 1, b"mdat", 16 + n_bytes)


FILE_TYPE = build_atom(b"ftyp", b"qt  ", struct.pack(">I", 0x20050300), b"qt  ", bytes(4))
WIDE = build_atom(b"wide")


@dataclass(frozen=True, slots=True)
class TrackKind:
    """What tells a video, sound or timecode track from another, beside its tables."""

    handler: bytes
    """Component subtype of the media: `vide`, `soun` or `tmcd`."""
    media_header: bytes
    """The first child of `minf`: `vmhd`, `smhd` or `gmhd`."""
    sample_description: bytes
    """The only entry of `stsd`."""
    timescale: int
    """Ticks a second."""
    width: int = 0
    """Pixels; 0 for what is not seen."""
    height: int = 0
    """Lines; 0 for what is not seen."""


@dataclass(frozen=True, slots=True)
class Track:
    """One track with its tables."""

    kind: TrackKind
    """Video, sound or timecode."""
    sample_ticks: int
    """Duration of each sample."""
    sample_sizes: int | NDArray[np.int64]
    """Bytes of each sample, or the size that all have."""
    samples_per_chunk: NDArray[np.int64]
    """Number of samples of each chunk."""
    chunk_offsets: NDArray[np.int64]
    """Where each chunk starts in the file, bytes."""

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return int(self.samples_per_chunk.sum())

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.n_samples * self.sample_ticks / self.kind.timescale


def video_track_kind(width: int, height: int, *, interlaced: bool) -> TrackKind:
    """ProRes 422 at 30000/1001 frames a second, BT.709; interlaced means the top field first."""
    entry = struct.pack(">6xHHH4sII", 1, 0, 0, b"appl", 0, 1023)
    entry += struct.pack(">HHIIIH", width, height, 72 << 16, 72 << 16, 0, 1)
    entry += struct.pack(">32pHh", b"Apple ProRes 422", 24, -1)
    field_order = bytes([2, 1]) if interlaced else bytes([1, 0])
    extensions = (
        build_atom(b"fiel", field_order),
        build_atom(b"colr", struct.pack(">4sHHH", b"nclc", 1, 1, 1)),
        build_atom(b"pasp", struct.pack(">II", 1, 1)),
    )
    vmhd = build_atom(b"vmhd", struct.pack(">IHHHH", 1, 0x40, 0x8000, 0x8000, 0x8000))
    return TrackKind(b"vide", vmhd, build_atom(b"apcn", entry, *extensions), 30_000, width, height)


def sound_track_kind(sample_rate: int) -> TrackKind:
    """Big-endian 24-bit PCM, two channels, sound sample description version 1."""
    entry = struct.pack(">6xHHH4sHHhHI", 1, 1, 0, b"appl", 2, 16, 0, 0, sample_rate << 16)
    entry += struct.pack(">IIII", 1, 3, 6, 2)
    stereo = build_atom(b"chan", struct.pack(">IIII", 0, 101 << 16 | 2, 0, 0))
    smhd = build_atom(b"smhd", bytes(8))
    return TrackKind(b"soun", smhd, build_atom(b"in24", entry, stereo), sample_rate)


def timecode_track_kind() -> TrackKind:
    """Non-drop timecode of 30 frames to the second, wrapping at 24 hours."""
    entry = struct.pack(">6xHIIIIBx", 1, 0, 2, 30_000, 1001, 30)
    gmin = build_atom(b"gmin", struct.pack(">IHHHHHH", 0, 0x40, 0x8000, 0x8000, 0x8000, 0, 0))
    tcmi = build_atom(b"tcmi", struct.pack(">IHHHHHHHHHH", 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0), b"\x05Arial")
    gmhd = build_atom(b"gmhd", gmin, build_atom(b"tmcd", tcmi))
    return TrackKind(b"tmcd", gmhd, build_atom(b"tmcd", entry), 30_000)


def build_moov(tracks: list[Track], creation_time: int) -> bytes:
    """The movie atom; `creation_time` in seconds since 1904, the movie lasts as long as the first track.

    The first track refers to a timecode track where there is one.
    """
    timescale = tracks[0].kind.timescale
    duration = round(tracks[0].seconds * timescale)
    mvhd = struct.pack(">IIIIIIH10x", 0, creation_time, creation_time, timescale, duration, 1 << 16, 1 << 8)
    mvhd += _IDENTITY_MATRIX + struct.pack(">24xI", len(tracks) + 1)
    handlers = [track.kind.handler for track in tracks]
    traks = []
    for track_id, track in enumerate(tracks, 1):
        reference = b""
        if track_id == 1 and b"tmcd" in handlers:
            timecode_id = struct.pack(">I", 1 + handlers.index(b"tmcd"))
            reference = build_atom(b"tref", build_atom(b"tmcd", timecode_id))
        traks.append(_build_trak(track, track_id, creation_time, duration, reference))
    return build_atom(b"moov", build_atom(b"mvhd", mvhd), *traks)


def _build_trak(track: Track, track_id: int, creation_time: int, movie_ticks: int, reference: bytes) -> bytes:
    kind = track.kind
    volume = 0x100 if kind.handler == b"soun" else 0
    tkhd = struct.pack(
        ">IIIIIIQHHHH", 0xF, creation_time, creation_time, track_id, 0, movie_ticks, 0, 0, 0, volume, 0
    )
    tkhd += _IDENTITY_MATRIX + struct.pack(">II", kind.width << 16, kind.height << 16)
    elst = struct.pack(">IIIii", 0, 1, movie_ticks, 0, 1 << 16)
    media_ticks = track.n_samples * track.sample_ticks
    mdhd = struct.pack(">IIIIIHH", 0, creation_time, creation_time, kind.timescale, media_ticks, 0, 0)
    self_reference = build_atom(b"alis", struct.pack(">I", 1))
    minf = build_atom(
        b"minf",
        kind.media_header,
        _build_hdlr(b"dhlr", b"alis"),
        build_atom(b"dinf", build_atom(b"dref", struct.pack(">II", 0, 1), self_reference)),
        _build_stbl(track),
    )
    return build_atom(
        b"trak",
        build_atom(b"tkhd", tkhd),
        build_atom(b"edts", build_atom(b"elst", elst)),
        reference,
        build_atom(b"mdia", build_atom(b"mdhd", mdhd), _build_hdlr(b"mhlr", kind.handler), minf),
    )


def _build_hdlr(component: bytes, subtype: bytes) -> bytes:
    return build_atom(b"hdlr", bytes(4), component, subtype, b"appl", bytes(8), b"\x00")


def _build_stbl(track: Track) -> bytes:
    counts = track.samples_per_chunk
    run_starts = np.flatnonzero(np.diff(counts, prepend=-1))
    stsc = np.stack([run_starts + 1, counts[run_starts], np.ones_like(run_starts)], axis=1)
    if isinstance(track.sample_sizes, int):
        stsz = struct.pack(">III", 0, track.sample_sizes, track.n_samples)
    else:
        stsz = struct.pack(">III", 0, 0, track.n_samples) + track.sample_sizes.astype(">u4").tobytes()
    n_chunks = len(track.chunk_offsets)
    return build_atom(
        b"stbl",
        build_atom(b"stsd", struct.pack(">II", 0, 1), track.kind.sample_description),
        build_atom(b"stts", struct.pack(">IIII", 0, 1, track.n_samples, track.sample_ticks)),
        build_atom(b"stsc", struct.pack(">II", 0, len(stsc)), stsc.astype(">u4").tobytes()),
        build_atom(b"stsz", stsz),
        build_atom(b"co64", struct.pack(">II", 0, n_chunks), track.chunk_offsets.astype(">u8").tobytes()),
    )
