"""A catalogue: a table of movies, one row each, and the file that holds it.

`MovieRecord` is a row and says what the columns mean. Three columns that follow from others are added when
the table is made: `time_from_name`, `deployment`, and `note`, what is known to be wrong with the movie or its
time (`anomalies`). As a file a catalogue is Parquet or JSON lines, on anything that fsspec reaches; the
catalogues that others have published (`known_catalogs`) are read alike.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from io import BytesIO
from typing import Any

import fsspec
import pandas as pd

from camhd_access.archive.anomalies import describe_anomalies
from camhd_access.archive.deployments import find_deployment
from camhd_access.archive.known_catalogs import find_schema
from camhd_access.archive.records import MovieRecord
from camhd_access.storage.output_files import check_parquet

__all__ = ["check_catalog_name", "from_frame", "read_catalog", "to_frame", "write_catalog"]

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
}
"""All columns in their order, the index first."""

_RECORD_COLUMNS = [field.name for field in fields(MovieRecord)]


def to_frame(records: Iterable[MovieRecord]) -> pd.DataFrame:
    """The catalogue of these movies, in order of the times of their names; the base name is the index."""
    rows = sorted(records, key=lambda record: record.name.sort_key)
    values = {name: [getattr(row, name) for row in rows] for name in _RECORD_COLUMNS}
    values["time_from_name"] = [row.name.time_from_name for row in rows]
    values["deployment"] = [find_deployment(row.start_time) for row in rows]
    values["note"] = [describe_anomalies(row.name) for row in rows]
    columns = {name: pd.Series(values[name], dtype=dtype) for name, dtype in DTYPES.items()}
    return pd.DataFrame(columns).set_index("basename")


def from_frame(catalog: pd.DataFrame) -> list[MovieRecord]:
    """The rows of a catalogue as records."""
    table = catalog.reset_index()
    columns = [table[name].astype(object).where(table[name].notna(), None) for name in _RECORD_COLUMNS]
    return [MovieRecord(*row) for row in zip(*columns, strict=True)]


def read_catalog(
    urlpath: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """The catalogue that a file holds.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens: Parquet where it ends in `.parquet`, else JSON lines, which may be
        compressed (`.jsonl.gz`). The published catalogues `dbcamhd.json` of rte-camhd, of Pangeo and of
        Azure Open Datasets are read too; what is false in them becomes unknown, and `reason` says so.
    storage_options
        For the constructor of the filesystem.

    Raises
    ------
    ValueError
        The file is no catalogue of a known kind.
    """
    urlpath = os.fspath(urlpath)
    with fsspec.open(urlpath, "rb", compression="infer", **(storage_options or {})) as file:
        data = file.read()
    if _is_parquet(urlpath):
        return to_frame(from_frame(_read_parquet(urlpath, data)))
    try:
        rows = [json.loads(line) for line in data.splitlines() if line.strip()]
    except ValueError as error:
        raise ValueError(f"{urlpath}: not JSON lines ({error})") from error
    if not rows:
        return to_frame([])
    if not isinstance(rows[0], dict):
        raise ValueError(f"{urlpath}: not a catalogue; its lines are no JSON objects")  # noqa: TRY004 - of a file
    if set(_RECORD_COLUMNS) <= rows[0].keys():
        columns = {
            name: pd.Series([row[name] for row in rows], dtype=DTYPES[name]) for name in _RECORD_COLUMNS
        }
        return to_frame(from_frame(pd.DataFrame(columns)))
    schema = find_schema(rows[0])
    if schema is None:
        raise ValueError(f"{urlpath}: not a catalogue of a known kind; its columns are {sorted(rows[0])}")
    return to_frame(schema.read(row) for row in rows)


def _read_parquet(urlpath: str, data: bytes) -> pd.DataFrame:
    check_parquet()
    try:
        table = pd.read_parquet(BytesIO(data))
    except ValueError as error:
        raise ValueError(f"{urlpath}: not Parquet ({error})") from error
    if not set(_RECORD_COLUMNS) <= set(table):
        raise ValueError(f"{urlpath}: not a catalogue of a known kind; its columns are {list(table)}")
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
    Written beside its place under another name, and then moved there: whoever reads it has the old one or the
    new one, whole.
    """
    table = catalog.reset_index()
    urlpath = check_catalog_name(urlpath)
    filesystem, path = fsspec.core.url_to_fs(urlpath, **(storage_options or {}))
    filesystem.makedirs(filesystem._parent(path), exist_ok=True)  # noqa: SLF001 - fsspec's own dirname
    unfinished = f"{path}.part"
    compression = fsspec.utils.infer_compression(path)
    with fsspec.core.OpenFile(filesystem, unfinished, "wb", compression) as file:
        if _is_parquet(urlpath):
            table.to_parquet(file, index=False)
        else:
            file.writelines(_iter_lines(table))
    filesystem.mv(unfinished, path)


def check_catalog_name(urlpath: str | os.PathLike[str]) -> str:
    """The path or URL, if a catalogue can be written under such a name.

    Raises
    ------
    ValueError
        It ends otherwise than catalogues do.
    ImportError
        pyarrow is missing, which writes Parquet.
    """
    name = os.fspath(urlpath)
    if _is_parquet(name):
        check_parquet()
    elif not name.endswith((".jsonl", ".jsonl.gz")):
        raise ValueError(f"'{name}': the name of a catalogue ends in .parquet, .jsonl or .jsonl.gz")
    return name


def _iter_lines(table: pd.DataFrame) -> Iterator[bytes]:
    """The rows as JSON; times in ISO 8601, what is missing as null."""
    columns = [table[name].astype(object).where(table[name].notna(), None) for name in table]
    for row in zip(*columns, strict=True):
        values = dict(zip(table, row, strict=True))
        yield json.dumps(values, ensure_ascii=False, default=pd.Timestamp.isoformat).encode() + b"\n"


def _is_parquet(urlpath: str) -> bool:
    return urlpath.endswith(".parquet")
