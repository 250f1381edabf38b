"""One movie of a survey: open it, read its frames in groups, call the function, write its file.

This is the task that threads, processes and clusters run. Whatever goes wrong with the movie, or in the
function, becomes a row with the error: it costs this movie, or this group of frames, and not the survey.
Pixels are decoded in the task's thread, because tasks run in parallel. In memory are the pictures of one
group, the samples in flight, and the rows of the movie.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access._version import __version__
from camhd_access.arrays.attributes import place_of
from camhd_access.arrays.clocks import find_start
from camhd_access.errors import CamhdError, RemoteFileError, RemoteFileNotFoundError
from camhd_access.formats.names import Clock
from camhd_access.movie.index_cache import Recover
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import Deinterlace, Errors, Fields, crop_stack
from camhd_access.movie.stack import FrameStack, Pixels
from camhd_access.storage.lazyhttp.permits import PermitsLostError
from camhd_access.storage.source import open_source
from camhd_access.surveys.choices import FrameChoice, Job, digest
from camhd_access.surveys.context import SurveyContext
from camhd_access.surveys.dataset import ResultFile, ResultFolder, hash_version
from camhd_access.surveys.rows import iter_rows
from camhd_access.surveys.tables import pack_rows

__all__ = ["MAX_GROUP_BYTES", "Outcome", "Study", "SurveyFunction", "study_movie", "write_failure"]

SurveyFunction: TypeAlias = Callable[[Pixels, SurveyContext], Any]
"""Returns numbers, small arrays or rows for the pictures of one group."""

Times: TypeAlias = tuple[npt.NDArray[np.datetime64], npt.NDArray[np.float64]]
"""When each picture is shown, UTC, and seconds from the start of the movie."""

MAX_GROUP_BYTES = 1 << 30
"""Largest group of pictures in memory."""

MAX_ERROR_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Study:
    """What is computed from each movie, and where the results go. Pickles if the function does."""

    function: SurveyFunction
    """The function."""
    name: str
    """Its name."""
    version: str
    """Its version, given by the user."""
    folder: ResultFolder
    """The folder of results."""
    pix_fmt: str = "rgb24"
    """Format of the pixels."""
    y: tuple[int | None, int | None] | None = None
    """First line and one past the last."""
    x: tuple[int | None, int | None] | None = None
    """First column and one past the last."""
    fields: Fields = False
    """Whether the pictures are fields."""
    deinterlace: Deinterlace = None
    """How fields become frames."""
    reduce: int = 1
    """Factor of reduction."""
    errors: Errors = "raise"
    """What to do with damaged frames."""
    group: int | None = None
    """Frames per call of the function; None for all of a movie."""
    recover: Recover = False
    """Whether to rebuild missing indexes."""
    clock: Clock = "auto"
    """Source of the start time."""
    opening: dict[str, Any] = field(default_factory=dict)
    """Options of `MovieReader` that do not change the result: cache, indexes, storage_options."""
    permits: str = field(default="", repr=False)
    """Address of a server that grants permits for requests over HTTP; empty for none."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters on which the results depend, in plain values."""
        names = ("pix_fmt", "y", "x", "fields", "deinterlace", "reduce", "errors", "group", "clock")
        known = {name: getattr(self, name) for name in names}
        return known | {"recover": self.recover if isinstance(self.recover, bool) else str(self.recover)}

    def key(self, choice: FrameChoice) -> str:
        """Hash of the function, its version, the parameters and the frames of a movie."""
        about = [self.name, self.version, self.parameters, choice.kind, choice.values]
        return digest(about)[:12]

    def storage_options(self, job: Job) -> Mapping[str, Any] | None:
        """Options for the filesystem of a movie; on web servers with the common limit on requests."""
        given: Mapping[str, Any] | None = self.opening["storage_options"]
        if self.permits and job.is_on_web_server:
            return {**(given or {}), "permits": self.permits}
        return given

    def open(self, job: Job, *, anew: bool = False) -> MovieReader:
        """The movie of a job; with `anew` in its present version, even if an older one is known."""
        opening = self.opening | {"storage_options": self.storage_options(job)}
        if anew:
            given = {name: value for name, value in opening.items() if name != "indexes"}
            source = open_source(job.url, **given)
            source.filesystem.invalidate_cache(source.path)
            opening = opening | {"indexes": ""}  # may be of the version before
        return MovieReader(job.url, recover=self.recover, clock=self.clock, **opening)

    def is_in_store(self, reader: MovieReader) -> bool:
        """Whether a movie is opened without a request, from a store of indexes."""
        store = self.opening["indexes"]
        return store is not None and store.find(reader.source.path) is not None

    def stack(self, reader: MovieReader, choice: FrameChoice) -> FrameStack:
        """The pictures of a movie, not read yet."""
        shown: dict[str, Any] = {"fields": self.fields, "deinterlace": self.deinterlace}
        frames = reader.stack(choice.select(reader), pix_fmt=self.pix_fmt, reduce=self.reduce, **shown)
        return crop_stack(frames, *(None if each is None else slice(*each) for each in (self.y, self.x)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one movie."""

    movie: str
    """Its base name."""
    file: ResultFile
    """Its file of results."""
    n_bytes: int = 0
    """Encoded bytes of the frames that were read."""
    seconds: float = 0.0
    """Duration of the task."""
    error: str | None = None
    """The first error; None if all frames were read."""
    is_general: bool = False
    """Whether the error may affect all movies: of the server, the network or the function."""


def study_movie(study: Study, job: Job, replaced: Sequence[ResultFile] = ()) -> Outcome:
    """Read one movie, call the function, and write the rows; errors are rows too.

    Parameters
    ----------
    replaced
        Earlier files of this movie.

    Raises
    ------
    OSError
        The results cannot be written.
    PermitsLostError
        The survey has ended, or this machine is cut off. Nothing is written: others may read the movie now.
    """
    begin = time.monotonic()
    work = _Work(study, job, anew=bool(replaced))
    work.run()
    file = ResultFile(job.movie, study.key(job.choice), work.file_size, work.version, work.error is None)
    try:
        data = pack_rows(work.rows, work.provenance, work.picture_shape)
    except ValueError as error:  # values of one column differ
        work.fail(error, is_general=True)
        file = ResultFile(job.movie, file.key, file.file_size, file.version, is_done=False)
        data = pack_rows(work.rows[-1:], work.provenance)
    study.folder.write(file, data, replaced=replaced)
    seconds = time.monotonic() - begin
    return Outcome(job.movie, file, work.n_bytes, seconds, work.error, work.is_general)


def write_failure(study: Study, job: Job, error: Exception, replaced: Sequence[ResultFile] = ()) -> Outcome:
    """Write the row of a movie whose task did not end, for example because its workers died."""
    work = _Work(study, job)
    work.fail(error, is_general=True)
    file = ResultFile(job.movie, study.key(job.choice), 0, work.version, is_done=False)
    study.folder.write(file, pack_rows(work.rows, work.provenance), replaced=replaced)
    return Outcome(job.movie, file, error=work.error, is_general=True)


class _Work:
    """The rows of one movie while they are made."""

    def __init__(self, study: Study, job: Job, *, anew: bool = False) -> None:
        self.study = study
        self.anew = anew
        self.job = job
        self.rows: list[dict[str, Any]] = []
        self.shared: dict[str, Any] = {"movie": job.movie, "source": _as_unicode(job.name)}
        self.picture_shape: tuple[int, ...] = ()
        self.file_size = 0
        self.version = hash_version(None)
        self.n_bytes = 0
        self.error: str | None = None
        self.is_general = False
        self.provenance: dict[str, Any] = {
            "software": f"camhd_access {__version__}",
            "function": study.name,
            "version": study.version,
            "parameters": study.parameters | {"frames": [job.choice.kind, job.choice.values]},
            "source": job.name,
        }

    def run(self) -> None:
        """Make all rows."""
        try:
            reader = self.study.open(self.job, anew=self.anew)
            self._describe(reader)
            stack = self.study.stack(reader, self.job.choice)
            groups = list(_cut(stack, self.study.group))
            self.picture_shape = stack.shape[1:]
            self.provenance["decoder"] = stack.decoder.name
        except PermitsLostError:
            raise
        except Exception as error:  # noqa: BLE001 - one movie of thousands must not end a survey
            self.fail(error, is_general=_is_general(error))
            return
        for group in groups:
            if not self._study_group(reader, group):
                return

    def _describe(self, reader: MovieReader) -> None:
        start = find_start(reader)
        self.file_size = reader.file_size
        self.version = hash_version(reader.source.version)
        self.shared |= {
            "time_source": start.source,
            "time_disagreement_seconds": start.disagreement_seconds,
            "time_uncertainty_seconds": start.uncertainty_seconds,
            "file_size": reader.file_size,
            "etag": reader.source.etag or None,
        }

    def _study_group(self, reader: MovieReader, group: FrameStack) -> bool:
        """Add the rows of one group of frames, or one with its error; whether to go on with the next."""
        shown = _times(reader, group)
        about = _describe_pictures(reader, group, shown)
        everywhere = np.arange(len(group.frames))
        try:
            pictures, damaged = _read(group, self.study.errors)
            self.n_bytes += int(group.sample_size.sum())
        except PermitsLostError:
            raise
        except (CamhdError, OSError, ValueError) as error:
            self.fail(error, is_general=_is_general(error), about=about(everywhere))
            return not _is_general(error)  # the server: the next group would wait for it too
        try:
            context = _context(reader, group, shown, damaged)
            result = self.study.function(pictures, context)
            rows = [
                self.shared | about(positions) | {"damaged": float(damaged[positions].mean())} | values
                for positions, values in iter_rows(result, group.frames)
            ]
        except PermitsLostError:  # the function has read more of the movie
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's function
            self.fail(error, is_general=True, about=about(everywhere))
            return True
        self.rows += rows
        return True

    def fail(self, error: BaseException, *, is_general: bool, about: Mapping[str, Any] | None = None) -> None:
        """Add a row with an error."""
        text = _tell(error)
        self.error = self.error or text
        self.is_general |= is_general
        self.rows.append(self.shared | dict(about or {}) | {"error": text})


def _tell(error: BaseException) -> str:
    """The error in a text that can be written, whatever the user's class returns."""
    try:
        told = str(error)
    except Exception as another:  # noqa: BLE001 - of the user's class
        told = f"(its text cannot be made: {type(another).__name__})"
    return _as_unicode(f"{type(error).__name__}: {told}"[:MAX_ERROR_CHARACTERS])


def _as_unicode(text: str) -> str:
    """The text with escapes for bytes in it that are no text, as in the names of some files."""
    return text.encode(errors="backslashreplace").decode()


def _is_general(error: Exception) -> bool:
    """Whether the error may affect all movies: of the server or network, or from wrong parameters."""
    if isinstance(error, RemoteFileError):
        return not isinstance(error, RemoteFileNotFoundError)
    return not isinstance(error, CamhdError | FileNotFoundError)


def _cut(stack: FrameStack, n_frames: int | None) -> Iterator[FrameStack]:
    """The groups of pictures with which the function is called."""
    n_pictures = len(stack.frames)
    if not n_pictures:
        return
    per_frame = 2 if n_pictures > 1 and (stack.field == 1).any() else 1
    step = n_pictures if n_frames is None else n_frames * per_frame
    n_bytes = min(step, n_pictures) * prod(stack.shape[1:]) * stack.dtype.itemsize
    if n_bytes > MAX_GROUP_BYTES:
        raise ValueError(
            f"{min(step, n_pictures)} pictures of {stack.shape[1:]} take {n_bytes / 2**30:.1f} GiB of "
            "memory, and at most 1 GiB is read at once: pass group= (frames per call of the function)"
        )
    for first in range(0, n_pictures, step):
        yield stack.select(slice(first, first + step))


def _read(group: FrameStack, errors: Errors) -> tuple[Pixels, npt.NDArray[np.float64]]:
    """The pixels of a group, and the damaged share of each picture."""
    shares = np.zeros(len(group.frames))
    if errors == "raise":
        return group.read(parallel=False), shares
    pixels, damaged = group.read_marked(parallel=False)
    mask = np.zeros(pixels.shape, np.bool_)
    for position, where in damaged.items():
        mask[position] = where if mask.ndim == 3 else where[..., np.newaxis]
        shares[position] = where.mean()
    return np.ma.MaskedArray(pixels, mask), shares


def _times(reader: MovieReader, group: FrameStack) -> Times:
    elapsed = reader.index.elapsed_of(group.frames, group.field if group.decoder.fields else 0)
    start = reader.start_time
    times = np.full(len(elapsed), "NaT", "datetime64[ns]") if start is None else start + elapsed
    return times, elapsed / np.timedelta64(1, "s")


def _describe_pictures(
    reader: MovieReader, group: FrameStack, shown: Times
) -> Callable[[npt.NDArray[np.int64]], dict[str, Any]]:
    """A function that returns the columns of a row about some pictures: those of the first of them."""
    times, seconds = shown
    frames = reader.original_frames(group.frames)

    def about(positions: npt.NDArray[np.int64]) -> dict[str, Any]:
        first = positions[0]
        return {
            "frame": int(frames[first]),
            "field": int(group.field[first]),
            "time": times[first],
            "elapsed_seconds": float(seconds[first]),
            "n_pictures": len(positions),
        }

    return about


def _context(
    reader: MovieReader, group: FrameStack, shown: Times, damaged: npt.NDArray[np.float64]
) -> SurveyContext:
    times, seconds = shown
    rows, columns = (np.arange(extent.start, extent.stop) for extent in group.window)
    place = place_of(group.decoder, rows, columns)
    return SurveyContext(
        movie=reader.movie_name,
        reader=reader,
        frames=group.frames,
        field=group.field,
        times=times,
        elapsed_seconds=seconds,
        start=reader.start,
        y=place["y"][1],
        x=place["x"][1],
        damaged=damaged,
    )
