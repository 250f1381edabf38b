"""The header of a clip: everything before its first sample.

Times are kept. A clip begins in whole seconds UTC (`mvhd`), its first frame some ticks later (`ctts`), as in
the movie's own clock; a frame is shown until the next kept one, the last one for its original duration.
An edit list lets players begin with the first frame at once. With inter-frame coding it hides the samples
that are no frames of the clip (see `groups`), and the ticks before the first frame are a pause: players wait
for less than a second. The timecode track, if there is one, starts at the number of the first frame. Display
properties (`stsd` with `colr`, `fiel`, `pasp`; the end of `tkhd`) are copied. Sound is left out.

Source: QTFF, "Movie Atoms"; ISO/IEC 14496-12, 8.6.1.3, for `ctts` with an edit list that takes it back.
"""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import UnsupportedMovieError
from camhd_access.formats.quicktime import MovieIndex
from camhd_access.formats.quicktime.metadata import build_metadata
from camhd_access.formats.quicktime.timecode import SAMPLE_BYTES, find_timecode, movie_seconds
from camhd_access.formats.quicktime.tracks import (
    FILE_TYPE,
    MAX_MEDIA_TICKS,
    VIDEO_HEADER,
    Track,
    TrackKind,
    build_atom,
    build_geometry,
    build_mdat_header,
    build_moov,
    build_video_entry,
)
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.stack import FrameStack
from camhd_access.movie.timecodes import read_numbers
from camhd_access.output.clip.groups import CarriedSamples
from camhd_access.output.provenance import Provenance, clip_metadata, describe_stack, write_command

__all__ = ["build_header"]

N_FRAMES_IN_CHUNK = 6
"""As in the camera's own movies."""

_EPOCH = np.datetime64("1904-01-01T00:00:00", "ns")


def build_header(reader: MovieReader, stack: FrameStack, carried: CarriedSamples | None) -> bytes:
    """The bytes before the samples of `stack`, which are frames of `reader` in the order of the movie.

    Parameters
    ----------
    carried
        The samples, if they are not just those of the frames.

    Notes
    -----
    Reads 4 bytes of the movie if it has timecode, and the header of its first frame if its index was
    rebuilt.
    """
    creation_time, start_ticks = _choose_start(reader, stack)
    metadata = build_metadata(clip_metadata(_describe(reader, stack)))
    plan = _plan_video(reader, stack, start_ticks) if carried is None else _plan_groups(reader, carried)
    if carried is not None and reader.start_time is not None:
        plan = replace(plan, delay_ticks=start_ticks)
    if plan.movie_ticks > MAX_MEDIA_TICKS:
        raise UnsupportedMovieError(
            f"{reader.name}: {plan.movie_ticks} ticks of a clip, with the pause before it, do not fit into "
            "32-bit times; select fewer frames"
        )
    tracks, numbers = [plan], b""
    timecode = _read_timecode(reader, stack)
    if timecode:
        track, numbers = timecode
        tracks = [_moved(plan, len(numbers)), replace(track, delay_ticks=plan.delay_ticks)]
    n_bytes = len(numbers) + int((stack.sample_size if carried is None else carried.size).sum())
    before = (
        len(FILE_TYPE) + len(build_moov(tracks, creation_time, metadata)) + len(build_mdat_header(n_bytes))
    )
    moov = build_moov([_moved(track, before) for track in tracks], creation_time, metadata)
    return FILE_TYPE + moov + build_mdat_header(n_bytes) + numbers


def _describe(reader: MovieReader, stack: FrameStack) -> Provenance:
    """Provenance of the samples, without properties of decoded pixels."""
    record = describe_stack(reader, stack)
    record = replace(record, pix_fmt=None, bit_depth=None, color_matrix=None, decoder=None, reduce=None)
    return replace(record, history=write_command("clip", record, [("--frames", record.frames)], "clip.mov"))


def _moved(track: Track, n_bytes: int) -> Track:
    """The same track, with its chunks moved back by this many bytes."""
    return replace(track, chunk_offsets=track.chunk_offsets + n_bytes)


def _choose_start(reader: MovieReader, stack: FrameStack) -> tuple[int, int]:
    """Whole seconds since 1904 (0: unknown), and the ticks from there to the first frame."""
    index = reader.index
    first = stack.frames[0]
    first_pts = int(index.pts[first] + index.delay[first])
    if reader.start_time is None:
        return 0, first_pts
    since_epoch = int((reader.start_time - _EPOCH) // np.timedelta64(1, "ns"))
    ticks = round(Fraction(since_epoch * index.timescale, 1_000_000_000)) + first_pts
    creation_time, start_ticks = divmod(ticks, index.timescale)
    if not 0 <= creation_time < 1 << 32:
        year = np.datetime_as_string(reader.start_time, "Y")
        raise UnsupportedMovieError(f"{reader.name} began in {year}; clips can store times from 1904 to 2040")
    return creation_time, start_ticks


def _plan_video(reader: MovieReader, stack: FrameStack, start_ticks: int) -> Track:
    """The video track, with chunk offsets relative to the first sample."""
    index, sizes = reader.index, stack.sample_size
    last = stack.frames[-1]
    ticks = np.diff(
        (index.pts + index.delay)[stack.frames], append=_stop_ticks(index, stack) + index.delay[last]
    )
    if (ticks < 0).any():
        raise UnsupportedMovieError(f"{reader.name}: its frames are not stored in presentation order")
    counts, offsets = _split_chunks(sizes)
    return Track(
        kind=index.kind or _usual_kind(reader),
        sample_ticks=ticks,
        sample_sizes=sizes,
        samples_per_chunk=counts,
        chunk_offsets=offsets,
        start_ticks=start_ticks,
    )


def _plan_groups(reader: MovieReader, carried: CarriedSamples) -> Track:
    """The same, with inter-frame coding."""
    counts, offsets = _split_chunks(carried.size)
    return Track(
        kind=reader.index.kind or _usual_kind(reader),
        sample_ticks=carried.decoding_ticks,
        sample_sizes=carried.size,
        samples_per_chunk=counts,
        chunk_offsets=offsets,
        start_ticks=carried.start_ticks,
        composition_ticks=carried.composition_ticks,
        sync_samples=carried.sync_samples,
        shown_ticks=carried.shown_ticks,
    )


def _split_chunks(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of samples of each chunk, and its first byte, from the first sample on."""
    first = np.arange(0, len(sizes), N_FRAMES_IN_CHUNK)
    return np.diff(first, append=len(sizes)), (np.cumsum(sizes) - sizes)[first]


def _stop_ticks(index: MovieIndex, stack: FrameStack) -> int:
    """End of the last frame."""
    last = stack.frames[-1]
    return int(index.pts[last] + index.duration[last])


def _usual_kind(reader: MovieReader) -> TrackKind:
    """Track kind for a movie with a rebuilt index; its colours are taken from the frame headers."""
    index = reader.index
    entry = build_video_entry(
        index.codec.encode(),
        b"Apple ProRes",
        index.width,
        index.height,
        build_atom(b"fiel", bytes([2, 1]) if reader.interlaced else bytes([1, 0])),
    )
    return TrackKind(b"vide", VIDEO_HEADER, entry, index.timescale, build_geometry(index.width, index.height))


def _read_timecode(reader: MovieReader, stack: FrameStack) -> tuple[Track, bytes] | None:
    """The timecode track of the clip, at its first byte of media, and its samples."""
    index = reader.index
    timecode = find_timecode(index)
    if timecode is None:
        return None
    stretch = timecode.between(
        movie_seconds(index, int(index.pts[stack.frames[0]])), movie_seconds(index, _stop_ticks(index, stack))
    )
    numbers = read_numbers(stack.source, stretch, file_size=reader.file_size)
    track = Track(
        kind=timecode.kind,
        sample_ticks=stretch.sample_ticks,
        sample_sizes=SAMPLE_BYTES,
        samples_per_chunk=np.array([len(stretch.places)]),
        chunk_offsets=np.array([0]),
    )
    return track, numbers
