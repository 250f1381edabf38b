"""Open movies: their indexes, and the properties that clients request.

Concurrent requests open a movie once, in a thread of its mirror, so a slow mirror delays
no others. After some minutes the file is checked for changes: a recording that was still
being written when it was opened gets its full length.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camhd_access.archive.quality import find_lit_frame, judge_index
from camhd_access.caching import LRUCache, SingleFlight
from camhd_access.errors import CamhdError, RemoteFileError, UnsupportedMovieError
from camhd_access.movie.reader import MovieReader
from camhd_access.ranges import ByteRange
from camhd_access.server.limits import Workers
from camhd_access.server.mirrors import MAX_REQUESTS_AT_ONCE, Mirror, Place

__all__ = ["Movie", "Movies"]

FRESH_SECONDS = 300.0
MAX_MOVIES = 64
MAX_BINS = 2000
MAX_FRAME_PIXELS = 8192 * 8192
"""Limit for the pixels of a frame, whatever part is requested: decoding takes 12 bytes per pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class Movie:
    """One open movie."""

    place: Place
    """Its mirror and path."""
    reader: MovieReader
    """Its reader."""
    version: str
    """Identifies the version of its file."""
    opened_at: float
    """Time of opening, by the monotonic clock."""

    async def read_sample(self, index: int) -> bytes:
        """The bytes of one frame as in the file.

        Raises
        ------
        RemoteFileError
            They could not be read; `RemoteFileChangedError` if the file was replaced.
        Problem
            503: too many requests to the mirror.
        """
        start = int(self.reader.index.offset[index])
        return await self.read(ByteRange(start, start + int(self.reader.index.size[index])))

    async def read_alone(self, index: int) -> bytes:
        """The sample of a frame if it decodes without others; empty if not."""
        return b"" if self.reader.index.coded else await self.read_sample(index)

    async def read(self, wanted: ByteRange) -> bytes:
        """Some bytes of the file; raises as `read_sample`."""
        mirror: Mirror = self.place.mirror
        data: bytes = await mirror.ask(
            mirror.filesystem._cat_file,  # noqa: SLF001 - fsspec's async interface
            self.reader.source.path,
            wanted.start,
            wanted.stop,
            validator=self.version,
        )
        return data

    def describe(self, interlaced: bool | None) -> dict[str, Any]:
        """Properties of the movie: first those of go-lazycache, under its names; then ours.

        `Quality` is that of catalogs, with its reason; `LitFrame` numbers a frame that shows something.
        """
        reader = self.reader
        start, apart = reader.start.time, reader.start.disagreement_seconds
        quality, reason = judge_index(reader.index, apart) if reader.n_frames else (None, None)
        lit = find_lit_frame(reader.index)
        return {
            "URL": self.place.path,
            "NumFrames": reader.n_frames,
            "Duration": reader.duration,
            "FileSize": reader.file_size,
            "Width": reader.index.width,
            "Height": reader.index.height,
            "FrameRate": reader.n_frames / reader.duration if reader.duration else None,
            "StartTime": None if start is None else f"{np.datetime_as_string(start, 'ms')}Z",
            "Interlaced": interlaced,
            "Codec": reader.index.codec,
            "Quality": quality,
            "QualityReason": reason,
            "LitFrame": None if lit is None else lit + 1,
        }

    def describe_activity(self) -> dict[str, Any]:
        """Mean encoded size of the frames in at most 2,000 intervals: motion makes frames larger."""
        sizes = self.reader.index.size
        n_in_bin = max(1, -(-len(sizes) // MAX_BINS))
        starts = np.arange(0, len(sizes), n_in_bin)
        counts = np.diff(np.append(starts, len(sizes)))
        means = np.add.reduceat(sizes, starts) / counts if len(sizes) else np.empty(0)
        return {
            "URL": self.place.path,
            "NumFrames": len(sizes),
            "FramesPerBin": n_in_bin,
            "MeanSizes": np.rint(means).astype(int).tolist(),
        }


class Movies:
    """The recently requested movies of all mirrors."""

    def __init__(self, mirrors: Sequence[Mirror], max_waiting: int) -> None:
        self.memory: LRUCache[str, Movie] = LRUCache(MAX_MOVIES)
        self.flights: SingleFlight[str, Movie] = SingleFlight()
        self.questions: SingleFlight[Movie, bool | None] = SingleFlight()
        self._openers = {mirror.url: Workers(MAX_REQUESTS_AT_ONCE, max_waiting, "open") for mirror in mirrors}

    async def open(self, place: Place) -> Movie:
        """The movie at a place.

        Raises
        ------
        CamhdError
            As raised by `MovieReader`.
        Problem
            503: too many requests to the mirror.
        """
        key = place.mirror.url_of(place.names)
        movie = self.memory.find(key)
        if movie is None or time.monotonic() - movie.opened_at > FRESH_SECONDS:
            movie = await self.flights.share(key, lambda: self._open(place, key))
        return movie

    async def find_interlaced(self, movie: Movie) -> bool | None:
        """Whether a frame holds two fields; None if the first frame is unreadable.

        Notes
        -----
        The first call for a movie costs a request for the head of its first frame.
        """
        openers = self._openers[movie.place.mirror.url]
        return await self.questions.share(movie, lambda: openers.run(_find_interlaced, movie.reader))

    def forget(self, place: Place) -> None:
        """Open the movie again on the next request."""
        self.memory.drop(place.mirror.url_of(place.names))

    async def _open(self, place: Place, key: str) -> Movie:
        place.mirror.filesystem.invalidate_cache(key)
        movie = await self._openers[place.mirror.url].run(_open_movie, place)
        self.memory.keep(key, movie)
        return movie

    async def aclose(self) -> None:
        """Wait for the threads that open movies."""
        await self.flights.aclose()
        await self.questions.aclose()
        for workers in self._openers.values():
            await workers.aclose()


def _open_movie(place: Place) -> Movie:
    reader = place.mirror.open_movie(place.names)
    if reader.index.width * reader.index.height > MAX_FRAME_PIXELS:
        raise UnsupportedMovieError(f"{place.path}: frames of {reader.index.width}x{reader.index.height}")
    return Movie(place, reader, str(reader.source.version), time.monotonic())


def _find_interlaced(reader: MovieReader) -> bool | None:
    try:
        return reader.interlaced if reader.n_frames else None
    except RemoteFileError:
        raise
    except CamhdError:
        return None
