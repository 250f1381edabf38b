"""Small images, films and sheets are made from the cheapest reduction that is not smaller."""

import io
import re

import av
import numpy as np
import pytest
from lazycache import running_server, serving
from PIL import Image

from camhd_access import MovieReader
from camhd_access.decoding import machine_code
from camhd_access.output.provenance import Provenance
from camhd_access.server.reductions import choose_film_reduction, choose_reduction
from camhd_access.synthetic import serve_folder, write_movie

NAME = "CAMHDA301-20161113T000000Z.mov"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    write_movie(folder / NAME, n_frames=3, width=640, height=384, audio=False)
    return folder


@pytest.fixture(scope="module")
def reader(folder):
    return MovieReader(folder / NAME)


@pytest.fixture
def client(folder, tmp_path):
    with serving(folder, tmp_path) as client:
        yield client


def picture(answer):
    assert answer.status == 200, answer.content
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def record_of(answer):
    return Provenance.parse(re.search(rb"\{\"camhd_access\".*?\}", answer.content)[0].decode())


def resized(pixels, width, height):
    image = Image.fromarray(pixels)
    shrinks = width <= image.width and height <= image.height
    method = Image.Resampling.BILINEAR if shrinks else Image.Resampling.LANCZOS
    return np.asarray(image.resize((width, height), method, reducing_gap=3))


@pytest.mark.parametrize(
    ("query", "reduce", "size"),
    [
        ("width=640", 1, (640, 384)),
        ("width=321", 1, (321, 193)),
        ("width=320", 2, (320, 192)),
        ("width=200", 2, (200, 120)),
        ("height=96", 4, (160, 96)),
        ("width=81", 4, (81, 49)),
        ("width=80", 8, (80, 48)),
        ("width=80&height=49", 4, (80, 49)),
        ("width=7", 8, (7, 4)),
    ],
)
def test_frames(client, reader, query, reduce, size):
    answer = client.get(f"{NAME}/frame/2.png?{query}")
    whole = reader.read([1], reduce=reduce)[0]
    np.testing.assert_array_equal(picture(answer), resized(whole, *size))
    record = record_of(answer)
    assert record.reduce == reduce
    assert record.width == (None if size == whole.shape[1::-1] else size[0])


@pytest.mark.parametrize(
    ("crop", "reduce"),
    [("64,32,320,160", 4), ("62,32,320,160", 2), ("64,32,320,162", 2), ("63,32,320,160", 1)],
)
def test_crops_are_exact(client, reader, crop, reduce):
    x, y, width, height = map(int, crop.split(","))
    answer = client.get(f"{NAME}/frame/1.png?crop={crop}&width=80")
    rows = slice(y // reduce, (y + height) // reduce)
    columns = slice(x // reduce, (x + width) // reduce)
    part = reader.read([0], reduce=reduce, y=rows, x=columns)[0]
    np.testing.assert_array_equal(picture(answer), resized(part, 80, round(80 * height / width)))
    assert record_of(answer).crop == [x, y, width, height]


@pytest.mark.parametrize(
    ("query", "options", "size"),
    [
        ("field=1&width=80", {"fields": True}, (80, 24)),
        ("deinterlace=linear&width=80", {"deinterlace": "linear"}, (80, 48)),
    ],
)
def test_fields_and_deinterlaced_frames(client, reader, query, options, size):
    answer = client.get(f"{NAME}/frame/3.png?{query}")
    *_, expected = reader.read([2], reduce=8, **options)
    np.testing.assert_array_equal(picture(answer), resized(expected, *size))


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
def test_a_reduction_that_is_asked_for_is_taken(client, reader, reduce):
    answer = client.get(f"{NAME}/frame/1.png?reduce={reduce}&width=100&crop=1,2,60,40")
    part = reader.read([0], reduce=reduce, y=slice(2, 42), x=slice(1, 61))[0]
    np.testing.assert_array_equal(picture(answer), resized(part, 100, 67))


@pytest.mark.parametrize(("width", "reduce"), [(320, 2), (240, 2), (160, 4), (80, 8)])
@pytest.mark.parametrize("name", ["sheet.png?every=60", "animation.mp4?step=1"])
def test_films_and_sheets(client, name, width, reduce):
    answer = client.get(f"{NAME}/{name}&width={width}")
    assert answer.status == 200
    if ".mp4" in name:
        with av.open(io.BytesIO(answer.content)) as film:
            record = Provenance.parse(film.metadata["comment"])
    else:
        record = record_of(answer)
    assert (record.reduce, record.width, record.color_matrix) == (reduce, width, "ITU-R BT.709")
    assert "--reduce" not in record.history


def test_a_sheet_is_the_reduced_frame(client, reader):
    found = picture(client.get(f"{NAME}/sheet.png?every=60&width=160"))
    expected = reader.read([0], reduce=4)[0]
    np.testing.assert_array_equal(found[30:], expected[30:])  # below its time


def test_high_definition():
    class Movie:
        index = type("Index", (), {"width": 1920, "height": 1080, "codec": "apcn"})

    assert [choose_film_reduction(Movie, width) for width in (240, 241, 480, 481, 960, 961)] == [
        8,
        4,
        4,
        2,
        2,
        1,
    ]
    assert choose_reduction(Movie, (240, 135)) == 8
    assert choose_reduction(Movie, (240, 136)) == 4
    Movie.index.codec = "ap4h"
    assert [choose_film_reduction(Movie, width) for width in (240, 480, 960)] == [8, 1, 1]
    Movie.index.codec, Movie.index.width = "apcn", 1916  # not whole eighths
    assert choose_film_reduction(Movie, 200) == 4


# ---- whatever the state of the process


def test_it_does_not_depend_on_which_decoder_is_there(folder, tmp_path, monkeypatch):
    found = []
    with serve_folder(folder) as mirror:
        for setting in ("auto", "libav", "numba", "not installed"):
            monkeypatch.setenv("CAMHD_DECODER", setting)
            if setting == "not installed":
                monkeypatch.setenv("CAMHD_DECODER", "auto")
                monkeypatch.setattr(machine_code, "can_compile", lambda: False)
                monkeypatch.setattr(machine_code, "_kernels", machine_code._Kernels())
            with running_server(mirror.url, cache_dir=tmp_path / setting) as client:
                queries = [f"width={width}" for width in (300, 150, 80, 400)] + ["reduce=2", "reduce=4"]
                found.append([client.get(f"{NAME}/frame/1.png?{query}") for query in queries])
    first, *others = (
        [(each.headers["ETag"], picture(each).tobytes()) for each in answers] for answers in found
    )
    assert others == [first, first, first]


def test_a_reduction_that_the_codec_does_not_have_is_refused(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("camhd_access.output.reductions.CODECS_OF_422", set())
    with serving(folder, tmp_path) as client:
        assert record_of(client.get(f"{NAME}/frame/1.png?width=160")).reduce == 1
        assert record_of(client.get(f"{NAME}/frame/1.png?width=80")).reduce == 8
        refused = client.get(f"{NAME}/frame/1.png?reduce=2")
        assert (refused.status, refused.json()["title"]) == (501, "Not Implemented")
