"""`GroupStack`: some frames of a movie with inter-frame coding, not read yet.

To its users it is a `FrameStack`. It differs in what a read fetches and decodes: whole runs of samples (see
`groups`), cropped and reduced after decoding. The samples on which its frames depend are in the movie's
index, which tasks do not carry: a copy in another process reads it there once.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.decoders import Decoder
from camhd_access.decoding.groups import Decoded, GroupDecoder, NoEntryError, choose_group_decoder
from camhd_access.decoding.machine_code import announce
from camhd_access.decoding.pixels import choose_matrix
from camhd_access.decoding.sums import Sums
from camhd_access.decoding.threads import spreading
from camhd_access.errors import FrameDecodeError, UnsupportedCodecError
from camhd_access.formats.quicktime import CodedSamples
from camhd_access.movie.groups import GroupReader, Run, samples_of
from camhd_access.movie.index_cache import open_index
from camhd_access.movie.stack import Damage, FrameStack, Pixels
from camhd_access.ranges import ByteData

__all__ = ["GroupStack"]

MAX_RUN_BYTES = 32 << 20
"""Longest run of samples that waits in memory for a thread; longer ones are decoded as they arrive."""

MAX_SHARE = 2 / 3
"""Share of the frames to be decoded that one of the runs decoded in parallel may have."""

MAX_DECODED_PER_FRAME = 1.5
"""Frames decoded in parallel for each frame of a read that could go on where the one before ended."""

Places: TypeAlias = dict[int, list[int]]
"""The positions in a stack of the frame of each sample."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupStack(FrameStack):
    """Images of a movie whose frames depend on each other."""

    is_recovered: bool = False
    """Whether the movie opens only with `recover`, because its end is missing."""
    _coded: CodedSamples | None = None
    """The samples of the movie, which are not pickled; None until they are used."""

    def __reduce__(self) -> tuple[Any, ...]:
        make, given = FrameStack.__reduce__(self)
        return make, (*given, self.is_recovered)

    @property
    def coded(self) -> CodedSamples:
        """The samples of the movie."""
        if self._coded is None:
            movie = open_index(replace(self.source, version=None), recover=self.is_recovered)
            if movie.source != self.source:
                self.source.check()  # another replica may serve the same version
            object.__setattr__(self, "_coded", movie.index.coded)
        assert self._coded is not None  # noqa: S101 - for mypy
        return self._coded

    @property
    def _reader(self) -> GroupReader:
        return GroupReader(self.source, self.coded)

    def _choose_decoder(self, reduce: int) -> Decoder:
        return choose_group_decoder(
            self.coded.stream,
            self.decoder.frame_size,
            pix_fmt=self.pixel_format.name,
            track_matrix=self.decoder.track_matrix,
            reduce=reduce,
        )

    def find_matrix(self) -> int:
        """Number of the colour matrix, from the decoder configuration; no frame is decoded."""
        stream, decoder = self.coded.stream, self.decoder
        return choose_matrix(stream.matrix, decoder.track_matrix, height=decoder.frame_size[0])

    @property
    def is_key(self) -> npt.NDArray[np.bool_]:
        """Whether each image is of a key frame: shown by a sync sample, and decoded from it alone."""
        flags: npt.NDArray[np.bool_] = self.coded.is_sync[self.coded.samples_of(self.frames)]
        return flags

    @property
    def n_decoded(self) -> int:
        """Frames that a read decodes at most, with those on which the wanted ones may depend."""
        runs, _ = self._plan_runs()
        return sum(run.stop - run.start for run in runs)

    def plan(self) -> tuple[int, int]:
        """Requests and bytes of a read that does not follow the one before."""
        runs, _ = self._plan_runs()
        spans = self.source.plan(self._reader.ranges_of(samples_of(runs)))
        return len(spans), sum(span.n_bytes for span in spans)

    def decode(self, sample: bytes, *, parallel: bool) -> Pixels:  # noqa: ARG002 - it needs others
        """The first image of the stack; fetches the samples that it needs."""
        picture: Pixels = self.select(slice(1)).read(parallel=parallel)[0]
        return picture

    def add_up(self, *, squares: bool = False) -> Sums:
        """Sums over time of all images, and of their squares, decoded in the caller's thread."""
        self._announce()
        sums = Sums.zeros(self.shape[1:], self.pixel_format, squares=squares)
        with closing(self._reader.iter_runs(*self._plan_runs())) as frames:
            for positions, decoded in self._with_positions(frames, self._find_places()):
                for _ in positions:
                    self._show(positions, decoded, sums.place()[np.newaxis], None, [0])
                    sums.add()
        return sums

    def _plan_runs(self) -> tuple[list[Run], list[int]]:
        return self._reader.plan_runs(self.coded.samples_of(self.frames))

    def _fill(self, out: Pixels, *, parallel: bool, damaged: Damage | None) -> None:
        """Decode short runs in parallel; long ones in this thread, while others convert their frames."""
        self._announce()
        runs, lost = self._plan_runs()
        places = self._find_places()
        failed: list[Run] = []

        def show(frames: Iterable[tuple[int, Decoded]], do: Callable[..., None]) -> None:
            for positions, decoded in self._with_positions(frames, places):
                do(self._show, positions, decoded, out, damaged, positions)

        def show_run(run: Run, data: Iterable[ByteData], do: Callable[..., None]) -> None:
            try:
                show(self._reader.iter_run(run, data), do)
            except NoEntryError:
                failed.append(run)

        with spreading(parallel=parallel, works=True) as convert:
            if parallel and self._gains_by_threads(runs, len(places)):
                with spreading(parallel=True) as submit, closing(self._reader.iter_data(runs)) as fetched:
                    for run, data in fetched:
                        if self._n_bytes(run) <= MAX_RUN_BYTES:
                            submit(show_run, run, list(data), _call)
                        else:
                            show_run(run, data, convert)
                runs, more = self._reader.plan_anew(failed) if failed else ([], [])
                lost += more
            with closing(self._reader.iter_runs(runs, lost)) as frames:
                show(frames, convert)

    def _announce(self) -> None:
        """Announce the frames that will be converted; of luma, which numpy does faster, a sixteenth."""
        n_frames = len(self.frames) // (1 if self.pixel_format.is_color else 16)
        announce(n_frames, waits=not self.source.is_far)

    def _gains_by_threads(self, runs: list[Run], n_frames: int) -> bool:
        """Whether runs are better decoded side by side than one after the other.

        Not if one has most of the work: other threads then convert its frames meanwhile. Nor if few frames,
        on both sides of a group's edge, follow the read before: one thread then goes on where that one ended,
        and the next read where this one ends.
        """
        lengths = [run.stop - run.start for run in runs]
        if len(runs) < 2 or max(lengths) > MAX_SHARE * sum(lengths):
            return False
        is_small = len(runs) == 2 and sum(lengths) > MAX_DECODED_PER_FRAME * n_frames
        return not (is_small and self._reader.find_step(runs[0]) > 0)

    def _n_bytes(self, run: Run) -> int:
        return int(self.coded.size[run.start : run.stop].sum())

    def _find_places(self) -> Places:
        places: Places = {}
        for position, sample in enumerate(self.coded.samples_of(self.frames).tolist()):
            places.setdefault(sample, []).append(position)
        return places

    def _with_positions(
        self, frames: Iterable[tuple[int, Decoded]], places: Places
    ) -> Iterator[tuple[list[int], Decoded]]:
        try:
            for sample, decoded in frames:
                yield places[sample], decoded
        except UnsupportedCodecError as error:
            raise UnsupportedCodecError(f"{self.source.name}: {error}") from error

    def _show(
        self, positions: list[int], decoded: Decoded, out: Pixels, damaged: Damage | None, places: list[int]
    ) -> None:
        """Write a frame to its places in `out`."""
        assert isinstance(self.decoder, GroupDecoder)  # noqa: S101 - for mypy
        first, *others = places
        try:
            if isinstance(decoded, FrameDecodeError):
                raise decoded
            self.decoder.convert(decoded, self.window, out[first])
        except FrameDecodeError as error:
            if damaged is None:
                raise self._name(error, positions[0]) from error
            out[first] = 0
            damaged |= dict.fromkeys(positions, np.ones(self.shape[1:3], np.bool_))
        for place in others:
            out[place] = out[first]


def _call(function: Callable[..., None], *args: object) -> None:
    function(*args)
