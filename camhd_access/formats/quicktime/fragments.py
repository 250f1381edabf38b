"""Movie fragments (`moof`) → sample tables, after those in `moov`.

A fragmented movie lists its samples where they are written: each fragment has, for each track, runs of
samples (`trun`), whose common properties are in the fragment (`tfhd`) or for the whole movie (`trex`). The
result is the same `SampleTables` as for other movies. Counts are checked before they are expanded: a few
bytes can claim 4 billion samples.

Source: ISO/IEC 14496-12, 8.8: `trex` 8.8.3, `tfhd` 8.8.7, `trun` 8.8.8, `tfdt` 8.8.12.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import InvalidMovieError, UnsupportedMovieError
from camhd_access.formats.quicktime.atoms import Atom, parse_header
from camhd_access.formats.quicktime.tables import MAX_FRAMES, MAX_TICKS, SampleTables, parse_sample_tables

__all__ = ["Fragment", "lists_samples", "parse_fragments"]

MAX_RUNS = 1 << 18
"""Limit for runs of samples, of all tracks: a week in fragments of 2 seconds. Bounds memory."""

_MAX_PLACE = 1 << 62  # bytes and ticks below this leave room for the sizes and durations of samples
_NOT_SYNC = 0x0101_0000  # sample flags: depends on others, or is no sync sample (8.8.3.1); as in libav

_HAS_BASE, _BASE_IS_MOOF = 0x1, 0x2_0000  # flags of tfhd
_HAS_OFFSET, _HAS_FIRST_FLAGS = 0x1, 0x4  # flags of trun
_FIELDS = {"duration": 0x100, "size": 0x200, "flags": 0x400, "composition": 0x800}  # of each sample in trun
_DEFAULTS = {"description": 0x2, "duration": 0x8, "size": 0x10, "flags": 0x20}  # in tfhd, in this order


class Fragment(NamedTuple):
    """A `moof` atom."""

    data: bytes
    """The whole atom, header included."""
    offset: int
    """Its first byte in the file."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One `trun` atom with all that it inherits."""

    start: int
    """First byte of its samples in the file."""
    n_samples: int
    rows: NDArray[np.void]
    """The fields of each sample that it lists; other fields are in `common`."""
    common: dict[str, int]
    first_flags: int | None
    """Flags of the first sample, if they differ from the others'."""
    atom: Atom

    @property
    def n_bytes(self) -> int:
        """Bytes of all samples."""
        if "size" in (self.rows.dtype.names or ()):
            return int(self.rows["size"].sum(dtype=np.int64))
        return self.n_samples * self.common["size"]

    def values(self, field: str) -> NDArray[np.int64]:
        """One field of each sample."""
        if field in (self.rows.dtype.names or ()):
            return self.rows[field].astype(np.int64)
        return np.full(self.n_samples, self.common[field], np.int64)


def parse_fragments(moov: Atom, track: Atom, fragments: Sequence[Fragment]) -> SampleTables:
    """The samples of a track, in `moov` and in the fragments after it.

    Raises
    ------
    InvalidMovieError
        A fragment is truncated, inconsistent, or out of range; or the track has no samples.
    UnsupportedMovieError
        More than `MAX_FRAMES` samples or `MAX_RUNS` runs.
    """
    track_id = _parse_track_id(track)
    defaults = _parse_defaults(moov)
    if track_id not in defaults:
        raise moov.need("mvex").error(f"has no trex for track {track_id}")
    stbl = track.need("mdia", "minf", "stbl")
    tables = parse_sample_tables(stbl) if lists_samples(stbl) else None
    parts, n_samples = ([tables] if tables else []), len(tables.size) if tables else 0
    ticks = int((tables.duration).sum()) if tables else 0
    n_runs = 0
    for fragment in fragments:
        for traf_id, begin, runs in _iter_track_fragments(_open_fragment(fragment), defaults):
            n_runs += len(runs)
            if n_runs > MAX_RUNS:
                raise UnsupportedMovieError(
                    f"moof atom at byte {fragment.offset}: the movie has more than {MAX_RUNS} runs of "
                    "samples (trun); remux it with `ffmpeg -c copy`"
                )
            if traf_id != track_id:
                continue
            ticks = ticks if begin is None else begin
            for run in runs:
                n_samples += run.n_samples
                if n_samples > MAX_FRAMES:
                    raise UnsupportedMovieError(
                        f"trun atom at byte {run.atom.offset}: the movie has {n_samples} frames or more; at "
                        f"most {MAX_FRAMES} are read"
                    )
                if run.n_samples:
                    parts.append(_expand(run, ticks))
                    ticks += int(parts[-1].duration.sum())
    if not parts:
        raise moov.error("the video track has no frames, and no fragment has")
    return SampleTables(
        offset=np.concatenate([part.offset for part in parts]),
        size=np.concatenate([part.size for part in parts]),
        pts=np.concatenate([part.pts for part in parts]),
        duration=np.concatenate([part.duration for part in parts]),
        is_sync=np.concatenate([part.is_sync for part in parts]),
        descriptions=tuple(sorted({number for part in parts for number in part.descriptions})),
    )


def lists_samples(stbl: Atom) -> bool:
    """Whether `moov` itself lists samples of a fragmented movie; usually none."""
    stsz = stbl.find("stsz")
    return bool(stsz and stsz.unpack("I", 8)[0])


def _parse_track_id(track: Atom) -> int:
    tkhd = track.need("tkhd")
    (version,) = tkhd.unpack("B", 0)
    return int(tkhd.unpack("I", 20 if version else 12)[0])


def _parse_defaults(moov: Atom) -> dict[int, dict[str, int]]:
    """What the samples of each track inherit (`trex`)."""
    rows = [atom.unpack("5I", 4) for atom in moov.need("mvex").children() if atom.type == "trex"]
    return {track_id: dict(zip(_DEFAULTS, values, strict=True)) for track_id, *values in rows}


def _open_fragment(fragment: Fragment) -> Atom:
    data, offset = fragment
    header = parse_header(data)
    if header is None or header.type != "moof" or header.size != len(data):
        raise InvalidMovieError(f"no whole moof atom at byte {offset}: {data[:16]!r}")
    return Atom("moof", memoryview(data)[header.n_bytes :], offset, offset + header.n_bytes)


def _iter_track_fragments(
    moof: Atom, defaults: dict[int, dict[str, int]]
) -> Iterator[tuple[int, int | None, list[_Run]]]:
    """For each `traf`: its track, the decoding time of its first sample if it has one, and its runs.

    Notes
    -----
    Without a base, data follows that of the `traf` before (8.8.7.1), so all tracks are visited.
    """
    end = moof.offset
    for traf in moof.children():
        if traf.type != "traf":
            continue
        tfhd = traf.need("tfhd")
        flags, track_id = tfhd.unpack("II", 0)
        position = 8
        base = moof.offset if flags & _BASE_IS_MOOF else end
        if flags & _HAS_BASE:
            (base,) = tfhd.unpack("Q", position)
            position += 8
        common = {**dict.fromkeys(_DEFAULTS, 0), **defaults.get(track_id, {}), "composition": 0}
        for name, bit in _DEFAULTS.items():
            if flags & bit:
                (common[name],) = tfhd.unpack("I", position)
                position += 4
        runs: list[_Run] = []
        end = base
        for trun in traf.children():
            if trun.type == "trun":
                runs.append(_parse_run(trun, base, end, common))
                end = runs[-1].start + runs[-1].n_bytes
        yield track_id, _parse_begin(traf), runs


def _parse_begin(traf: Atom) -> int | None:
    """Decoding time of the first sample; None if the fragment follows the one before."""
    tfdt = traf.find("tfdt")
    if tfdt is None:
        return None
    (version,) = tfdt.unpack("B", 0)
    (ticks,) = tfdt.unpack("Q" if version else "I", 4)
    if ticks >= _MAX_PLACE:
        raise tfdt.error(f"begins at tick {ticks}, beyond 2^62")
    return int(ticks)


def _parse_run(trun: Atom, base: int, follows: int, common: dict[str, int]) -> _Run:
    """A run of samples, which starts at an offset from `base` or, without one, at byte `follows`."""
    flags, n_samples = trun.unpack("II", 0)
    position, start, first_flags = 8, follows, None
    if flags & _HAS_OFFSET:
        start = base + trun.unpack("i", position)[0]
        position += 4
    if flags & _HAS_FIRST_FLAGS:
        (first_flags,) = trun.unpack("I", position)
        position += 4
    # The composition offset of version 0 is unsigned in the standard; writers mean signed ones, as in ctts.
    row = np.dtype(
        [(name, ">i4" if name == "composition" else ">u4") for name in _FIELDS if flags & _FIELDS[name]]
    )
    n_held = (len(trun.payload) - position) // row.itemsize if row.itemsize else n_samples
    if n_samples > n_held:
        raise trun.error(f"claims {n_samples} samples but has room for {n_held}")
    rows: NDArray[Any] = (
        np.frombuffer(trun.payload, row, n_samples, position) if row.itemsize else np.empty(0, row)
    )
    run = _Run(start, n_samples, rows, common, first_flags, trun)
    if not 0 <= start <= start + run.n_bytes < _MAX_PLACE:
        raise trun.error(f"places {n_samples} samples at bytes {start} to {start + run.n_bytes}")
    return run


def _expand(run: _Run, ticks: int) -> SampleTables:
    """The samples of a run; the first is decoded at `ticks`."""
    size, duration, flags = run.values("size"), run.values("duration"), run.values("flags")
    if duration.max() > MAX_TICKS:
        raise run.atom.error(f"has a frame that lasts {duration.max()} ticks; at most {MAX_TICKS} are read")
    if run.first_flags is not None:
        flags[0] = run.first_flags
    if ticks + int(duration.sum()) >= _MAX_PLACE:
        raise run.atom.error(f"begins at tick {ticks}, beyond 2^62")
    return SampleTables(
        offset=run.start + np.cumsum(size) - size,
        size=size,
        pts=ticks + np.cumsum(duration) - duration + run.values("composition"),
        duration=duration,
        is_sync=(flags & _NOT_SYNC) == 0,
        descriptions=(run.common["description"],),
    )
