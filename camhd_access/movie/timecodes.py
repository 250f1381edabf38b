"""Read the timecode of a movie: the numbers of a stretch, and the label of the first frame.

The label is a third source of the start time, besides the movie's clock and its name. Samples are 4 bytes
each. In CamHD's movies they are before the first frame, far from the index, so reading one takes a separate
request.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from camhd_access.errors import InvalidMovieError
from camhd_access.formats.names import StartTime
from camhd_access.formats.quicktime import MovieIndex
from camhd_access.formats.quicktime.timecode import (
    SAMPLE_BYTES,
    TimecodeLabel,
    TimecodeStretch,
    find_timecode,
    movie_seconds,
)
from camhd_access.storage.source import ByteSource

if TYPE_CHECKING:
    from camhd_access.movie.reader import MovieReader

__all__ = ["read_first_label", "read_numbers", "read_start"]


def read_start(reader: "MovieReader") -> StartTime:
    """The start time of the movie, compared with its timecode; reads 4 bytes.

    Notes
    -----
    A damaged timecode is ignored. One that does not count from midnight is not: it agrees with neither clock
    nor name.
    """
    start = reader.start
    if start.time is None:
        return start
    try:
        label = reader.timecode
    except InvalidMovieError:
        return start
    if label is None:
        return start
    return replace(
        start, timecode_disagreement_seconds=label.seconds_after(start.time + reader.index.elapsed(0))
    )


def read_first_label(source: ByteSource, index: MovieIndex, *, file_size: int) -> TimecodeLabel | None:
    """The timecode of the first frame; None if the movie has no timecode.

    Raises
    ------
    InvalidMovieError
        The track is damaged, or its samples are beyond the end of the file.
    """
    timecode = find_timecode(index)
    if timecode is None:
        return None
    first, stop = int(index.pts[0]), int(index.pts[0] + index.duration[0])
    stretch = timecode.between(movie_seconds(index, first), movie_seconds(index, stop))
    numbers = read_numbers(source, stretch, file_size=file_size)
    return TimecodeLabel(int.from_bytes(numbers[:SAMPLE_BYTES], "big"), timecode.rate, timecode.drops)


def read_numbers(source: ByteSource, stretch: TimecodeStretch, *, file_size: int) -> bytes:
    """The samples of a stretch of the timecode, renumbered.

    Raises
    ------
    InvalidMovieError
        The samples are beyond the end of the file.
    """
    places = stretch.places
    if max(place.stop for place in places) > file_size:
        raise InvalidMovieError(f"{source.name}: its timecode is beyond the end of the file")
    parts = [b""] * len(places)
    for span, data in source.fetch(places):
        for position in span.members:
            start, stop = places[position]
            parts[position] = bytes(data[start - span.start : stop - span.start])
    return stretch.renumber(parts)
