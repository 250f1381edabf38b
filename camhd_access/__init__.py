"""Frames out of enormous movies on a plain web server, without downloading the movies."""

from typing import TYPE_CHECKING, Any

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
from camhd_access.archive.framesets import FrameSet, MovieSequence, read_frameset, read_multimov
from camhd_access.arrays import open_movie, open_movies, open_timelapse
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
from camhd_access.formats.quicktime import MovieIndex
from camhd_access.movie.reader import MovieReader, ReadPlan
from camhd_access.output.accessor import CamhdAccessor, ReadEstimate
from camhd_access.output.clip import ClipLayout, plan_clip, write_clip

if TYPE_CHECKING:
    from camhd_access.arrays.zarr import MovieStore as MovieStore
    from camhd_access.arrays.zarr import write_references as write_references
    from camhd_access.arrays.zarr import write_samples as write_samples

__all__ = [
    "OOI_ARCHIVE",
    "Archive",
    "CamhdAccessor",
    "CamhdError",
    "ClipLayout",
    "FrameDecodeError",
    "FrameIndexError",
    "FrameSet",
    "InvalidMovieError",
    "MissingMoovError",
    "MovieIndex",
    "MovieReader",
    "MovieSequence",
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
    "open_movies",
    "open_timelapse",
    "plan_clip",
    "read_catalog",
    "read_frameset",
    "read_multimov",
    "read_regions",
    "write_catalog",
    "write_clip",
]

_OF_ZARR = ("MovieStore", "write_references", "write_samples")
"""Names of the extra `zarr`, imported when they are asked for; not by a star, which shall not need it."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - of any module
    if name in _OF_ZARR:
        from camhd_access.arrays import zarr as zarr_store  # noqa: PLC0415 - an optional extra

        return getattr(zarr_store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_OF_ZARR})
