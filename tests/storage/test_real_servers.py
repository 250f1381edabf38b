"""Real Apache and nginx serve movies by Apple's QuickTime and synthetic ones, compared with libav."""

import shutil

import numpy as np
import pytest
from oracle import expected_pixels, read_by_libav
from shared_data import SHARED, shared_data

from camhd_access import MovieReader, RemoteFileNotFoundError, open_movie
from camhd_access.synthetic import read_frame_number

APPLE = [f"apple-prores-422{kind}.mov" for kind in ("", "-hq", "-lt", "-proxy")]
SYNTHETIC = "CAMHDA301-20161113T000000Z.mov"


@pytest.fixture(scope="module")
def served(webserver, movie_path):
    """URL of the folder of movies, on each server in turn."""
    folder = webserver.root / "movies"
    folder.mkdir(exist_ok=True)
    shutil.copy(movie_path, folder)
    for name in APPLE:
        if (SHARED / "quicktime" / name).exists():
            shutil.copy(SHARED / "quicktime" / name, folder)
    return f"{webserver.url}/movies"


@pytest.fixture(params=[SYNTHETIC, *APPLE])
def movie(request, served, webserver):
    """URL of each movie, and the movie as read by libav."""
    if request.param in APPLE:
        shared_data("quicktime", request.param)
    path = webserver.root / "movies" / request.param
    return f"{served}/{request.param}", read_by_libav(path)


@pytest.fixture(params=[False, True], ids=["uncached", "cached"])
def reader(request, movie):
    return MovieReader(movie[0], cache=request.param)


def test_index_and_samples_are_libavs(reader, movie):
    _, libav = movie
    index = reader.index
    assert index.offset.tolist() == libav.offsets
    assert index.size.tolist() == [len(sample) for sample in libav.packets]
    assert [(pts - index.pts[0]) / index.timescale for pts in index.pts] == [
        float((pts - libav.pts[0]) * libav.time_base) for pts in libav.pts
    ]
    assert reader.read_encoded(slice(None)) == libav.packets


def test_every_frame_is_bit_exact(reader, movie):
    assert np.array_equal(reader.read(slice(None), pix_fmt="gray10le"), movie[1].luma())


def test_colours_are_right_to_the_last_digit(reader, movie):
    url, libav = movie
    matrix = 1 if SYNTHETIC in url else libav.packets[0][24]  # Apple's encoders state it: SMPTE RDD 36, 5.1.1
    assert matrix in (1, 6)
    for frame, pixels in zip(libav.planes, reader.read(slice(None)), strict=True):
        assert abs(pixels - expected_pixels(frame, "rgb24", matrix)).max() < 0.51


def test_arrays_show_the_same(movie):
    url, libav = movie
    video = open_movie(url, pix_fmt="gray10le", chunks=7, cache=False)
    picked = video.isel(time=[20, 3, 3], y=slice(31, 90), x=slice(7, 300, 2))
    assert np.array_equal(picked, libav.luma([20, 3, 3])[:, 31:90, 7:300:2])


def test_frames_are_those_that_they_say(served):
    reader = MovieReader(f"{served}/{SYNTHETIC}", cache=False)
    wanted = [17, 3, 39]
    assert [read_frame_number(image) for image in reader.read(wanted)] == wanted


def test_a_missing_movie_is_said_to_be_missing(served):
    with pytest.raises(RemoteFileNotFoundError, match=r"404.*movies/none\.mov"):
        open_movie(f"{served}/none.mov")
