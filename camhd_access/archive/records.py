"""`MovieRecord`: the properties of one movie; a row of a catalogue."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from camhd_access.formats.names import MovieName, choose_start_time, find_movie_name

__all__ = ["NOMINAL_SECONDS", "MovieRecord", "Quality", "record_of_name"]

NOMINAL_SECONDS = 15 * 60
"""Duration of a routine recording, assumed if only the name is known."""

Quality: TypeAlias = Literal["good", "blank", "odd", "empty", "unreadable"]
"""`good`: a normal recording. `blank`: black, the camera was off. `odd`: can be read, but differs from a
routine recording. `empty`: no bytes. `unreadable`: no index (truncated), a damaged index, or a codec that is
not read."""


@dataclass(frozen=True, slots=True)
class MovieRecord:
    """The properties of one movie, a row of a catalogue; None for unknown values."""

    basename: str
    """Name without folders and suffix, which identifies the movie on every server."""
    url: str
    """Path or URL that opens it."""
    start_time: np.datetime64 | None
    """Start of the recording, UTC, in nanoseconds; None for a part of a recording without a clock."""
    start_source: Literal["mvhd", "name", "unknown"] = "name"
    """Source of `start_time`: the header of the movie (`mvhd`), or its name (15 minutes long if the
    duration is unknown)."""
    start_disagreement: float | None = None
    """Seconds by which the movie's clock is later than its name, corrected for its naming scheme."""
    file_size: int | None = None
    """Size of the file in bytes."""
    n_frames: int | None = None
    """Number of frames."""
    duration: float | None = None
    """Seconds from the start of the first frame to the end of the last."""
    codec: str | None = None
    """Four-character code of the ProRes variant, such as `apcn`."""
    width: int | None = None
    """Width of the frame in pixels."""
    height: int | None = None
    """Height of the frame in lines (both fields)."""
    bytes_per_frame: float | None = None
    """Mean encoded size of a frame; in third-party catalogues, file size divided by frames."""
    quality: Quality | None = None
    """`good`, `blank`, `odd`, `empty` or `unreadable`; None if the index was not read."""
    reason: str | None = None
    """Reason for a quality other than `good`."""
    seen: np.datetime64 | None = None
    """When the movie was last seen in a listing, UTC."""
    other_urls: str | None = None
    """Its other paths or URLs in the archive, separated by spaces, if it is in several folders."""

    @property
    def name(self) -> MovieName:
        """The parsed name."""
        name = find_movie_name(self.basename)
        if name is None:
            raise ValueError(f"{self.basename!r} is not the name of a CamHD movie")
        return name

    def timed(self, duration: float, creation_time: np.datetime64 | None) -> "MovieRecord":
        """The record with the duration in seconds, and the start time by clock or name."""
        start = choose_start_time(self.name, creation_time, duration_seconds=duration)
        return replace(
            self,
            duration=duration,
            start_time=start.time,
            start_source=start.source,
            start_disagreement=start.disagreement_seconds,
        )


def record_of_name(name: MovieName, url: str) -> MovieRecord:
    """The record of a movie of which only the name is known."""
    start = choose_start_time(name, None, duration_seconds=NOMINAL_SECONDS)
    return MovieRecord(name.basename, url, start.time, start.source)
