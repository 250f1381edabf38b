"""Archives of real size that take little space: the media are holes."""

from pathlib import Path

import numpy as np

from camhd_access.formats.names import find_movie_name
from camhd_access.formats.quicktime.tracks import FILE_TYPE, Track, build_mdat_header, build_moov
from camhd_access.synthetic.atoms import WIDE, video_track_kind

ROOT = "RS03ASHS/PN03B/06-CAMHDA301"
MEDIA_START = len(FILE_TYPE) + len(WIDE) + 16
EPOCH = np.datetime64("1904-01-01", "s")
VIDEO = video_track_kind(1920, 1080, interlaced=True)


def day_path(basename):
    """Where the movie lies on the archive's server."""
    day = str(find_movie_name(basename).time_from_name)[:10].replace("-", "/")
    return f"{ROOT}/{day}/{basename}.mov"


def write_sparse(path, *, file_size, n_frames, created=None, frames_per_chunk=6):
    """A movie of `file_size` bytes with an index of `n_frames` frames; of 0, one that was cut off."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        if file_size:
            moov = _moov(file_size, n_frames, created, frames_per_chunk) if n_frames else b""
            file.write(FILE_TYPE + WIDE + build_mdat_header(file_size - len(moov) - MEDIA_START))
            file.seek(file_size - len(moov))
            file.write(moov)
        file.truncate(file_size)


def _moov(file_size, n_frames, created, frames_per_chunk):
    seconds = 0 if created is None else int((np.datetime64(created, "s") - EPOCH) // np.timedelta64(1, "s"))
    edges = np.arange(0, n_frames + frames_per_chunk, frames_per_chunk).clip(max=n_frames)

    def build(frame_bytes):
        sizes = np.full(n_frames, frame_bytes, np.int64)
        track = Track(VIDEO, 1001, sizes, np.diff(edges), MEDIA_START + edges[:-1] * frame_bytes)
        return build_moov([track], seconds)

    return build((file_size - MEDIA_START - len(build(1))) // n_frames)
