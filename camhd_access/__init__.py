"""Frames out of enormous movies on a plain web server, without downloading the movies."""

from camhd_access._version import __version__
from camhd_access.archive import (
    OOI_ARCHIVE,
    Archive,
    find_deployment,
    find_runs,
    find_scene_frames,
    known_anomalies,
    open_archive,
    read_catalog,
    read_regions,
    write_catalog,
)
from camhd_access.arrays import open_movie
from camhd_access.errors import (
    CamhdError,
    FrameDecodeError,
    FrameIndexError,
    InvalidMovieError,
    MissingMoovError,
    RangeNotSupportedError,
    RemoteFileChangedError,
    RemoteFileError,
    RemoteFileNotFoundError,
    TruncatedResponseError,
    UnsupportedCodecError,
    UnsupportedMovieError,
)
from camhd_access.plotting import CamhdAccessor, ReadEstimate
from camhd_access.quicktime import MovieIndex
from camhd_access.reader import MovieReader, ReadPlan
from camhd_access.timelapse import open_timelapse

__all__ = [
    "OOI_ARCHIVE",
    "Archive",
    "CamhdAccessor",
    "CamhdError",
    "FrameDecodeError",
    "FrameIndexError",
    "InvalidMovieError",
    "MissingMoovError",
    "MovieIndex",
    "MovieReader",
    "RangeNotSupportedError",
    "ReadEstimate",
    "ReadPlan",
    "RemoteFileChangedError",
    "RemoteFileError",
    "RemoteFileNotFoundError",
    "TruncatedResponseError",
    "UnsupportedCodecError",
    "UnsupportedMovieError",
    "__version__",
    "find_deployment",
    "find_runs",
    "find_scene_frames",
    "known_anomalies",
    "open_archive",
    "open_movie",
    "open_timelapse",
    "read_catalog",
    "read_regions",
    "write_catalog",
]
