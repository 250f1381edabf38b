"""The routes of go-lazycache, one test for each: what its clients asked for, and where we answer otherwise.

Otherwise means: errors have a status of 400 or more, where the ancestor sent 200 or 500, since clients took
the former for data and retried the latter; one side of a size is enough, and keeps the aspect ratio; metrics
are on a port of their own.
"""

import io
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from lazycache import DAY, MOVIE, running_server
from origin import running_origin
from PIL import Image
from running_server import fetch, serving, wait_until

from camhd_access.server import listings

CUT_OFF = "RS03ASHS/PN03B/06-CAMHDA301/2016/12/01/CAMHDA301-20161201T155900.mov"
NS = re.compile("[0-9]+")


def picture(answer):
    assert answer.status == 200, answer.content
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


@pytest.fixture(scope="module")
def frame_7(reader):
    return reader.read([6])[0]


def test_h1_the_root_lists_the_mirrors(client, mirror):
    assert client.get("/").json() == {f"{mirror.url}files/": {"APIPath": {"V1": client.mount}}}
    assert client.get("/no/such/path").status == 404  # the ancestor: 200, and the same list


def test_h2_a_mirror_lies_below_its_host_reversed(client, mirror, tmp_path):
    host, port = urlsplit(mirror.url).netloc.split(":")
    assert client.mount == f"/v1/{'/'.join(reversed(f'{host}:{port}'.split('.')))}/files/"
    with running_server("https://rawdata.oceanobservatories.org/files/", cache_dir=tmp_path) as other:
        told = other.get("/").json()["https://rawdata.oceanobservatories.org/files/"]
        assert told == {"APIPath": {"V1": "/v1/org/oceanobservatories/rawdata/files/"}}


@pytest.mark.parametrize("slash", ["", "/"])
def test_h3_a_folder(client, slash):
    answer = client.get(f"RS03ASHS/PN03B/06-CAMHDA301/2016{slash}")
    assert answer.json() == {
        "Path": "/RS03ASHS/PN03B/06-CAMHDA301/2016/",
        "Files": [],
        "Directories": ["01", "03", "11", "12"],
    }
    assert client.get("").json()["Path"] == "/"
    headers = {name: answer.headers[name] for name in ("Cache-Control", "Pragma", "Expires")}
    assert headers == {
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Expires": "0",
    }


def test_h4_links_of_a_listing(tmp_path):
    """Directories end in a slash; links that do not name themselves (sorting, the parent) are no children."""
    with running_origin() as origin:
        page = (
            "<html><head><title>Index of /files</title></head><body><h1>Index of /files</h1>"
            '<a href="?C=N;O=D">Name</a> <a href="/">Parent Directory</a>'
            '<a href="2016/">2016/</a> <a href="a.mov">a.mov</a> <a href="b.mp4">b.mp4</a></body></html>'
        )
        origin.play(
            "/files/", lambda x: x.answer(200, {"Content-Type": "text/html"}, page.encode()), always=True
        )
        with running_server(f"{origin.url}/files/", cache_dir=tmp_path) as client:
            told = client.get("").json()
    assert told == {"Path": "/", "Files": ["a.mov", "b.mp4"], "Directories": ["2016"]}


def test_h5_a_listing_is_kept_for_five_minutes(client, mirror, monkeypatch):
    assert listings.FRESH_SECONDS == 300
    client.get(DAY)
    n = mirror.n_requests
    client.get(DAY)
    assert mirror.n_requests == n
    monkeypatch.setattr(listings, "FRESH_SECONDS", 0)
    client.get(DAY)
    assert mirror.n_requests == 2 * n


def test_h6_an_unknown_child(client):
    answer = client.get(f"{DAY}/nix")
    assert answer.status == 404
    assert answer.json()["detail"] == f"Can't find child nix within /{DAY}/"


def test_h7_a_movie(client, reader):
    answer = client.get(MOVIE)
    told = answer.json()
    assert (told["URL"], told["NumFrames"]) == (f"/{MOVIE}", 12)
    assert (told["Duration"], told["FileSize"]) == (reader.duration, reader.file_size)
    assert {type(told[name]) for name in ("NumFrames", "FileSize")} == {int}
    for stage in ("handler", "metadata"):
        assert NS.fullmatch(answer.headers[f"X-lazycache-timing-{stage}-ns"])
    assert client.get(MOVIE.replace(".mov", ".MOV")).status == 404  # not a movie, and not there


def test_h8_a_movie_that_cannot_be_parsed(client):
    answer = client.get(CUT_OFF)
    assert answer.status == 422  # the ancestor: 200
    assert answer.json()["URL"] == f"/{CUT_OFF}"
    assert answer.json()["Error"]


@pytest.mark.parametrize(
    "path", ["frame/7", "FRAME/7", "Frame/7.png", "frame/7abc.png", "frame/007", "frame/7/x/y", "frame/7/"]
)
def test_h9_a_frame_by_number_from_1(client, frame_7, path):
    np.testing.assert_array_equal(picture(client.get(f"{MOVIE}/{path}")), frame_7)


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("frame", 404, "frame/N"),  # the ancestor: 500
        ("frame/x", 400, "not a frame number"),  # the ancestor: 500
        ("frame/13", 400, "Requested frame 13 in movie of length 12"),
        ("frame/0", 400, "Quicktime movies start with frame 1"),
        ("frame/7.xyz", 400, "Images must be"),  # the ancestor: 500
        ("picture/7", 404, "frame/N"),  # the ancestor: 500
    ],
)
def test_h10_wrong_frames(client, path, status, detail):
    answer = client.get(f"{MOVIE}/{path}")
    assert answer.status == status
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("extension", "kind"),
    [("", "png"), (".png", "png"), (".jpg", "jpeg"), (".jpeg", "jpeg"), (".bmp", "bmp")],
)
def test_h11_formats(client, frame_7, extension, kind):
    answer = client.get(f"{MOVIE}/frame/7{extension}")
    assert answer.headers["Content-Type"] == f"image/{kind}"
    assert Image.open(io.BytesIO(answer.content)).format == kind.upper()
    if kind == "jpeg":
        file = io.BytesIO()
        Image.fromarray(frame_7).save(file, "JPEG", quality=75)
        np.testing.assert_array_equal(picture(answer), np.asarray(Image.open(file)))
    else:
        np.testing.assert_array_equal(picture(answer), frame_7)


@pytest.mark.parametrize("extension", [".rgba", ".raw"])
def test_h11_raw_pixels(client, frame_7, extension):
    answer = client.get(f"{MOVIE}/frame/7{extension}")
    found = np.frombuffer(answer.content, np.uint8).reshape(192, 320, 4)
    np.testing.assert_array_equal(found[..., :3], frame_7)
    assert np.unique(found[..., 3]).tolist() == [255]
    assert client.get(f"{MOVIE}/frame/7{extension.upper()}").status == 400


def test_h12_raw_pixels_that_are_switched_off(mirror, tmp_path):
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path, raw=False) as client:
        client.get(MOVIE)
        n = mirror.n_requests
        answer = client.get(f"{MOVIE}/frame/7.rgba")
        assert answer.status == 501
        assert "not configured to produce raw output" in answer.json()["detail"]
        assert mirror.n_requests == n  # the ancestor: after decoding


@pytest.mark.parametrize(
    ("query", "headers", "size"),
    [
        ("?width=160&height=50", {}, (160, 50)),
        ("", {"X-lazycache-output-width": "64", "X-lazycache-output-height": "64"}, (64, 64)),
        (
            "?width=160&height=50",
            {"X-lazycache-output-width": "64", "X-lazycache-output-height": "64"},
            (160, 50),
        ),
        ("?width=160", {}, (160, 96)),  # the ancestor: 500
        ("", {"X-lazycache-output-height": "96"}, (160, 96)),  # the ancestor: ignored
    ],
)
def test_h13_sizes(client, query, headers, size):
    answer = client.get(f"{MOVIE}/frame/7.png{query}", headers)
    assert Image.open(io.BytesIO(answer.content)).size == size


def test_h14_timings(client):
    answer = client.get(f"{MOVIE}/frame/7.png")
    for stage in ("handler", "metadata", "extraction", "encode"):
        assert NS.fullmatch(answer.headers[f"X-lazycache-timing-{stage}-ns"])


def test_h15_a_stored_image(mirror, tmp_path):
    store = {"image_store": str(tmp_path / "store"), "image_store_url": "https://store.example/x/"}
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path / "cache", **store) as client:
        wait_until(lambda: client.get(f"{MOVIE}/frame/7.png").status == 307)  # it is stored in the background
        answer = client.get(f"{MOVIE}/frame/7.png")
        assert answer.status == 307
        assert answer.headers["Content-Type"] == "image/png"
        key = unquote(answer.headers["Location"].removeprefix("https://store.example/x/"))
        assert key.endswith(".png")
        with Image.open(tmp_path / "store" / key) as stored:
            assert stored.size == (320, 192)
        # The ancestor's key had no size: a thumbnail was sent to all.
        assert client.get(f"{MOVIE}/frame/7.png?width=64&height=64").status == 200


@pytest.mark.parametrize("extension", ["mp4", "md5"])
def test_h16_other_files(client, mirror, extension):
    path = MOVIE.replace(".mov", f".{extension}")
    answer = client.get(path)
    assert (answer.status, answer.headers["Location"]) == (302, f"{mirror.url}files/{path}")


@pytest.mark.parametrize("path", ["/info", "/info/"])
def test_h17_versions(client, path):
    told = client.get(path).json()
    assert told["camhd_access"]
    assert all(isinstance(version, str) for version in told.values())


def test_h18_metrics(mirror, tmp_path):
    with serving(
        *("--mirror", f"{mirror.url}files/", "--port", 0, "--metrics-port", 0, "--cache-dir", tmp_path)
    ) as (process, address):
        while not (found := re.search(r"metrics are on (\S+)", process.stderr.readline())):
            pass
        for path in (found[1], f"{found[1]}/"):
            assert b"# TYPE camhd_access_requests_total counter" in fetch(path).body
        assert json.loads(fetch(address).body)


def test_h19_health(client):
    assert client.get("/_ah/health").content == b"ok"


def test_h20_public(mirror, client, frame_7, tmp_path):
    assert "X-lazycache-public" not in client.get("/").headers
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path / "public", public=True) as public:
        answer = public.get(f"{MOVIE}/frame/7.png")
        assert answer.headers["X-lazycache-public"] == "1"
        assert len(answer.content) < len(client.get(f"{MOVIE}/frame/7.png").content)
        np.testing.assert_array_equal(picture(answer), frame_7)


def test_h21_a_hundred_clients_and_random_walks(client, reader):
    with ThreadPoolExecutor(100) as pool:
        told = list(pool.map(lambda _: client.get(MOVIE).json()["NumFrames"], range(100)))
        frames = set(pool.map(lambda _: client.get(f"{MOVIE}/frame/7.png").content, range(100)))
    assert told == [12] * 100
    assert len(frames) == 1

    def walk(seed):
        choose, path = random.Random(seed), ""
        for _ in range(100):
            folder = client.get(path)
            assert folder.status == 200
            assert folder.json()["Path"] == f"/{path}"
            below = folder.json()["Directories"]
            path = f"{path}{choose.choice(below)}/" if below and choose.random() < 0.8 else ""

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(walk, range(5)))
