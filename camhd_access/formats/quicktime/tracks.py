"""Tracks → `moov` bytes: writes a QuickTime index from tables of numbers.

One `Track` describes video, sound or timecode: its kind, which may come from another movie, and its
tables. `build_moov` turns tracks into the index. Its length depends on counts and durations, never on sizes
or offsets, so space for `moov` can be reserved before anything is encoded. The layout is that of Apple's own
files: `tkhd`, `edts`, then `mdia` with two `hdlr`, and 64-bit chunk offsets throughout.

Source: QuickTime File Format (Apple, 2016), chapters "Movie Atoms" and "Media Data Atom Types".
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import UnsupportedMovieError

__all__ = [
    "FILE_TYPE",
    "UNSEEN",
    "VIDEO_HEADER",
    "Track",
    "TrackKind",
    "build_atom",
    "build_geometry",
    "build_mdat_header",
    "build_moov",
    "build_stbl",
    "build_video_entry",
]

MAX_MEDIA_TICKS, MAX_START_TICKS = (1 << 32) - 1, (1 << 31) - 1
"""What fits into 32 bits: 39 and 19 hours at 30,000 ticks a second."""

_IDENTITY_MATRIX = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def build_atom(kind: bytes, *parts: bytes) -> bytes:
    """An atom with a 32-bit size."""
    return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def build_mdat_header(n_bytes: int) -> bytes:
    """The 16 bytes before `n_bytes` of media: `mdat` with a 64-bit size."""
    return struct.pack(">I4sQ", 1, b"mdat", 16 + n_bytes)


def build_geometry(width: int, height: int) -> bytes:
    """The end of `tkhd`: frames are shown upright, in this size."""
    return _IDENTITY_MATRIX + struct.pack(">II", width << 16, height << 16)


def build_video_entry(codec: bytes, name: bytes, width: int, height: int, *extensions: bytes) -> bytes:
    """An entry of `stsd` for video of square pixels, 24 bits deep; `name` is informative."""
    fields = struct.pack(">6xHHH4sII", 1, 0, 0, b"appl", 0, 1023)
    fields += struct.pack(">HHIIIH", width, height, 72 << 16, 72 << 16, 0, 1)
    return build_atom(codec, fields + struct.pack(">32pHh", name, 24, -1), *extensions)


FILE_TYPE = build_atom(b"ftyp", b"qt  ", struct.pack(">I", 0x20050300), b"qt  ", bytes(4))
UNSEEN = build_geometry(0, 0)
"""Geometry of sound, and of timecode that is not drawn."""
VIDEO_HEADER = build_atom(b"vmhd", struct.pack(">IHHHH", 1, 0x40, 0x8000, 0x8000, 0x8000))
"""Media header of any video."""


@dataclass(frozen=True, slots=True)
class TrackKind:
    """The description of a track (video, sound or timecode) apart from its tables."""

    handler: bytes
    """Component subtype of the media: `vide`, `soun` or `tmcd`."""
    media_header: bytes
    """The first child of `minf`: `vmhd`, `smhd` or `gmhd`."""
    sample_description: bytes
    """The only entry of `stsd`."""
    timescale: int
    """Ticks per second."""
    geometry: bytes = UNSEEN
    """The last 44 bytes of `tkhd`: matrix, width and height on the screen."""


@dataclass(frozen=True, slots=True)
class Track:
    """One track with its tables."""

    kind: TrackKind
    """Video, sound or timecode."""
    sample_ticks: int | NDArray[np.int64]
    """Duration of each sample, or one for all."""
    sample_sizes: int | NDArray[np.int64]
    """Bytes of each sample, or one size for all."""
    samples_per_chunk: NDArray[np.int64]
    """Number of samples of each chunk."""
    chunk_offsets: NDArray[np.int64]
    """First byte of each chunk in the file."""
    start_ticks: int = 0
    """Media time at which players begin; without `composition_ticks` that of the first sample."""
    composition_ticks: NDArray[np.int64] | None = None
    """Presentation time of each sample minus the time when it is decoded; None: both are the same."""
    sync_samples: NDArray[np.int64] | None = None
    """Numbers of the samples from which decoding may begin, from 0; None: all."""
    shown_ticks: int | None = None
    """How long players show it; None: to the end."""
    delay_ticks: int = 0
    """Pause before players begin, in ticks of the movie."""

    def __post_init__(self) -> None:
        if not (0 <= self.media_ticks <= MAX_MEDIA_TICKS and 0 <= self.start_ticks <= MAX_START_TICKS):
            raise UnsupportedMovieError(
                f"a track of {self.media_ticks} ticks from tick {self.start_ticks} on does not fit into "
                "32-bit times; select fewer frames"
            )

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return int(self.samples_per_chunk.sum())

    @property
    def media_ticks(self) -> int:
        """Duration."""
        if isinstance(self.sample_ticks, int):
            return self.n_samples * self.sample_ticks
        return int(self.sample_ticks.sum())

    @property
    def movie_ticks(self) -> int:
        """Its part of the movie, with the pause before it, if it has the time scale of the movie."""
        return self.delay_ticks + (self.media_ticks if self.shown_ticks is None else self.shown_ticks)


def build_moov(tracks: list[Track], creation_time: int, metadata: bytes = b"") -> bytes:
    """The movie atom; `creation_time` in seconds since 1904; the movie is as long as the first track.

    The first track refers to the timecode track, if there is one. `metadata` is a whole atom, or nothing.
    """
    timescale, duration = tracks[0].kind.timescale, tracks[0].movie_ticks
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
    return build_atom(b"moov", build_atom(b"mvhd", mvhd), *traks, metadata)


def _build_trak(track: Track, track_id: int, creation_time: int, movie_ticks: int, reference: bytes) -> bytes:
    kind = track.kind
    volume = 0x100 if kind.handler == b"soun" else 0
    tkhd = struct.pack(
        ">IIIIIIQHHHH", 0xF, creation_time, creation_time, track_id, 0, movie_ticks, 0, 0, 0, volume, 0
    )
    edits = [(movie_ticks - track.delay_ticks, track.start_ticks, 1 << 16)]
    if track.delay_ticks:
        edits.insert(0, (track.delay_ticks, -1, 1 << 16))
    elst = struct.pack(">II", 0, len(edits)) + b"".join(struct.pack(">Iii", *edit) for edit in edits)
    mdhd = struct.pack(">IIIIIHH", 0, creation_time, creation_time, kind.timescale, track.media_ticks, 0, 0)
    self_reference = build_atom(b"alis", struct.pack(">I", 1))
    minf = build_atom(
        b"minf",
        kind.media_header,
        _build_hdlr(b"dhlr", b"alis"),
        build_atom(b"dinf", build_atom(b"dref", struct.pack(">II", 0, 1), self_reference)),
        build_stbl(track),
    )
    return build_atom(
        b"trak",
        build_atom(b"tkhd", tkhd, kind.geometry),
        build_atom(b"edts", build_atom(b"elst", elst)),
        reference,
        build_atom(b"mdia", build_atom(b"mdhd", mdhd), _build_hdlr(b"mhlr", kind.handler), minf),
    )


def _build_hdlr(component: bytes, subtype: bytes) -> bytes:
    return build_atom(b"hdlr", bytes(4), component, subtype, b"appl", bytes(8), b"\x00")


def build_stbl(track: Track) -> bytes:
    """The tables of a track."""
    counts, n_samples = track.samples_per_chunk, track.n_samples
    changes = _changes(counts)
    stsc = np.stack([changes + 1, counts[changes], np.ones_like(changes)], axis=1)
    if isinstance(track.sample_sizes, int):
        stsz = struct.pack(">III", 0, track.sample_sizes, n_samples)
    else:
        stsz = struct.pack(">III", 0, 0, n_samples) + track.sample_sizes.astype(">u4").tobytes()
    offsets = track.start_ticks if track.composition_ticks is None else track.composition_ticks
    is_offset, sync = bool(np.any(offsets)), track.sync_samples
    return build_atom(
        b"stbl",
        build_atom(b"stsd", struct.pack(">II", 0, 1), track.kind.sample_description),
        _build_table(b"stts", _count_runs(track.sample_ticks, n_samples)),
        _build_table(b"ctts", _count_runs(offsets, n_samples)) if is_offset else b"",
        b"" if sync is None else _build_table(b"stss", sync + 1),
        _build_table(b"stsc", stsc),
        build_atom(b"stsz", stsz),
        _build_table(b"co64", track.chunk_offsets, ">u8"),
    )


def _build_table(kind: bytes, rows: NDArray[np.int64], dtype: str = ">u4") -> bytes:
    return build_atom(kind, struct.pack(">II", 0, len(rows)), rows.astype(dtype).tobytes())


def _count_runs(values: int | NDArray[np.int64], n_values: int) -> NDArray[np.int64]:
    """Rows of a run-length table: count and value."""
    if isinstance(values, int):
        return np.array([[n_values, values]])
    changes = _changes(values)
    return np.stack([np.diff(changes, append=n_values), values[changes]], axis=1)


def _changes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of values that differ from the previous one; the first is always included."""
    return np.flatnonzero(np.diff(values, prepend=-1))
