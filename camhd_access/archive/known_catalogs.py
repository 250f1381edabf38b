"""The catalogues that others have published, `dbcamhd.json`, row by row → `MovieRecord`.

Three kinds are known, told apart by their columns: that of the rte-camhd notebooks (2018), of Pangeo (2019)
and of Azure Open Datasets. All were made by pycamhd, which searched each file for the letters `stsz`: where
it hit upon something else it noted no frames, or millions. Such counts become unknown, and where a time is
more than a day off the name, the name serves. What these catalogues say of deployments is not taken over: it
was computed from local times.
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
"""Fewer than any frame of 1920x1080 takes, a black one included (about 21,000)."""

FRAME_SECONDS = 1001 / 30_000

_CUT_SHORT = {each.basename for each in ANOMALIES if each.kind == "cut short"}


@dataclass(frozen=True, slots=True)
class KnownSchema:
    """Which columns of a published catalogue say what."""

    url: str
    """Address of the movie."""
    file_size: str
    """Bytes of the file."""

    def read(self, row: Mapping[str, Any]) -> MovieRecord:
        """What a row tells, as far as it can be true.

        Raises
        ------
        ValueError
            The row is about no movie of the camera, or a column is missing.
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
            return replace(
                record, quality="unreadable", reason="no moov atom: the recording was not finished"
            )
        if not n_frames:
            return replace(record, reason="not known: its catalogue counts no frames")
        bytes_per_frame = file_size / n_frames
        if bytes_per_frame < MIN_BYTES_PER_FRAME:
            return replace(
                record, reason=f"not known: its catalogue counts {n_frames} frames, which cannot be"
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
    """How to read a catalogue with rows like this one; None where it is of no known kind."""
    if not {"frame_count", "timestamp"} <= row.keys():
        return None
    return next((each for each in _SCHEMAS if {each.url, each.file_size} <= row.keys()), None)
