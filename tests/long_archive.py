"""A sparse archive of movies of real length, for the snippets of the documentation.

Its movies have names, times and faults of the real archive's and all their frames, but small pictures, which
stay the same for half a minute: the tables of a QuickTime file may name one sample many times. Each picture
carries a number that tells what it must be, and as many bright flakes as its movie was given.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sparse_archive import EPOCH, MEDIA_START, day_path

from camhd_access.formats.quicktime.tracks import FILE_TYPE, Track, build_mdat_header, build_moov
from camhd_access.synthetic.atoms import WIDE, timecode_track_kind, video_track_kind
from camhd_access.synthetic.encoder import encode_frame, open_encoder
from camhd_access.synthetic.framenumber import draw_frame_number

WIDTH, HEIGHT = 320, 192
FRAMES_PER_PICTURE = 900


@dataclass(frozen=True)
class LongMovie:
    basename: str
    start: str
    """Creation time in `mvhd`, UTC."""
    n_frames: int = 26_955
    n_flakes: int = 0
    condition: str = "good"

    @property
    def number(self):
        """Of its first picture; those of all movies differ."""
        return 100 * MOVIES.index(self)

    @property
    def month(self):
        return self.basename.partition("-")[2][:6]

    def shows(self, frame):
        """The number in the picture of a frame."""
        return self.number + frame // FRAMES_PER_PICTURE


MOVIES = (
    LongMovie("CAMHDA301-20160126T090000Z", "", condition="empty"),
    LongMovie("CAMHDA301-20160320T120000Z", "2016-03-20T12:05:38", 25_170, n_flakes=0),
    LongMovie("CAMHDA301-20160320T150000Z", "2016-03-20T15:05:38", 25_170, n_flakes=12),
    LongMovie("CAMHDA301-20160320T180000Z", "2016-03-20T18:05:38", 25_170, n_flakes=4),
    LongMovie("CAMHDA301-20161113T000000Z", "2016-11-13T00:00:01", 25_170),
    LongMovie("CAMHDA301-20161113T030000Z", "2016-11-13T03:00:01", 25_170),
    LongMovie("CAMHDA301-20161201T155900", "", condition="cut short"),
    LongMovie("CAMHDA301-20161210T060530", "2016-12-10T06:00:00", 9_900),
    LongMovie("CAMHDA301-20161210T061500", "2016-12-10T06:05:32", 17_000),
    *(
        LongMovie(f"CAMHDA301-201709{day:02}T{hour:02}1500", f"2017-09-{day:02}T{hour:02}:00:01")
        for day in range(3, 10)
        for hour in (0, 12)
    ),
    LongMovie("CAMHDA301-20180301T001500", "2018-03-01T00:00:01", condition="black"),
    LongMovie("CAMHDA301-20180710T061500", "2018-07-10T06:00:01"),
)

DEPLOYMENTS = {"201709": 4, "201807": 5}
"""By month; of the others there are no regions."""

SCENE = 3600 // FRAMES_PER_PICTURE
"""The picture of each movie, from the first on, that shows the scene `p1_z0`."""

CAMERA_MOVED = (6, -9)
"""Lines and columns by which the view of deployment 5 lies below and right of that of deployment 4."""

REGIONS = """mov_basename,date_time,start_frame,end_frame,scene_tag
""" + "".join(
    f"{movie.basename},2017-09-03 00:15:00,{start},{end},{tag}\n"
    for movie in MOVIES
    if (deployment := DEPLOYMENTS.get(movie.month))
    for start, end, tag in (
        (1, 900, "unknown"),
        (3601, 4200, f"d{deployment}_p1_z0"),
        (9001, 9600, f"d{deployment}_p2_z1"),
    )
)
"""As CamHD_motion_metadata publishes them: frames count from 1, and the last one is included."""


def write_long_archive(folder):
    """The movies, below `folder` as below `…/files/` on the archive's server."""
    encoder = open_encoder(WIDTH, HEIGHT, interlaced=True)
    for movie in MOVIES:
        path = Path(folder, day_path(movie.basename))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if movie.condition == "empty" else _film(movie, encoder))


def _film(movie, encoder):
    n_pictures = -(-movie.n_frames // FRAMES_PER_PICTURE)
    samples = [encode_frame(encoder, _picture(movie, i)) for i in range(n_pictures)]
    media = b"".join(samples) + _first_number(movie).to_bytes(4, "big")
    whole = FILE_TYPE + WIDE + build_mdat_header(len(media)) + media
    return whole[: len(whole) // 2] if movie.condition == "cut short" else whole + _moov(movie, samples)


def _moov(movie, samples):
    shown = np.arange(movie.n_frames) // FRAMES_PER_PICTURE
    sizes = np.array([len(sample) for sample in samples])
    offsets = MEDIA_START + np.cumsum(sizes) - sizes
    video = video_track_kind(WIDTH, HEIGHT, interlaced=True)
    one_each = np.ones(movie.n_frames, np.int64)
    seconds = int((np.datetime64(movie.start, "s") - EPOCH) // np.timedelta64(1, "s"))
    one, end = np.array([1]), np.array([MEDIA_START + sizes.sum()])
    timecode = Track(timecode_track_kind(), movie.n_frames * 1001, 4, one, end)
    return build_moov([Track(video, 1001, sizes[shown], one_each, offsets[shown]), timecode], seconds)


def _first_number(movie):
    """Frames since midnight by the recorder's clock, 30 a second."""
    start = np.datetime64(movie.start or "2016-01-01", "s")
    return 30 * int((start - start.astype("datetime64[D]")) / np.timedelta64(1, "s"))


def _picture(movie, index):
    """Rock, a number in the first 32 lines, and flakes below line 64."""
    neutral = np.full((HEIGHT, WIDTH // 2), 512, np.uint16)
    if movie.condition == "black":
        return np.full((HEIGHT, WIDTH), 64, np.uint16), neutral, neutral
    rng = np.random.default_rng(movie.number + index)
    deployment = DEPLOYMENTS.get(movie.month)
    luma = _view(deployment) if deployment and index == SCENE else rng.normal(300, 6, (HEIGHT, WIDTH))
    for y, x in zip(rng.integers(72, HEIGHT - 8, movie.n_flakes), _columns(movie.n_flakes), strict=True):
        luma[y : y + 4, x : x + 4] = 700
    number = np.empty((64, WIDTH), np.uint16)
    number[:] = 300
    draw_frame_number(number, movie.number + index)
    luma[:32] = number[::2]
    return luma.clip(64, 940).astype(np.uint16), neutral, neutral


def _view(deployment):
    """The scene `p1_z0`: a part of the same rock, seen by a camera that was put back a bit farther off."""
    rock = np.random.default_rng(4).normal(0, 1, (HEIGHT + 64, WIDTH + 64))
    for axis in (0, 1):
        rock = np.apply_along_axis(np.convolve, axis, rock, np.hanning(9), "same")
    down, right = (deployment - 4) * np.array(CAMERA_MOVED)
    return 400 + 60 * (rock / rock.std())[32 + down :, 32 + right :][:HEIGHT, :WIDTH]


def _columns(n):
    """Of flakes that do not touch each other."""
    return 16 + 24 * np.arange(n)
