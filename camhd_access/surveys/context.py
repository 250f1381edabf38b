"""`SurveyContext`: what a survey's function is told about its pictures."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camhd_access.formats.names import StartTime
from camhd_access.movie.reader import MovieReader

__all__ = ["SurveyContext"]


@dataclass(frozen=True, slots=True, eq=False)
class SurveyContext:
    """The movie and the frames of a group of pictures, the second argument of a survey's function."""

    movie: str
    """Base name of the movie."""
    reader: MovieReader
    """The open movie, to read more of it."""
    frames: npt.NDArray[np.int64]
    """Index in the movie of each picture's frame, from 0."""
    field: npt.NDArray[np.int8]
    """Field of each picture: 0 is shown first; 0 for whole frames."""
    times: npt.NDArray[np.datetime64]
    """When each picture is shown, UTC, in nanoseconds; NaT if the start of the movie is unknown."""
    elapsed_seconds: npt.NDArray[np.float64]
    """Seconds from the start of the movie to each picture."""
    start: StartTime
    """Start of the movie, its source and its uncertainty."""
    y: npt.NDArray[np.float64]
    """Lines of the whole frame, from 0; in reduced pictures the centres of blocks."""
    x: npt.NDArray[np.float64]
    """Columns of the whole frame, likewise."""
    damaged: npt.NDArray[np.float64]
    """Damaged share of each picture, 0 to 1; the pixels are masked there. Zero unless `errors="mask"`."""
