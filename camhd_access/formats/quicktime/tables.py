"""The sample tables of a track → arrays with one item per frame.

`stbl` is run-length coded: durations of samples (`stts`), samples per chunk from some chunk on
(`stsc`), plus the size of each sample (`stsz`) and the offset of each chunk (`stco`, `co64`). All tables must
agree on the number of frames, and this is checked on the runs, before they are expanded: a few bytes can
claim 4 billion frames. Then a handful of numpy calls expand them.

Source: QTFF, "Sample Table Atoms". Cost: 25,000 frames in a quarter of a millisecond, 33 bytes per frame.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import UnsupportedMovieError
from camhd_access.formats.quicktime.atoms import Atom

__all__ = ["MAX_FRAMES", "SampleTables", "parse_sample_tables"]

MAX_FRAMES = 3_500_000
"""32 hours of video. The longest movie of the archive has 3.2 million frames; memory stays below 200 MB."""

MAX_TICKS = (1 << 31) - 1
"""Limit for the duration of a frame. In QTFF the field is signed and positive."""

Ints = NDArray[np.int64]

_STTS_ROW = np.dtype([("n_samples", ">u4"), ("ticks", ">u4")])
_SBGP_ROW = np.dtype([("n_samples", ">u4"), ("group", ">u4")])
_CTTS_ROW = np.dtype([("n_samples", ">u4"), ("ticks", ">i4")])
_STSC_ROW = np.dtype([("first_chunk", ">u4"), ("n_samples", ">u4"), ("description", ">u4")])


class SampleTables(NamedTuple):
    """The content of `stbl` for each sample, and the sample descriptions it refers to."""

    offset: Ints
    size: Ints
    pts: Ints
    duration: Ints
    is_sync: NDArray[np.bool_]
    descriptions: tuple[int, ...]
    """Numbers, from 1, of the entries of `stsd` that the samples use."""


def parse_sample_tables(stbl: Atom) -> SampleTables:
    """Offset, size, time and duration of every sample of a track.

    Raises
    ------
    InvalidMovieError
        A table is missing, truncated, out of range, or contradicts another one.
    UnsupportedMovieError
        The tables agree on more than `MAX_FRAMES` frames, or sizes are in the compact table `stz2`.
    """
    stsz, n_frames = _count_samples(stbl)
    stts = stbl.need("stts")
    times = _runs(stts, _STTS_ROW, n_frames)
    if times["ticks"].max() > MAX_TICKS:  # negative ones, of some old files, as unsigned
        raise stts.error(f"has a frame that lasts {times['ticks'].max()} ticks; at most {MAX_TICKS} are read")
    chunks = _chunk_runs(stbl, n_frames)
    if n_frames > MAX_FRAMES:
        raise UnsupportedMovieError(f"the movie has {n_frames} frames; at most {MAX_FRAMES} are read")
    size = _sizes(stsz, n_frames)
    offset = _offsets(chunks, size)
    duration = _expand(times)
    pts = np.cumsum(duration)
    pts -= duration
    if ctts := stbl.find("ctts"):
        # Version 0 is unsigned in ISO/IEC 14496-12, signed in QTFF; no movie has times that large.
        pts += _expand(_runs(ctts, _CTTS_ROW, n_frames))
    return SampleTables(
        offset=offset,
        size=size,
        pts=pts,
        duration=duration,
        is_sync=_sync(stbl, n_frames),
        # Not by np.unique, which imports numpy.ma: a tenth of what it takes to open a first movie.
        descriptions=tuple(sorted(set(chunks.rows["description"].tolist()))),
    )


def _count_samples(stbl: Atom) -> tuple[Atom, int]:
    """The `stsz` atom, and its number of samples."""
    stsz = stbl.find("stsz")
    if stsz is None:
        if stbl.find("stz2"):
            raise UnsupportedMovieError("sample sizes are in the compact form stz2, which is not read")
        raise stbl.error("has no stsz atom")
    (n_samples,) = stsz.unpack("I", 8)
    if not n_samples:
        raise stsz.error("the video track has no frames")
    return stsz, n_samples


def _sizes(stsz: Atom, n_frames: int) -> Ints:
    """Bytes of each sample: one size for all, or a table."""
    (common,) = stsz.unpack("I", 4)
    if common:
        return np.full(n_frames, common, np.int64)
    return stsz.table(">u4", position=8).astype(np.int64)


def _runs(atom: Atom, row: np.dtype[np.void], n_frames: int) -> NDArray[np.void]:
    """Rows of a run-length table that together describe `n_frames` samples."""
    rows = atom.table(row)
    if len(rows) > n_frames:
        raise atom.error(f"has {len(rows)} runs for {n_frames} samples")
    n_described = int(rows["n_samples"].sum(dtype=np.int64))
    if n_described != n_frames:
        raise atom.error(f"describes {n_described} samples where stsz counts {n_frames}")
    return rows


def _expand(rows: NDArray[np.void]) -> Ints:
    """The ticks of a run-length table, one item per sample."""
    return np.repeat(rows["ticks"].astype(np.int64), rows["n_samples"].astype(np.int64))


class _ChunkRuns(NamedTuple):
    """`stsc` with the number of chunks in each of its runs, and the chunk offsets."""

    rows: NDArray[np.void]
    n_chunks: Ints
    chunk_offset: NDArray[np.integer]
    atom: Atom
    """The atom of the chunk offsets, for messages."""


def _chunk_runs(stbl: Atom, n_frames: int) -> _ChunkRuns:
    """The runs of samples per chunk, checked to hold `n_frames` in all."""
    stsc = stbl.need("stsc")
    place = stbl.find("stco") or stbl.find("co64")
    if place is None:
        raise stbl.error("has neither stco nor co64")
    if place.type == "stco" and stbl.find("co64"):
        raise stbl.error("has both stco and co64; which is ambiguous")
    chunk_offset = place.table(">u4" if place.type == "stco" else ">i8")
    rows = stsc.table(_STSC_ROW)
    first = rows["first_chunk"]
    if not len(rows) or first[0] != 1 or (first[1:] <= first[:-1]).any():
        raise stsc.error("its runs of chunks do not begin at chunk 1 and ascend")
    if first[-1] > len(chunk_offset):
        raise stsc.error(f"refers to chunk {first[-1]}; {place.type} has {len(chunk_offset)}")
    if not rows["n_samples"].all():
        raise stsc.error("has chunks without samples")
    n_chunks = np.diff(np.append(first.astype(np.int64), len(chunk_offset) + 1))
    n_held = int(n_chunks @ rows["n_samples"].astype(np.int64))
    if n_held != n_frames:
        raise stsc.error(f"puts {n_held} samples into {len(chunk_offset)} chunks; stsz counts {n_frames}")
    return _ChunkRuns(rows, n_chunks, chunk_offset, place)


def _offsets(chunks: _ChunkRuns, size: Ints) -> Ints:
    """First byte of each sample: the chunk offset plus the sizes of earlier samples in the chunk."""
    if not 0 <= chunks.chunk_offset.min() <= chunks.chunk_offset.max() < 1 << 62:
        raise chunks.atom.error("places a chunk beyond 2^62 bytes")  # room for the sizes of its samples
    n_samples = np.repeat(chunks.rows["n_samples"], chunks.n_chunks)
    offset = np.cumsum(size)
    offset -= size  # as if all samples followed each other from byte 0
    first_sample = np.cumsum(n_samples, dtype=np.int64)
    first_sample -= n_samples
    shift = chunks.chunk_offset - offset[first_sample]
    del first_sample
    offset += np.repeat(shift, n_samples)
    return offset


def _sync(stbl: Atom, n_frames: int) -> NDArray[np.bool_]:
    """True for the samples from which decoding may begin; for all if there is no `stss`.

    Notes
    -----
    Writers that keep to ISO/IEC 14496-12 list only closed groups in `stss`, and open ones in `stps` (QTFF) or
    the sample group `rap `.
    """
    stss = stbl.find("stss")
    if stss is None:
        return np.ones(n_frames, np.bool_)
    is_sync = np.zeros(n_frames, np.bool_)
    for place in filter(None, (stss, stbl.find("stps"))):
        numbers = place.table(">u4")
        if len(numbers) and not 1 <= numbers.min() <= numbers.max() <= n_frames:
            raise place.error(f"lists samples outside 1 to {n_frames}")
        is_sync[numbers.astype(np.int64) - 1] = True
    for place in stbl.children():
        if place.type == "sbgp" and place.unpack("4s", 4) == (b"rap ",):
            rows = place.table(_SBGP_ROW, position=12 if place.unpack("B", 0) == (1,) else 8)
            stops = np.cumsum(rows["n_samples"], dtype=np.int64)
            is_open = rows["group"] > 0
            for n, stop in zip(rows["n_samples"][is_open].tolist(), stops[is_open].tolist(), strict=True):
                is_sync[stop - n : stop] = True
    return is_sync
