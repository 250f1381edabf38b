"""The archive of the simulated observatory: the real catalogue as sparse files.

Each movie has its real name, size, number of frames and start. The movies of one deployment have real frames
where they are read: one of a few dozen encoded pictures, chosen by movie and frame, so that the result of
each read is known. The media of all others are holes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from camhd_access import MovieReader, read_catalog
from camhd_access.formats.quicktime.tracks import FILE_TYPE, Track, build_mdat_header, build_moov
from camhd_access.synthetic import write_movie
from camhd_access.synthetic.atoms import WIDE, video_track_kind

__all__ = ["CORNER", "FRAMES", "THRESHOLD", "Archive", "make_archive"]

FRAMES = (3841, 3949, 4057, 4166, 4274, 4382)
"""The frames of T. Crone's floc proxy."""
CORNER = {"y": slice(0, 1024), "x": slice(896, 1920)}
"""The part of each frame that is read."""
THRESHOLD = 600
"""Luma, in 10 bits, of bright pixels."""

N_PICTURES = 24
START = len(FILE_TYPE) + len(WIDE) + 16
EPOCH = np.datetime64("1904-01-01", "s")
ROOT = "https://rawdata.oceanobservatories.org/files/"
VIDEO = video_track_kind(1920, 1080, interlaced=True)


@dataclass(frozen=True)
class Archive:
    """A folder with all movies, and what a survey of one deployment finds."""

    root: Path
    """Root of the web server."""
    table: pd.DataFrame
    """The routine movies of the deployment, with `path` below the root."""
    counts: dict[str, list[int]]
    """Bright pixels of the frames of each movie."""
    media_bytes: float
    """Bytes of the samples that are read of a movie, on average."""


def make_archive(folder: Path, catalog_file: Path, deployment: int) -> Archive:
    """The archive in a folder, made if it is not there."""
    catalog = read_catalog(str(catalog_file))
    root, facts = folder / "files", folder / f"deployment-{deployment}.json"
    table = catalog[(catalog["quality"] == "good") & (catalog["deployment"] == deployment)]
    table = table[table["n_frames"].between(5_000, 30_000)]
    table = table.assign(path=table["url"].str.removeprefix(ROOT))
    if not facts.exists():
        samples, bright = _make_pictures(folder)
        counts, n_bytes = {}, 0
        for number, movie in enumerate(catalog.itertuples()):
            path = root / movie.url.removeprefix(ROOT)
            path.parent.mkdir(parents=True, exist_ok=True)
            chosen = {}
            if movie.Index in table.index:
                which = [(7 * number + k) % N_PICTURES for k in range(len(FRAMES))]
                chosen = {frame: samples[k] for frame, k in zip(FRAMES, which, strict=True)}
                counts[movie.Index] = [bright[k] for k in which]
                n_bytes += sum(map(len, chosen.values()))
            _write(path, movie, chosen)
        facts.write_text(json.dumps({"counts": counts, "bytes": n_bytes / len(table)}))
    known = json.loads(facts.read_text())
    return Archive(root, table, known["counts"], known["bytes"])


def _make_pictures(folder: Path) -> tuple[list[bytes], list[int]]:
    """Encoded pictures, and the bright pixels in the corner of each."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pictures.mov"
    write_movie(path, n_frames=N_PICTURES)
    reader = MovieReader(path)
    pixels = reader.read(slice(None), pix_fmt="gray10le", **CORNER)
    return reader.read_encoded(slice(None)), [int((each > THRESHOLD).sum()) for each in pixels]


def _write(path: Path, movie: object, samples: dict[int, bytes]) -> None:
    """A movie with these samples; all others are holes of equal size."""
    file_size, n_frames = int(movie.file_size), 0 if pd.isna(movie.n_frames) else int(movie.n_frames)
    with path.open("wb") as file:
        if file_size and n_frames:
            moov, offsets = _plan(movie, file_size, n_frames, samples)
            file.write(FILE_TYPE + WIDE + build_mdat_header(file_size - len(moov) - START))
            for frame, sample in samples.items():
                file.seek(int(offsets[frame]))
                file.write(sample)
            file.seek(file_size - len(moov))
            file.write(moov)
        file.truncate(file_size)


def _plan(
    movie: object, file_size: int, n_frames: int, samples: dict[int, bytes]
) -> tuple[bytes, Sequence[int]]:
    """The index, and the offset of each frame."""
    start = movie.time_from_name if pd.isna(movie.start_time) else movie.start_time
    seconds = int((np.datetime64(start, "s") - EPOCH) // np.timedelta64(1, "s"))
    edges = np.arange(0, n_frames + 6, 6).clip(max=n_frames)  # six frames a chunk, as the recorder writes

    def build(frame_bytes: int) -> tuple[bytes, np.ndarray]:
        sizes = np.full(n_frames, frame_bytes, np.int64)
        sizes[list(samples)] = [len(sample) for sample in samples.values()]
        offsets = START + np.cumsum(sizes) - sizes
        track = Track(VIDEO, 1001, sizes, np.diff(edges), offsets[edges[:-1]])
        return build_moov([track], seconds), offsets

    room = file_size - START - len(build(1)[0]) - sum(map(len, samples.values()))
    return build(room // (n_frames - len(samples)))
