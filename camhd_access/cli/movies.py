"""Commands that print properties of one movie: `info`, `plan`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from camhd_access.cli.options import AS_JSON, AT_LEAST_ONE, CROP, PATH_OR_URL, POSITIVE, RECOVER, REDUCE, Crop
from camhd_access.cli.printing import print_json

if TYPE_CHECKING:
    from camhd_access.formats.names import StartTime
    from camhd_access.movie.reader import MovieReader
    from camhd_access.output.provenance import Provenance

__all__ = ["info", "plan"]

SOURCES = {
    "mvhd": "from the header of the movie",
    "name": "from the file name",
    "unknown": "neither in the file name nor in the header",
}


@click.command
@click.argument("url", type=PATH_OR_URL)
@click.option("--stats", is_flag=True, help="Print requests and bytes on standard error.")
@RECOVER
@AS_JSON
def info(url: str, *, stats: bool, recover: bool, as_json: bool) -> None:
    """Print the properties of the movie at URL: codec, start time, number and size of frames.

    URL is a URL that fsspec opens, a local path, or the base name or time (UTC) of a movie in the archive.
    This makes three requests, for the index, for the header of the first frame, and for 4 bytes of timecode.
    For an image, a film, a figure or an array written by this package (.png, .jpg, .tif, .webp, .gif, .mp4,
    .svg, .pdf, .nc, .zarr), it prints the provenance, with the command that reproduces the file.

    \b
    Examples:
      camhd info https://rawdata.oceanobservatories.org/files/RS03ASHS/PN03B/06-CAMHDA301/2016/11/13/CAMHDA301-20161113T000000Z.mov
      camhd info --json CAMHDA301-20161113T000000Z.mov | jq .n_frames
      camhd info frame.png
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.movie.reader import MovieReader
    from camhd_access.output.provenance_files import OTHER_SUFFIXES, read_provenance
    from camhd_access.storage.output_files import suffix_of

    if suffix_of(url.rstrip("/")) in OTHER_SUFFIXES:
        _print_provenance(read_provenance(url), as_json=as_json)
        return
    reader = MovieReader(url, recover=recover)
    facts = _read_facts(reader)
    if as_json:
        print_json(facts)
    else:
        _print_facts(facts)
    if stats:
        _print_stats(reader.urlpath)


def _print_provenance(record: "Provenance", *, as_json: bool) -> None:
    """Print the provenance of a file, one property per line."""
    known = {name: value for name, value in asdict(record).items() if value is not None}
    if as_json:
        print_json(known)
        return
    for name, value in known.items():
        shown = ",".join(map(str, value)) if isinstance(value, list) else value
        label = {"history": "made by"}.get(name, name.replace("_", " "))
        click.echo(f"{label + ':':<28}{shown}")


def _read_facts(reader: "MovieReader") -> dict[str, Any]:
    """The properties of the movie, named as the columns of a catalogue where these exist."""
    import numpy as np

    from camhd_access.movie.timecodes import read_start

    index, start = reader.index, read_start(reader)
    return {
        "url": reader.name,
        "start_time": start.time,
        "start_source": start.source,
        "start_disagreement": start.disagreement_seconds,
        **_read_timecode(reader, start),
        "file_size": reader.file_size,
        "n_frames": reader.n_frames,
        "n_hidden_frames": index.hidden.sum(),
        "delay": float(index.delay[0]) / index.timescale,
        "frames_per_second": index.timescale / float(np.median(index.duration)),
        "duration": reader.duration,
        "codec": index.codec,
        "width": index.width,
        "height": index.height,
        "interlaced": reader.interlaced,
        "bytes_per_frame": index.size.mean(),
        "smallest_frame": index.size.min(),
        "largest_frame": index.size.max(),
    } | _read_origin(reader)


def _read_timecode(reader: "MovieReader", start: "StartTime") -> dict[str, Any]:
    """Timecode of the first frame, its difference from the start time, and what agrees with it."""
    from camhd_access.errors import InvalidMovieError

    try:
        label = reader.timecode
    except InvalidMovieError:
        return {"timecode": "damaged", "timecode_disagreement": None, "timecode_agrees_with": None}
    return {
        "timecode": None if label is None else str(label),
        "timecode_disagreement": start.timecode_disagreement_seconds,
        "timecode_agrees_with": start.timecode_agrees_with,
    }


def _read_origin(reader: "MovieReader") -> dict[str, Any]:
    """The origin of a clip; empty for other movies."""
    from camhd_access.movie.origin import RECORD_KEY, format_frames
    from camhd_access.output.provenance import Provenance

    if reader.origin is None:
        return {}
    record = Provenance.parse(reader.index.metadata[RECORD_KEY])
    return {
        "original_movie": reader.origin.movie,
        "original_url": reader.origin.source,
        "original_frames": format_frames(reader.origin.frames),
        "history": record.history if record else None,
    }


def _print_facts(facts: dict[str, Any]) -> None:
    import numpy as np

    from camhd_access.formats.quicktime import CODEC_NAMES

    start, apart, codec = facts["start_time"], facts["start_disagreement"], facts["codec"]
    delay = facts["delay"]
    start_text = "unknown" if start is None else f"{np.datetime_as_string(start, 'ms')} UTC"
    scan = "interlaced" if facts["interlaced"] else "progressive"
    lines = {
        "movie": facts["url"],
        "codec": f"{CODEC_NAMES[codec]} ({codec})",
        "frame size": f"{facts['width']}x{facts['height']}, {scan}",
        "frames": f"{facts['n_frames']:,} at {facts['frames_per_second']:.5g} per second",
        "duration": f"{facts['duration']:.3f} s",
        "start": f"{start_text} ({SOURCES[facts['start_source']]})",
        "file-name time": None
        if apart is None
        else f"{abs(apart):.0f} s {'earlier' if apart > 0 else 'later'}",
        "timecode": _describe_timecode(facts),
        "delay": f"{delay:.3f} s from the start to the first frame (edit list)" if delay else None,
        "file": f"{facts['file_size']:,} bytes",
        "frame bytes": (
            f"{facts['bytes_per_frame']:,.0f} bytes "
            f"(from {facts['smallest_frame']:,} to {facts['largest_frame']:,})"
        ),
        "original movie": facts.get("original_url"),
        "original frames": facts.get("original_frames"),
        "made by": facts.get("history"),
        "hidden frames": f"{facts['n_hidden_frames']:,} are not shown by players"
        if facts["n_hidden_frames"]
        else None,
    }
    for name, line in lines.items():
        if line is not None:
            click.echo(f"{name + ':':<16}{line}")


def _describe_timecode(facts: dict[str, Any]) -> str | None:
    """The timecode, and how far it is from the start."""
    label, after, agreeing = (facts[f"timecode{part}"] for part in ("", "_disagreement", "_agrees_with"))
    if label is None or after is None:
        return label  # type: ignore[no-any-return]  # of facts, which may be anything
    told = f"{abs(after):,.0f} s {'later' if after > 0 else 'earlier'}" if round(after) else "as the start"
    return f"{label} ({told}{f'; agrees with {agreeing}' if agreeing else ''})"


def _print_stats(url: str) -> None:
    """Print what this process has transferred through the filesystem of `url`."""
    from camhd_access.storage.rangecache import RangeCacheFileSystem
    from camhd_access.storage.source import open_source

    filesystem = open_source(url).filesystem
    if isinstance(filesystem, RangeCacheFileSystem):
        cached = filesystem.stats
        click.echo(
            f"cache: {cached.hits} hits, {cached.misses} misses, {cached.bytes_from_cache:,} bytes", err=True
        )
        filesystem = filesystem.fs
    transferred = getattr(filesystem, "stats", None)
    if transferred is None:
        click.echo("network: not counted on this filesystem", err=True)
    else:
        click.echo(
            f"network: {transferred.requests} requests, {transferred.retries} retries, "
            f"{transferred.bytes:,} bytes, {transferred.seconds:.3f} s",
            err=True,
        )


@click.command
@click.argument("url", type=PATH_OR_URL)
@click.option("--every", type=AT_LEAST_ONE, default=1, show_default=True, help="Every N-th frame.")
@CROP
@REDUCE
@click.option("--fields", is_flag=True, help="Fields instead of frames, for an interlaced movie.")
@click.option(
    "--megabits", type=POSITIVE, default=100, show_default=True, help="Speed of the network, Mbit/s."
)
@RECOVER
@AS_JSON
def plan(
    *,
    url: str,
    every: int,
    crop: Crop | None,
    reduce: int,
    fields: bool,
    megabits: float,
    recover: bool,
    as_json: bool,
) -> None:
    """Estimate requests, bytes and seconds of reading frames of the movie at URL. Reads only its index.

    A crop of few lines of a remote movie reads parts of each frame; its cost is approximate.

    \b
    Examples:
      camhd plan --every 30 --megabits 1000 CAMHDA301-20161113T000000Z.mov
      camhd plan --crop 448,28,1024,1024 CAMHDA301-20161113T000000Z.mov
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.arrays.open_movie import open_movie
    from camhd_access.movie.reader import MovieReader

    size = MovieReader(url, recover=recover).shape[1:]
    part = crop.slices(size, reduce=reduce, fields=fields) if crop else {}
    frames = slice(None, None, every)
    movie = open_movie(url, frames=frames, reduce=reduce, fields=fields, recover=recover)
    estimate = movie.isel(part).camhd.plan(megabits_per_second=megabits)
    if as_json:
        print_json(asdict(estimate))
    else:
        click.echo(estimate)
