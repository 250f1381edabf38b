"""QuickTime's `moov` atom → `MovieIndex`: the position of each frame in the file, and its time.

Pure: bytes come in, values go out. `walk` requests the byte ranges that lead to `moov` and lets its caller
fetch them, blocking or async; `moov` finds the video track in those bytes; `tables` turns the track's sample
tables into arrays, and so does `fragments` with those of a fragmented movie, which `fragment_walk` collects;
`atoms` is the common parser of atoms, and `index` is the result.

Each function returns exactly what the tables contain, or raises an error of the tree. Inconsistent movies
are not repaired: a frame at the wrong place is worse than no frame.
Source throughout: Apple, QuickTime File Format (QTFF); ISO/IEC 14496-12 where it extends QTFF.
"""

from camhd_access.formats.quicktime.coded_order import CodedSamples, keep_whole_groups
from camhd_access.formats.quicktime.description import CODEC_NAMES, INTER_CODECS, PRORES_CODECS
from camhd_access.formats.quicktime.fragment_walk import (
    MovieHeader,
    read_movie_header,
    read_movie_header_async,
)
from camhd_access.formats.quicktime.index import Edit, MovieIndex
from camhd_access.formats.quicktime.moov import parse_moov, parse_movie_header
from camhd_access.formats.quicktime.tables import MAX_FRAMES
from camhd_access.formats.quicktime.walk import (
    Answer,
    Head,
    Request,
    Tail,
    walk_moov,
)

__all__ = [
    "CODEC_NAMES",
    "INTER_CODECS",
    "MAX_FRAMES",
    "PRORES_CODECS",
    "Answer",
    "CodedSamples",
    "Edit",
    "Head",
    "MovieHeader",
    "MovieIndex",
    "Request",
    "Tail",
    "keep_whole_groups",
    "parse_moov",
    "parse_movie_header",
    "read_movie_header",
    "read_movie_header_async",
    "walk_moov",
]
