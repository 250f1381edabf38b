"""Movies to measure with, made once and kept in `benchmarks/.cache`, which git ignores.

`long.mov` has the size of a real one: 25,000 frames, 13 GB, of which only `FRAMES` and their neighbours are
there, and the others are holes. `short-….mov` is whole. Both are in the page cache when they are
measured, so that no figure is one of the disk.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from camhd_access.synthetic import write_movie, write_sparse_movie

__all__ = ["FEW", "FOLDER", "FRAMES", "Material", "make_material"]

FOLDER = Path(__file__).parent / ".cache"
N_LONG = 25_000
FRAMES = tuple(sorted(np.random.default_rng(7).choice(N_LONG, 60, replace=False).tolist()))
"""Frames of `long.mov` to be read at random."""
FEW = FRAMES[::12]
"""A subset, for slow peers."""


def _coded() -> list[int]:
    """Existing frames of `long.mov`: libav reads the first and neighbours, OpenCV 16 before."""
    near = {*range(20), *(frame + i for frame in FRAMES for i in (-1, 0, 1))}
    return sorted(near | {frame - i for frame in FEW for i in range(2, 18)})


@dataclass(frozen=True)
class Material:
    """The movies, as paths."""

    short: Path
    """Whole, `n_short` frames."""
    n_short: int
    """Frames of it."""
    long: Path
    """Sparse."""
    scratch: Path
    """A folder for caches; may be deleted."""

    @property
    def folder(self) -> Path:
        """Their folder."""
        return self.long.parent


def make_material(*, full: bool) -> Material:
    """The movies, created if they are missing."""
    n_short = 300 if full else 96
    material = Material(FOLDER / f"short-{n_short}.mov", n_short, FOLDER / "long.mov", FOLDER / "scratch")
    material.scratch.mkdir(parents=True, exist_ok=True)
    start = np.datetime64("2016-11-13T00:00:00")
    if not material.short.exists():
        print(f"making {material.short} ({n_short} frames)", flush=True)
        write_movie(material.short.with_suffix(".part"), n_frames=n_short, start_time=start)
        _publish(material.short)
    if not material.long.exists():
        print(f"making {material.long} ({N_LONG} frames, sparse)", flush=True)
        write_sparse_movie(
            material.long.with_suffix(".part"), n_frames=N_LONG, coded=_coded(), start_time=start
        )
        _publish(material.long)
    material.short.read_bytes()  # into memory
    return material


def _publish(path: Path) -> None:
    """Name a movie that is complete; pycamhd reads only those whose `mdat` follows `ftyp` at once."""
    part = path.with_suffix(".part")
    with part.open("r+b") as file:
        file.seek(24)
        head = file.read(24)
        assert (head[4:8], head[12:16]) == (b"wide", b"mdat"), head
        n_bytes = int.from_bytes(head[16:], "big") + 8  # the space of `wide` becomes part of the media
        file.seek(24)
        file.write(b"\0\0\0\1mdat" + n_bytes.to_bytes(8, "big"))
    part.rename(path)
