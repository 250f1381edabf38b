"""Frames of a movie with inter-frame coding: the samples that are fetched and decoded for them, in runs.

A *run* is a stretch of samples, in decoding order, from a sync sample to the last sample needed. Frames
asked for together share runs, so no sample is fetched or decoded twice. Decoders hold frames back to put
them into display order; at the end of a run they are made to return them, and take no more samples. A read
that begins where the last one ended therefore goes a few samples further, and its decoder waits for the next
read, which then continues with it.
"""

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from camhd_access.caching import LRUCache
from camhd_access.decoding.groups import Decoded, NoEntryError, RunDecoder, find_begin
from camhd_access.decoding.subsampled import CodedFrame
from camhd_access.errors import FrameDecodeError
from camhd_access.formats.h26x import Entry
from camhd_access.formats.quicktime import CodedSamples
from camhd_access.movie.fresh_bytes import read_again
from camhd_access.ranges import ByteData, ByteRange
from camhd_access.storage.source import ByteSource

__all__ = ["GroupReader", "Run", "samples_of"]

MAX_MOVIES_KNOWN = 1024

_is_entry: LRUCache[ByteSource, Mapping[int, bool]] = LRUCache(MAX_MOVIES_KNOWN)
"""Whether decoding can begin at sync samples, of movies where it cannot at some."""

_last_ranks: LRUCache[ByteSource, int] = LRUCache(MAX_MOVIES_KNOWN)
"""Position in display order of the frame read last of each movie."""

MAX_STEP = 16
"""Frames from the end of one read to the start of the next for the two to be in sequence."""

MAX_PARKED = 4
"""Decoders that wait for the next read; one of 1080p holds up to 100 MB."""

MAX_BYTES_AGAIN = 32 << 20
"""Longest run of samples that is read again for a damaged frame."""

N_SAMPLES_ON = 8
"""Samples fetched at once beyond the last one needed, so that the decoder need not be emptied."""


class Run(NamedTuple):
    """Samples that are decoded one after the other."""

    start: int
    """The first sample, a sync sample."""
    stop: int
    """One past the last sample."""
    wanted: tuple[int, ...]
    """The samples whose frames are asked for, in decoding order."""


@dataclass(slots=True, eq=False)
class _Parked:
    """A decoder that waits for the next read."""

    decoder: RunDecoder
    ready: dict[int, CodedFrame] = field(default_factory=dict)
    """Frames that it has returned already, by sample."""

    def holds(self, run: Run) -> bool:
        """Whether it can return the frames of a run without starting anew."""
        decoder = self.decoder
        is_ahead = decoder.next > run.start >= decoder.start
        return is_ahead and all(
            n in self.ready or (not decoder.is_finished and (n >= decoder.next or decoder.awaits(n)))
            for n in run.wanted
        )


class _Park:
    """The decoders that wait, each taken by one read at a time."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start anew, without decoders."""
        self._lock = threading.Lock()
        self._parked: OrderedDict[int, tuple[ByteSource, _Parked]] = OrderedDict()

    def take(self, source: ByteSource, run: Run) -> _Parked | None:
        """A decoder that can go on with a run."""
        with self._lock:
            found = [k for k, (of, parked) in self._parked.items() if of == source and parked.holds(run)]
            return self._parked.pop(found[-1])[1] if found else None

    def keep(self, source: ByteSource, parked: _Parked) -> None:
        """Let a decoder wait; the one that has waited longest is dropped."""
        with self._lock:
            self._parked[id(parked)] = source, parked
            if len(self._parked) > MAX_PARKED:
                self._parked.popitem(last=False)


_park = _Park()
if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_park.clear)  # its lock may be held by a thread that is gone


@dataclass(frozen=True, slots=True, eq=False)
class GroupReader:
    """Reads frames of one movie by the numbers of their samples."""

    source: ByteSource
    coded: CodedSamples

    @property
    def refused(self) -> frozenset[int]:
        """Sync samples at which decoding cannot begin, as far as they were examined."""
        return frozenset(n for n, is_entry in self._entries.items() if not is_entry)

    @property
    def _entries(self) -> Mapping[int, bool]:
        return _is_entry.find(self.source) or {}

    def find_start(self, samples: npt.NDArray[np.int64]) -> int:
        """The last sample from which all these decode; -1 if there is none. It is fetched and examined."""
        while True:
            start = int(self.coded.find_starts(samples, self.refused).min())
            if start < 0 or self._entries.get(start):
                return start
            self._examine([start])

    def _examine(self, starts: Sequence[int]) -> None:
        """Find out where decoding can begin, from the last of `starts` back to one entry before them all.

        The sync samples are fetched in steps that grow twofold: the first of the movie may be the only entry.
        """
        known = dict(self._entries)
        syncs = np.flatnonzero(self.coded.is_sync[: max(starts) + 1]).tolist()
        n_step, is_found = len(starts), False
        while syncs and not is_found:
            syncs, step = syncs[:-n_step], syncs[-n_step:]
            unknown = [n for n in step if n not in known]
            for n, sample in zip(unknown, self.iter_bytes(unknown), strict=True):
                known[n] = find_begin(self.coded, n, sample, self.coded.stream) is not Entry.NONE
            is_found = any(known[n] for n in step if n <= min(starts))
            n_step *= 2
        _is_entry.keep(self.source, known)

    def plan_runs(self, samples: npt.NDArray[np.int64]) -> tuple[list[Run], list[int]]:
        """The runs that decode some samples, and the samples that no run decodes."""
        samples = np.unique(samples)
        starts = self.coded.find_starts(samples, self.refused)
        lost = samples[starts < 0].tolist()
        samples, starts = samples[starts >= 0], starts[starts >= 0]
        runs: list[Run] = []
        order = np.argsort(starts, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(starts[order])) + 1):
            if not part.size:
                continue
            start, wanted = int(starts[part[0]]), tuple(samples[part].tolist())
            run = Run(start, self.coded.find_stop(wanted[-1]), wanted)
            if runs and start < runs[-1].stop:
                before = runs.pop()
                run = Run(
                    before.start, max(before.stop, run.stop), tuple(sorted({*before.wanted, *run.wanted}))
                )
            runs.append(run)
        return runs, lost

    def find_step(self, run: Run) -> int:
        """Frames from the one read last to the first of a run; 0 if it is not the next in a sequence."""
        last = _last_ranks.find(self.source)
        step = 0 if last is None else int(self.coded.rank[list(run.wanted)].min()) - last
        return step if 0 < step <= MAX_STEP else 0

    def ranges_of(self, samples: Iterable[int]) -> list[ByteRange]:
        """The samples' places in the file."""
        numbers = np.fromiter(samples, np.int64)
        starts = self.coded.offset[numbers]
        stops = starts + self.coded.size[numbers]
        return [ByteRange(*both) for both in zip(starts.tolist(), stops.tolist(), strict=True)]

    def iter_bytes(self, samples: Sequence[int]) -> Generator[ByteData, None, None]:
        """The bytes of samples, in this order, as they arrive."""
        ranges = self.ranges_of(samples)
        arrived: dict[int, ByteData] = {k: b"" for k, wanted in enumerate(ranges) if not wanted.n_bytes}
        following = 0
        for span, data in self.source.fetch(ranges):
            view = memoryview(data)
            for k in span.members:
                arrived[k] = view[ranges[k].start - span.start : ranges[k].stop - span.start]
            while following in arrived:
                yield arrived.pop(following)
                following += 1
        while following in arrived:
            yield arrived.pop(following)
            following += 1

    def iter_data(self, runs: Sequence[Run]) -> Generator[tuple[Run, Iterator[ByteData]], None, None]:
        """Each run with the bytes of its samples, as they arrive; those of all runs are fetched together."""
        with closing(self.iter_bytes(samples_of(runs))) as arriving:
            for run in runs:
                data = islice(arriving, run.stop - run.start)
                yield run, data
                deque(data, maxlen=0)  # skips what was not taken

    def iter_runs(
        self, runs: Sequence[Run], lost: Iterable[int] = ()
    ) -> Generator[tuple[int, Decoded], None, None]:
        """The frames of the runs of one read, run by run, in decoding order; errors for the `lost` samples.

        If they follow the read before, the samples of each run are fetched by themselves, and decoders go on;
        otherwise those of all runs are fetched together.
        """
        left, lost = deque(runs), list(lost)
        while left:
            try:
                yield from self._iter_each(left)
            except NoEntryError:
                runs, more = self.plan_anew(left)
                left, lost = deque(runs), lost + more
        for sample in lost:
            yield sample, FrameDecodeError("it depends on frames before the start of the movie")

    def _iter_each(self, runs: deque[Run]) -> Generator[tuple[int, Decoded], None, None]:
        """The frames of runs, which are removed once they are done."""
        if step := self.find_step(runs[0]):
            while runs:
                yield from self._iter_again(runs[0], self._iter_on(runs[0], None, step))
                runs.popleft()
        else:
            with closing(self.iter_data(list(runs))) as fetched:
                for run, data in fetched:
                    yield from self._iter_again(run, self._iter_on(run, data, 0))
                    runs.popleft()

    def plan_anew(self, runs: Iterable[Run]) -> tuple[list[Run], list[int]]:
        """The runs for the same frames, after decoding could not begin at the first sample of one."""
        runs = list(runs)
        self._examine([run.start for run in runs])
        return self.plan_runs(np.array([n for run in runs for n in run.wanted], np.int64))

    def iter_run(self, run: Run, data: Iterable[ByteData]) -> Iterator[tuple[int, Decoded]]:
        """The frames of a run, in decoding order, from the bytes of its samples.

        Raises
        ------
        NoEntryError
            Decoding cannot begin at its first sample.
        """
        yield from self._iter_again(run, self._iter_new(run, data))

    def _iter_again(self, run: Run, frames: Iterator[tuple[int, Decoded]]) -> Iterator[tuple[int, Decoded]]:
        """The frames of a run; after damage, its samples are read again, and what is left decoded anew."""
        left, is_damaged = set(run.wanted), False
        for number, decoded in frames:
            if isinstance(decoded, FrameDecodeError) and not is_damaged:
                is_damaged = True
                if samples := self._read_again(run):
                    yield from self._iter_new(run._replace(wanted=tuple(sorted(left))), samples)
                    break
            left.discard(number)
            yield number, decoded

    def _read_again(self, run: Run) -> list[ByteData]:
        """The samples of a run as their server has them; none if they are those, or are too many."""
        ranges = self.ranges_of(range(run.start, run.stop))
        whole = ByteRange(min(each.start for each in ranges), max(each.stop for each in ranges))
        data = read_again(self.source, whole) if whole.n_bytes <= MAX_BYTES_AGAIN else None
        view = memoryview(data or b"")
        return [view[start - whole.start : stop - whole.start] for start, stop in ranges if data is not None]

    def _iter_new(self, run: Run, data: Iterable[ByteData]) -> Iterator[tuple[int, Decoded]]:
        decoder = self._start(run)
        wanted = set(run.wanted)
        for sample in data:
            is_wanted = decoder.next in wanted
            yield from (each for each in decoder.send(sample, is_wanted=is_wanted) if each[0] in wanted)
        yield from (each for each in decoder.finish() if each[0] in wanted)

    def _start(self, run: Run) -> RunDecoder:
        return RunDecoder(self.coded, run.start)

    def _iter_on(self, run: Run, data: Iterable[ByteData] | None, step: int) -> Iterator[tuple[int, Decoded]]:
        """Decode a run; in a sequence of reads (`step`), with a decoder that waits, or will wait.

        Without `data`, the samples that the decoder still needs are fetched.
        """
        goes_on = step > 0
        last_rank = int(self.coded.rank[list(run.wanted)].max())
        _last_ranks.keep(self.source, last_rank)
        parked = (_park.take(self.source, run) if goes_on else None) or _Parked(self._start(run))
        decoder = parked.decoder
        waits = goes_on and self._is_within_group(last_rank, step)
        wanted = set(run.wanted)
        ready = parked.ready
        parked.ready = {n: ready[n] for n in ready.keys() - wanted if self.coded.rank[n] > last_rank}
        yield from ((n, ready[n]) for n in ready.keys() & wanted)
        wanted -= ready.keys()
        if data is None:
            data = self.iter_bytes(range(decoder.next, run.stop))
        decoded = self._iter_decoded(decoder, data, wanted, goes_on=waits, leaves_out=not goes_on)
        for number, frame in decoded:
            if number in wanted:
                wanted.remove(number)
                yield number, frame
            elif isinstance(frame, CodedFrame) and self.coded.rank[number] > last_rank:
                parked.ready[number] = frame
        if decoder.is_intact and (parked.ready or not decoder.is_finished):
            _park.keep(self.source, parked)

    def _iter_decoded(
        self,
        decoder: RunDecoder,
        samples: Iterable[ByteData],
        wanted: set[int],
        *,
        goes_on: bool,
        leaves_out: bool,
    ) -> Iterator[tuple[int, Decoded]]:
        """What a decoder returns, up to the last frame that is `wanted`; the caller removes those it has.

        With `goes_on`, more samples are fetched after these if the decoder can then go on later. With
        `leaves_out`, samples are not decoded that are neither wanted nor needed for others.
        """
        while wanted:
            for data in samples:
                yield from decoder.send(data, is_wanted=not leaves_out or decoder.next in wanted)
            stop = min(decoder.next + N_SAMPLES_ON, len(self.coded.rank))
            if not goes_on or decoder.next == stop:
                break
            samples = self.iter_bytes(range(decoder.next, stop))
        if wanted:
            yield from decoder.finish()

    def _is_within_group(self, rank: int, step: int) -> bool:
        """Whether the frame a step later in display order needs the same samples before it."""
        if rank + step >= len(self.coded.rank):
            return False
        here, following = self.coded.find_starts(self.coded.by_rank[[rank, rank + step]])
        return bool(here >= following)


def samples_of(runs: Iterable[Run]) -> list[int]:
    """The numbers of the samples of some runs."""
    return [n for run in runs for n in range(run.start, run.stop)]
