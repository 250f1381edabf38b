"""Read the provenance record (see `provenance`) of files of any format."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from camhd_access.output.provenance import Provenance
from camhd_access.storage.filesystems import find_filesystem
from camhd_access.storage.output_files import suffix_of
from camhd_access.urls import options_of, redact_url, text_of

__all__ = ["OTHER_SUFFIXES", "read_provenance"]

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".gif")
FILMS = (".mp4", ".m4v")
ARRAYS = (".nc", ".nc4", ".zarr")
DRAWINGS = (".svg", ".pdf")

OTHER_SUFFIXES = (*IMAGES, *FILMS, *ARRAYS, *DRAWINGS)
"""Suffixes of files that this package writes and that are not movies."""

_DESCRIPTION = 0x010E

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*")


def read_provenance(path: str | os.PathLike[str]) -> Provenance:
    """The provenance record of an image, a film, a figure or an array.

    Raises
    ------
    ValueError
        The file has no record.
    OSError
        The file cannot be read.
    """
    name, options = text_of(path), options_of(path, None)
    suffix = suffix_of(name.rstrip("/"))
    with _without_secrets():
        if suffix in ARRAYS:
            return _of_array(name, options)
        filesystem, inner = find_filesystem(name, options)
        with filesystem.open(inner, "rb") as file:
            texts = _texts_of_film(file) if suffix in FILMS else _texts_of_image(file, suffix)
    for text in texts:
        if record := Provenance.parse(text):
            return record
    raise ValueError(f"{redact_url(name)} has no provenance record: it was not written by camhd_access")


@contextmanager
def _without_secrets() -> Iterator[None]:
    """Errors of other libraries, whose texts have URLs as given, become errors with redacted URLs."""
    try:
        yield
    except Exception as error:
        text = _URL.sub(lambda found: redact_url(found[0]), str(error))
        if text == str(error):
            raise
        kinds = (FileNotFoundError, OSError, ValueError)
        raise next((kind for kind in kinds if isinstance(error, kind)), OSError)(text) from None


def _texts_of_image(file: Any, suffix: str) -> list[str]:  # noqa: ANN401 - fsspec's files
    """All text in an image or a drawing."""
    if suffix == ".svg":
        return [_unescape(file.read().decode(errors="replace"))]
    if suffix == ".pdf":
        return [_text_of_pdf(file.read())]
    try:
        with Image.open(file) as image:
            image.load()
            found = [value for value in image.info.values() if isinstance(value, str | bytes)]
            found.append(image.getexif().get(_DESCRIPTION, ""))
    except UnidentifiedImageError as error:
        raise ValueError(f"not a {Path(suffix).name} image: {error}") from error
    return [text.decode(errors="replace") if isinstance(text, bytes) else text for text in found]


def _unescape(text: str) -> str:
    for entity, character in (("&quot;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return text


def _text_of_pdf(data: bytes) -> str:
    """The Subject of a document written by matplotlib: a literal string (ISO 32000-1, 7.3.4.2)."""
    match = re.search(rb"/Subject \(((?:[^\\()]|\\.)*)\)", data, re.DOTALL)
    return re.sub(rb"\\(.)", rb"\1", match[1], flags=re.DOTALL).decode("latin-1") if match else ""


def _texts_of_film(file: Any) -> list[str]:  # noqa: ANN401
    from camhd_access.output.film_writers import read_texts  # noqa: PLC0415 - imports libav

    return read_texts(file)


def _of_array(name: str, storage_options: Mapping[str, Any] | None) -> Provenance:
    import xarray as xr  # noqa: PLC0415 - only needed for arrays

    from camhd_access.output.array_provenance import describe_array  # noqa: PLC0415

    place: Any = name
    options: dict[str, Any] = {}
    if suffix_of(name.rstrip("/")) == ".zarr":
        filesystem, inner = find_filesystem(name, storage_options)
        place, options = filesystem.get_mapper(inner), {"engine": "zarr", "consolidated": False}
    with xr.open_dataset(place, **options) as dataset:
        if not {"movie", "source"} & set(dataset.coords):
            raise ValueError(f"{redact_url(name)} has no provenance record: no coordinate movie or source")
        variable = next((v for v in dataset.data_vars.values() if "movie" in v.coords), None)
        array = variable if variable is not None else dataset["movie"]
        return describe_array(array.assign_attrs(dataset.attrs | array.attrs))
