"""Responses of the server contain their provenance, with a command that reproduces them."""

import io
import json
import shlex

import av
import numpy as np
import pytest
from commands import run
from lazycache import MOVIE, running_server
from PIL import ExifTags, Image

NAME = MOVIE.rpartition("/")[2].removesuffix(".mov")


def record_of(content):
    """The JSON in a picture or a film, by Pillow or libav."""
    if content[4:8] == b"ftyp":
        with av.open(io.BytesIO(content)) as film:
            texts = list(film.metadata.values())
    else:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            texts = [
                v.decode() if isinstance(v, bytes) and k == "comment" else v for k, v in image.info.items()
            ]
            texts.append(image.getexif().get(ExifTags.Base.ImageDescription, ""))
    texts = [text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in texts]
    text = next(text for text in texts if '{"camhd_access"' in text)
    return json.JSONDecoder().raw_decode(text[text.index('{"camhd_access"') :])[0]


@pytest.mark.parametrize("end", ["png", "jpg", "webp", "tif", "tif?pix_fmt=gray16le", "png?reduce=8"])
def test_pictures_tell_movie_frame_and_time(client, mirror, end):
    record = record_of(client.get(f"{MOVIE}/frame/7.{end}").content)
    assert record["movie"] == NAME
    assert record["source"] == f"{mirror.url}files/{MOVIE}"
    assert record["frames"] == "6"  # counted from 0, as in Python
    assert record["time"].startswith("2016-11-13T")
    assert record["etag"]


PARTS = [
    "",
    "?crop=16,32,64,48",
    "?reduce=8&crop=1,2,16,8",
    "?field=1",
    "?deinterlace=linear&crop=8,5,32,21",
    "?field=0&crop=8,4,16,20",
]


@pytest.mark.parametrize("part", PARTS)
def test_the_command_in_a_picture_makes_the_same_pixels(client, tmp_path, monkeypatch, part):
    content = client.get(f"{MOVIE}/frame/7.png{part}").content
    program, *arguments = shlex.split(record_of(content)["history"])
    assert program == "camhd"
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 0, done.stderr
    with Image.open(tmp_path / "frame.png") as again, Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(np.asarray(again), np.asarray(image))


@pytest.mark.parametrize(
    "end", ["animation.mp4", "animation.gif", "animation.webp", "sheet.png", "sheet.jpg?every=0.1"]
)
def test_films_and_sheets_tell_their_frames(client, end):
    record = record_of(client.get(f"{MOVIE}/{end}").content)
    assert record["movie"] == NAME
    assert record["frames"]
    assert record["history"].startswith("camhd ")


def test_the_same_picture_has_the_same_bytes_and_etag_wherever_it_is_made(mirror, tmp_path):
    answers = []
    for name in ("a", "b"):
        with running_server(f"{mirror.url}files/", cache_dir=tmp_path / name) as client:
            answers.append(client.get(f"{MOVIE}/frame/7.png"))
    assert answers[0].content == answers[1].content
    assert answers[0].headers["ETag"] == answers[1].headers["ETag"]


@pytest.mark.parametrize("extension", ["npy", "rgba", "bmp"])
def test_what_has_no_place_for_text_is_as_before(client, extension):
    assert b"camhd_access" not in client.get(f"{MOVIE}/frame/7.{extension}").content
