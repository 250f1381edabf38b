"""A small archive of numbered movies: frame f of the n-th good movie shows the number 100 n + f."""

import numpy as np

from camhd_access.synthetic import write_movie

N_FRAMES = 10
NAMES = [f"CAMHDA301-201611{day}T000000Z" for day in (10, 11, 12, 13, 14)]
CUT_SHORT = NAMES[3]
EMPTY = NAMES[4]


def write_numbered(path, n, *, n_frames=N_FRAMES, layout="moov-last"):
    """The n-th movie."""
    day = path.name[16:18]
    write_movie(
        path,
        n_frames=n_frames,
        width=320,
        height=192,
        start_time=np.datetime64(f"2016-11-{day}T00:00:02"),
        first_frame_number=100 * n,
        layout=layout,
    )
