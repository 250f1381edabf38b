"""The origin of a clip: the movie from which it was cut, and the indices of its frames there.

Clips written by this package store it in their metadata, as JSON (see `output.provenance`). The metadata is
untrusted input: a record that does not match the clip is ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from camhd_access.formats.names import StartTime

__all__ = ["LICENSE", "RECORD_KEY", "Origin", "format_frames", "parse_frames", "parse_origin"]

RECORD_KEY = "camhd_access"
"""Name of the record in the metadata of a movie or an image, and first key of its JSON."""

LICENSE = (
    "Data of the NSF Ocean Observatories Initiative are free to use, with acknowledgement: "
    "https://oceanobservatories.org/how-to-use-acknowledge-and-cite-data"
)

MAX_FRAMES = 1 << 24
"""Maximum number of frames in a record: 155 hours of movie."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """The movie from which a clip was cut."""

    movie: str
    """Base name of the movie."""
    source: str
    """Path or URL of the movie file, without secrets."""
    file_size: int
    """Size of the movie file in bytes; 0 if unknown."""
    etag: str
    """ETag or Last-Modified of the movie file; empty if unknown."""
    frames: npt.NDArray[np.int64]
    """Index in that movie of each frame of the clip."""
    time_source: str
    """Source of the start time of the movie: "mvhd", "name" or "unknown"."""
    time_disagreement_seconds: float | None
    """Start time by the clock of the movie minus the time in its name; None if unknown."""

    def start(self, time: np.datetime64 | None) -> StartTime:
        """The start of the clip: `time`, from its own header, with the source of the movie's start time."""
        if time is None or self.time_source not in ("mvhd", "name"):
            return StartTime(time, "unknown" if time is None else "mvhd", None)
        return StartTime(
            time.astype("datetime64[ns]"),
            "mvhd" if self.time_source == "mvhd" else "name",
            self.time_disagreement_seconds,
        )


def parse_origin(metadata: Mapping[str, str], n_frames: int) -> Origin | None:
    """The origin in the metadata of a clip of `n_frames`; None if there is no valid one."""
    try:
        record = json.loads(metadata.get(RECORD_KEY, "null"))
        if not isinstance(record, dict):
            return None
        frames = parse_frames(str(record["frames"]))
        apart = record.get("time_disagreement_seconds")
        origin = Origin(
            movie=str(record["movie"]),
            source=str(record["source"]),
            file_size=int(record.get("file_size", 0)),
            etag=str(record.get("etag", "")),
            frames=frames,
            time_source=str(record.get("time_source", "unknown")),
            time_disagreement_seconds=None if apart is None else float(apart),
        )
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return None
    return origin if len(frames) == n_frames else None


def format_frames(frames: npt.NDArray[Any]) -> str:
    """Frame indices as text, with slices for regular steps: `7`, `2:8`, `0:91:10`, `3,4,20:30`."""
    numbers = [int(number) for number in np.atleast_1d(frames)]
    parts, start = [], 0
    while start < len(numbers):
        first = numbers[start]
        step = numbers[start + 1] - first if start + 1 < len(numbers) else 0
        stop = start + 1
        while step and stop < len(numbers) and numbers[stop] - numbers[stop - 1] == step:
            stop += 1
        if stop - start < 3:  # two numbers are shorter than a slice
            parts.append(str(first))
            start += 1
            continue
        end = numbers[stop - 1] + (1 if step > 0 else -1)
        parts.append(f"{first}:{end}" + (f":{step}" if step != 1 else ""))
        start = stop
    return ",".join(parts)


def parse_frames(text: str) -> npt.NDArray[np.int64]:
    """The frame indices in a text of `format_frames`.

    Raises
    ------
    ValueError
        The text is malformed, or has more than `MAX_FRAMES` indices.
    """
    ranges = []
    for part in text.split(","):
        bounds = [int(bound) for bound in part.split(":")]
        ranges.append(range(*bounds) if len(bounds) > 1 else range(bounds[0], bounds[0] + 1))
        if sum(map(len, ranges)) > MAX_FRAMES:
            raise ValueError(f"more than {MAX_FRAMES} frames")
    return np.concatenate([np.arange(each.start, each.stop, each.step, dtype=np.int64) for each in ranges])
