"""A `MovieIndex` in few bytes: 40 to 60 kB for 27,000 frames, nearly all of them for the sizes of the frames.

Everything but the sizes follows a rule, and only what differs from it is stored: frames lie behind each other
except for the sound between them, and are shown for equal times. The differences are compressed together with
a line of JSON for the rest. Packed indexes are untrusted input: they may come from a shared folder.
"""

import json
import lzma
from base64 import b64decode, b64encode
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import InvalidMovieError
from camhd_access.formats.prores import max_sample_bytes
from camhd_access.formats.quicktime.description import PRORES_CODECS
from camhd_access.formats.quicktime.index import Edit, MovieIndex
from camhd_access.formats.quicktime.tables import MAX_FRAMES
from camhd_access.formats.quicktime.tracks import TrackKind

__all__ = ["can_pack", "pack_index", "unpack_index"]

MAGIC = b"camhd-index-1\n"
"""First bytes of a packed index; changes when older readers would misread it."""

MAX_UNPACKED_BYTES = 64 << 20
"""Limit for the unpacked size: twice that of the longest movie."""

_FILTERS: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 1, "lc": 0, "lp": 0, "pb": 0}]
_SIZES, _GAPS, _PTS, _DURATIONS = range(4)


def can_pack(index: MovieIndex) -> bool:
    """Whether it is of an intra-frame movie, whose frames follow each other in the file's sample table."""
    return index.codec in PRORES_CODECS and bool(index.is_sync.all())


def pack_index(index: MovieIndex, **about: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """The index and some facts about its movie, such as its version, in few bytes.

    Raises
    ------
    ValueError
        The movie is not ProRes.
    """
    if not can_pack(index):
        raise ValueError(f"only indexes of ProRes are packed, not of {index.codec!r}")
    stops = index.offset + index.size
    gaps = index.offset - np.concatenate(([0], stops[:-1]))
    pts = index.pts - np.concatenate(([0], (index.pts + index.duration)[:-1]))
    durations = np.diff(index.duration, prepend=0)
    tables = b"".join(_split_bytes(each) for each in (index.size, gaps, pts, durations))
    rest = {
        "n_frames": index.n_frames,
        "timescale": index.timescale,
        "codec": index.codec,
        "width": index.width,
        "height": index.height,
        "interlaced": index.interlaced,
        "creation_time": None if index.creation_time is None else str(index.creation_time.astype("M8[s]")),
        "color_matrix": index.color_matrix,
        "edits": [list(edit) for edit in index.edits],
        "movie_timescale": index.movie_timescale,
        "kind": None if index.kind is None else _pack_kind(index.kind),
        "timecode_track": b64encode(index.timecode_track).decode(),
        "metadata": dict(index.metadata),
        "about": about,
    }
    text = json.dumps(rest).encode()
    data = len(text).to_bytes(4, "big") + text + tables
    return MAGIC + lzma.compress(data, format=lzma.FORMAT_RAW, filters=_FILTERS)


def unpack_index(data: bytes, *, file_size: int | None = None) -> tuple[MovieIndex, dict[str, Any]]:
    """The index, and the facts about its movie.

    Parameters
    ----------
    file_size
        Bytes of the movie; by default the fact `file_size`. Frames beyond it are an error.

    Raises
    ------
    InvalidMovieError
        It is not a packed index, or a damaged one.
    """
    try:
        return _unpack(data, file_size)
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        OverflowError,
        RecursionError,
        lzma.LZMAError,
    ) as error:
        raise InvalidMovieError(f"not a packed index, or a damaged one: {error}") from error


def _unpack(data: bytes, file_size: int | None) -> tuple[MovieIndex, dict[str, Any]]:
    if not data.startswith(MAGIC):
        raise ValueError("it begins otherwise")
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    unpacked = unpacker.decompress(data[len(MAGIC) :], MAX_UNPACKED_BYTES)
    start = 4 + int.from_bytes(unpacked[:4], "big")
    rest = json.loads(unpacked[4:start])
    n = int(rest["n_frames"])
    if not 0 < n <= MAX_FRAMES or len(unpacked) - start != 4 * 8 * n:
        raise ValueError(f"{n} frames in {len(unpacked) - start} bytes")
    tables = [_join_bytes(unpacked[start + 8 * n * i :][: 8 * n]) for i in range(4)]
    size, duration = tables[_SIZES], np.cumsum(tables[_DURATIONS])
    before = np.concatenate(([0], np.cumsum(size)[:-1]))
    offset = np.cumsum(tables[_GAPS]) + before
    pts = np.cumsum(tables[_PTS]) + np.concatenate(([0], np.cumsum(duration)[:-1]))
    about = dict(rest["about"])
    _check(offset, size, duration, rest, int(about["file_size"] if file_size is None else file_size))
    created, kind = rest["creation_time"], rest["kind"]
    index = MovieIndex(
        offset=offset,
        size=size,
        pts=pts,
        duration=duration,
        is_sync=np.ones(n, np.bool_),
        timescale=int(rest["timescale"]),
        codec=str(rest["codec"]),
        width=int(rest["width"]),
        height=int(rest["height"]),
        interlaced=None if rest["interlaced"] is None else bool(rest["interlaced"]),
        creation_time=None if created is None else np.datetime64(created, "s"),
        color_matrix=None if rest["color_matrix"] is None else int(rest["color_matrix"]),
        edits=tuple(Edit(int(a), int(b), float(rate)) for a, b, rate in rest["edits"]),
        movie_timescale=int(rest["movie_timescale"]),
        kind=None if kind is None else _unpack_kind(kind),
        timecode_track=b64decode(rest["timecode_track"], validate=True),
        metadata={str(name): str(text) for name, text in rest["metadata"].items()},
    )
    return index, about


def _check(
    offset: NDArray[np.int64],
    size: NDArray[np.int64],
    duration: NDArray[np.int64],
    rest: dict[str, Any],
    file_size: int,
) -> None:
    """Raise unless the frames lie in the file and are of a ProRes movie."""
    width, height = int(rest["width"]), int(rest["height"])
    if not (0 < width < 1 << 16 and 0 < height < 1 << 16) or rest["codec"] not in PRORES_CODECS:
        raise ValueError(f"frames of {width}x{height}, codec {rest['codec']!r:.20}")
    if (size < 0).any() or size.max() > max_sample_bytes(width, height):
        raise ValueError(f"frames of {width}x{height} that take up to {size.max():,} bytes")
    if (offset < 0).any() or (offset > file_size - size).any():
        raise ValueError("frames outside the file")
    if (duration < 0).any() or min(int(rest["timescale"]), int(rest["movie_timescale"])) < 1:
        raise ValueError("negative durations")


def _split_bytes(table: NDArray[np.int64]) -> bytes:
    """The lowest bytes of all numbers, then the next ones, and so on: high bytes are alike."""
    # Negative numbers take turns with positive ones, so that small ones have high bytes of 0.
    folded = (table << 1) ^ (table >> 63)
    return folded.astype("<i8").view(np.uint8).reshape(-1, 8).T.tobytes()


def _join_bytes(data: bytes) -> NDArray[np.int64]:
    """The reverse of `_split_bytes`."""
    planes = np.frombuffer(data, np.uint8).reshape(8, -1).T
    folded = np.ascontiguousarray(planes).view("<u8").ravel()
    table: NDArray[np.int64] = (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(
        np.int64
    )
    return table


def _pack_kind(kind: TrackKind) -> dict[str, Any]:
    return {
        name: b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in asdict(kind).items()
    }


def _unpack_kind(packed: dict[str, Any]) -> TrackKind:
    names = [each.name for each in fields(TrackKind) if each.name != "timescale"]
    parts: dict[str, Any] = {name: b64decode(packed[name], validate=True) for name in names}
    return TrackKind(timescale=int(packed["timescale"]), **parts)
