"""The timecode track of a fragmented movie, written as that of a movie without fragments.

`MovieIndex` keeps the track unparsed, and its samples must be listed in it.
"""

from collections.abc import Sequence

import numpy as np

from camhd_access.errors import InvalidMovieError, UnsupportedMovieError
from camhd_access.formats.quicktime.atoms import Atom
from camhd_access.formats.quicktime.description import parse_track_kind
from camhd_access.formats.quicktime.fragments import Fragment, parse_fragments
from camhd_access.formats.quicktime.tables import SampleTables
from camhd_access.formats.quicktime.tracks import Track, build_atom, build_stbl

__all__ = ["unfragment_timecode"]


def unfragment_timecode(moov: Atom, track: Atom, fragments: Sequence[Fragment]) -> bytes:
    """The payload of the track with the samples of all fragments; empty if it is damaged or has none."""
    try:
        tables = parse_fragments(moov, track, fragments)
        stbl = _write_tables(track, tables)
        return _replace(track, ["mdia", "minf", "stbl"], stbl)
    except (InvalidMovieError, UnsupportedMovieError):  # frames can be read without it
        return b""


def _write_tables(track: Atom, tables: SampleTables) -> bytes:
    """The atom `stbl`; each number is valid until the next one, and the last one from then on."""
    if tables.pts[0] or (tables.size != tables.size[0]).any():
        raise track.error("its timecode begins late, or has samples of several sizes")
    return build_stbl(
        Track(
            kind=parse_track_kind(track, timescale=1),
            sample_ticks=np.append(np.diff(tables.pts), max(1, int(tables.duration[-1]))),
            sample_sizes=int(tables.size[0]),
            samples_per_chunk=np.ones(len(tables.size), np.int64),
            chunk_offsets=tables.offset,
        )
    )


def _replace(atom: Atom, path: Sequence[str], new: bytes) -> bytes:
    """The payload of an atom in which the descendant at the end of a path is another atom."""
    first, *rest = path
    parts = []
    for child in atom.children():
        if child.type != first:
            parts.append(build_atom(child.type.encode("latin-1"), bytes(child.payload)))
        else:
            parts.append(build_atom(first.encode(), _replace(child, rest, new)) if rest else new)
    return b"".join(parts)
