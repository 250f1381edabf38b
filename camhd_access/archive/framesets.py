"""Lists of movies and of frames: files of go-multimov and go-frameset.

A *multimov* is a list of movies addressed as one: its frame 100 may be frame 3 of its second movie. A
*frameset* has named selections of frames of a movie or a multimov. Both are JSON, with frame numbers that
start at 1; here, frame numbers start at 0. The results can be passed to `open_movies` and `open_timelapse`.
"""

import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from camhd_access.errors import FrameIndexError
from camhd_access.formats.quicktime import MAX_FRAMES
from camhd_access.movie.reader import MovieReader
from camhd_access.storage.small_files import read_small_file
from camhd_access.urls import options_of, redact_url, text_of

MAX_FILE_BYTES = 16 << 20
"""Limit for the size of a list of movies: five times that of the whole archive."""

MAX_CHOSEN = 1 << 24
"""Limit for the number of frames in all chunks of a file."""

__all__ = ["FrameSet", "MovieSequence", "read_frameset", "read_multimov"]


@dataclass(frozen=True, slots=True)
class MovieSequence:
    """Several movies with consecutive frame numbers."""

    movies: tuple[str, ...]
    """Paths or URLs; a movie may occur more than once."""
    lengths: tuple[int, ...]
    """Number of frames of each."""

    @property
    def n_frames(self) -> int:
        """Total number of frames."""
        return sum(self.lengths)

    def locate(self, frames: int | Iterable[int]) -> tuple[list[str], list[int]]:
        """The movie of each frame, and its index in that movie: the arguments of `open_timelapse`.

        Raises
        ------
        FrameIndexError
            A frame number is out of range; negative numbers are not allowed.
        """
        numbers = np.atleast_1d(np.array(frames if isinstance(frames, int) else list(frames), np.int64))
        wrong = (numbers < 0) | (numbers >= self.n_frames)
        if wrong.any():
            raise FrameIndexError(f"no frame {numbers[wrong][0]}: there are frames 0 to {self.n_frames - 1}")
        edges = np.cumsum([0, *self.lengths])
        owners = np.searchsorted(edges, numbers, side="right") - 1
        return [self.movies[owner] for owner in owners], (numbers - edges[owners]).tolist()


@dataclass(frozen=True, slots=True)
class FrameSet:
    """Named selections of frames."""

    sequence: MovieSequence
    """The movies of the frames; often a single one."""
    chunks: Mapping[str, npt.NDArray[np.int64]]
    """Frames of each selection by its name, numbered from 0 in the sequence; ordered by the first frame."""
    descriptions: Mapping[str, str]
    """Description of each selection by its name; may be empty."""

    def locate(self, name: str) -> tuple[list[str], list[int]]:
        """Movie and index of each frame of a selection: the arguments of `open_timelapse`."""
        return self.sequence.locate(self.chunks[name])


def read_multimov(
    urlpath: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> MovieSequence:
    """Read the list of movies in a file of go-multimov.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens. Without `BaseDir`, the movies are in the folder of the file.
    storage_options
        For the constructor of the filesystem.

    Raises
    ------
    ValueError
        The file has another format, or its content is inconsistent.

    Examples
    --------
    >>> read_multimov("run.json").lengths
    (30, 30)
    """
    path = text_of(urlpath)
    storage_options = options_of(urlpath, storage_options)
    with _naming(path):
        return _parse_multimov(_read_json(path, storage_options), path)


def read_frameset(
    urlpath: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> FrameSet:
    """Read the selections of frames in a file of go-frameset.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens. A relative `Source` is resolved from the folder of the file; environment
        variables in it are expanded.
    storage_options
        For the constructor of the filesystem.

    Raises
    ------
    ValueError
        The file has another format, or its content is inconsistent.
    FrameIndexError
        A selection contains frames that do not exist.
    CamhdError
        The movie cannot be opened; this is needed if the file has no `NumFrames`.

    Notes
    -----
    A selection without an end extends to the first frame of the next one; the last one to the last frame.

    Examples
    --------
    >>> chosen = read_frameset("chosen.json")
    >>> chosen.locate("seam")[1]
    [29, 0]
    """
    path = text_of(urlpath)
    storage_options = options_of(urlpath, storage_options)
    content = _read_json(path, storage_options)
    if not content.get("Source"):
        raise ValueError(f"{redact_url(path)} is not a frameset: it has no Source")
    with _naming(path):
        source = _resolve(os.path.expandvars(content["Source"]), _folder(path))
        if source.endswith(".json"):
            sequence = read_multimov(source, storage_options=storage_options)
        else:
            n_frames = (
                content.get("NumFrames") or MovieReader(source, storage_options=storage_options).n_frames
            )
            sequence = MovieSequence((source,), (_check_length(n_frames, path),))
        listed = content.get("Chunks") or []
        described = {chunk["Name"]: chunk for chunk in listed}
        if len(described) != len(listed):
            raise ValueError(f"{redact_url(path)}: two chunks have the same name")
        chunks = _read_chunks(listed, sequence, path)
        return FrameSet(sequence, chunks, {name: described[name].get("Description", "") for name in chunks})


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Report missing and wrongly typed values of a file."""
    try:
        yield
    except (AttributeError, KeyError, OverflowError, TypeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{redact_url(path)} does not have the expected format: {what}") from error


def _parse_multimov(content: Mapping[str, Any], path: str) -> MovieSequence:
    """The movies in the order of the sequence; checks that offsets equal the sums of lengths."""
    folder = _resolve(content.get("BaseDir") or "", _folder(path))
    movies: list[str] = []
    lengths: list[int] = []
    n_before = 0
    for place in content.get("Sequence") or []:
        movie = (content.get("Movies") or {}).get(str(place["Hash"]))
        if movie is None:
            raise ValueError(
                f"{redact_url(path)}: the sequence has a movie {place['Hash']!r}, which is not listed"
            )
        if place["FrameOffset"] != n_before:
            raise ValueError(
                f"{redact_url(path)}: {movie['ShortName']} is said to follow {place['FrameOffset']} frames; "
                f"there are {n_before} before it"
            )
        movies.append(_resolve(movie.get("Relapath") or movie["ShortName"], folder))
        lengths.append(_check_length(movie["NumFrames"], path))
        n_before += lengths[-1]
    return MovieSequence(tuple(movies), tuple(lengths))


def _read_chunks(
    chunks: list[Mapping[str, Any]], sequence: MovieSequence, path: str
) -> dict[str, npt.NDArray[np.int64]]:
    """Frames of each chunk, from 0, ordered by the first frame; in the file they start at 1."""
    for chunk in chunks:
        if bool(chunk.get("Frames")) == bool(chunk.get("Start")):
            raise ValueError(f"{redact_url(path)}: chunk {chunk['Name']!r} must have either Frames or Start")
    ordered = sorted(chunks, key=_first_frame)
    following = [*map(_first_frame, ordered), sequence.n_frames + 1][1:]
    found, n_chosen = {}, 0
    for chunk, limit in zip(ordered, following, strict=True):
        numbers: Sequence[int] = range(_first_frame(chunk), index(chunk.get("End") or limit))
        if chunk.get("Frames"):
            numbers = sorted(map(index, chunk["Frames"]))
        if numbers:
            sequence.locate([numbers[0] - 1, numbers[-1] - 1])  # before memory is allocated
        n_chosen += len(numbers)
        if n_chosen > MAX_CHOSEN:
            raise ValueError(f"{redact_url(path)}: its chunks have more than {MAX_CHOSEN:,} frames")
        if isinstance(numbers, range):
            found[chunk["Name"]] = np.arange(numbers.start - 1, numbers.stop - 1)
        else:
            found[chunk["Name"]] = np.array(numbers, np.int64) - 1
    return found


def _check_length(n_frames: Any, path: str) -> int:  # noqa: ANN401 - a value from the file
    length = index(n_frames)
    if not 0 <= length <= MAX_FRAMES:
        raise ValueError(f"{redact_url(path)}: a movie of {length} frames; movies have up to {MAX_FRAMES:,}")
    return length


def _first_frame(chunk: Mapping[str, Any]) -> int:
    return index(chunk.get("Start") or min(chunk["Frames"]))


def _read_json(path: str, storage_options: Mapping[str, Any] | None) -> dict[str, Any]:
    data = read_small_file(path, max_bytes=MAX_FILE_BYTES, storage_options=storage_options)
    name = redact_url(path)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} is not a JSON object")  # noqa: TRY004 - a file's content is a value
    return content


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _resolve(path: str, folder: str) -> str:
    """The path or URL, from `folder` if it is relative, without `.` and `..`."""
    if "://" in path or path.startswith("/"):
        return path
    protocol, separator, rest = folder.rpartition("://")
    return protocol + separator + posixpath.normpath(posixpath.join(rest, path))
