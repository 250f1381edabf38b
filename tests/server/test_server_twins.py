"""Frames of `.mp4` twins from the server; the twin itself stays a redirect, as in the ancestor."""

import io
import socket
import time
from contextlib import closing
from urllib.parse import urlsplit

import av
import inter_movies
import numpy as np
import pytest
from lazycache import serving
from PIL import Image
from running_server import wait_until

from camhd_access import MovieReader
from camhd_access.decoding.libav import SequenceContext
from camhd_access.synthetic import write_movie

TWIN = "CAMHDA301-20161113T000000Z.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")
    (folder / TWIN).write_bytes(inter_movies.encode("open groups"))
    return folder


@pytest.fixture
def client(folder, tmp_path):
    with serving(folder, tmp_path) as client:
        yield client


def test_frames_of_a_twin(client, folder):
    reader = MovieReader(folder / TWIN)
    for number in (18, 3, 60):
        answer = client.get(f"{TWIN}/frame/{number}.png")
        assert answer.status == 200
        np.testing.assert_array_equal(Image.open(io.BytesIO(answer.content)), reader.read(number - 1)[0])
    answer = client.get(f"{TWIN}/frame/18.png?crop=2,1,8,6&reduce=8")
    expected = reader.read(17, reduce=8)[0, 1:7, 2:10]
    np.testing.assert_array_equal(Image.open(io.BytesIO(answer.content)), expected)
    assert client.get(f"{TWIN}/sample/18").content == reader.read_encoded(17)[0]


def test_a_frame_whose_client_has_left_is_decoded_no_further(tmp_path, monkeypatch):
    n_frames, pause_seconds, sent, send = 1500, 0.0, [], SequenceContext.send

    def send_slowly(self, sample, number):
        sent.append(number)
        time.sleep(pause_seconds)
        return send(self, sample, number)

    movies = tmp_path / "movies"
    movies.mkdir()
    (movies / TWIN).write_bytes(inter_movies.encode("one group", n_frames))
    monkeypatch.setattr(SequenceContext, "send", send_slowly)
    MovieReader(movies / TWIN).read(n_frames - 1)
    n_needed = len(sent)
    with serving(movies, tmp_path / "cache", max_concurrency=1) as client:
        assert client.get(f"{TWIN}/frame/1.png").status == 200
        sent.clear()
        pause_seconds = 30 / n_needed
        with closing(socket.create_connection(("127.0.0.1", client.port))) as connection:
            path = f"{client.at(TWIN)}/frame/{n_frames}.png"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_until(lambda: sent)
        wait_until(lambda: client.figure('camhd_access_work_running{gate="pictures"}') == 0)
        assert len(sent) < n_needed
        assert client.get(f"{TWIN}/frame/2.png").status == 200


def test_a_manifest_has_the_twin_where_there_is_no_master(tmp_path):
    movies = tmp_path / "movies"
    movies.mkdir()
    both, twin = "CAMHDA301-20161113T000000Z", "CAMHDA301-20161113T030000Z"
    write_movie(movies / f"{both}.mov", n_frames=3, width=256, height=64)
    for name in (both, twin):
        (movies / f"{name}.mp4").write_bytes(inter_movies.encode("closed groups"))
    with serving(movies, tmp_path / "cache") as client:
        told = client.get("iiif/manifest.json?every=1").json()
        bodies = [canvas["items"][0]["items"][0]["body"] for canvas in told["items"]]
        services = [body["service"][0]["id"].partition("/iiif/")[0] for body in bodies]
        assert {url.rpartition("/")[2] for url in services} == {f"{both}.mov", f"{twin}.mp4"}
        assert [each["label"]["none"] for each in told["structures"]] == [[both], [twin]]
        answer = client.get(urlsplit(bodies[-1]["id"]).path)
        assert Image.open(io.BytesIO(answer.content)).size == (bodies[-1]["width"], bodies[-1]["height"])


def test_the_twin_itself_is_a_redirect(client):
    answer = client.get(TWIN)
    assert (answer.status, answer.headers["Location"].endswith(TWIN)) == (302, True)


def test_properties_of_a_twin(client, folder):
    reader = MovieReader(folder / TWIN)
    told = client.get(f"{TWIN}/info.json").json()
    assert (told["URL"], told["NumFrames"], told["Codec"]) == (f"/{TWIN}", 60, "avc1")
    assert (told["Width"], told["Height"], told["Duration"]) == (96, 64, reader.duration)
    keys = np.flatnonzero(reader.index.is_sync)
    assert (
        told["LitFrame"] == 1 + keys[np.argmax(reader.index.size[keys] >= np.median(reader.index.size[keys]))]
    )
    assert reader.stack([told["LitFrame"] - 1]).n_decoded == 1


def test_all_that_lies_below_a_master_lies_below_a_twin(client):
    """Each route that is described for twins is there."""
    api = client.get("/openapi.json").json()
    paths = {path for path in api["paths"] if path.startswith(f"{client.mount}{{path}}.mp4/")}
    assert {path.replace(".mp4/", ".mov/", 1) for path in paths} == {
        path for path in api["paths"] if path.startswith(f"{client.mount}{{path}}.mov/")
    }
    values = {
        "path": TWIN.removesuffix(".mp4"),
        "number": 3,
        "extension": "png",
        "segment": 1,
        "numbers": "1-10",
    }
    values |= {"region": "full", "size": "max", "rotation": 0, "quality": "default", "format": "png"}
    for path in paths:
        answer = client.get(path.format(**values))
        assert answer.status == (303 if path.endswith("/iiif/{number}") else 200), path


def test_a_clip_of_a_twin(client, folder, tmp_path):
    answer = client.get(f"{TWIN}/clip/18-25.mov")
    assert answer.status == 200
    (tmp_path / "clip.mov").write_bytes(answer.content)
    expected = MovieReader(folder / TWIN).read(slice(17, 25))
    np.testing.assert_array_equal(MovieReader(tmp_path / "clip.mov").read(slice(None)), expected)
    part = client.get(f"{TWIN}/clip/18-25.mov", {"Range": "bytes=1000-2999"})
    assert (part.status, part.content) == (206, answer.content[1000:3000])


def test_films_and_sheets(client):
    film = client.get(f"{TWIN}/animation.mp4?start=2&stop=12")
    assert film.status == 200
    with av.open(io.BytesIO(film.content)) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == 11
    assert client.get(f"{TWIN}/sheet.jpg").status == 200
    assert client.get(f"{TWIN}/activity").status == 200
    assert client.get(f"{TWIN}/hls/1.m4s").status == 200


def test_what_is_not_supported_is_refused_by_name(client):
    clip = client.get(f"{TWIN}/clip/1-10.mov?step=3")
    assert clip.status == 400
    assert b"depend on those between" in clip.content
    for options in ("field=0", "deinterlace=linear"):
        answer = client.get(f"{TWIN}/frame/3.png?{options}")
        assert answer.status == 400
        assert b"only read from ProRes" in answer.content
    assert client.get(f"{TWIN}/frame/61.png").status == 400


def test_a_sheet_of_key_frames_decodes_these_alone(client, sent):
    rows, _ = inter_movies.demux(inter_movies.encode("open groups"))
    keys = np.flatnonzero(rows[:, 3])
    assert 1 < len(keys) < len(rows)
    sent.clear()
    answer = client.get(f"{TWIN}/sheet.png?every=0.02&columns=1&keyframes=1")
    assert answer.status == 200
    assert len(sent) == len(keys)
    with Image.open(io.BytesIO(answer.content)) as sheet:
        history = next(text for text in map(str, sheet.info.values()) if "camhd sheet" in text)
        thumbnails = np.split(np.asarray(sheet), len(keys))
    assert " --keyframes " in history
    frames = [client.get(f"{TWIN}/frame/{key + 1}.png") for key in keys]
    for thumbnail, frame in zip(thumbnails, frames, strict=True):
        whole = np.asarray(Image.open(io.BytesIO(frame.content)))
        half = len(whole) // 2  # below the time
        np.testing.assert_array_equal(thumbnail[half:], whole[half:])
    sent.clear()
    assert client.get(f"{TWIN}/sheet.png?every=0.02&columns=1").status == 200
    assert len(sent) > len(keys)
    assert client.get(f"{TWIN}/sheet.png?keyframes=2").status == 400
