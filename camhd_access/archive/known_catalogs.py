"""Third-party catalogues (`dbcamhd.json`), row by row → `MovieRecord`.

Three kinds are known, distinguished by their columns: those of the rte-camhd notebooks (2018), of Pangeo
(2019) and of Azure Open Datasets. All were made with pycamhd, which searched each file for the letters
`stsz`; where it found something else, it stored 0 frames, or millions. Such counts are replaced by NaN. If a
time is more than a day off the name, the name is used. Their deployments are ignored, because they were
computed from local times.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from camhd_access.archive.anomalies import ANOMALIES
from camhd_access.archive.quality import judge_frames
from camhd_access.archive.records import MovieRecord, record_of_name
from camhd_access.formats.names import find_movie_name

__all__ = ["KnownSchema", "find_schema"]

MIN_BYTES_PER_FRAME = 5_000
"""Less than any frame of 1920x1080 has, even a black one (about 21,000)."""

FRAME_SECONDS = 1001 / 30_000

_CUT_SHORT = {each.basename for each in ANOMALIES if each.kind == "cut short"}


@dataclass(frozen=True, slots=True)
class KnownSchema:
    """The column names of a third-party catalogue."""

    url: str
    """URL of the movie."""
    file_size: str
    """Bytes of the file."""

    def read(self, row: Mapping[str, Any]) -> MovieRecord:
        """The record of a row, without impossible values.

        Raises
        ------
        ValueError
            The row is not about a movie of the camera, or a column is missing.
        """
        try:
            url, file_size = str(row[self.url]), int(row[self.file_size])
            n_frames, timestamp = int(row["frame_count"] or 0), int(row["timestamp"] or 0)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a row of this catalogue ({error!r}): {row!r:.200}") from error
        name = find_movie_name(url)
        if name is None:
            raise ValueError(f"not the address of a CamHD movie: {url}")
        record = replace(record_of_name(name, url), file_size=file_size)
        if not file_size:
            return replace(record, quality="empty", reason="0 bytes")
        if name.basename in _CUT_SHORT:
            return replace(record, quality="unreadable", reason="no moov atom: truncated recording")
        if not n_frames:
            return replace(record, reason="unknown: its catalogue lists 0 frames")
        bytes_per_frame = file_size / n_frames
        if bytes_per_frame < MIN_BYTES_PER_FRAME:
            return replace(
                record, reason=f"unknown: its catalogue lists {n_frames} frames, which is impossible"
            )
        creation_time = np.datetime64(timestamp, "s") if timestamp else None
        record = record.timed(n_frames * FRAME_SECONDS, creation_time)
        quality, reason = judge_frames(n_frames, bytes_per_frame, (1920, 1080), record.start_disagreement)
        return replace(
            record, n_frames=n_frames, bytes_per_frame=bytes_per_frame, quality=quality, reason=reason
        )


_SCHEMAS = (
    KnownSchema("blob_url", "blob_size"),  # Pangeo
    KnownSchema("url", "filesize"),  # Azure
    KnownSchema("filename", "filesize"),  # rte-camhd
)


def find_schema(row: Mapping[str, Any]) -> KnownSchema | None:
    """The column names of a catalogue with this row; None for an unknown kind."""
    if not {"frame_count", "timestamp"} <= row.keys():
        return None
    return next((each for each in _SCHEMAS if {each.url, each.file_size} <= row.keys()), None)
