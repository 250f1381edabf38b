"""`moov` bytes → `MovieIndex`.

The one video track is found by its handler, never by searching for letters; its sample description must be
ProRes, H.264 or HEVC in the same file; its tables are expanded by `tables`; and every sample must lie within
the file and not overlap others. A compressed movie header (`cmov`) is inflated first, within limits.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from camhd_access.errors import InvalidMovieError, UnsupportedMovieError
from camhd_access.formats.h26x import StreamFormat
from camhd_access.formats.prores import max_sample_bytes, min_sample_bytes
from camhd_access.formats.quicktime.atoms import Atom, parse_header
from camhd_access.formats.quicktime.coded_order import order_frames
from camhd_access.formats.quicktime.description import VideoDescription, parse_description, parse_track_kind
from camhd_access.formats.quicktime.fragment_walk import MovieHeader
from camhd_access.formats.quicktime.fragmented_timecode import unfragment_timecode
from camhd_access.formats.quicktime.fragments import Fragment, lists_samples, parse_fragments
from camhd_access.formats.quicktime.index import Edit, MovieIndex, find_delays
from camhd_access.formats.quicktime.metadata import parse_metadata
from camhd_access.formats.quicktime.tables import SampleTables, parse_sample_tables

__all__ = [
    "MAX_EDITS",
    "MAX_INFLATED_BYTES",
    "parse_clock",
    "parse_edits",
    "parse_moov",
    "parse_movie_header",
]

MAX_INFLATED_BYTES = 4 << 20
"""Limit for a `cmov`, which was made for short films on slow links; fits seven hours of CamHD video."""
MAX_EDITS = 1 << 12
"""Limit for the entries of an edit list; recorders write one or two."""

LARGE_PIXELS = 4096 * 2304
"""Pixels of a frame from which its bytes are checked against its claimed size."""
MAX_INTER_PIXELS = 139_264 * 256
"""Largest frame of H.264 (level 6.2); HEVC's is no larger."""
MAX_SECONDS = 1 << 31
"""Limit for times from the start of a movie: keeps them within the range of datetime64[ns]."""

_EPOCH = np.datetime64("1904-01-01T00:00:00", "s")
_MAX_CREATION_SECONDS = 1 << 33  # the year 2176; later times are uninitialised fields
_ENABLED = 1  # flag of tkhd


def parse_movie_header(header: MovieHeader, *, must_be_whole: bool = True) -> MovieIndex:
    """The index of a movie, from `moov` and the fragments after it; see `parse_moov`.

    Parameters
    ----------
    must_be_whole
        False: samples may lie beyond the end of the file, and it may cut off the last fragment.

    Raises
    ------
    InvalidMovieError
        As `parse_moov`; or the file ends within a fragment, or a fragment is damaged.
    """
    if must_be_whole and header.cut is not None:
        raise InvalidMovieError(
            f"moof atom at byte {header.cut}: cut off by the end of the file at byte {header.file_size}"
        )
    return parse_moov(
        header.moov,
        offset=header.offset,
        file_size=header.file_size if must_be_whole else None,
        fragments=header.fragments,
    )


def parse_moov(
    data: bytes, *, offset: int, file_size: int | None, fragments: Sequence[Fragment] | None = None
) -> MovieIndex:
    """The index of the movie that a `moov` atom describes.

    Parameters
    ----------
    data
        The whole atom, header included.
    offset
        Its offset in the file, for messages.
    file_size
        Bytes of the file, in which every sample must lie; None if not known.
    fragments
        The fragments after `moov`; None if they are not known.

    Raises
    ------
    InvalidMovieError
        Truncated, inconsistent, without video, or samples outside the file.
    UnsupportedMovieError
        Fragmented, and no fragments are given; media in another file, several enabled video tracks.
    UnsupportedCodecError
        The video is not ProRes, H.264 or HEVC.

    Notes
    -----
    25,000 frames take less than a millisecond. Whatever the atoms claim, work and memory are bounded by
    the bytes given and by the limits declared here and in `tables`.
    """
    moov = _open_moov(data, offset)
    cmov = moov.find("cmov")
    if cmov is None:
        return _parse_movie(moov, file_size, fragments)
    inflated = _inflate(cmov)
    try:
        return _parse_movie(_open_moov(inflated, 0), file_size)
    except InvalidMovieError as err:
        raise cmov.error(f"within the compressed header: {err}") from err


def _open_moov(data: bytes, offset: int) -> Atom:
    """The atom that fills `data`, which must be a `moov`."""
    header = parse_header(data)
    if header is None or header.type != "moov" or header.size not in (0, len(data)):
        raise InvalidMovieError(
            f"no whole moov atom at byte {offset}: {len(data)} bytes, {bytes(data[:16])!r}"
        )
    return Atom("moov", memoryview(data)[header.n_bytes :], offset, offset + header.n_bytes)


def _inflate(cmov: Atom) -> bytes:
    """The `moov` atom in a compressed movie header (QTFF, "Compressed Movie Resources")."""
    (method,) = cmov.need("dcom").unpack("4s", 0)
    if method != b"zlib":
        raise UnsupportedMovieError(f"the movie header is compressed by {method!r}; only zlib is read")
    cmvd = cmov.need("cmvd")
    (size,) = cmvd.unpack("I", 0)
    if size > MAX_INFLATED_BYTES:
        raise cmvd.error(f"claims {size} inflated bytes; at most {MAX_INFLATED_BYTES} are read")
    try:
        inflated = zlib.decompressobj().decompress(cmvd.payload[4:], size + 1)
    except zlib.error as err:
        raise cmvd.error(f"cannot be inflated: {err}") from err
    if len(inflated) != size:
        raise cmvd.error(f"does not inflate to the {size} bytes that it claims")
    return inflated


def _parse_movie(
    moov: Atom, file_size: int | None, fragments: Sequence[Fragment] | None = None
) -> MovieIndex:
    """The index, from an uncompressed `moov`."""
    is_fragmented = moov.find("mvex") is not None
    if is_fragmented and fragments is None:
        raise UnsupportedMovieError("the movie is fragmented (mvex atom); remux it with `ffmpeg -c copy`")
    if moov.find("rmra"):
        raise UnsupportedMovieError("the movie only refers to other movies (rmra atom); open one of those")
    track = _find_video_track(moov)
    minf = track.need("mdia", "minf")
    tables = (
        parse_fragments(moov, track, fragments or ())
        if is_fragmented
        else parse_sample_tables(minf.need("stbl"))
    )
    description = parse_description(minf, tables.descriptions)
    stbl = minf.need("stbl")
    _check_sizes(tables, description, stbl)
    _check_places(tables, stbl, file_size)
    edits = parse_edits(track)
    if is_fragmented and edits:  # written before the fragments were: lasts to the end, as in libav
        edits = (*edits[:-1], edits[-1]._replace(segment_duration_ticks=0))
    mvhd = moov.find("mvhd")
    if edits and not mvhd:
        raise moov.error("has an edit list, but no mvhd to say in which time scale")
    creation_seconds, movie_timescale = parse_clock(mvhd) if mvhd else (0, 1)
    _, timescale = parse_clock(track.need("mdia", "mdhd"))
    first, stop = int(tables.pts.min()), int((tables.pts + tables.duration).max())
    stop += max((delay for _, delay in find_delays(edits, movie_timescale, timescale)), default=0)
    if is_fragmented:
        first -= max((edit.media_time_ticks for edit in edits), default=0)
    if max(-first, stop) > MAX_SECONDS * timescale:
        raise stbl.error(
            f"shows frames from tick {first} to {stop}, {timescale} a second: beyond the range of dates"
        )
    index = MovieIndex(
        offset=tables.offset,
        size=tables.size,
        pts=tables.pts,
        duration=tables.duration,
        is_sync=tables.is_sync,
        timescale=timescale,
        codec=description.codec,
        width=description.width,
        height=description.height,
        creation_time=_creation_time(creation_seconds),
        color_matrix=description.color_matrix,
        edits=edits,
        movie_timescale=movie_timescale,
        kind=parse_track_kind(track, timescale, number=tables.descriptions[0]),
        timecode_track=_find_timecode(moov, fragments if is_fragmented else None),
        metadata=parse_metadata(moov),
    )
    if description.stream is None:
        return index
    # As in libav, the edit list hides samples that `moov` lists, and none of those in fragments.
    hides = not is_fragmented or lists_samples(stbl)
    return _in_display_order(index, tables, description.stream, hides=hides)


def _in_display_order(
    index: MovieIndex, tables: SampleTables, stream: StreamFormat, *, hides: bool
) -> MovieIndex:
    """The index of a movie with inter-frame coding, whose edit list is applied."""
    samples, pts, duration, coded = order_frames(
        tables,
        index.edits,
        stream=stream,
        timescale=index.timescale,
        movie_timescale=index.movie_timescale,
        hides=hides,
    )
    return replace(
        index,
        offset=tables.offset[samples],
        size=tables.size[samples],
        pts=pts,
        duration=duration,
        is_sync=tables.is_sync[samples],
        interlaced=stream.interlaced,
        edits=(),
        coded=coded,
    )


def _find_video_track(moov: Atom) -> Atom:
    """The only video track; of several, the only enabled one."""
    tracks = _find_tracks(moov, b"vide")
    if not tracks:
        raise moov.error("the movie has no video track")
    if len(tracks) > 1:
        n_found = len(tracks)
        tracks = [track for track in tracks if track.need("tkhd").unpack("I", 0)[0] & _ENABLED]
        if len(tracks) != 1:
            raise UnsupportedMovieError(
                f"the movie has {n_found} video tracks, {len(tracks)} of them enabled"
            )
    return tracks[0]


def _find_tracks(moov: Atom, handler: bytes) -> list[Atom]:
    """The tracks whose media have this handler (QTFF, "Handler Reference Atoms")."""
    return [atom for atom in moov.children() if atom.type == "trak" and _find_handler(atom) == handler]


def _find_timecode(moov: Atom, fragments: Sequence[Fragment] | None) -> bytes:
    """The payload of the timecode track; empty if there is none."""
    track = next(iter(_find_tracks(moov, b"tmcd")), None)
    if track is None:
        return b""
    return bytes(track.payload) if fragments is None else unfragment_timecode(moov, track, fragments)


def _find_handler(track: Atom) -> bytes | None:
    mdia = track.find("mdia")
    hdlr = mdia and mdia.find("hdlr")
    return None if hdlr is None else bytes(hdlr.unpack("4s", 8)[0])


def parse_clock(header: Atom) -> tuple[int, int]:
    """Creation time (seconds since 1904) and time scale, of `mvhd` or `mdhd` in either version."""
    (version,) = header.unpack("B", 0)
    if version > 1:
        raise header.error(f"is of unknown version {version}")
    creation_seconds, _, timescale = header.unpack("QQI" if version else "III", 4)
    if not timescale:
        raise header.error("has a time scale of 0")
    return creation_seconds, timescale


def _creation_time(seconds: int) -> np.datetime64 | None:
    """The time this many seconds after the start of 1904; None for 0 ("not set") and implausible values."""
    if not 0 < seconds < _MAX_CREATION_SECONDS:
        return None
    return _EPOCH + np.timedelta64(seconds, "s")


def parse_edits(track: Atom) -> tuple[Edit, ...]:
    """The entries of the track's edit list (QTFF, "Edit List Atoms"; version 1: ISO/IEC 14496-12, 8.6.6)."""
    edts = track.find("edts")
    elst = edts and edts.find("elst")
    if not elst:
        return ()
    (version,) = elst.unpack("B", 0)
    if version > 1:
        raise elst.error(f"is of unknown version {version}")
    rows = elst.table([("duration", ">u8"), ("time", ">i8"), ("rate", ">i4")] if version else
                      [("duration", ">u4"), ("time", ">i4"), ("rate", ">i4")])  # fmt: skip
    if len(rows) > MAX_EDITS:
        raise elst.error(f"has {len(rows)} entries; at most {MAX_EDITS} are read")
    if (rows["rate"] < 0).any():
        raise elst.error("has a negative rate (backward playback), which is not supported")
    return tuple(Edit(duration, time, rate / 65536) for duration, time, rate in rows.tolist())


def _check_sizes(tables: SampleTables, description: VideoDescription, stbl: Atom) -> None:
    """Raise if sample sizes are impossible for the frame size of the sample description."""
    width, height = description.width, description.height
    if description.stream:
        if width * height > MAX_INTER_PIXELS:
            raise stbl.error(
                f"frames of {width}x{height}; H.264 and HEVC have {MAX_INTER_PIXELS} pixels at most"
            )
        return
    largest = int(np.argmax(tables.size))
    n_bytes = int(tables.size[largest])
    if n_bytes > max_sample_bytes(width, height):
        raise stbl.error(
            f"frame {largest} has {n_bytes:,} bytes; a ProRes frame of {width}x{height} has "
            f"{max_sample_bytes(width, height):,} at most"
        )
    if width * height > LARGE_PIXELS and n_bytes < min_sample_bytes(width, height):
        raise stbl.error(
            f"no frame takes more than {n_bytes:,} bytes; {width}x{height} pixels, as the sample description "
            f"has it, take {min_sample_bytes(width, height):,} at least"
        )


def _check_places(tables: SampleTables, stbl: Atom, file_size: int | None) -> None:
    """Raise if samples lie outside the file, or overlap without being identical."""
    stop = tables.offset + tables.size
    if file_size is not None and (stop > file_size).any():
        i = int(np.argmax(stop > file_size))
        raise stbl.error(
            f"frame {i} is at byte {tables.offset[i]}, {tables.size[i]} bytes long, in a file of {file_size}"
        )
    if (tables.offset[1:] >= stop[:-1]).all():
        return
    order = np.argsort(tables.offset, kind="stable")
    order = order[tables.size[order] > 0]
    start, stop = tables.offset[order], stop[order]
    same = (start[1:] == start[:-1]) & (stop[1:] == stop[:-1])
    overlapping = np.flatnonzero((start[1:] < stop[:-1]) & ~same)
    if len(overlapping):
        i, j = order[overlapping[0]], order[overlapping[0] + 1]
        raise stbl.error(f"frames {i} and {j} overlap, at bytes {tables.offset[i]} and {tables.offset[j]}")
