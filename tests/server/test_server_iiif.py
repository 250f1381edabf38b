"""IIIF: images and their descriptions, held against the consortium's validator, and manifests."""

import io
import json
import random
import re
import socket
from http.client import HTTPResponse
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from iiif_rules import check_manifest
from lazycache import DAY, MOVIE, running_server, serving
from PIL import Image

from camhd_access import MovieReader
from camhd_access.server.iiif import IIIF_PARAMETERS, parse_image
from camhd_access.server.problems import Problem
from camhd_access.synthetic import serve_folder, write_movie
from camhd_access.synthetic.encoder import encode_frame, open_encoder
from camhd_access.synthetic.recorder import _record, _Recording

N_FRAMES, WIDTH, HEIGHT = 3, 1040, 576


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A movie of several tiles, and a movie of the validator's image."""
    folder = tmp_path_factory.mktemp("movies")
    write_movie(folder / "large.mov", n_frames=N_FRAMES, width=WIDTH, height=HEIGHT)
    write_movie(folder / "odd.mov", n_frames=1, width=1030, height=70)
    write_squares(folder / "squares.mov")
    return folder


@pytest.fixture(scope="module")
def large(folder, tmp_path_factory):
    """A client of a server of that folder."""
    with serving(folder, tmp_path_factory.mktemp("cache")) as client:
        yield client


@pytest.fixture(scope="module")
def large_reader(folder):
    return MovieReader(folder / "large.mov")


def the_validator():
    """The IIIF Consortium's own tests, which need the library libmagic."""
    return pytest.importorskip("iiif_validator.validator", exc_type=ImportError)


def squares():
    """The colours of the image that the validator expects, as [x][y][channel]."""
    validator = the_validator()
    return np.array(validator.ValidationInfo().colorInfo)


def write_squares(path):
    """A movie of one frame of 1000x1000 pixels, in a hundred squares; nothing without the validator."""
    try:
        colors = squares()
    except pytest.skip.Exception:
        return
    r, g, b = np.kron(colors.transpose(2, 1, 0) / 255, np.ones((1, 100, 100)))
    kr, kb = 0.2126, 0.0722  # BT.709
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    planes = [64 + 876 * y, (512 + 896 * cb)[:, ::2], (512 + 896 * cr)[:, ::2]]
    sample = encode_frame(
        open_encoder(1000, 1000, interlaced=True), tuple(np.rint(plane).astype(np.uint16) for plane in planes)
    )
    recording = _Recording(1, 1000, 1000, interlaced=True, start_time=None, audio=False, timecode=False)
    with path.open("wb") as file:
        _record(file, recording, iter([sample]), "moov-last")


def pixels_of(answer):
    assert answer.status == 200, answer.content
    return np.asarray(Image.open(io.BytesIO(answer.content)))


# ---- the validator of the IIIF consortium

LEVEL_2 = (
    *("baseurl_redirect", "cors", "format_error_random", "format_jpg", "format_png", "id_basic"),
    *("id_error_escapedslash", "id_error_random", "id_error_unescaped", "id_escaped", "id_squares"),
    *("info_json", "jsonld", "quality_bitonal", "quality_color", "quality_error_random", "quality_grey"),
    *("region_error_random", "region_percent", "region_pixels", "region_square", "rot_error_random"),
    *("rot_full_basic", "rot_region_basic", "size_bwh", "size_ch", "size_error_random", "size_nofull"),
    *("size_percent", "size_region", "size_wc", "size_wh"),
)
BEYOND = ("linkheader_canonical", "linkheader_profile", "rot_mirror", "rot_mirror_180")
OTHERWISE = ("size_noup", "size_up", "format_webp")
"""The first expects 400 for `!2000,3000`, for which the specification returns the largest size that fits; the
second, that `^max` enlarges nothing; the third calls a function of Python 2."""
NOT_OFFERED = ("format_gif", "format_jp2", "format_pdf", "format_tif", "rot_full_non90", "rot_region_non90")


@pytest.mark.parametrize("name", [*LEVEL_2, *BEYOND])
def test_the_validator_of_the_consortium_agrees(large, name):
    validator = the_validator()
    random.seed(name)
    result = validator.ImageAPI(
        "1", f"127.0.0.1:{large.port}", large.at("squares.mov/iiif").strip("/"), version="3.0", debug=False
    )
    validator.TestSuite(validator.ValidationInfo()).run_test(name, result)
    assert result.exception is None, f"{result.exception}"
    assert result.tests


def test_all_tests_of_the_validator_are_run_or_named():
    validator = the_validator()
    known = validator.TestSuite(validator.ValidationInfo()).list_tests("3.0")
    assert set(known) == {*LEVEL_2, *BEYOND, *OTHERWISE, *NOT_OFFERED}
    assert {name for name, each in known.items() if each["level"] <= 2} == {*LEVEL_2, "size_noup"}


# ---- pixels


def read_frame(reader, frame=1, **options):
    return reader.read([frame], **options)[0]


def test_the_whole_frame_is_what_the_frame_route_sends(large, large_reader):
    found = pixels_of(large.get("large.mov/iiif/2/full/max/0/default.png"))
    np.testing.assert_array_equal(found, read_frame(large_reader))
    for quality in ("color", "default"):
        again = large.get(f"large.mov/iiif/2/full/{WIDTH},{HEIGHT}/0/{quality}.png")
        np.testing.assert_array_equal(pixels_of(again), found)


def test_gray_is_luma_and_bitonal_black_or_white(large, large_reader):
    gray = pixels_of(large.get("large.mov/iiif/2/full/max/0/gray.png"))
    np.testing.assert_array_equal(gray, read_frame(large_reader, pix_fmt="gray"))
    bitonal = pixels_of(large.get("large.mov/iiif/2/full/max/0/bitonal.png"))
    np.testing.assert_array_equal(bitonal, np.where(gray < 128, 0, 255))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270, 360])
@pytest.mark.parametrize("mirror", ["", "!"])
def test_a_part_is_mirrored_before_it_is_rotated_clockwise(large, large_reader, rotation, mirror):
    part = read_frame(large_reader)[32:96, 16:116]
    part = part[:, ::-1] if mirror else part
    found = pixels_of(large.get(f"large.mov/iiif/2/16,32,100,64/max/{mirror}{rotation}/default.png"))
    np.testing.assert_array_equal(found, np.rot90(part, -rotation // 90))


def test_sizes_are_reductions_of_the_decoder(large, large_reader):
    info = large.get("large.mov/iiif/2/info.json").json()
    assert [(each["width"], each["height"]) for each in info["sizes"]] == [
        (WIDTH // step, HEIGHT // step) for step in (8, 4, 2, 1)
    ]
    for step, size in zip((8, 4, 2, 1), info["sizes"], strict=True):
        found = pixels_of(large.get(f"large.mov/iiif/2/full/{size['width']},{size['height']}/0/default.png"))
        np.testing.assert_array_equal(found, read_frame(large_reader, reduce=step))


def iter_tiles(info, scale):
    """Region and size of each tile at a scale, as a viewer computes them."""
    (tiles,) = info["tiles"]
    for top in range(0, info["height"], tiles["height"] * scale):
        for left in range(0, info["width"], tiles["width"] * scale):
            width = min(tiles["width"] * scale, info["width"] - left)
            height = min(tiles["height"] * scale, info["height"] - top)
            yield (left, top, width, height), (-(-width // scale), -(-height // scale))


@pytest.mark.parametrize("movie", ["large.mov", "odd.mov"])
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_tiles_make_up_the_frame(large, folder, movie, scale):
    info = large.get(f"{movie}/iiif/1/info.json").json()
    assert info["tiles"][0]["scaleFactors"] == [1, 2, 4, 8]
    made = np.zeros((-(-info["height"] // scale), -(-info["width"] // scale), 3), np.uint8)
    for (left, top, *sides), (width, height) in iter_tiles(info, scale):
        region = f"{left},{top},{sides[0]},{sides[1]}"
        tile = pixels_of(large.get(f"{movie}/iiif/1/{region}/{width},{height}/0/default.png"))
        made[top // scale :, left // scale :][:height, :width] = tile
    reader = MovieReader(folder / movie)
    whole = read_frame(reader, 0, reduce=scale)
    if (
        made.shape != whole.shape
    ):  # the last lines and columns have no pixel in it, but in halves of the frame
        halves = Image.fromarray(read_frame(reader, 0, reduce=2))
        whole = halves.resize(made.shape[1::-1], Image.Resampling.LANCZOS, reducing_gap=3)
    np.testing.assert_array_equal(made, whole)


def test_a_tile_decodes_only_what_it_shows(large, large_reader):
    """Its decoder is the one of its scale, and its window that of its region."""
    for text, size, step in (("512,0,512,512", (64, 64), 8), ("512,0,512,512", (65, 65), 4)):
        wanted = parse_image(
            [text, f"{size[0]},{size[1]}", "0", "default.jpg"],
            (WIDTH, HEIGHT),
            max_pixels=1 << 24,
            is_public=False,
        )
        assert wanted.reduction == step
        assert wanted.window == (slice(0, 512 // step), slice(512 // step, 1024 // step))


# ---- what a path means

CANONICAL = {
    "full/max/0/default.jpg": "full/max/0/default.jpg",
    "full/max/0/color.jpg": "full/max/0/default.jpg",
    "0,0,400,200/max/0/gray.png": "full/max/0/gray.png",
    "0,0,999,999/400,200/360/bitonal.webp": "full/max/0/bitonal.webp",
    "square/max/!90.0/default.jpg": "100,0,200,200/max/!90/default.jpg",
    "pct:25,50,50.0,.5/max/0/default.jpg": "100,100,200,1/max/0/default.jpg",
    "10,20,30,40/15,/0/default.jpg": "10,20,30,40/15,20/0/default.jpg",
    "390,190,30,40/max/0/default.jpg": "390,190,10,10/max/0/default.jpg",
    "full/,50/0/default.jpg": "full/100,50/0/default.jpg",
    "full/pct:50/0/default.jpg": "full/200,100/0/default.jpg",
    "full/!90,90/0/default.jpg": "full/90,45/0/default.jpg",
    "full/!9000,9000/0/default.jpg": "full/max/0/default.jpg",
    "full/^!800,800/0/default.jpg": "full/^800,400/0/default.jpg",
    "full/^pct:150/0/default.jpg": "full/^600,300/0/default.jpg",
    "full/^100,/0/default.jpg": "full/100,50/0/default.jpg",
    "full/^100,300/0/default.jpg": "full/^100,300/0/default.jpg",
    "full/^max/0/default.jpg": "full/^max/0/default.jpg",
    "full/^1414,707/0/default.jpg": "full/^max/0/default.jpg",
    "0,0,1,200/1,1/0/default.jpg": "0,0,1,200/1,1/0/default.jpg",
}
WRONG = (
    *("0,0,0,9/max/0/default.jpg", "400,0,1,1/max/0/default.jpg", "0,200,1,1/max/0/default.jpg"),
    *("pct:0,0,.01,.01/max/0/default.jpg", "-1,0,9,9/max/0/default.jpg", "1.5,0,9,9/max/0/default.jpg"),
    *("0,0,9/max/0/default.jpg", "Full/max/0/default.jpg", "pct:1,2,3/max/0/default.jpg"),
    *("full/401,/0/default.jpg", "full/,201/0/default.jpg", "full/400,201/0/default.jpg"),
    *("full/pct:101/0/default.jpg", "full/0,/0/default.jpg", "full/0,0/0/default.jpg"),
    *("0,0,400,1/100,/0/default.jpg", "full/full/0/default.jpg", "full/^1500,/0/default.jpg"),
    *("full/^16384,1/0/default.jpg", "full/!0,5/0/default.jpg", "full/^!max/0/default.jpg"),
    *("full/max/45/default.jpg", "full/max/361/default.jpg", "full/max/-90/default.jpg"),
    *("full/max/90!/default.jpg", "full/max/0/native.jpg", "full/max/0/default.gif"),
    *("full/max/0/default", "full/max/0/default.jpg.png", "full/max/0/.jpg", "full/max/0/DEFAULT.jpg"),
    *("full/max/0/default.tif", "pct:0,0,50,50./max/0/default.jpg", "full/max/٩٠/default.jpg"),
)


def parse(path):
    return parse_image(path.split("/"), (400, 200), max_pixels=1_000_000, is_public=False)


@pytest.mark.parametrize(("path", "canonical"), CANONICAL.items())
def test_the_canonical_path(path, canonical):
    assert parse(path).canonical == canonical
    assert parse(canonical) == parse(path)


@pytest.mark.parametrize("path", WRONG)
def test_what_is_refused(path):
    with pytest.raises(Problem) as found:
        parse(path)
    assert found.value.status == 400
    assert re.match("region|size|rotation|quality|format|[0-9]+x[0-9]+", found.value.detail)


PATHS = st.tuples(*(st.from_regex(each.pattern, fullmatch=True) for each in IIIF_PARAMETERS[:3]))


@given(PATHS, st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.integers(1, 1 << 24))
def test_any_image_is_within_the_limits_and_reads_its_region(parts, frame_size, max_pixels):
    try:
        wanted = parse_image([*parts, "default.png"], frame_size, max_pixels=max_pixels, is_public=False)
    except Problem as problem:
        assert problem.status == 400  # noqa: PT017 - any other error fails the test
        assume(False)
    left, top, width, height = wanted.region
    assert 0 <= left < left + width <= frame_size[0]
    assert 0 <= top < top + height <= frame_size[1]
    assert 1 <= wanted.size[0] * wanted.size[1] <= max_pixels
    if not parts[1].startswith("^"):
        assert wanted.size[0] <= width
        assert wanted.size[1] <= height
    rows, columns = wanted.window
    x0, y0, x1, y1 = wanted.box
    assert 0 <= x0 < x1 <= columns.stop - columns.start
    assert 0 <= y0 < y1 <= rows.stop - rows.start
    assert columns.stop <= frame_size[0] // wanted.reduction
    assert rows.stop <= frame_size[1] // wanted.reduction
    assert (
        parse_image(wanted.canonical.split("/"), frame_size, max_pixels=max_pixels, is_public=False) == wanted
    )


# ---- HTTP


def test_the_base_url_leads_to_the_description(large):
    for path in ("large.mov/iiif/2", "large.mov/iiif/2/"):
        answer = large.get(path)
        origin = f"http://127.0.0.1:{large.port}"
        assert answer.status == 303
        assert answer.headers["Location"] == f"{origin}{large.at('large.mov/iiif/2/info.json')}"


def test_the_description_has_the_url_by_which_the_client_came(large):
    headers = {"Host": "camhd.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/a/b"}
    answer = large.get("large.mov/iiif/2/info.json", headers)
    told = answer.json()
    assert told["id"] == f"https://camhd.example/a/b{large.at('large.mov/iiif/2')}"
    assert {"X-Forwarded-Prefix", "X-Forwarded-Proto"} <= set(answer.headers["Vary"].split(", "))
    (manifest,) = told["partOf"]
    assert manifest["id"] == f"https://camhd.example/a/b{large.at('large.mov/iiif/manifest.json')}"
    answer = large.get("large.mov/iiif/2/0,0,9,9/max/0/color.png", headers)
    canonical = f"{told['id']}/0,0,9,9/max/0/default.png"
    assert answer.headers["Link"].startswith(f'<{canonical}>;rel="canonical"')
    for host in ("a/b", "x@y", "<script>", "a b"):
        told = large.get("large.mov/iiif/2/info.json", {"Host": host, "X-Forwarded-Proto": "gopher"}).json()
        assert told["id"].startswith("http://localhost/v1/")


def test_the_host_of_an_absolute_target_counts(large):
    paths = [large.at(f"large.mov/iiif/{name}") for name in ("2/info.json", "manifest.json?every=1")]
    for path in paths:
        with socket.create_connection(("127.0.0.1", large.port), timeout=60) as connection:
            target = f"http://camhd.example:81{path}"
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: other.example\r\n\r\n".encode())
            answer = HTTPResponse(connection)
            answer.begin()
            assert answer.status == 200
            assert target.startswith(json.loads(answer.read())["id"])


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/ld+json"),
        ("*/*", "application/ld+json"),
        ("application/ld+json", "application/ld+json"),
        ("application/json, application/ld+json;q=0.5", "application/ld+json"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
    ],
)
def test_the_media_type_is_that_of_linked_data_but_for_who_asks_for_plain_json(large, accept, kind):
    for path, context in (("2/info.json", "image"), ("manifest.json?every=9", "presentation")):
        answer = large.get(f"large.mov/iiif/{path}", {"Accept": accept} if accept else {})
        told, _, profile = answer.headers["Content-Type"].partition(";")
        assert told == kind
        if kind == "application/ld+json":
            assert profile == f'profile="http://iiif.io/api/{context}/3/context.json"'
        assert answer.json()["@context"] == f"http://iiif.io/api/{context}/3/context.json"
        assert "Accept" in answer.headers["Vary"].split(", ")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("iiif/0/info.json", 404),
        (f"iiif/{N_FRAMES + 1}/info.json", 404),
        (f"iiif/{N_FRAMES + 1}/full/max/0/default.jpg", 404),
        ("iiif/x/full/max/0/default.jpg", 404),
        ("iiif/02/full/max/0/default.jpg", 404),
        ("iiif/2x", 404),
        ("iiif/2/full/max/0", 404),
        ("iiif", 404),
        ("iiif/2/full/max/0/default.jp2", 400),
        ("iiif/2/full/max/22.5/default.jpg", 400),
        ("iiif/2/full/max/0/default.jpg?every=1", 200),
        ("iiif/manifest.json?every=0", 400),
        ("iiif/manifest.json?every=0.01&x=1", 200),
    ],
)
def test_statuses(large, path, status):
    assert large.get(f"large.mov/{path}").status == status


def test_all_spellings_of_an_image_share_one_file(large):
    etags = {
        large.get(f"large.mov/iiif/2/{path}/0/{quality}.jpg").headers["ETag"]
        for path in ("full/260,", "full/260,144", "full/!260,999", quote(f"0,0,{WIDTH},{HEIGHT}/^pct:25"))
        for quality in ("default", "color")
    }
    (etag,) = etags
    unchanged = large.get("large.mov/iiif/2/full/,144/0/default.jpg", {"If-None-Match": etag})
    assert unchanged.status == 304
    assert 'rel="canonical"' in unchanged.headers["Link"]


def test_a_wrong_request_costs_nothing_of_the_frame(folder, tmp_path):
    with serve_folder(folder) as mirror, running_server(mirror.url, cache_dir=tmp_path) as client:
        assert client.get("large.mov/iiif/1/info.json").status == 200
        n = mirror.n_requests
        assert client.get("large.mov/iiif/1/full/9999,/0/default.jpg").status == 400
        assert mirror.n_requests == n


def test_limits_are_told_and_kept(folder, tmp_path):
    with serving(folder, tmp_path, max_pixels=100_000) as client:
        info = client.get("large.mov/iiif/1/info.json").json()
        assert info["maxArea"] == 100_000
        assert all(each["width"] * each["height"] <= 100_000 for each in info["sizes"])
        found = pixels_of(client.get("large.mov/iiif/1/full/max/0/default.png"))
        assert 99_000 < found.shape[0] * found.shape[1] <= 100_000
        assert client.get("large.mov/iiif/1/full/520,288/0/default.png").status == 400


def test_a_picture_tells_its_frame_and_how_it_was_changed(large):
    answer = large.get("large.mov/iiif/2/8,16,64,32/32,/!90/bitonal.png")
    text = " ".join(Image.open(io.BytesIO(answer.content)).text.values())
    assert "mirrored, rotated by 90 degrees, black and white" in text
    assert '"crop": [8, 16, 64, 32]' in text
    assert '"frames": "1"' in text


# ---- manifests


def test_the_manifest_of_a_movie(client, reader):
    answer = client.get(f"{MOVIE}/iiif/manifest.json?every=0.1")
    canvases = check_manifest(answer.json())
    origin = f"http://127.0.0.1:{client.port}"
    assert answer.json()["id"] == f"{origin}{client.at(MOVIE)}/iiif/manifest.json?every=0.1"
    frames = np.searchsorted(reader.elapsed() / np.timedelta64(1, "s"), np.arange(4) * 0.1).tolist()
    assert frames == [0, 3, 6, 9]
    services = [canvas["items"][0]["items"][0]["body"]["service"][0]["id"] for canvas in canvases.values()]
    assert services == [f"{origin}{client.at(MOVIE)}/iiif/{frame + 1}" for frame in (*frames, 11)]
    dates = [f"{np.datetime_as_string(reader.times()[frame], 's')}Z" for frame in (*frames, 11)]
    assert [canvas["navDate"] for canvas in canvases.values()] == dates
    for canvas in canvases.values():
        for image in (canvas["items"][0]["items"][0]["body"], canvas["thumbnail"][0]):
            found = pixels_of(client.get(urlsplit(image["id"]).path))
            assert found.shape[1::-1] == (image["width"], image["height"])


def test_the_manifest_of_a_day(client):
    told = client.get(f"{DAY}/iiif/manifest.json?every=0.2").json()
    canvases = check_manifest(told)
    ranges = {each["label"]["none"][0]: [item["id"] for item in each["items"]] for each in told["structures"]}
    assert list(ranges) == ["CAMHDA301-20161113T000000Z", "CAMHDA301-20161113T030000Z"]
    assert [len(each) for each in ranges.values()] == [3, 3]
    assert [item for each in ranges.values() for item in each] == list(canvases)
    assert told["label"] == {"none": [f"/{DAY}/"]}
    assert told["homepage"][0]["id"].endswith(f"/#{client.at(DAY)}/")


def test_movies_that_cannot_be_read_are_named(archive_path, tmp_path):
    folder = tmp_path / "movies"
    folder.mkdir()
    movie = (archive_path / "files" / MOVIE).read_bytes()
    (folder / "a good one.mov").write_bytes(movie)
    (folder / "cut.mov").write_bytes(movie[: len(movie) // 2])
    (folder / "empty.mov").write_bytes(b"")
    (folder / "notes.txt").write_text("x")
    with serving(folder, tmp_path / "cache") as client:
        told = client.get("iiif/manifest.json").json()
        assert len(check_manifest(told)) == 1
        left_out = {each["label"]["en"][0]: each["value"]["none"] for each in told["metadata"]}
        assert left_out["Movies that cannot be read"] == ["cut.mov", "empty.mov"]


def test_a_manifest_has_at_most_as_many_frames_as_allowed(archive_path, tmp_path):
    with (
        serve_folder(archive_path) as mirror,
        running_server(f"{mirror.url}files/", cache_dir=tmp_path, max_frames=5) as client,
    ):
        for path, n in ((f"{MOVIE}/iiif/manifest.json?every=0.1", 5), (f"{DAY}/iiif/manifest.json", 2)):
            assert len(check_manifest(client.get(path).json())) == n
        for path in (f"{MOVIE}/iiif/manifest.json?every=0.07", f"{DAY}/iiif/manifest.json?every=0.1"):
            answer = client.get(path)
            assert answer.status == 400
            assert answer.json()["detail"].startswith("every: ")


@pytest.mark.parametrize("path", ["", "RS03ASHS/", f"{MOVIE[:-4]}_no.mov/", f"{DAY}/nothing/"])
def test_where_there_are_no_movies_there_is_no_manifest(client, path):
    assert client.get(f"{path}iiif/manifest.json").status == 404
