"""Start times of movies: whether to read their timecode, and warnings about uncertain times."""

import warnings
from collections.abc import Mapping

from camhd_access.formats.names import StartTime
from camhd_access.messages import name_some
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.timecodes import read_start

__all__ = ["find_start", "warn_of_clocks"]


def find_start(reader: MovieReader) -> StartTime:
    """The start time of the movie, compared with its timecode if that is cheap or needed.

    Notes
    -----
    In local files it is cheap. In other files it takes a request of 4 bytes, which is only made if clock and
    name differ by more than a minute.
    """
    start = reader.start
    return start if reader.source.is_far and start.doubt is None else read_start(reader)


def warn_of_clocks(starts: Mapping[str, StartTime], *, stacklevel: int = 3) -> None:
    """Warn about movies whose clock and name differ by more than a minute."""
    doubtful = {name: start for name, start in starts.items() if start.doubt}
    if not doubtful:
        return
    told = [
        f"{name}: {start.doubt}; times are from its {'clock' if start.source == 'mvhd' else 'name'}"
        for name, start in doubtful.items()
    ]
    warnings.warn(
        f"{name_some(told, '; ')} (choose with clock='name' or clock='mvhd'; "
        "see the coordinate time_uncertainty_seconds)",
        stacklevel=stacklevel,
    )
