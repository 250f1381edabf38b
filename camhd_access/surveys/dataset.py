"""The results of a survey: a folder of Parquet files, one per movie, each complete or absent.

The name of a file tells what its rows were computed from::

    done-CAMHDA301-20161113T000000Z.3b0c9a4f12de.13094027264.9f86d081.parquet
         movie                      key          bytes of it  version

The key is a hash of the function's name, its version and the parameters, with the frames of this movie. So
one listing of the folder tells what is missing or outdated. Files of movies with an error begin with
`failed-`; they sort last, so that other programs take the columns from a movie that was read. `_survey.json`,
which Parquet readers ignore, describes the survey; `_rows.arrow` is a copy of many rows (`scalars`). A new
file of a movie is written after its old ones are deleted: no movie is in the folder twice, unless a machine
was cut off and read a movie that another one has read meanwhile; the next call deletes the spare file.
"""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from camhd_access.storage.output_files import check_parquet, open_target
from camhd_access.storage.versions import describe_version
from camhd_access.surveys.choices import digest
from camhd_access.urls import is_place, options_of, redact_url, text_of

__all__ = ["ResultFile", "ResultFolder", "hash_version"]

RECORD = "_survey.json"
"""Name of the description of the survey."""

_NAME = re.compile(
    r"(?P<state>done|failed)-(?P<movie>.+)\.(?P<key>[0-9a-f]{12})\.(?P<size>\d+)\.(?P<version>[0-9a-f]{8})\.parquet"
)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """The name of a file of results."""

    movie: str
    """Base name of the movie."""
    key: str
    """Hash of function, version, parameters and frames."""
    file_size: int
    """Bytes of the movie; 0 if it could not be opened."""
    version: str
    """Hash of the movie's version, such as its ETag."""
    is_done: bool
    """Whether the movie was read without an error."""

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The parsed name; None for other files."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        return cls(
            found["movie"], found["key"], int(found["size"]), found["version"], found["state"] == "done"
        )

    @property
    def name(self) -> str:
        """The name in the folder."""
        state = "done" if self.is_done else "failed"
        return f"{state}-{self.movie}.{self.key}.{self.file_size}.{self.version}.parquet"


def hash_version(version: str | None) -> str:
    """The hash of a movie's version in the name of its file."""
    return digest(version)[:8]


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """A folder of results on any filesystem of fsspec. Pickles."""

    url: str
    """Its path or URL, absolute."""
    options: dict[str, Any]
    """Arguments for the filesystem's constructor."""

    @classmethod
    def open(cls, place: Any, options: Mapping[str, Any] | None = None) -> Self:  # noqa: ANN401 - a path, URL or UPath
        """The folder at a path or URL, which need not exist.

        Raises
        ------
        ImportError
            pyarrow, which reads and writes Parquet, is not installed.
        """
        check_parquet()
        if not is_place(place):
            raise TypeError(f"out must be the path or URL of a folder, not {place!r:.80}")
        if not text_of(place):
            raise ValueError("out must be the path or URL of a folder; '.' is the current one")
        found = dict(options_of(place, options) or {})
        filesystem, path = fsspec.core.url_to_fs(text_of(place), **found)
        url = path if isinstance(filesystem, LocalFileSystem) else text_of(place)
        return cls(url.rstrip("/"), found)

    @property
    def name(self) -> str:
        """The URL for messages."""
        return redact_url(self.url)

    @property
    def is_in_memory(self) -> bool:
        """Whether only this process has it."""
        return isinstance(self._place("")[0], MemoryFileSystem)

    def list(self) -> dict[ResultFile, str]:
        """The files of results, each with its version; if a movie has several, the best comes last."""
        filesystem, path = self._place("")
        filesystem.invalidate_cache()
        try:
            entries = filesystem.ls(path, detail=True)
        except FileNotFoundError:
            return {}
        parsed = ((ResultFile.parse(str(entry["name"]).rpartition("/")[2]), entry) for entry in entries)
        found = [(file, describe_version(entry)) for file, entry in parsed if file is not None]
        return dict(sorted(found, key=lambda pair: (pair[0].movie, pair[0].is_done)))

    def read_record(self) -> dict[str, Any] | None:
        """The description of the survey in this folder; None if there is none."""
        try:
            record = json.loads(self.read_beside(RECORD))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{self.name}/{RECORD} is damaged ({error}); use another folder") from error
        return record if isinstance(record, dict) else None

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write the description of the survey."""
        self.write_beside(RECORD, json.dumps(record, indent=1).encode())

    def write(self, file: ResultFile, data: bytes, *, replaced: Iterable[ResultFile] = ()) -> None:
        """Write the file of one movie; its `replaced` files are deleted first."""
        self.delete(each for each in replaced if each != file)
        self._write(file.name, data)

    def delete(self, files: Iterable[ResultFile]) -> None:
        """Delete files, if they still exist."""
        for file in files:
            filesystem, path = self._place(file.name)
            with suppress(FileNotFoundError):
                filesystem.rm_file(path)

    def read(self, file: ResultFile) -> bytes:
        """The bytes of a file of results."""
        return self.read_beside(file.name)

    def read_beside(self, name: str) -> bytes:
        """The bytes of a file in this folder."""
        filesystem, path = self._place(name)
        data: bytes = filesystem.cat_file(path)
        return data

    def write_beside(self, name: str, data: bytes) -> None:
        """Write another file than of results into this folder."""
        self._write(name, data)

    def local_path(self, file: ResultFile) -> str | None:
        """The path of a file on a local disk; None elsewhere."""
        return None if "://" in self.url or "::" in self.url else f"{self.url}/{file.name}"

    def _place(self, name: str) -> tuple[fsspec.AbstractFileSystem, str]:
        """The filesystem, and the path there of a file of this folder."""
        filesystem, path = fsspec.core.url_to_fs(self.url, **self.options)
        return filesystem, f"{path}/{name}" if name else path

    def _write(self, name: str, data: bytes) -> None:
        with open_target(f"{self.url}/{name}", make_folders=True, storage_options=self.options) as file:
            file.write(data)
