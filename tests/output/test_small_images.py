"""Small images are decoded by the cheapest reduction that is not smaller, of the same part of the frame."""

import numpy as np
import pytest
from PIL import Image

from camhd_access import open_movie, open_movies
from camhd_access.output import film_writers
from camhd_access.output.reductions import choose_reduction
from camhd_access.output.small_images import reduced_to
from camhd_access.synthetic import write_movie


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("wide") / "CAMHDA301-20161113T000000Z.mov"
    write_movie(path, n_frames=5, width=640, height=192, start_time=np.datetime64("2016-11-13T00:00:03"))
    return path


def same(array, expected):
    """Whether all pixels, and the time and frame of each image, are the same."""
    expected = expected.drop_vars(["y", "x"], errors="ignore")
    return bool(
        np.array_equal(array, expected)
        and (array.time == expected.time).all()
        and array.dims == expected.dims
    )


@pytest.mark.parametrize(
    ("width", "reduce"), [(640, 1), (321, 1), (320, 2), (161, 2), (160, 4), (81, 4), (80, 8), (1, 8)]
)
def test_the_cheapest_that_is_not_smaller(path, width, reduce):
    small = reduced_to(open_movie(path), width)
    assert same(small, open_movie(path, reduce=reduce))
    assert small.attrs.get("pix_fmt") == "rgb24"


OPTIONS = [
    {"pix_fmt": "gray10le"},
    {"fields": "first"},
    {"fields": True},
    {"deinterlace": "linear"},
    {"errors": "mask"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_of_all_that_is_shown(path, options):
    movie, small = (open_movie(path, reduce=reduce, **options) for reduce in (1, 4))
    assert same(reduced_to(movie, 160), small)
    assert same(reduced_to(movie[3:0:-2], 160), small[3:0:-2])
    assert same(reduced_to(movie[2], 160), small[2])


def test_of_parts_in_whole_blocks(path):
    movie = open_movie(path)
    for reduce in (2, 4, 8):
        small = open_movie(path, reduce=reduce)
        part = reduced_to(movie[1:3, 64:128, 80:400], 320 // reduce)
        assert same(part, small[1:3, 64 // reduce : 128 // reduce, 80 // reduce : 400 // reduce])
        one = reduced_to(movie[1:3, 64:128, 80:400, 1], 320 // reduce)
        assert same(one, part[..., 1])
    halves = reduced_to(movie[:, 66:130, 80:400], 40)  # not at a multiple of four
    assert same(halves, open_movie(path, reduce=2)[:, 33:65, 40:200])


def test_of_movies_in_a_row(path, tmp_path):
    other = tmp_path / "CAMHDA301-20161114T000000Z.mov"
    write_movie(other, n_frames=3, width=640, height=192, start_time=np.datetime64("2016-11-14T00:00:03"))
    movies, small = (open_movies([path, other], reduce=reduce) for reduce in (1, 4))
    assert same(reduced_to(movies, 160), small)
    assert same(reduced_to(movies[4:7, 32:64, 64:128], 16), small[4:7, 8:16, 16:32])


def test_what_was_changed_or_is_no_rectangle_stays(path):
    movie = open_movie(path)
    for array in (
        movie.compute(),
        movie + 1,
        movie[:, ::-1],
        movie[:, :, ::2],
        movie[:, 3],
        movie[:, :0],
        movie[:, 65:129, 1:400],
        open_movie(path, reduce=2),
    ):
        assert reduced_to(array, 10) is array


def test_other_codecs_have_eighths_only():
    frame = (0, 0, 1920, 1080)
    assert [choose_reduction("apch", frame, (w, w * 9 / 16)) for w in (1920, 960, 480, 240)] == [1, 2, 4, 8]
    assert [choose_reduction("ap4h", frame, (w, w * 9 / 16)) for w in (1920, 960, 480, 240)] == [1, 1, 1, 8]


def test_a_film_is_decoded_at_its_size(path, tmp_path, monkeypatch):
    images = []

    def write(_file, frames, *_):
        images.extend(np.asarray(frame) for frame in frames)

    monkeypatch.setattr("camhd_access.output.films.find_film_writer", lambda _: write)
    movie = open_movie(path)
    movie.camhd.animate(tmp_path / "half.mp4", width=320, caption=False, progress=False)
    assert np.array_equal(images, open_movie(path, reduce=2))
    images.clear()
    movie.camhd.animate(tmp_path / "less.mp4", width=300, caption=False, progress=False)
    halves = [Image.fromarray(frame) for frame in open_movie(path, reduce=2).values]
    assert np.array_equal(images, [np.asarray(film_writers.resize(frame, (300, 90))) for frame in halves])


def test_its_record_has_the_reduction(path, tmp_path):
    from camhd_access.output.provenance_files import read_provenance

    open_movie(path).camhd.animate(tmp_path / "half.mp4", width=320, progress=False)
    open_movie(path).camhd.animate(tmp_path / "whole.mp4", progress=False)
    found = [read_provenance(tmp_path / name) for name in ("half.mp4", "whole.mp4")]
    assert [record.reduce for record in found] == [2, 1]
    assert ".camhd.animate('half.mp4', width=320)" in found[0].history
