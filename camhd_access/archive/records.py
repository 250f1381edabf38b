"""`MovieRecord`: what is known of one movie; a row of a catalogue."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from camhd_access.formats.names import MovieName, choose_start_time, find_movie_name

__all__ = ["NOMINAL_SECONDS", "MovieRecord", "Quality", "record_of_name"]

NOMINAL_SECONDS = 15 * 60
"""Length of a routine recording, for what a name alone cannot tell."""

Quality: TypeAlias = Literal["good", "blank", "odd", "empty", "unreadable"]
"""`blank`: no picture, the camera was off. `odd`: can be read, but is not what a routine recording is.
`empty`: no bytes. `unreadable`: no index, a damaged one, or not ProRes."""


@dataclass(frozen=True, slots=True)
class MovieRecord:
    """What is known of one movie; None for what is not."""

    basename: str
    """Name without folders and extension, by which the movie is known on every server."""
    url: str
    """Path or URL that opens it."""
    start_time: np.datetime64 | None
    """When the recording began, UTC, in nanoseconds; None of a part of a recording that has no clock."""
    start_source: Literal["mvhd", "name", "unknown"] = "name"
    """The movie's own clock; or its name, of a length of 15 minutes where the true one is not known."""
    start_disagreement: float | None = None
    """Seconds by which the movie's clock is later than its name, which was corrected for its era."""
    file_size: int | None = None
    """Bytes of the file."""
    n_frames: int | None = None
    """Number of frames."""
    duration: float | None = None
    """Seconds from the start of the first frame to the end of the last."""
    codec: str | None = None
    """Four characters that name the kind of ProRes."""
    width: int | None = None
    """Pixels a row."""
    height: int | None = None
    """Rows, both fields together."""
    bytes_per_frame: float | None = None
    """Mean size of a sample; of a catalogue that others made, of the file divided by its frames."""
    quality: Quality | None = None
    """None: not known yet."""
    reason: str | None = None
    """Why the quality is what it is, where it is not good."""
    seen: np.datetime64 | None = None
    """When the movie was last seen in a listing, UTC."""

    @property
    def name(self) -> MovieName:
        """The name, read."""
        name = find_movie_name(self.basename)
        if name is None:
            raise ValueError(f"{self.basename!r} is not the name of a CamHD movie")
        return name

    def timed(self, duration: float, creation_time: np.datetime64 | None) -> "MovieRecord":
        """The record with the movie's length in seconds, and the start that its clock or its name tells."""
        start = choose_start_time(self.name, creation_time, duration_seconds=duration)
        return replace(
            self,
            duration=duration,
            start_time=start.time,
            start_source=start.source,
            start_disagreement=start.disagreement_seconds,
        )


def record_of_name(name: MovieName, url: str) -> MovieRecord:
    """What the name alone tells."""
    start = choose_start_time(name, None, duration_seconds=NOMINAL_SECONDS)
    return MovieRecord(name.basename, url, start.time, start.source)
