"""A catalogue: a table of movies, one row each, and its files.

`MovieRecord` is a row and describes the columns. Three columns are derived when the table is made:
`time_from_name`, `deployment`, and `note`, the known anomalies of the movie or its period (`anomalies`). A
catalogue is stored as Parquet or JSON lines on any filesystem of fsspec; third-party catalogues
(`known_catalogs`) can be read too.
"""

import gzip
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from camhd_access.archive.anomalies import describe_anomalies
from camhd_access.archive.deployments import find_deployment
from camhd_access.archive.known_catalogs import find_schema
from camhd_access.archive.records import MovieRecord
from camhd_access.formats.names import StartTime
from camhd_access.storage.output_files import check_parquet, open_target
from camhd_access.storage.small_files import read_small_file
from camhd_access.urls import options_of, redact_url, text_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["check_catalog_name", "from_frame", "read_catalog", "to_frame", "write_catalog"]

MAX_CATALOG_BYTES = 64 << 20
"""Limit for the unpacked size of a catalogue: ten times that of the whole archive."""

MAX_LINE_BYTES = 1 << 20
"""Limit for a row of JSON: nested values take many times as much memory as their text."""

MAX_ROWS = 1 << 20
"""Limit for the rows of a Parquet catalogue, which can take almost no bytes in the file."""

_DAMAGE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    NotImplementedError,
    OSError,
)

DTYPES = {
    "basename": "string",
    "url": "string",
    "time_from_name": "datetime64[ns]",
    "start_time": "datetime64[ns]",
    "start_source": "string",
    "start_disagreement": "float64",
    "file_size": "Int64",
    "n_frames": "Int64",
    "duration": "float64",
    "codec": "string",
    "width": "Int64",
    "height": "Int64",
    "bytes_per_frame": "float64",
    "quality": "string",
    "reason": "string",
    "deployment": "Int64",
    "note": "string",
    "seen": "datetime64[ns]",
    "other_urls": "string",
}
"""All columns in order, the index first."""

_RECORD_COLUMNS = [field.name for field in fields(MovieRecord)]

_REQUIRED_COLUMNS = [name for name in _RECORD_COLUMNS if name != "other_urls"]
"""Columns of a valid catalogue; `other_urls` is missing in older files."""


def to_frame(records: Iterable[MovieRecord]) -> pd.DataFrame:
    """The catalogue of these movies, sorted by the time in their names; the base name is the index."""
    rows = sorted(records, key=lambda record: record.name.sort_key)
    values = {name: [getattr(row, name) for row in rows] for name in _RECORD_COLUMNS}
    values["time_from_name"] = [row.name.time_from_name for row in rows]
    values["deployment"] = [
        find_deployment(row.name.time_from_name if row.start_time is None else row.start_time) for row in rows
    ]
    values["note"] = [_describe(row) for row in rows]
    columns = {name: pd.Series(values[name], dtype=dtype) for name, dtype in DTYPES.items()}
    return pd.DataFrame(columns).set_index("basename")


def _describe(row: MovieRecord) -> str | None:
    """Known anomalies of the movie, and those that its own properties show; None if there are none."""
    known = describe_anomalies(row.name)
    doubt = StartTime(row.start_time, row.start_source, row.start_disagreement).doubt
    rounded = "name: its second is 60, which is read as the next minute" if row.name.is_rounded_up else None
    copies = f"folders: it is also at {row.other_urls}" if row.other_urls else None
    return "; ".join(filter(None, (known, doubt and f"clock: {doubt}", rounded, copies))) or None


def from_frame(catalog: pd.DataFrame) -> list[MovieRecord]:
    """The rows of a catalogue as records."""
    table = catalog.reset_index().reindex(columns=_RECORD_COLUMNS)
    columns = [table[name].astype(object).where(table[name].notna(), None) for name in _RECORD_COLUMNS]
    return [MovieRecord(*row) for row in zip(*columns, strict=True)]


def read_catalog(
    urlpath: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Read a catalogue from a file.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens: Parquet if it ends in `.parquet`, otherwise JSON lines, which may be
        compressed (`.jsonl.gz`). The third-party catalogues `dbcamhd.json` of rte-camhd, of Pangeo and of
        Azure Open Datasets are read too; their wrong values are replaced by NaN, explained in `reason`.
    storage_options
        For the constructor of the filesystem.

    Raises
    ------
    ValueError
        The file is not a catalogue of a known kind.

    Examples
    --------
    >>> write_catalog(catalog, "catalog.jsonl.gz")
    >>> read_catalog("catalog.jsonl.gz").index.equals(catalog.index)
    True
    """
    name = redact_url(text_of(urlpath))
    data = read_small_file(
        urlpath, max_bytes=MAX_CATALOG_BYTES, compressed=True, storage_options=storage_options
    )
    try:
        with np.errstate(invalid="raise"):  # numbers that do not fit into their column
            if _is_parquet(text_of(urlpath)):
                return _from_columns(_parse_parquet(data))
            return _parse_lines(data)
    except _DAMAGE as error:  # libraries raise many kinds of errors for damaged bytes
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{name} is not a catalogue, or a damaged one: {what:.500}") from error


def _parse_lines(data: bytes) -> pd.DataFrame:
    rows = _iter_rows(data)
    first = next(rows, None)
    if first is None:
        return to_frame([])
    rows = chain([first], rows)
    if set(_REQUIRED_COLUMNS) <= first.keys():
        values = [[*(row[name] for name in _REQUIRED_COLUMNS), row.get("other_urls")] for row in rows]
        return _from_columns(dict(zip(_RECORD_COLUMNS, zip(*values, strict=True), strict=True)))
    schema = find_schema(first)
    if schema is None:
        raise ValueError(f"not a catalogue of a known kind; its columns are {sorted(first)}")
    return to_frame(schema.read(row) for row in rows)


def _iter_rows(data: bytes) -> Iterator[dict[str, Any]]:
    """The objects of JSON lines, one by one, so that invalid input is rejected before it takes memory."""
    for line in re.finditer(rb"[^\r\n]+", data):
        if line.end() - line.start() > MAX_LINE_BYTES:
            raise ValueError(f"not JSON lines (a line of more than {MAX_LINE_BYTES:,} bytes)")
        if not line[0].strip():
            continue
        try:
            row = json.loads(line[0])
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not JSON lines ({error})") from error
        if not isinstance(row, dict):
            raise ValueError("some lines are not JSON objects")  # noqa: TRY004 - a file's content
        yield row


def _from_columns(table: Mapping[str, Any] | pd.DataFrame) -> pd.DataFrame:
    """A catalogue in our format, with its columns converted to their types."""
    columns = {name: pd.Series(table[name], dtype=DTYPES[name]) for name in _RECORD_COLUMNS if name in table}
    return to_frame(from_frame(pd.DataFrame(columns)))


def _parse_parquet(data: bytes) -> pd.DataFrame:
    check_parquet()
    import pyarrow as pa  # noqa: PLC0415 - an extra

    try:
        table: pd.DataFrame = _read_parquet(data).to_pandas()
    except pa.ArrowException as error:  # some of them are only that
        raise ValueError(str(error)) from error
    return table


def _read_parquet(data: bytes) -> "pa.Table":
    """The columns of a catalogue; text stays dictionary-encoded, because repeated it could be of any size."""
    import pyarrow as pa  # noqa: PLC0415 - an extra
    import pyarrow.compute as pc  # noqa: PLC0415 - an extra
    from pyarrow import parquet  # noqa: PLC0415 - an extra

    about = parquet.read_metadata(BytesIO(data))
    names = about.schema.to_arrow_schema().names
    if not set(_REQUIRED_COLUMNS) <= set(names):
        raise ValueError(f"not a catalogue of a known kind; its columns are {names}")
    n_bytes = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    if n_bytes > MAX_CATALOG_BYTES or about.num_rows > MAX_ROWS:
        raise ValueError(f"it claims to unpack to {n_bytes:,} bytes, {about.num_rows:,} rows")
    found = [name for name in _RECORD_COLUMNS if name in names]
    texts = [name for name in found if DTYPES[name] == "string"]
    table = parquet.ParquetFile(BytesIO(data), read_dictionary=texts).read(columns=found)
    for column in map(table.column, texts):
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            n_bytes += pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
    if n_bytes > MAX_CATALOG_BYTES:
        raise ValueError(f"its texts take {n_bytes:,} bytes")
    return table


def write_catalog(
    catalog: pd.DataFrame,
    urlpath: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write a catalogue to a file: Parquet (`.parquet`) or JSON lines (`.jsonl`, `.jsonl.gz`).

    Raises
    ------
    ValueError, ImportError
        As `check_catalog_name`.

    Notes
    -----
    Readers see either the old or the new file, complete, even if several programs write it.

    Examples
    --------
    >>> write_catalog(catalog[catalog["quality"] == "good"], "good.jsonl")
    >>> set(read_catalog("good.jsonl")["quality"])
    {'good'}
    """
    table = catalog.reset_index()
    name = check_catalog_name(urlpath)
    options = options_of(urlpath, storage_options)
    with open_target(name, make_folders=True, storage_options=options) as file:
        if _is_parquet(name):
            file.write(_pack_parquet(table))
        elif name.endswith(".gz"):
            with gzip.GzipFile(fileobj=file, mode="wb") as packed:
                packed.writelines(_iter_lines(table))
        else:
            file.writelines(_iter_lines(table))


def _pack_parquet(table: pd.DataFrame) -> bytes:
    file = BytesIO()
    table.to_parquet(file, index=False)
    return file.getvalue()


def check_catalog_name(urlpath: str | os.PathLike[str]) -> str:
    """The path or URL, after checking that a catalogue can be written there.

    Raises
    ------
    ValueError
        Another suffix than those of catalogues.
    ImportError
        pyarrow, which writes Parquet, is not installed.
    """
    name = text_of(urlpath)
    if _is_parquet(name):
        check_parquet()
    elif not name.endswith((".jsonl", ".jsonl.gz")):
        raise ValueError(f"'{name}': the name of a catalogue must end in .parquet, .jsonl or .jsonl.gz")
    return name


def _iter_lines(table: pd.DataFrame) -> Iterator[bytes]:
    """The rows as JSON; times in ISO 8601, missing values as null."""
    columns = [table[name].astype(object).where(table[name].notna(), None) for name in table]
    for row in zip(*columns, strict=True):
        values = dict(zip(table, row, strict=True))
        yield json.dumps(values, ensure_ascii=False, default=pd.Timestamp.isoformat).encode() + b"\n"


def _is_parquet(urlpath: str) -> bool:
    return urlpath.endswith(".parquet")
