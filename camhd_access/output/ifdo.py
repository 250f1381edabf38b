"""Image sets as iFDO (image FAIR Digital Object): a metadata file for images, films and contact sheets.

Everything is taken from the provenance record in each file written by this package (see `provenance`): movie,
frames, times and processing steps. Properties of the set, such as the position of the camera, are in its
header. Identifiers are derived from the contents, not random: the same files make the same set.

Source: iFDO 2.2.1, https://marine-imaging.com/fair/ifdos/iFDO-overview/, and its JSON schema.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from hashlib import file_digest
from pathlib import PurePath
from typing import Any, TypeAlias
from urllib.parse import quote

from camhd_access.arrays.attributes import PLACE
from camhd_access.movie.origin import RECORD_KEY
from camhd_access.movie.reader import MovieReader
from camhd_access.output.provenance import Provenance, make_uuid
from camhd_access.output.provenance_files import read_provenance
from camhd_access.storage.filesystems import find_filesystem
from camhd_access.storage.output_files import Target, open_target, suffix_of
from camhd_access.urls import is_place, redact_url, text_of

__all__ = ["SCHEMA", "VERSION", "check_ifdo_name", "to_ifdo"]

VERSION = "v2.2.1"
SCHEMA = "http://hdl.handle.net/20.500.12085/22aba7d7-c432-49ab-bebe-ee8ed4f70150"

CLIPS = (".mov", ".qt")
VIDEOS = (".mp4", ".m4v", ".gif", ".webp", *CLIPS)
LOSSLESS = (".png", ".tif", ".tiff", *CLIPS)
OF_SET = (".png", ".jpg", ".jpeg", ".tif", ".tiff", *VIDEOS)
"""Suffixes of the files that a set can have."""

POSITION_UNCERTAINTY_METERS = 10.0
"""OOI gives the position of the camera with four to six decimals of a degree; the fourth is about 10 m."""

POLICY = "https://oceanobservatories.org/how-to-use-acknowledge-and-cite-data"

ABSTRACT = (
    "Images of the seafloor camera CamHD, an HD video camera with lights that pans, tilts and zooms. It "
    "stands at a hydrothermal vent in the ASHES vent field of Axial Seamount, a submarine volcano in the "
    "northeast Pacific, at a depth of about 1,540 m, and is powered and controlled by a cabled "
    "observatory, the Regional Cabled Array of the Ocean Observatories Initiative. Every three hours, and "
    "for whole days each month, it films a scripted routine of about a quarter of an hour: the vent, its "
    "fauna and the water above, in several positions and zooms. The movies are coded as ProRes 422 "
    "(1920x1080, interlaced, 29.97 frames per second). The images of this set are decoded frames of these "
    "movies, or computed from them. Times are UTC, and each item names its movie, its frames and the "
    "processing steps."
)

Person: TypeAlias = str | Mapping[str, str]
"""A name; or `name` and `uri` (an ORCID)."""


def to_ifdo(
    files: Iterable[str | os.PathLike[str]],
    target: Target | None = None,
    *,
    name: str | None = None,
    base_url: str | None = None,
    handle: str | None = None,
    pi: Person = "NSF Ocean Observatories Initiative",
    creators: Sequence[Person] = ("NSF Ocean Observatories Initiative",),
    abstract: str = ABSTRACT,
) -> dict[str, Any]:
    """The iFDO of an image set: frames, films, clips and contact sheets that this package wrote.

    Parameters
    ----------
    files
        Paths or URLs of the files: `.png`, `.jpg`, `.tif`, `.webp`, `.gif`, `.mp4`, `.mov`.
    target
        File to write, `.json`; None to only return it.
    name
        Name of the set; by default made of project, movie and camera.
    base_url
        Folder where the files will be published, for their handles; None for `urn:uuid:…`.
    handle
        Landing page of the set; None for `urn:uuid:…`.
    pi, creators
        Principal investigator and creators: names, or mappings with `name` and `uri`.
    abstract
        What, when, where, why and how, in 500 to 2,000 characters.

    Returns
    -------
    dict
        With the keys `image-set-header` and `image-set-items` (by file name). Annotations can be added, as
        `image-annotations` of an item, before it is written as JSON.

    Raises
    ------
    ValueError
        No files, two files of the same name, a file that this package did not write or whose time is unknown,
        or a target with another suffix.
    OSError
        A file cannot be read.

    Notes
    -----
    Reads each file completely, for its checksum. Identifiers are derived from the records in the files: the
    same files make the same set.

    Examples
    --------
    >>> write_clip(MovieReader(url), [100], "vent_{frame}.png", progress=False)
    >>> ifdo = to_ifdo(["vent_100.png"], "vent.ifdo.json")
    >>> list(ifdo["image-set-items"])
    ['vent_100.png']
    """
    if is_place(files):
        raise TypeError(f"files must be a list of paths: [{text_of(files)!r}]")  # type: ignore[arg-type]
    if target is not None:
        check_ifdo_name(target)
    items: dict[str, dict[str, Any]] = {}
    records = []
    for path in map(text_of, files):
        key = PurePath(redact_url(path)).name
        if key in items:
            raise ValueError(f"two files are called {key}: rename one, because items are identified by name")
        record = _read_record(path)
        records.append(record)
        items[key] = _describe_item(key, path, record, base_url)
    if not items:
        raise ValueError("no files: give at least one")
    header = _describe_set(records, items, name=name, handle=handle) | {
        "image-pi": _person(pi),
        "image-creators": [_person(each) for each in creators],
        "image-abstract": abstract,
    }
    image_set = {"image-set-header": header, "image-set-items": items, "$schema": SCHEMA}
    if target is not None:
        with open_target(target) as file:
            file.write(json.dumps(image_set, indent=2, ensure_ascii=False).encode() + b"\n")
    return image_set


def check_ifdo_name(target: Target) -> None:
    """Raise a `ValueError` unless an iFDO can be written there."""
    if is_place(target) and suffix_of(text_of(target)) != ".json":  # type: ignore[arg-type]
        raise ValueError(f"{redact_url(text_of(target))}: the name of an iFDO file must end in .json")  # type: ignore[arg-type]


def _read_record(path: str) -> Provenance:
    """The record in a file, which must have a time."""
    suffix = suffix_of(path)
    if suffix not in OF_SET:
        raise ValueError(f"{redact_url(path)}: image sets can have files in {', '.join(OF_SET)}")
    record = _read_record_of_clip(path) if suffix in CLIPS else read_provenance(path)
    if record.time is None:
        raise ValueError(f"{redact_url(path)}: the time of its frames is unknown, which iFDO needs")
    return record


def _read_record_of_clip(path: str) -> Provenance:
    record = Provenance.parse(MovieReader(path).index.metadata.get(RECORD_KEY, ""))
    if record is None:
        raise ValueError(
            f"{redact_url(path)} is not a clip written by camhd_access; write one with write_clip"
        )
    return record


def _describe_item(name: str, path: str, record: Provenance, base_url: str | None) -> dict[str, Any]:
    """The fields of one file."""
    filesystem, inner = find_filesystem(path)
    with filesystem.open(inner, "rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    settings = {key: value for key, value in asdict(record).items() if value is not None and key != "license"}
    is_gray = (record.pix_fmt or "").startswith("gray")
    return {
        "image-uuid": record.uuid,
        "image-hash-sha256": digest,
        "image-handle": f"{base_url.rstrip('/')}/{quote(name)}" if base_url else f"urn:uuid:{record.uuid}",
        "image-datetime": _format_time(record),
        "image-event": _event([record]),
        "image-acquisition": "video" if suffix_of(path) in VIDEOS else "photo",
        "image-quality": _quality(suffix_of(path), record),
        "image-spectral-resolution": "grayscale" if is_gray else "rgb",
        "image-time-synchronisation": _describe_clock(record),
        "image-acquisition-settings": settings,
    }


def _quality(suffix: str, record: Provenance) -> str:
    """`raw` for unchanged frames, `product` for figures and results of several frames, else `processed`."""
    is_figure = ".camhd." in (record.history or "") and suffix not in VIDEOS
    if is_figure or record.operation or (record.time_end and suffix not in VIDEOS):
        return "product"
    is_changed = record.deinterlace or record.width or (record.reduce or 1) > 1 or suffix not in LOSSLESS
    return "processed" if is_changed else "raw"


def _describe_set(
    records: Sequence[Provenance],
    items: Mapping[str, Mapping[str, Any]],
    *,
    name: str | None,
    handle: str | None,
) -> dict[str, Any]:
    """The header: position of the camera, and properties of all items."""
    uuid = make_uuid(*sorted(item["image-hash-sha256"] for item in items.values()))
    event = _event(records)
    return {
        "image-set-name": name or f"OOI-RCA_{event['name'].replace(' ', '-')}_CAMHDA301",
        "image-set-uuid": uuid,
        "image-set-handle": handle or f"urn:uuid:{uuid}",
        "image-set-ifdo-version": VERSION,
        "image-datetime": min(item["image-datetime"] for item in items.values()),
        "image-latitude": PLACE["geospatial_lat"],
        "image-longitude": PLACE["geospatial_lon"],
        "image-altitude-meters": -float(str(PLACE["geospatial_vertical_max"])),
        "image-coordinate-reference-system": "EPSG:4326",
        "image-coordinate-uncertainty-meters": POSITION_UNCERTAINTY_METERS,
        "image-context": {"name": "Ocean Observatories Initiative", "uri": "https://oceanobservatories.org"},
        "image-project": {"name": "Regional Cabled Array", "uri": "https://interactiveoceans.washington.edu"},
        "image-event": event,
        "image-platform": {"name": PLACE["platform"]},
        "image-sensor": {"name": PLACE["instrument"]},
        "image-license": {"name": "OOI data usage policy: free to use, with acknowledgement", "uri": POLICY},
        "image-copyright": PLACE["acknowledgement"],
        "image-deployment": "stationary",
        "image-illumination": "artificial light",
        "image-marine-zone": "seafloor",
        "image-capture-mode": "timer",
    }


def _event(records: Sequence[Provenance]) -> dict[str, str]:
    """The recording and its URL, or the number of recordings."""
    movies = sorted({movie for record in records for movie in record.movies or [record.movie]})
    if len(movies) > 1:
        return {"name": f"{len(movies)} movies, {movies[0]} to {movies[-1]}"}
    sources = {record.source for record in records}
    source = sources.pop() if len(sources) == 1 else None
    is_uri = source is not None and source.startswith(("http://", "https://"))
    return {"name": movies[0]} | ({"uri": source} if source and is_uri else {})


def _describe_clock(record: Provenance) -> str:
    """Source and uncertainty of the time."""
    source = {"mvhd": "the movie's own clock", "name": "the name of the movie"}.get(record.time_source or "")
    uncertainty = record.time_uncertainty_seconds
    known = "to an unknown precision" if uncertainty is None else f"to {uncertainty:g} s"
    return f"UTC, by {source or 'the clocks or names of the movies'}, {known}"


def _format_time(record: Provenance) -> str:
    """Time of the first frame, in the default format of iFDO."""
    return (record.time or "").rstrip("Z").replace("T", " ")


def _person(person: Person) -> dict[str, str]:
    return {"name": person} if isinstance(person, str) else dict(person)
