"""The response of each route, by status, over a small archive."""

import io
import json

import av
import numpy as np
import pytest
from lazycache import DAY, MOVIE, running_server
from PIL import Image

EMPTY = "RS03ASHS/PN03B/06-CAMHDA301/2016/01/26/CAMHDA301-20160126T090000Z.mov"
BLANK = "RS03ASHS/PN03B/06-CAMHDA301/2018/03/01/CAMHDA301-20180301T001500.mov"
CUT_OFF = "RS03ASHS/PN03B/06-CAMHDA301/2016/12/01/CAMHDA301-20161201T155900.mov"


def picture(answer):
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def npy(answer):
    return np.load(io.BytesIO(answer.content))


def rgba(answer):
    width, height = (int(answer.headers[f"X-lazycache-output-{side}"]) for side in ("width", "height"))
    return np.frombuffer(answer.content, np.uint8).reshape(height, width, 4)


# ---- what go-lazycache served, and its clients' documented calls


def test_root_tells_where_the_mirror_is_mounted(client, mirror):
    answer = client.get("/")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == {f"{mirror.url}files/": {"APIPath": {"V1": client.mount}}}


def test_mount_is_the_host_reversed(client):
    assert client.mount.startswith("/v1/1:")
    assert client.mount.endswith("/0/0/127/files/")


@pytest.mark.parametrize("slash", ["", "/"])
def test_folder(client, slash):
    answer = client.get(DAY + slash)
    told = answer.json()
    assert answer.status == 200
    assert told["Path"] == f"/{DAY}/"
    assert told["Directories"] == []
    assert sorted(told["Files"]) == sorted(
        f"CAMHDA301-20161113T0{hour}0000Z.{kind}" for hour in (0, 3) for kind in ("mov", "mp4", "md5")
    )
    assert answer.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    assert (answer.headers["Pragma"], answer.headers["Expires"]) == ("no-cache", "0")


def test_folder_of_folders(client):
    assert client.get("").json() == {"Path": "/", "Files": [], "Directories": ["RS03ASHS"]}


def test_folders_are_asked_once(client, mirror):
    client.get(DAY)
    n = mirror.n_requests
    client.get(DAY)
    client.get(f"{DAY}/")
    assert mirror.n_requests == n


def test_unknown_child(client):
    answer = client.get(f"{DAY}/nix")
    assert answer.status == 404
    assert answer.json()["detail"] == f"Can't find child nix within /{DAY}/"


@pytest.mark.parametrize("path", ["nix/", f"{DAY}/nix.mov", f"{DAY}/nix.mov/frame/1"])
def test_missing(client, path):
    assert client.get(path).status == 404


def test_movie(client, reader):
    with av.open(reader.source.path) as movie:
        sizes = [packet.size for packet in movie.demux(video=0) if packet.size]
    answer = client.get(MOVIE)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == {
        "URL": f"/{MOVIE}",
        "NumFrames": 12,
        "Duration": reader.duration,
        "FileSize": reader.file_size,
        "Width": 320,
        "Height": 192,
        "FrameRate": pytest.approx(30000 / 1001),
        "StartTime": "2016-11-13T00:00:01.000Z",
        "Interlaced": True,
        "Codec": "apcn",
        "Quality": "good",
        "QualityReason": None,
        "LitFrame": 1 + min(i for i, size in enumerate(sizes) if size >= np.median(sizes)),
    }
    assert list(answer.json())[:4] == ["URL", "NumFrames", "Duration", "FileSize"]
    assert int(answer.headers["X-lazycache-timing-handler-ns"]) > 0
    assert int(answer.headers["X-lazycache-timing-metadata-ns"]) > 0


def test_blank_movie(client):
    told = client.get(BLANK).json()
    assert (told["Quality"], told["LitFrame"]) == ("blank", None)
    assert told["QualityReason"] == "880 bytes per frame: no picture"


@pytest.mark.parametrize("path", [EMPTY, CUT_OFF, f"{CUT_OFF}/frame/1"])
def test_movie_that_cannot_be_parsed(client, path):
    answer = client.get(path)
    assert answer.status == 422
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["URL"] == "/" + path.partition(".mov")[0] + ".mov"
    assert answer.json()["Error"] == answer.json()["detail"]


@pytest.mark.parametrize("extension", ["", ".png", ".bmp"])
def test_frames_without_loss(client, reader, extension):
    for number in (1, 7, 12):
        answer = client.get(f"{MOVIE}/frame/{number}{extension}")
        assert answer.status == 200
        np.testing.assert_array_equal(picture(answer), reader.read([number - 1])[0])


@pytest.mark.parametrize(("extension", "kind"), [("jpg", "jpeg"), ("jpeg", "jpeg"), ("webp", "webp")])
def test_frames_with_loss(client, reader, extension, kind):
    answer = client.get(f"{MOVIE}/frame/7.{extension}")
    assert answer.headers["Content-Type"] == f"image/{kind}"
    apart = picture(answer).astype(int) - reader.read([6])[0]
    assert abs(apart).mean() < 6


@pytest.mark.parametrize("extension", ["rgba", "raw"])
def test_raw_frames(client, reader, extension):
    answer = client.get(f"{MOVIE}/frame/7.{extension}")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    np.testing.assert_array_equal(rgba(answer)[..., :3], reader.read([6])[0])
    assert (rgba(answer)[..., 3] == 255).all()


@pytest.mark.parametrize("extension", ["rgba", "raw", "npy"])
def test_raw_frames_switched_off(mirror, tmp_path, extension):
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path, raw=False) as client:
        n = mirror.n_requests
        assert client.get(f"{MOVIE}/frame/7.{extension}").status == 501
        assert mirror.n_requests == n
        assert client.get(f"{MOVIE}/frame/7").status == 200


def test_resized_by_query_or_headers(client, reader):
    by_query = client.get(f"{MOVIE}/frame/7?width=100&height=90")
    sides = {"X-lazycache-output-width": "100", "X-lazycache-output-height": "90"}
    by_headers = client.get(f"{MOVIE}/frame/7", sides)
    expected = Image.fromarray(reader.read([6], reduce=2)[0]).resize((100, 90), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(picture(by_query), np.asarray(expected))
    np.testing.assert_array_equal(picture(by_headers), np.asarray(expected))
    both = client.get(f"{MOVIE}/frame/7?width=50&height=40", sides)
    assert picture(both).shape == (40, 50, 3)
    assert "X-lazycache-output-width" in both.headers["Vary"]


def test_one_side_alone_keeps_the_shape(client):
    assert picture(client.get(f"{MOVIE}/frame/7?width=160")).shape == (96, 160, 3)
    assert picture(client.get(f"{MOVIE}/frame/7?height=96")).shape == (96, 160, 3)
    assert picture(client.get(f"{MOVIE}/frame/7", {"X-lazycache-output-width": "160"})).shape == (96, 160, 3)


def test_thumbnail_does_not_stand_for_the_frame(client):
    assert picture(client.get(f"{MOVIE}/frame/7?width=64&height=36")).shape == (36, 64, 3)
    assert picture(client.get(f"{MOVIE}/frame/7")).shape == (192, 320, 3)


@pytest.mark.parametrize("stage", ["handler", "metadata", "extraction", "encode"])
def test_timing_headers(client, stage):
    answer = client.get(f"{MOVIE}/frame/7")
    assert int(answer.headers[f"X-lazycache-timing-{stage}-ns"]) > 0
    assert f"{stage};dur=" in answer.headers["Server-Timing"]


@pytest.mark.parametrize(
    ("end", "detail"),
    [
        ("frame/13", "Requested frame 13 in movie of length 12"),
        ("frame/0", "Quicktime movies start with frame 1"),
        ("frame/x5", "'x5' is not a frame number."),
        ("frame/-1", "'-1' is not a frame number."),
        ("frame/7.tga", "not 'tga'"),
        ("sample/13", "Requested frame 13 in movie of length 12"),
    ],
)
def test_wrong_frames(client, end, detail):
    answer = client.get(f"{MOVIE}/{end}")
    assert answer.status == 400
    assert detail in answer.json()["detail"]


def test_verbs_in_any_case(client):
    assert client.get(f"{MOVIE}/Frame/7").content == client.get(f"{MOVIE}/frame/7").content


@pytest.mark.parametrize("end", ["nix", "frame", "sample"])
def test_unknown_verbs(client, end):
    assert client.get(f"{MOVIE}/{end}").status == 404


@pytest.mark.parametrize("kind", ["mp4", "md5"])
def test_other_files_are_the_mirrors(client, mirror, kind):
    path = MOVIE.replace(".mov", f".{kind}")
    answer = client.get(path)
    assert (answer.status, answer.headers["Location"]) == (302, f"{mirror.url}files/{path}")


def test_info_is_json(client):
    assert "camhd_access" in client.get("/info/").json()


@pytest.mark.parametrize("path", ["/_ah/health", "/healthz"])
def test_health(client, path):
    answer = client.get(path)
    assert (answer.status, answer.content) == (200, b"ok")


def test_metrics_count(client):
    client.get(f"{MOVIE}/frame/7")
    client.get(f"{MOVIE}/frame/7")
    client.get(f"{MOVIE}/frame/0")
    assert client.figure('camhd_access_requests_total{route="frame",status="2xx"}') == 2
    assert client.figure('camhd_access_requests_total{route="frame",status="4xx"}') == 1
    assert client.figure('cache_requests_total{store="made_files"}') == 2
    assert client.figure('cache_misses_total{store="made_files"}') == 1
    assert client.figure('camhd_access_work_total{gate="pictures"}') == 1


def test_metrics_have_no_urls(client):
    for i in range(20):
        client.get(f"/v1/com/evil{i}/")
        client.get(f"{MOVIE}/frame/{i}")
    told = client.tell_figures().decode()
    assert "evil" not in told
    assert "CAMHDA301" not in told


def test_public_says_so(mirror, tmp_path):
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path, public=True) as client:
        answer = client.get(f"{MOVIE}/frame/7")
        assert answer.headers["X-lazycache-public"] == "1"
        assert picture(answer).shape == (192, 320, 3)


# ---- what is new


def test_tiff_holds_sixteen_bits(client, reader):
    content = client.get(f"{MOVIE}/frame/7.tif").content
    with av.open(io.BytesIO(content), format="tiff_pipe") as file:
        decoded = next(file.decode(video=0))
        assert decoded.format.name == "rgb48le"
        np.testing.assert_array_equal(decoded.to_ndarray(), reader.read([6], pix_fmt="rgb48le")[0])


def test_tiff_of_luma(client, reader):
    answer = client.get(f"{MOVIE}/frame/7.tiff?pix_fmt=gray16le")
    assert answer.headers["Content-Type"] == "image/tiff"
    np.testing.assert_array_equal(picture(answer), reader.read([6], pix_fmt="gray16le")[0])


@pytest.mark.parametrize("pix_fmt", ["rgb24", "bgr48be", "gray", "gray10le", "gray16be"])
def test_npy(client, reader, pix_fmt):
    found = npy(client.get(f"{MOVIE}/frame/7.npy?pix_fmt={pix_fmt}"))
    expected = reader.read([6], pix_fmt=pix_fmt)[0]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_crop(client, reader):
    found = npy(client.get(f"{MOVIE}/frame/7.npy?crop=17,33,50,40"))
    np.testing.assert_array_equal(found, reader.read([6], y=slice(33, 73), x=slice(17, 67))[0])


def test_reduce(client, reader):
    found = npy(client.get(f"{MOVIE}/frame/7.npy?reduce=8&crop=1,2,30,20"))
    np.testing.assert_array_equal(found, reader.read([6], reduce=8)[0, 2:22, 1:31])


@pytest.mark.parametrize("field", [0, 1])
def test_fields(client, reader, field):
    found = npy(client.get(f"{MOVIE}/frame/7.npy?field={field}"))
    np.testing.assert_array_equal(found, reader.read([6], fields=True)[field])


def test_quality(client):
    small, large = (len(client.get(f"{MOVIE}/frame/7.jpg?quality={q}").content) for q in (10, 95))
    assert small < large


@pytest.mark.parametrize(
    "query",
    [
        "width=0",
        "width=-1",
        "width=1e3",
        "width=%D9%A1",
        "width=99999",
        "width=16384&height=16384",
        "width=5&width=6",
        "height=",
        "crop=0,0,321,192",
        "crop=320,0,1,1",
        "crop=0,0,0,1",
        "crop=1,2,3",
        "crop=-1,0,5,5",
        "reduce=3",
        "field=2",
        "quality=0",
        "quality=80",
        "pix_fmt=gray",
    ],
)
def test_wrong_parameters(client, query):
    assert client.get(f"{MOVIE}/frame/7.png?{query}").status == 400


def test_wrong_parameters_cost_nothing(client, mirror):
    assert client.get(f"{MOVIE}/frame/7?width=0").status == 400
    assert mirror.n_requests == 0


def test_sample(client, reader):
    assert client.get(f"{MOVIE}/sample/7").content == reader.read_encoded([6])[0]


def test_activity(client, reader):
    told = client.get(f"{MOVIE}/activity").json()
    assert told["MeanSizes"] == reader.index.size.tolist()
    assert (told["NumFrames"], told["FramesPerBin"]) == (12, 1)


def test_sheet(client):
    answer = client.get(f"{MOVIE}/sheet?every=0.1&columns=3&width=64")
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert picture(answer).shape == (2 * 38, 3 * 64, 3)  # 0.4 s: five thumbnails, of even height
    assert client.get(f"{MOVIE}/sheet.png").headers["Content-Type"] == "image/png"


@pytest.mark.parametrize("query", ["every=0.0001", "columns=0", "columns=99", "width=9", "quality=0"])
def test_wrong_sheets(client, query):
    assert client.get(f"{MOVIE}/sheet?{query}").status == 400


@pytest.mark.parametrize(
    ("extension", "kind"), [("", "video/mp4"), (".gif", "image/gif"), (".webp", "image/webp")]
)
def test_animation(client, extension, kind):
    answer = client.get(f"{MOVIE}/animation{extension}?start=3&stop=11&step=2&width=64")
    assert answer.headers["Content-Type"] == kind
    if extension == "":
        with av.open(io.BytesIO(answer.content)) as film:
            assert [(frame.width, frame.height) for frame in film.decode(video=0)] == [(64, 38)] * 5
    else:
        film = Image.open(io.BytesIO(answer.content))
        assert (film.n_frames, film.size) == (5, (64, 38))


@pytest.mark.parametrize(
    "query", ["start=0", "start=5&stop=4", "stop=13", "step=0", "fps=0", "fps=1000", "width=1"]
)
def test_wrong_animations(client, query):
    assert client.get(f"{MOVIE}/animation?{query}").status == 400


def test_long_films_and_sheets_are_refused(mirror, tmp_path):
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path, max_frames=4, max_pixels=20000) as client:
        assert client.get(f"{MOVIE}/animation?stop=5").status == 400
        assert client.get(f"{MOVIE}/animation?stop=4&width=64").status == 200
        assert client.get(f"{MOVIE}/sheet?every=0.05").status == 400
        assert client.get(f"{MOVIE}/sheet?every=0.1&width=200").status == 400
        assert client.get(f"{MOVIE}/frame/1").status == 400
        assert client.get(f"{MOVIE}/frame/1?width=160").status == 200


def test_openapi_describes_what_is_there(client):
    api = client.get("/openapi.json").json()
    assert api["openapi"].startswith("3.1")
    frame = api["paths"][client.mount + "{path}.mov/frame/{number}.{extension}"]["get"]
    assert {each["name"] for each in frame["parameters"] if each["in"] == "query"} == {
        "deinterlace",
        "width",
        "height",
        "crop",
        "reduce",
        "field",
        "pix_fmt",
        "quality",
    }
    assert "image/png" in frame["responses"]["200"]["content"]
    for path in api["paths"]:
        if "{" not in path:
            assert client.get(path).status == 200


# ---- HTTP


def test_frames_are_kept_for_ever(client):
    answer = client.get(f"{MOVIE}/frame/7")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    etag = answer.headers["ETag"]
    again = client.get(f"{MOVIE}/frame/7", {"If-None-Match": f'"other", W/{etag}'})
    assert (again.status, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert client.get(f"{MOVIE}/frame/7", {"If-None-Match": '"other"'}).status == 200


def test_etags_differ(client):
    ends = ["1", "2", "1.jpg", "1.jpg?quality=50", "1?width=64", "1?crop=0,0,5,5", "1?reduce=8", "1?field=0"]
    etags = {client.get(f"{MOVIE}/frame/{end}").headers["ETag"] for end in ends}
    assert len(etags) == len(ends)


def test_unchanged_and_head_make_nothing(client):
    head = client.ask("HEAD", f"{MOVIE}/frame/7.jpg")
    assert (head.status, head.content, head.headers["Content-Type"]) == (200, b"", "image/jpeg")
    etag = head.headers["ETag"]
    assert client.get(f"{MOVIE}/frame/7.jpg", {"If-None-Match": etag}).status == 304
    assert client.figure('camhd_access_work_total{gate="pictures"}') == 0
    assert client.get(f"{MOVIE}/frame/7.jpg").headers["ETag"] == etag


@pytest.mark.parametrize("path", ["/", DAY, MOVIE, "/healthz"])
def test_head(client, path):
    head, full = client.ask("HEAD", path), client.get(path)
    assert (head.status, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(full.content))


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("0-9", slice(0, 10)),
        ("5-", slice(5, None)),
        ("-7", slice(-7, None)),
        ("10-99999999", slice(10, None)),
    ],
)
def test_ranges(client, reader, wanted, part):
    whole = reader.read_encoded([6])[0]
    answer = client.get(f"{MOVIE}/sample/7", {"Range": f"bytes={wanted}"})
    start, stop, _ = part.indices(len(whole))
    assert (answer.status, answer.content) == (206, whole[part])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(whole)}"


@pytest.mark.parametrize("wanted", ["items=0-9", "bytes=9-5", "bytes=0-1,3-4", "bytes=-", "bytes=a-b"])
def test_ranges_that_mean_nothing(client, reader, wanted):
    answer = client.get(f"{MOVIE}/sample/7", {"Range": wanted})
    assert (answer.status, answer.content) == (200, reader.read_encoded([6])[0])


@pytest.mark.parametrize("wanted", ["99999999-", "-0"])
def test_ranges_that_are_not_there(client, reader, wanted):
    answer = client.get(f"{MOVIE}/sample/7", {"Range": f"bytes={wanted}"})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(reader.read_encoded([6])[0])}"


def test_range_of_another_version(client):
    etag = client.get(f"{MOVIE}/sample/7").headers["ETag"]
    assert client.get(f"{MOVIE}/sample/7", {"Range": "bytes=0-9", "If-Range": etag}).status == 206
    assert client.get(f"{MOVIE}/sample/7", {"Range": "bytes=0-9", "If-Range": '"x"'}).status == 200


def test_other_sites_may_read(client):
    assert client.get(f"{MOVIE}/frame/7").headers["Access-Control-Allow-Origin"] == "*"
    preflight = client.ask(
        "OPTIONS", f"{MOVIE}/frame/7", {"Origin": "http://x", "Access-Control-Request-Method": "GET"}
    )
    assert preflight.status == 204
    assert "X-lazycache-output-width" in preflight.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods(client, method):
    for path in ("/", DAY, f"{MOVIE}/frame/7"):
        answer = client.ask(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_unknown_paths(client):
    for path in ("/x", "/v2/", "/v1", "/v1/", "/v1/com/example/", "/index.php"):
        answer = client.get(path)
        assert answer.status == 404
        assert json.loads(answer.content)["status"] == 404
