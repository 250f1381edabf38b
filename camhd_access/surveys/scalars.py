"""The columns of results that are not arrays, file by file, and a file that keeps them together.

To read thousands of small files takes seconds on a disk, and minutes from a bucket. So what was read is kept
in one file of the folder, `_rows.arrow`, which Parquet readers ignore. It is only a copy: each process may
write or delete it at any time, and rows of files that have changed since are read from these files.

The file has a stream of Arrow's IPC format for each schema. The metadata of a schema lists the files of the
rows, in order, each with its number of rows and its version (size, time of change, ETag, …) in the listing of
the folder.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from camhd_access.surveys.dataset import ResultFile, ResultFolder

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["METADATA_KEY", "ArrayColumn", "FileRows", "open_parquet", "read_scalars"]

METADATA_KEY = b"camhd_access"
"""Key in the metadata of files and columns, whose value is JSON."""

KEPT = "_rows.arrow"
"""Name of the file that keeps the rows of many files."""

MIN_KEPT_FILES = 100
"""Files of results that were read one by one, from which on their rows are kept."""

N_READ_AT_ONCE = 16
"""Files of results that are read at once, unless they are on a local disk."""


@dataclass(frozen=True, slots=True)
class ArrayColumn:
    """A column whose values are arrays."""

    shape: tuple[int, ...]
    """Shape of each value."""
    dims: tuple[str, ...]
    """Names of its dimensions."""
    dtype: np.dtype[Any]
    """Type of its elements."""
    has_missing: bool
    """Whether some values of the file are missing."""

    @classmethod
    def parse(cls, about: bytes) -> "ArrayColumn":
        """The column, from the metadata of its field."""
        known = json.loads(about)
        return cls(tuple(known["shape"]), tuple(known["dims"]), np.dtype(known["dtype"]), known["missing"])


@dataclass(frozen=True, slots=True, eq=False)
class FileRows:
    """The rows of one file of results, without the arrays."""

    table: "pa.Table"
    """The columns that are not arrays."""
    about: Mapping[str, str]
    """For each column of arrays, the metadata of its field."""

    @property
    def arrays(self) -> dict[str, ArrayColumn]:
        """The columns of arrays."""
        return {name: ArrayColumn.parse(about.encode()) for name, about in self.about.items()}


def read_scalars(
    folder: ResultFolder, files: Sequence[ResultFile], versions: Mapping[ResultFile, str]
) -> list[FileRows]:
    """The rows of these files, in their order.

    Parameters
    ----------
    versions
        The version of each file in the folder.
    """
    kept = _read_kept(folder, versions)
    others = [file for file in files if file not in kept]
    kept |= zip(others, _read_each(folder, others), strict=True)
    if len(others) >= MIN_KEPT_FILES:
        with suppress(OSError, ValueError):  # the folder may be read-only
            folder.write_beside(KEPT, _pack(kept, versions))
    return [kept[file] for file in files]


def open_parquet(folder: ResultFolder, file: ResultFile) -> Any:  # noqa: ANN401 - pyarrow has no types
    """The Parquet file of a movie."""
    from pyarrow import BufferReader, parquet  # noqa: PLC0415 - an extra

    path = folder.local_path(file)
    return parquet.ParquetFile(path or BufferReader(folder.read(file)))


def _read_each(folder: ResultFolder, files: Sequence[ResultFile]) -> Iterator[FileRows]:
    """The rows of each file; on a local disk threads would only wait for each other."""

    def read(file: ResultFile) -> FileRows:
        with open_parquet(folder, file) as opened:
            found = {field.name: (field.metadata or {}).get(METADATA_KEY) for field in opened.schema_arrow}
            scalars = [name for name, about in found.items() if about is None]
            table = opened.read(scalars, use_threads=False).replace_schema_metadata()
        return FileRows(table, {name: about.decode() for name, about in found.items() if about is not None})

    if not files or folder.local_path(files[0]):
        yield from map(read, files)
        return
    with ThreadPoolExecutor(N_READ_AT_ONCE, thread_name_prefix="camhd-results") as pool:
        yield from pool.map(read, files)


def _read_kept(folder: ResultFolder, versions: Mapping[ResultFile, str]) -> dict[ResultFile, FileRows]:
    """The rows of the files that are as they were when their rows were kept."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    known: dict[ResultFile, FileRows] = {}
    names = {file.name: file for file in versions}
    try:
        packed = BytesIO(folder.read_beside(KEPT))
        while packed.tell() < len(packed.getbuffer()):
            table = pa.ipc.open_stream(packed).read_all().combine_chunks()
            about = json.loads(table.schema.metadata[METADATA_KEY])
            table = table.replace_schema_metadata()
            start = 0
            for name, version, n_rows in about["files"]:
                file = names.get(name)
                if file is not None and versions[file] == version:
                    known[file] = FileRows(table.slice(start, n_rows), about["arrays"])
                start += n_rows
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):  # damaged, or of another version of this package
        return {}
    return known


def _pack(rows: Mapping[ResultFile, FileRows], versions: Mapping[ResultFile, str]) -> bytes:
    """The file that keeps these rows, apart from those whose file may change unnoticed."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    groups: dict[tuple[Any, ...], list[ResultFile]] = {}
    for file, each in rows.items():
        if any(fact != "None" for fact in versions[file].split("|")[1:]):  # more than the size is known
            kind = (each.table.schema.serialize().to_pybytes(), *each.about.items())
            groups.setdefault(kind, []).append(file)
    packed = BytesIO()
    for files in groups.values():
        first = rows[files[0]]
        listed = [(file.name, versions[file], rows[file].table.num_rows) for file in files]
        about = json.dumps({"arrays": dict(first.about), "files": listed}).encode()
        table = pa.concat_tables([rows[file].table for file in files]).combine_chunks()
        table = table.replace_schema_metadata({METADATA_KEY: about})
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(packed, table.schema, options=options) as stream:
            stream.write_table(table)
    return packed.getvalue()
