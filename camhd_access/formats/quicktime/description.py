"""The sample description: the codec of a track's samples, the frame size, and the file they are in.

`stsd` holds one or more entries, and `stsc` assigns one to each chunk. A movie can be read if all entries
in use agree; one that changes codec or frame size half-way is not a single array of frames.

Source: QTFF, "Video Media", sample descriptions and their extensions.
"""

from typing import NamedTuple

from camhd_access.errors import UnsupportedCodecError, UnsupportedMovieError
from camhd_access.formats.h26x import StreamFormat, parse_configuration
from camhd_access.formats.quicktime.atoms import Atom
from camhd_access.formats.quicktime.other_formats import OTHER_CODECS
from camhd_access.formats.quicktime.tracks import UNSEEN, VIDEO_HEADER, TrackKind, build_atom

__all__ = [
    "CODEC_NAMES",
    "INTER_CODECS",
    "PRORES_CODECS",
    "VideoDescription",
    "parse_description",
    "parse_track_kind",
]

PRORES_CODECS = {
    "apco": "Apple ProRes 422 Proxy",
    "apcs": "Apple ProRes 422 LT",
    "apcn": "Apple ProRes 422",
    "apch": "Apple ProRes 422 HQ",
    "ap4h": "Apple ProRes 4444",
    "ap4x": "Apple ProRes 4444 XQ",
}
"""Names of the intra-frame codecs that are read, by the type of their sample description."""

INTER_CODECS = {"avc1": "H.264", "avc3": "H.264", "hvc1": "HEVC", "hev1": "HEVC"}
"""Names of the inter-frame codecs that are read."""

CODEC_NAMES = PRORES_CODECS | INTER_CODECS
"""Names of all codecs that are read."""

_FIELDS_BYTES = 78  # of an entry's payload, before the atoms that extend it
_TKHD_BYTES = 84  # at least
_HEADERS = ("vmhd", "gmhd")
_SELF_CONTAINED = 1  # flag of a data reference: the media is in the same file


class VideoDescription(NamedTuple):
    """The fields of an `stsd` entry for video."""

    codec: str
    width: int
    height: int
    color_matrix: int | None
    stream: StreamFormat | None = None
    """Properties of H.264 and HEVC; None for ProRes."""


def parse_description(minf: Atom, numbers: tuple[int, ...]) -> VideoDescription:
    """The common content of the entries of `stsd` with these numbers (from 1).

    Raises
    ------
    InvalidMovieError
        There is no such entry, or it is damaged.
    UnsupportedMovieError
        The entries in use differ, or one refers to another file.
    UnsupportedCodecError
        The codec is not ProRes, H.264 or HEVC.
    """
    stsd = minf.need("stbl", "stsd")
    entries = _listed(stsd)
    found = set()
    for number in numbers:
        if not 1 <= number <= len(entries):
            raise stsd.error(f"has {len(entries)} entries; stsc refers to entry {number}")
        _check_own_file(minf, entries[number - 1])
        found.add(_parse_entry(entries[number - 1]))
    if len(found) > 1:
        changes = sorted({each[:3] for each in found}, key=repr)
        raise UnsupportedMovieError(
            f"codec or frame size change half-way: {changes}"
            if len(changes) > 1
            else f"the decoder configuration of {changes[0][0]} changes half-way: {len(found)} of them"
        )
    return found.pop()


def parse_track_kind(track: Atom, timescale: int, *, number: int = 1) -> TrackKind:
    """The properties of `track` that a copy keeps; of `stsd`, the entry with this number.

    Notes
    -----
    The entry then uses data reference 1, its own file. A missing media header, or a `tkhd` that is
    no longer than its fields (readers of frames need neither), is replaced by the usual one.
    """
    mdia = track.need("mdia")
    minf = mdia.need("minf")
    (handler,) = mdia.need("hdlr").unpack("4s", 8)
    stsd = minf.need("stbl", "stsd")
    entries = _listed(stsd)
    if number > len(entries):
        raise stsd.error(f"has {len(entries)} entries; entry {number} is in use")
    entry = entries[number - 1]
    return TrackKind(
        handler=handler,
        media_header=next((_copy(atom) for atom in minf.children() if atom.type in _HEADERS), VIDEO_HEADER),
        sample_description=build_atom(
            entry.type.encode("latin-1"), bytes(entry.payload[:6]), b"\0\1", bytes(entry.payload[8:])
        ),
        timescale=timescale,
        geometry=_find_geometry(track) or UNSEEN,
    )


def _copy(atom: Atom) -> bytes:
    return build_atom(atom.type.encode("latin-1"), bytes(atom.payload))


def _find_geometry(track: Atom) -> bytes | None:
    """The end of `tkhd`, in either version; None if there is none."""
    tkhd = track.find("tkhd")
    return bytes(tkhd.payload[-len(UNSEEN) :]) if tkhd and len(tkhd.payload) >= _TKHD_BYTES else None


def _listed(atom: Atom) -> list[Atom]:
    """The atoms of a counted list, as `stsd` and `dref` are."""
    (count,) = atom.unpack("I", 4)
    entries = atom.children(position=8)
    if count != len(entries):
        raise atom.error(f"claims {count} entries but holds {len(entries)}")
    return entries


def _parse_entry(entry: Atom) -> VideoDescription:
    if entry.type not in CODEC_NAMES:
        name = f" ({OTHER_CODECS[entry.type]})" if entry.type in OTHER_CODECS else ""
        raise UnsupportedCodecError(
            f"the video is {entry.type!r}{name}, not ProRes, H.264 or HEVC ({', '.join(CODEC_NAMES)})"
        )
    width, height = entry.unpack("HH", 24)
    if not (width and height):
        raise entry.error(f"a frame size of {width} x {height} pixels")
    entry.unpack(f"{_FIELDS_BYTES}x", 0)
    stream = _parse_stream(entry) if entry.type in INTER_CODECS else None
    return VideoDescription(entry.type, width, height, _find_color_matrix(entry), stream)


def _parse_stream(entry: Atom) -> StreamFormat:
    """The properties in `avcC` or `hvcC` (ISO/IEC 14496-15, 5.4.2 and 8.4.1)."""
    is_h264 = INTER_CODECS[entry.type] == "H.264"
    kind = "avcC" if is_h264 else "hvcC"
    found = [atom for atom in entry.children(position=_FIELDS_BYTES) if atom.type == kind]
    if len(found) != 1:
        raise UnsupportedCodecError(
            f"the video is {entry.type!r} ({INTER_CODECS[entry.type]}), not ProRes, and has {len(found)} "
            f"{kind} atoms; one is needed to decode it"
        )
    try:
        return parse_configuration("h264" if is_h264 else "hevc", bytes(found[0].payload))
    except ValueError as err:
        raise found[0].error(str(err)) from err


def _find_color_matrix(entry: Atom) -> int | None:
    """The matrix number of `colr`, if it is of type `nclc` (QTFF) or `nclx` (ISO/IEC 14496-12)."""
    for extension in entry.children(position=_FIELDS_BYTES):
        if extension.type == "colr" and extension.unpack("4s", 0)[0] in (b"nclc", b"nclx"):
            matrix: int = extension.unpack("H", 8)[0]
            return matrix
    return None


def _check_own_file(minf: Atom, entry: Atom) -> None:
    """Raise if the samples of `entry` are in another file (QTFF, "Data Reference Atoms")."""
    dinf = minf.find("dinf")
    if dinf is None:
        return
    dref = dinf.need("dref")
    references = _listed(dref)
    (number,) = entry.unpack("H", 6)
    if not 1 <= number <= len(references):
        raise dref.error(f"has {len(references)} entries; the sample description refers to entry {number}")
    (flags,) = references[number - 1].unpack("I", 0)
    if not flags & _SELF_CONTAINED:
        raise UnsupportedMovieError("the media is in another file; open that one, or flatten the movie")
