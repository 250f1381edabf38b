"""A movie to be played: HTTP Live Streaming (RFC 8216), encoded while it is watched.

The playlist lists segments of about a second. A segment is fetched, decoded and encoded when the first client
asks for it, and stored as other files are (see `made_files`): it is made once, and not to the end if all
clients have left. Bytes are fetched on the mirrors' event loop; only a few segments are in memory at once.

A player that seeks waits for a whole segment, although it shows only the rest of it. With `since`, a segment
that was not made before begins with the sought frame: the fewer frames are left, the sooner it is there, and
the next one can be made. Such parts are not stored.

With `step`, only every n-th frame is encoded, at an n-th of the cost, for links that are too slow for all.
All steps have the same segments and times, so a player may change between them at any segment.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil

import numpy as np
import numpy.typing as npt
from PIL import Image

from camhd_access.formats.quicktime import MovieIndex
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.stack import FrameStack
from camhd_access.output.film_writers import choose_size, resize
from camhd_access.output.provenance import describe_stack, format_time
from camhd_access.output.segments import MAX_TIMESCALE, SegmentFormat, can_write_segments
from camhd_access.ranges import ByteRange, plan_spans
from camhd_access.server.films import MAX_GAP_BYTES, PIECE_BYTES
from camhd_access.server.limits import Gate, Workers
from camhd_access.server.made_files import MadeFile
from camhd_access.server.movies import Movie
from camhd_access.server.parameters import HlsParameters, check_pixels
from camhd_access.server.problems import Problem
from camhd_access.server.reductions import choose_film_reduction
from camhd_access.server.settings import ServerSettings
from camhd_access.stopping import check_stopped

__all__ = ["HLS_TYPES", "Film", "SegmentMaker", "open_film"]

HLS_TYPES = {"m3u8": "application/vnd.apple.mpegurl", "mp4": "video/mp4", "m4s": "video/mp4"}
"""Media types of the playlist, the initialization segment, and the segments."""

SEGMENT_SECONDS = 1.0
"""Duration of a segment at the nominal rate: a player waits for one after a seek."""
MAX_FRAMES = 60
"""Frames of a segment: 30 MB of samples of 1080p."""
N_AHEAD = 3
"""Frames decoded before they are encoded, if another core is free."""
OTHER_TIMESCALE = 90_000


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A movie as segments."""

    movie: Movie
    """The movie."""
    wanted: HlsParameters
    """The request."""
    format: SegmentFormat
    """What all segments have in common."""
    reduce: int
    """Factor by which frames are reduced when they are decoded."""
    times: npt.NDArray[np.int64]
    """When each frame of the movie is shown, in ticks from the first; the last item is the end."""
    n_each: int
    """Frames of the movie per segment."""

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return -(-self.movie.reader.n_frames // self.n_each)

    @property
    def key(self) -> str:
        """Distinguishes its files from those of other films of the movie."""
        width, height = self.format.size
        return f"{self.wanted.key}&size={width}x{height}&reduce={self.reduce}&each={self.n_each}"

    @property
    def whole(self) -> "Film":
        """The film whose segments have all of their frames."""
        return replace(self, wanted=replace(self.wanted, since=0.0))

    def frames(self, number: int) -> range:
        """Indices of the frames in a segment; numbers begin at 1.

        Raises
        ------
        Problem
            404: there is no such segment.
        """
        if not 1 <= number <= self.n_segments:
            raise Problem(404, f"There is no segment {number}; this movie has {self.n_segments}.")
        start, stop = (number - 1) * self.n_each, self.stops(number)
        if self.wanted.since:
            ticks = self.wanted.since * self.format.timescale
            sought = int(np.searchsorted(self.times, ticks, side="right")) - 1
            start = sought if start < sought < stop else start
        return range(start, stop, self.wanted.step)

    def stops(self, number: int) -> int:
        """Index of the frame after a segment."""
        return min(number * self.n_each, self.movie.reader.n_frames)

    def stack(self, frames: Sequence[int]) -> FrameStack:
        """Some frames, not read yet."""
        return self.movie.reader.stack(frames, deinterlace=self.wanted.deinterlace, reduce=self.reduce)

    def write_playlist(self) -> str:
        """The playlist: RFC 8216, section 4.3."""
        bounds = self.times[[*range(0, self.movie.reader.n_frames, self.n_each), -1]]
        seconds = (np.diff(bounds) / self.format.timescale).tolist()
        start, query = self.movie.reader.start_time, self.wanted.query
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            f"#EXT-X-TARGETDURATION:{max(1, ceil(max(seconds)))}",
            "#EXT-X-PLAYLIST-TYPE:VOD",
            "#EXT-X-INDEPENDENT-SEGMENTS",
            f'#EXT-X-MAP:URI="init.mp4{query}"',
        ]
        if start is not None:
            shown = start + self.movie.reader.elapsed()[0]
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{format_time(shown)}")
        for number, duration in enumerate(seconds, 1):
            lines += [f"#EXTINF:{duration:.6f},", f"{number}.m4s{query}"]
        return "\n".join([*lines, "#EXT-X-ENDLIST", ""])

    def write_init(self) -> MadeFile:
        """The initialization segment."""
        frames = [frame for number in range(1, self.n_segments + 1) for frame in self.frames(number)]
        record = describe_stack(self.movie.reader, self.stack(frames), reads=True, width=self.format.size[0])
        return MadeFile(self.format.write_init(record), HLS_TYPES["mp4"], self.format.size)

    def make_segment(self, number: int, samples: Mapping[int, bytes], *, parallel: bool) -> MadeFile:
        """One segment, from the samples of its frames."""
        begin = time.perf_counter()
        frames = self.frames(number)
        times = self.times[[*frames, self.stops(number)]]
        stack = self.stack(frames)

        def decode(position: int) -> npt.NDArray[np.uint8]:
            check_stopped()
            pixels = stack.select(position).decode(samples[frames[position]], parallel=False)
            return np.asarray(resize(Image.fromarray(pixels), self.format.size))

        with ThreadPoolExecutor(1) if parallel else nullcontext() as pool:
            positions = range(len(frames))
            images = _map_ahead(pool, decode, positions) if pool else map(decode, positions)
            body = self.format.write_segment(images, times[:-1], np.diff(times), number)
        seconds = {"encode": time.perf_counter() - begin}
        return MadeFile(body, HLS_TYPES["m4s"], self.format.size, seconds)


def _map_ahead(
    pool: Executor, work: Callable[[int], npt.NDArray[np.uint8]], positions: range
) -> Iterator[npt.NDArray[np.uint8]]:
    """The results of `work`, which the thread of the pool does while the caller uses those before."""
    run = copy_context().run  # stopped like its caller
    coming = deque(pool.submit(run, work, position) for position in positions[:N_AHEAD])
    for position in positions:
        if position + N_AHEAD < len(positions):
            coming.append(pool.submit(run, work, position + N_AHEAD))
        yield coming.popleft().result()


def open_film(movie: Movie, wanted: HlsParameters, settings: ServerSettings) -> Film:
    """The movie as a film.

    Raises
    ------
    Problem
        400: too many pixels. 422: it has no frames, or their times do not increase. 501: libav was built
        without the encoder.
    """
    if not can_write_segments():
        raise Problem(501, "This server cannot encode H.264: its libav was built without libx264.")
    reader = movie.reader
    if not reader.n_frames:
        raise Problem(422, "This movie has no frames.")
    index = reader.index
    size = choose_size(index.width, index.height, wanted.width)
    check_pixels(*size, settings.max_pixels)
    times, timescale = _find_times(index)
    if (np.diff(times) <= 0).any():
        raise Problem(422, "This movie cannot be played: the times of its frames do not increase.")
    n_each = _count_per_segment(reader, settings)
    rate = Fraction(reader.n_frames * timescale, int(times[-1])).limit_denominator(1001)
    rate = min(max(rate, Fraction(1)), Fraction(1000))
    film_format = SegmentFormat(size, rate, timescale)
    return Film(movie, wanted, film_format, choose_film_reduction(reader, size[0]), times, n_each)


def _find_times(index: MovieIndex) -> tuple[npt.NDArray[np.int64], int]:
    """When each frame is shown and the last one ends, in ticks from the first; and ticks per second."""
    shown = index.pts + index.delay
    times = np.append(shown, shown[-1] + index.duration[-1]) - shown[0]
    if index.timescale <= MAX_TIMESCALE:
        return times, index.timescale
    seconds, ticks = np.divmod(times, index.timescale)
    return seconds * OTHER_TIMESCALE + ticks * OTHER_TIMESCALE // index.timescale, OTHER_TIMESCALE


def _count_per_segment(reader: MovieReader, settings: ServerSettings) -> int:
    rate = reader.n_frames / reader.duration if reader.duration else 1.0
    return max(1, min(round(rate * SEGMENT_SECONDS), MAX_FRAMES, settings.max_frames))


class SegmentMaker:
    """Makes segments in the workers' threads; only a few are in memory.

    Parameters
    ----------
    workers
        The threads.
    n_at_once
        Segments in memory.
    max_waiting
        Segments that may wait; more are rejected with 503.
    """

    def __init__(self, workers: Workers, n_at_once: int, max_waiting: int) -> None:
        self.gate = Gate(n_at_once, max_waiting)
        self._workers = workers

    async def make(self, film: Film, number: int) -> MadeFile:
        """A segment, or with number 0 the initialization segment.

        Raises
        ------
        RemoteFileError
            The movie's bytes could not be read.
        FrameDecodeError
            A frame is damaged.
        Problem
            503: the queue is full.
        """
        if not number:
            return await self._workers.run(film.write_init)
        async with self.gate:
            samples = await _read_samples(film.movie, film.frames(number))
            is_alone = not self._workers.gate.n_running
            return await self._workers.run(film.make_segment, number, samples, parallel=is_alone)


async def _read_samples(movie: Movie, frames: range) -> dict[int, bytes]:
    """The samples of some frames that decode alone, by index; near ones are fetched together."""
    index = movie.reader.index
    samples = dict.fromkeys(frames, b"")
    filled = [] if index.coded else [frame for frame in frames if index.size[frame]]
    ranges = [
        ByteRange(start, start + size)
        for start, size in zip(index.offset[filled].tolist(), index.size[filled].tolist(), strict=True)
    ]
    spans = plan_spans(ranges, max_gap_bytes=MAX_GAP_BYTES, max_span_bytes=2 * PIECE_BYTES)
    parts = await asyncio.gather(*(movie.read(ByteRange(span.start, span.stop)) for span in spans))
    for span, data in zip(spans, parts, strict=True):
        for position in span.members:
            start, stop = ranges[position]
            samples[filled[position]] = data[start - span.start : stop - span.start]
    return samples
