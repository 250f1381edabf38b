"""Movies that are open: an index each, and the facts that clients ask for.

A movie is opened once for all who wait for it, in a thread of its mirror's, so that one that is slow holds up
nobody else. After some minutes the mirror is asked whether the file is still the same: a recording that was
being written when it was opened does not stay short for ever.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
"""Of a movie, whatever of it is asked for: to decode one takes 12 bytes a pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class Movie:
    """One movie that is open."""

    place: Place
    """Where it lies."""
    reader: MovieReader
    """Its index, and the way to its frames."""
    version: str
    """What tells this version of its file from others."""
    opened_at: float
    """When, by the clock that only runs forward."""

    async def read_sample(self, index: int) -> bytes:
        """The bytes of one frame as they lie in the file.

        Raises
        ------
        RemoteFileError
            They could not be had; `RemoteFileChangedError` where the file was replaced.
        Problem
            503: too much is asked of the mirror.
        """
        start = int(self.reader.index.offset[index])
        return await self.read(ByteRange(start, start + int(self.reader.index.size[index])))

    async def read(self, wanted: ByteRange) -> bytes:
        """Some bytes of the file; raises as `read_sample` does."""
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
        """Facts about the movie: first those of go-lazycache, under its names."""
        reader = self.reader
        start = reader.start_time
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
        }

    def describe_activity(self) -> dict[str, Any]:
        """Mean encoded size of the frames in each of at most 2,000 stretches: what moves is larger."""
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
    """The movies of all mirrors that were asked for lately."""

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
            As `MovieReader` raises it.
        Problem
            503: too much is asked of the mirror.
        """
        key = place.mirror.url_of(place.names)
        movie = self.memory.find(key)
        if movie is None or time.monotonic() - movie.opened_at > FRESH_SECONDS:
            movie = await self.flights.share(key, lambda: self._open(place, key))
        return movie

    async def find_interlaced(self, movie: Movie) -> bool | None:
        """Whether a frame holds two fields; None where the first frame does not tell.

        Notes
        -----
        The first question of a movie costs a request for the head of that frame.
        """
        openers = self._openers[movie.place.mirror.url]
        return await self.questions.share(movie, lambda: openers.run(_find_interlaced, movie.reader))

    def forget(self, place: Place) -> None:
        """Open the movie there again when it is next asked for."""
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
