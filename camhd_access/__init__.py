"""Read frames of very large movies on a plain web server, without downloading the movies.

Importing this package is cheap: a public name is loaded from its module when it is first used (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from camhd_access._accessor import register_accessor
from camhd_access._version import __version__

if TYPE_CHECKING:
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
    from camhd_access.arrays.zarr import MovieStore as MovieStore
    from camhd_access.arrays.zarr import write_icechunk as write_icechunk
    from camhd_access.arrays.zarr import write_references as write_references
    from camhd_access.arrays.zarr import write_samples as write_samples
    from camhd_access.errors import (
        CamhdError,
        FrameDecodeError,
        FrameIndexError,
        FrameSizeError,
        InvalidMovieError,
        MissingMoovError,
        NoFrameError,
        NotAMovieError,
        RangeNotSupportedError,
        RemoteFileChangedError,
        RemoteFileError,
        RemoteFileNotFoundError,
        SurveyError,
        TruncatedResponseError,
        UnsupportedCodecError,
        UnsupportedMovieError,
    )
    from camhd_access.formats.quicktime import MovieIndex
    from camhd_access.movie.plan import ReadPlan
    from camhd_access.movie.reader import MovieReader
    from camhd_access.output.accessor import CamhdAccessor, ReadEstimate
    from camhd_access.output.clip import ClipLayout, plan_clip, write_clip
    from camhd_access.output.ifdo import to_ifdo
    from camhd_access.server.notebook import serve as serve
    from camhd_access.surveys import SurveyContext, SurveyPlan, SurveyReport
    from camhd_access.surveys.survey import Survey, survey

__all__ = [
    "OOI_ARCHIVE",
    "Archive",
    "CamhdAccessor",
    "CamhdError",
    "ClipLayout",
    "FrameDecodeError",
    "FrameIndexError",
    "FrameSet",
    "FrameSizeError",
    "InvalidMovieError",
    "MissingMoovError",
    "MovieIndex",
    "MovieReader",
    "MovieSequence",
    "NoFrameError",
    "NotAMovieError",
    "RangeNotSupportedError",
    "ReadEstimate",
    "ReadPlan",
    "RemoteFileChangedError",
    "RemoteFileError",
    "RemoteFileNotFoundError",
    "Survey",
    "SurveyContext",
    "SurveyError",
    "SurveyPlan",
    "SurveyReport",
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
    "survey",
    "to_ifdo",
    "write_catalog",
    "write_clip",
]

_HOMES = {
    "archive": (
        "Archive",
        "OOI_ARCHIVE",
        "find_deployment",
        "find_runs",
        "find_scene_frames",
        "known_anomalies",
        "open_archive",
        "read_catalog",
        "read_regions",
        "write_catalog",
    ),
    "archive.framesets": ("FrameSet", "MovieSequence", "read_frameset", "read_multimov"),
    "arrays": ("open_movie", "open_movies", "open_timelapse"),
    "errors": (
        "CamhdError",
        "FrameDecodeError",
        "FrameIndexError",
        "FrameSizeError",
        "InvalidMovieError",
        "MissingMoovError",
        "NoFrameError",
        "NotAMovieError",
        "RangeNotSupportedError",
        "RemoteFileChangedError",
        "RemoteFileError",
        "RemoteFileNotFoundError",
        "SurveyError",
        "TruncatedResponseError",
        "UnsupportedCodecError",
        "UnsupportedMovieError",
    ),
    "formats.quicktime": ("MovieIndex",),
    "movie.plan": ("ReadPlan",),
    "movie.reader": ("MovieReader",),
    "output.accessor": ("CamhdAccessor", "ReadEstimate"),
    "output.clip": ("ClipLayout", "plan_clip", "write_clip"),
    "output.ifdo": ("to_ifdo",),
    "surveys": ("SurveyContext", "SurveyPlan", "SurveyReport"),
    "surveys.survey": ("Survey", "survey"),
    "arrays.zarr": (
        "MovieStore",
        "write_icechunk",
        "write_references",
        "write_samples",
    ),
    "server.notebook": ("serve",),
}
"""The modules that public names are loaded from. Those of extras (`zarr`, `server`) are not in `__all__`."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - of any module
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"camhd_access.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_HOME_OF})


register_accessor()
