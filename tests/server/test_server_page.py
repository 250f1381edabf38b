"""The web page in a real browser, over a small archive."""

import base64
import io
import re
import shlex
import shutil
import subprocess
import time
from datetime import UTC, datetime
from importlib.resources import files

import av
import numpy as np
import pytest
from lazycache import DAY, MOVIE, running_server
from PIL import Image
from playwright.sync_api import expect

from camhd_access import open_movie
from camhd_access.server.pages import prefers_html
from camhd_access.synthetic import read_frame_number, serve_folder, write_archive

CAMERA = "RS03ASHS/PN03B/06-CAMHDA301"
CUT_OFF = f"{CAMERA}/2016/12/01/CAMHDA301-20161201T155900.mov"
ODD = "it's <b>odd & $(odd)"
N_FRAMES = 40
PAGE = files("camhd_access.server") / "page"

WHERE = {
    "start": "",
    "years": f"{CAMERA}/",
    "months": f"{CAMERA}/2016/",
    "month": f"{CAMERA}/2016/11/",
    "day": f"{DAY}/",
    "movie": f"{MOVIE}/frame/7?crop=64,32,128,96",
    "problem": CUT_OFF,
}
"""A page of each kind."""


@pytest.fixture(scope="module")
def archive_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder / "files", n_frames=N_FRAMES, width=320, height=192)
    odd = folder / "files" / ODD
    odd.mkdir()
    shutil.copy(folder / "files" / MOVIE, odd / "x y.mov")
    return folder


@pytest.fixture(scope="module")
def mirror(archive_path):
    with serve_folder(archive_path) as server:
        yield server


@pytest.fixture(scope="module")
def client(mirror, tmp_path_factory):
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path_factory.mktemp("cache")) as client:
        yield client


# ---- how it is served


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("text/*", True),
        ("TEXT/HTML; q=0.5, application/json;q=0.4", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=much", False),
    ],
)
def test_who_prefers_html(accept, html):
    assert prefers_html(accept) is html


def test_root_is_a_page_for_browsers_and_json_for_programs(client):
    page = client.get("/", {"Accept": "text/html,*/*;q=0.8"})
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.content == (PAGE / "index.html").read_bytes()
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        answer = client.get("/", headers)
        assert answer.headers["Content-Type"].startswith("application/json")
        assert [each["APIPath"]["V1"] for each in answer.json().values()] == [client.mount]
        assert answer.headers["Vary"] == "Accept, X-Forwarded-Prefix"
    assert page.headers["Vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/page/style.css", "/page/icon.svg"])
def test_files_of_the_page(client, path):
    headers = {"Accept": "text/html"}
    answer = client.get(path, headers)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'; script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    again = client.get(path, headers | {"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.content) == (304, b"")
    head = client.ask("HEAD", path, headers)
    assert (head.status, head.headers["ETag"], head.content) == (200, answer.headers["ETag"], b"")
    assert head.headers["Content-Type"] == answer.headers["Content-Type"]


@pytest.mark.parametrize(
    "path", ["/page/nix.js", "/page/pages.py", "/page/", "/page/%2e%2e/pages.py", "/page"]
)
def test_nothing_else_is_served(client, path):
    answer = client.get(path, {"Accept": "text/html"})
    assert answer.status in (400, 404)
    assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_store_may_send_pictures(mirror, tmp_path):
    settings = {"image_store": str(tmp_path / "store"), "image_store_url": "https://pictures.example/a/"}
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path / "cache", **settings) as client:
        policy = client.get("/page/app.js").headers["Content-Security-Policy"]
    assert "img-src 'self' https://pictures.example;" in policy


def test_pictures_from_a_store_on_another_host(make_visitor, mirror, reader, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    with (
        serve_folder(store) as pictures,
        running_server(
            f"{mirror.url}files/",
            cache_dir=tmp_path / "cache",
            image_store=str(store),
            image_store_url=pictures.url,
        ) as client,
    ):
        make_visitor(client).frame(5)
        assert pictures.n_requests == 0
        visitor = make_visitor(client)
        visitor.visit(f"{MOVIE}/frame/5")
        visitor.page.wait_for_selector('.stage img[data-number="5"]')
        assert pictures.n_requests == 1
        while client.get(f"{MOVIE}/frame/5.png").status != 307:  # from then on it is stored
            time.sleep(0.02)
        _, body = visitor.save("PNG")  # by the browser: scripts may not read it there
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), reader.read(4)[0])
        assert pictures.n_requests > 1
        visitor.complaints.clear()


def test_page_is_whole_and_its_own():
    for file in PAGE.iterdir():
        text = file.read_text()
        assert set(re.findall(r"https?://[^\s\"'`/$)]*", text)) <= {"http://www.w3.org"}
        assert not re.search(r"innerHTML|insertAdjacentHTML|\beval\b|<[^>]*\s(style|on\w+)=", text)
        for name in re.findall(r'from "\./([^"]+)"|"page/([\w.]+)', text):
            assert (PAGE / "".join(name)).is_file()


# ---- browsing


def test_browse_to_a_movie(visitor, client):
    page = visitor.page
    lit = client.get(MOVIE).json()["LitFrame"]
    page.goto(visitor.origin)
    page.get_by_role("link", name="Browse CamHD by year").click()
    for name, heading in [
        ("2016", "2016"),
        ("November", "November 2016"),
        ("13 November 2016", "13 November 2016"),
        ("00:00", "13 November 2016, 00:00:01 UTC"),
    ]:
        page.locator("main").get_by_role("link", name=name).first.click()
        expect(page.locator("h1")).to_have_text(heading)
        expect(page.locator("h1")).to_be_focused()
        expect(page).to_have_title(f"{heading} · camhd_access")
    visitor.rests_at(lit)
    trail = page.get_by_role("navigation", name="Breadcrumbs").get_by_role("listitem")
    assert trail.all_inner_texts()[-4:] == ["2016", "11", "13", MOVIE.rpartition("/")[2]]
    page.get_by_role("link", name="Next movie").click()
    expect(page.locator("h1")).to_have_text("13 November 2016, 03:00:01 UTC")
    visitor.rests_at(client.get(MOVIE.replace("T00", "T03")).json()["LitFrame"])
    page.go_back()
    expect(page.locator("h1")).to_have_text("13 November 2016, 00:00:01 UTC")
    page.go_back()
    expect(page.locator("h1")).to_have_text("13 November 2016")


def test_month_is_a_calendar(visitor):
    visitor.visit(WHERE["month"])
    table = visitor.page.get_by_role("table")
    assert table.get_by_role("link").all_inner_texts() == ["13"]
    rows = [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]
    assert [int(day) for row in rows for day in row if day] == list(range(1, 31))
    assert rows[0][0] == ""  # it began on a Tuesday
    assert rows[1][6] == "13"  # a Sunday


def test_times_in_names_are_told_for_what_they_are(visitor):
    visitor.visit(WHERE["day"])
    expect(visitor.page.locator("main")).to_contain_text("start of the recording")
    visitor.visit(f"{CAMERA}/2017/08/20/")
    expect(visitor.page.locator("main")).to_contain_text("end of the recording")


def test_several_mirrors(make_visitor, mirror, tmp_path):
    with running_server(f"{mirror.url}files/", f"{mirror.url}files/RS03ASHS/", cache_dir=tmp_path) as client:
        visitor = make_visitor(client)
        visitor.page.goto(visitor.origin)
        visitor.page.locator("main").get_by_role("link", name="/files/RS03ASHS").click()
        expect(visitor.page.locator("main").get_by_role("link")).to_have_text(["PN03B"])


# ---- a movie


def test_keys(visitor, reader):
    visitor.frame(5)
    visitor.page.locator(".stage").focus()
    for key, number in [
        ("ArrowRight", 6),
        ("ArrowLeft", 5),
        ("Shift+ArrowRight", 35),
        ("ArrowRight", 36),
        ("Shift+ArrowLeft", 6),
        ("PageUp", N_FRAMES),
        ("PageDown", 1),
        ("End", N_FRAMES),
        ("ArrowRight", N_FRAMES),
        ("Home", 1),
    ]:
        visitor.page.keyboard.press(key)
        visitor.rests_at(number)
        told = datetime.strptime(
            visitor.page.locator("time").inner_text(), "%Y-%m-%d %H:%M:%S.%f UTC"
        ).replace(tzinfo=UTC)
        exact = reader.times()[number - 1].astype("datetime64[us]").item().replace(tzinfo=UTC)
        assert abs((told - exact).total_seconds()) <= 0.0005
    expect(visitor.page.get_by_role("status")).to_contain_text(f"Frame 1 of {N_FRAMES}, 2016-11-13 00:00:01")


def test_keys_do_the_same_on_the_slider_and_nothing_in_fields(visitor):
    visitor.frame(5)
    visitor.page.get_by_label("Position in the movie").press("Shift+ArrowRight")
    visitor.rests_at(35)
    visitor.page.get_by_label("Left", exact=True).press("ArrowLeft")
    visitor.page.get_by_label("Link to this frame").press("Home")
    visitor.rests_at(35)


def test_buttons(visitor):
    visitor.frame(5)
    for name, number in [
        ("Forward one frame", 6),
        ("Forward 30 frames", 36),
        ("Back one frame", 35),
        ("Back 30 frames", 5),
        ("Last frame", N_FRAMES),
        ("First frame", 1),
    ]:
        visitor.page.get_by_role("button", name=name).click()
        visitor.rests_at(number)


def test_number_field(visitor):
    visitor.frame(5)
    field = visitor.page.get_by_label("Frame", exact=True)
    for text, number in [("17", 17), ("999", N_FRAMES), ("-3", 1), ("", 1)]:
        field.fill(text)
        field.press("Enter")
        visitor.rests_at(number)


def test_scrubbing_shows_previews_on_the_way(visitor):
    visitor.frame(1)
    page = visitor.page
    box = page.get_by_label("Position in the movie").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, y)
    page.mouse.down()
    for share in (0.2, 0.3, 0.4, 0.5):
        page.mouse.move(box["x"] + share * box["width"], y)
    number = int(page.get_by_label("Position in the movie").input_value())
    assert 15 <= number <= 25
    page.wait_for_selector(f'.stage img[data-number="{number}"]')
    visitor.rests_at(number)  # where the slider is held still
    page.mouse.move(box["x"] + box["width"] - 2, y)
    page.mouse.up()
    visitor.rests_at(N_FRAMES)
    previews = [url for url in visitor.asked if "reduce=8" in url]
    assert previews
    assert [url for url in visitor.asked if "quality=90" in url][-1].endswith(f"/{N_FRAMES}.jpg?quality=90")


def test_preview_is_that_of_its_frame(visitor):
    visitor.frame(1)
    visitor.page.evaluate(
        """() => {
          const slider = document.getElementById("scrubber");
          window.timer = setInterval(() => slider.dispatchEvent(new Event("input")), 50); // never at rest
          slider.value = 23;
        }"""
    )
    visitor.page.wait_for_selector('.stage img[data-number="23"][src$="reduce=8"]')
    assert visitor.pixels().shape == (24, 40, 3)
    assert read_frame_number(visitor.pixels()) == 22
    visitor.page.evaluate("() => clearInterval(window.timer)")
    visitor.rests_at(23)


def test_activity_strip(visitor, client):
    visitor.frame(1)
    strip = visitor.page.get_by_role("img", name="Activity: encoded frames of")
    sizes = client.get(f"{MOVIE}/activity").json()["MeanSizes"]
    assert strip.get_attribute("aria-label").endswith(f"largest around frame {np.argmax(sizes) + 1}")
    box = strip.bounding_box()
    strip.click(position={"x": 0.76 * box["width"], "y": 10})
    visitor.rests_at(1 + int(0.76 * N_FRAMES))


FILM = """() => {
  const video = document.querySelector("video"), canvas = document.createElement("canvas");
  window.shown = [];
  const see = (_, { mediaTime }) => {
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0);
    const number = document.querySelector("input[type=number]").value;
    const data = canvas.toDataURL("image/png").split(",")[1];
    if (document.querySelector(".stage.playing")) window.shown.push([mediaTime, Number(number), data]);
    video.requestVideoFrameCallback(see);
  };
  video.requestVideoFrameCallback(see);
}"""
"""Records what the film shows: the time, the number that the page tells, and the picture."""


def test_play(visitor):
    visitor.frame(1)
    page = visitor.page
    page.evaluate(FILM)
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    visitor.rests_at(N_FRAMES)
    expect(page.locator(".stage.playing")).to_have_count(0)
    shown = page.evaluate("() => window.shown")
    numbers = [number for _, number, _ in shown]
    assert len(numbers) > 3
    assert numbers == sorted(set(numbers))
    for (seconds, number, data), newest in zip(shown, [*numbers[1:], N_FRAMES], strict=True):
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        assert image.shape == (192, 320, 3)
        assert number - 1 == round(seconds * 30000 / 1001)
        assert number <= read_frame_number(image) + 1 <= newest  # the film may be further by then
    parts = [url.partition("/hls/")[2].partition("?")[0] for url in visitor.asked if "/hls/" in url]
    assert parts == ["index.m3u8", "init.mp4", "1.m4s", "2.m4s"]
    assert not [url for url in visitor.asked if url.endswith(".jpg")]


WAITS = """() => {
  const video = document.querySelector("video");
  const end = () => (video.buffered.length ? video.buffered.end(video.buffered.length - 1) : 0);
  window.told = [];
  for (const name of ["play", "waiting", "seeked"]) {
    video.addEventListener(name, () => window.told.push([name, video.currentTime, end()]));
  }
}"""
"""Records when the film moves and stops: the event, the time, and the end of what is there."""


def hold(page, pattern):
    """The requests that match, in a list that grows; they wait."""
    held = []

    def keep(route):  # playwright needs a function that has attributes
        held.append(route)

    page.route(re.compile(pattern), keep)
    return held


def test_near_the_end_of_a_segment_it_moves_once_the_next_is_there(visitor):
    visitor.frame(28)
    page = visitor.page
    page.evaluate(WAITS)
    held = hold(page, r"/2\.m4s")
    page.keyboard.press("l")
    page.wait_for_selector(".stage.playing")
    page.wait_for_timeout(300)
    shown, moves = page.evaluate("() => [document.querySelector('video').currentTime, window.told.length]")
    assert shown == pytest.approx(27.5 * 1001 / 30000)
    assert page.get_by_label("Frame", exact=True).input_value() == "28"
    assert moves == 1  # it has only sought
    expect(page.get_by_text("Loading…")).to_be_visible()
    (route,) = held
    route.continue_()
    visitor.rests_at(N_FRAMES)
    told = page.evaluate("() => window.told")
    assert [name for name, _, _ in told[:2]] == ["seeked", "play"]
    assert told[1][1] >= shown  # the event comes a moment later
    assert told[1][2] == pytest.approx(40 * 1001 / 30000, abs=0.01)
    parts = [url.partition("/hls/")[2] for url in visitor.asked if "/hls/" in url]
    assert parts[2:] == ["1.m4s?step=1&width=960&since=0.917583", "2.m4s?step=1&width=960"]


def test_early_in_a_segment_it_moves_before_the_next_is_there(visitor):
    visitor.frame(2)
    page = visitor.page
    held = hold(page, r"/2\.m4s")
    page.keyboard.press("l")
    page.wait_for_function("() => document.querySelector('input[type=number]').value > 20")
    assert len(held) == 1
    page.keyboard.press("k")


def test_pause_before_it_moves(visitor):
    visitor.frame(28)
    page = visitor.page
    page.evaluate(WAITS)
    hold(page, r"/2\.m4s")
    page.keyboard.press("l")
    page.wait_for_selector(".stage.playing")
    page.keyboard.press("k")
    visitor.rests_at(28)
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.told.map(([name]) => name)") == ["seeked"]
    assert page.evaluate("() => document.querySelector('video').paused")


def test_pause(visitor):
    visitor.frame(1)
    page = visitor.page
    page.evaluate(
        """() => {
          window.taken = 0;
          new MutationObserver((changes) => (window.taken += changes.length))
            .observe(document.querySelector(".stage"), { subtree: true, attributeFilter: ["src"] });
        }"""
    )
    page.get_by_label("Speed").select_option("0.25")
    page.locator(".stage").press(" ")
    page.wait_for_selector(".stage.playing")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".stage.playing")).to_have_count(0, timeout=20_000)
    number = int(page.get_by_label("Frame", exact=True).input_value())
    visitor.rests_at(number)
    page.keyboard.press(" ")  # on the button, which is pressed
    page.wait_for_function(  # from the last frame it starts again
        "(number) => document.querySelector('input[type=number]').value != number", arg=number
    )
    page.keyboard.press("k")
    assert page.evaluate("() => document.querySelector('video').paused")


def test_a_click_on_the_slider_plays_on_from_there(visitor):
    visitor.frame(1)
    page = visitor.page
    page.get_by_label("Speed").select_option("0.25")
    page.get_by_role("button", name="Play").click()
    page.wait_for_selector(".stage.playing")
    box = page.locator(".activity").bounding_box()
    page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 5)
    page.wait_for_function("() => document.querySelector('input[type=number]').value >= 25")
    page.get_by_role("button", name="Pause").click()
    assert int(page.get_by_label("Frame", exact=True).input_value()) >= 25


def test_keys_of_editors(visitor):
    visitor.frame(20)
    page, note = visitor.page, visitor.page.locator(".note")
    page.get_by_role("button", name="Loop").click()
    page.keyboard.press("L")
    page.wait_for_selector(".stage.playing")
    assert "Speed" not in note.inner_text()
    page.keyboard.press("k")
    number = int(page.get_by_label("Frame", exact=True).input_value())
    visitor.rests_at(number)
    page.keyboard.press(",")
    visitor.rests_at(number - 1)
    page.keyboard.press(".")
    visitor.rests_at(number)
    for _ in range(3):
        page.keyboard.press("l")
    expect(note).to_contain_text("Speed: 4 times.")
    assert page.evaluate("() => document.querySelector('video').playbackRate") == 4
    page.keyboard.press("j")
    expect(note).to_contain_text("Backwards.")
    page.keyboard.press("j")
    expect(note).to_contain_text("Backwards. Speed: 2 times.")
    page.keyboard.press("k")
    expect(note).to_have_text("")


def test_backwards_picture_by_picture(visitor):
    visitor.frame(N_FRAMES)
    page = visitor.page
    page.evaluate(
        """() => {
          window.shown = [];
          const see = () => window.shown.push(Number(document.querySelector(".stage img").dataset.number));
          new MutationObserver(see).observe(document.querySelector(".stage"), { childList: true });
        }"""
    )
    page.keyboard.press("j")
    page.wait_for_function("() => window.shown.length > 1")
    visitor.rests_at(1)
    shown = page.evaluate("() => window.shown")
    assert shown[:-1] == sorted(set(shown[:-1]), reverse=True)
    assert 1 < shown[0] <= 34  # every sixth, or fewer


def test_loop(visitor):
    visitor.frame(25)
    page = visitor.page
    page.get_by_role("button", name="Loop").click()
    page.keyboard.press("l")
    page.wait_for_function("() => document.querySelector('input[type=number]').value < 20")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("k")


def test_full_screen(visitor):
    visitor.frame(1)
    page = visitor.page
    page.keyboard.press("f")
    page.wait_for_function("() => document.fullscreenElement?.matches('.viewer')")
    stage, view = page.locator(".stage").bounding_box(), page.locator(".viewer").bounding_box()
    assert abs(stage["width"] / stage["height"] - 320 / 192) < 0.01
    assert stage["height"] < view["height"]
    page.keyboard.press("f")
    page.wait_for_function("() => !document.fullscreenElement")


def test_where_the_connection_is_too_slow_every_nth_frame_is_played(visitor):
    visitor.frame(1)
    page = visitor.page

    def delay(route):
        time.sleep(2.5)
        route.continue_()

    page.route(re.compile(r"/1\.m4s"), delay)
    page.get_by_role("button", name="Play").click()
    told = page.locator(".note")
    expect(told).to_contain_text(
        re.compile(r"Every \d+(nd|rd|th) frame is shown: the connection or the server is too slow")
    )
    step = int(re.search(r"\d+", told.inner_text())[0])
    visitor.rests_at(N_FRAMES)
    (second,) = [url for url in visitor.asked if "/2.m4s" in url]
    assert second.endswith(f"/2.m4s?step={step}&width=960")


@pytest.mark.parametrize("lacks", ["browser", "server"])
def test_without_h264_it_plays_pictures(visitor, monkeypatch, lacks):
    if lacks == "server":
        monkeypatch.setattr("camhd_access.output.segments.ENCODER", "nix")
    else:
        visitor.page.add_init_script("delete window.MediaSource; delete window.ManagedMediaSource")
    visitor.frame(1)
    page = visitor.page
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".note")).to_contain_text(re.compile(r"^Every \d+(st|nd|rd|th) frame is shown\.$"))
    visitor.rests_at(N_FRAMES)
    played = [url for url in visitor.asked if re.search(r"/frame/\d+\.jpg$", url)]
    assert len(played) > 1
    assert not [url for url in visitor.asked if ".m4s" in url]
    if lacks == "server":
        assert len(visitor.complaints) == 1
        assert "501" in visitor.complaints.pop()


def test_only_the_last_of_many_steps_counts(visitor):
    visitor.frame(1)
    visitor.page.evaluate(
        """() => {
          const press = (repeat) => document.body.dispatchEvent(
            new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true, repeat }));
          for (let i = 0; i < 30; i++) press(i % 3 !== 0);
        }"""
    )
    visitor.rests_at(31)
    shown = [url for url in visitor.asked if url.endswith("/frame/31.jpg?quality=90")]
    assert len(shown) == 1


def test_crop_by_dragging(visitor, reader):
    visitor.frame(9)
    visitor.drag((200, 150), (100, 50))
    x, y, width, height = visitor.crop()
    assert max(abs(x - 100), abs(y - 50), abs(width - 100), abs(height - 100)) <= 1
    assert visitor.page.url.endswith(f"/frame/9?crop={x},{y},{width},{height}")
    name, body = visitor.save("PNG")
    assert name == f"CAMHDA301-20161113T000000Z-frame-000009-{x}-{y}-{width}x{height}.png"
    expected = reader.read(8, y=slice(y, y + height), x=slice(x, x + width))[0]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), expected)
    visitor.page.keyboard.press("ArrowRight")  # the part stays
    visitor.rests_at(10)
    assert visitor.crop() == (x, y, width, height)
    visitor.page.locator(".stage").press("Escape")
    assert visitor.crop() == (0, 0, 320, 192)
    assert visitor.page.url.endswith("/frame/10")


def test_crop_to_the_edge_and_beyond(visitor):
    visitor.frame(9)
    visitor.drag((160, 96), (500, 400))
    assert visitor.crop() == (160, 96, 160, 96)
    visitor.page.locator(".stage").click(position={"x": 5, "y": 5})  # a click selects nothing
    assert visitor.crop() == (160, 96, 160, 96)


def test_crop_by_fields(visitor):
    visitor.frame(9)
    for name, text in (("Left", "300"), ("Top", "10"), ("Height", "16")):
        visitor.page.get_by_label(name, exact=True).fill(text)
        visitor.page.get_by_label(name, exact=True).press("Enter")
    assert visitor.crop() == (300, 10, 20, 16)
    assert visitor.page.url.endswith("?crop=300,10,20,16")
    visitor.page.get_by_role("button", name="Whole image").click()
    assert visitor.crop() == (0, 0, 320, 192)


def test_crop_by_touch(make_visitor):
    visitor = make_visitor(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    visitor.frame(9)
    box = visitor.page.locator(".stage").bounding_box()

    def swipe():
        session = visitor.page.context.new_cdp_session(visitor.page)
        at = {"x": box["x"] + box["width"] / 4, "y": box["y"] + box["height"] / 4}
        session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
        to = {"x": at["x"] + box["width"] / 2, "y": at["y"] + box["height"] / 2}
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [to]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    swipe()
    assert visitor.crop() == (0, 0, 320, 192)
    visitor.page.get_by_role("button", name="Select by touch").click()
    visitor.page.evaluate("() => scrollTo(0, 0)")
    swipe()
    assert np.abs(np.subtract(visitor.crop(), (80, 48, 160, 96))).max() <= 1


def test_downloads(visitor, reader):
    visitor.frame(12)
    frame = reader.read(11)[0]
    stem = "CAMHDA301-20161113T000000Z-frame-000012"
    name, body = visitor.save("PNG")
    assert name == f"{stem}.png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), frame)
    name, body = visitor.save("NumPy")
    assert name == f"{stem}.npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), frame)
    name, body = visitor.save("ProRes sample")
    assert (name, body) == (f"{stem}.apcn", reader.read_encoded(11)[0])
    name, body = visitor.save("Clip, ProRes")
    assert name == f"{stem}.mov"
    with av.open(io.BytesIO(body)) as clip:
        assert [bytes(packet) for packet in clip.demux(video=0) if packet.size] == reader.read_encoded(
            slice(11, None)
        )
    name, body = visitor.save("Film, MP4")
    assert name == f"{stem}.mp4"
    with av.open(io.BytesIO(body)) as film:
        assert sum(1 for _ in film.decode(video=0)) == N_FRAMES - 11
    for title, kind in (("JPEG", "jpg"), ("TIFF, 16 bits", "tif")):
        name, body = visitor.save(title)
        assert (name, Image.open(io.BytesIO(body)).size) == (f"{stem}.{kind}", (320, 192))


@pytest.mark.parametrize("crop", [None, (64, 32, 128, 96)])
@pytest.mark.parametrize("movie", [MOVIE, f"{ODD}/x y.mov"])
def test_lines_give_the_picture_that_is_shown(visitor, reader, tmp_path, movie, crop):
    visitor.frame(21, movie)
    if crop:
        for name, value in zip(("Left", "Top", "Width", "Height"), crop, strict=True):
            visitor.page.get_by_label(name, exact=True).fill(str(value))
            visitor.page.get_by_label(name, exact=True).press("Enter")
    x, y, width, height = crop or (0, 0, 320, 192)
    expected = reader.read(20)[0, y : y + height, x : x + width]
    names = {}
    exec(visitor.page.get_by_label("Python").input_value(), names)  # noqa: S102 - it is what is tested
    np.testing.assert_array_equal(names["pixels"], expected)
    np.testing.assert_array_equal(names["frame"].compute(), expected)
    assert names["open_movie"] is open_movie
    line = visitor.page.get_by_label("curl").input_value()
    subprocess.run([*shlex.split(line), "--silent", "--fail"], cwd=tmp_path, check=True, timeout=100)
    (saved,) = tmp_path.iterdir()
    np.testing.assert_array_equal(np.asarray(Image.open(saved)), expected)


def test_link_to_a_frame(make_visitor):
    visitor = make_visitor(permissions=["clipboard-read", "clipboard-write"])
    visitor.visit(f"{MOVIE}/frame/33?crop=16,32,64,48")
    visitor.rests_at(33)
    assert visitor.crop() == (16, 32, 64, 48)
    visitor.page.get_by_role("button", name="Copy link").click()
    expect(visitor.page.get_by_role("button", name="Copied")).to_be_visible()
    link = visitor.page.evaluate("() => navigator.clipboard.readText()")
    assert link == visitor.page.url == visitor.page.get_by_label("Link to this frame").input_value()
    other = make_visitor()
    other.page.goto(link)
    other.rests_at(33)
    assert other.crop() == (16, 32, 64, 48)


def test_address_may_be_edited(visitor):
    visitor.frame(3)
    visitor.page.evaluate(
        "() => { location.hash = location.hash.replace('frame/3', 'frame/19?crop=0,0,64,48') }"
    )
    visitor.rests_at(19)
    assert visitor.crop() == (0, 0, 64, 48)


def test_long_movie(make_visitor, sparse_path, tmp_path):
    with (
        serve_folder(sparse_path.parent) as mirror,
        running_server(mirror.url, cache_dir=tmp_path) as client,
    ):
        visitor = make_visitor(client)
        visitor.visit(f"{sparse_path.name}/frame/7201")
        visitor.page.wait_for_selector('.stage img[data-number="7201"]')
        assert read_frame_number(visitor.pixels()) == 7200
        expect(visitor.page.locator("main")).to_contain_text("of 25,000")
        expect(visitor.page.locator("time")).to_have_text("2016-11-13 00:04:03.240 UTC")
        expect(visitor.page.locator("aside")).to_contain_text("13 min 54.2 s, 29.970 frames/s")
        assert visitor.page.locator(".activity path").get_attribute("d").count("L") > 3000
        visitor.page.get_by_label("Frame", exact=True).fill("3")
        visitor.page.get_by_label("Frame", exact=True).press("Enter")  # a hole in the file
        expect(visitor.page.get_by_role("alert")).to_contain_text("This frame is damaged in the movie")
        visitor.complaints.clear()
        assert mirror.n_bytes_sent < 20 << 20


# ---- problems


@pytest.mark.parametrize(
    ("path", "words", "status"),
    [
        (CUT_OFF, "This recording is truncated: the file has no index.", 422),
        (f"{MOVIE}/frame/9999", f"This movie has {N_FRAMES} frames; there is no frame 9,999.", None),
        (f"{MOVIE}/frame/0", f"This movie has {N_FRAMES} frames; there is no frame 0.", None),
        (f"{CAMERA}/1999/", "The mirror has no such file.", 404),
        (f"{DAY}/nix.mov", "The mirror has no such file.", 404),
    ],
)
def test_problems_are_told_in_words(visitor, path, words, status):
    visitor.visit(path)
    expect(visitor.page.get_by_role("alert")).to_contain_text(words)
    complaints, visitor.complaints = visitor.complaints, []
    assert len(complaints) == (status is not None)
    assert all(f"status of {status}" in complaint for complaint in complaints)
    visitor.page.get_by_role("link", name="Back to").click()
    expect(visitor.page.get_by_role("alert")).to_have_count(0)
    if path == CUT_OFF:
        expect(visitor.page.locator(".movies")).to_contain_text(f"broken: {words}")
        visitor.complaints.clear()


def test_other_mirrors_are_none(visitor):
    visitor.page.goto(f"{visitor.origin}/#/v1/example/other/x.mov/frame/1")
    expect(visitor.page.get_by_role("alert")).to_contain_text("no such mirror")
    visitor.page.goto(f"{visitor.origin}/#//other.example/v1/x.mov")
    expect(visitor.page.get_by_role("alert")).to_contain_text("no such mirror")
    assert all(url.startswith(visitor.origin) for url in visitor.asked)


def test_download_that_fails_is_told(make_visitor, mirror, tmp_path):
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path, raw=False) as client:
        visitor = make_visitor(client)
        visitor.frame(2)
        visitor.page.get_by_role("link", name="NumPy").click()
        expect(visitor.page.get_by_role("alert")).to_contain_text("not configured to produce raw output")
        assert len(visitor.complaints) == 1
        visitor.complaints.clear()


def test_picture_that_does_not_come_is_told(make_visitor, archive_path, origin, tmp_path):
    origin.put("/movie.mov", (archive_path / "files" / MOVIE).read_bytes())
    with running_server(f"{origin.url}/", cache_dir=tmp_path) as client:
        visitor = make_visitor(client)
        visitor.frame(N_FRAMES, "movie.mov")  # of which the server has the end since it opened it
        origin.play("/movie.mov", lambda exchange: exchange.answer(404), always=True)
        visitor.page.get_by_role("button", name="First frame").click()
        expect(visitor.page.get_by_role("alert")).to_contain_text(
            "The mirror has no such file. (404 Not Found)"
        )
        assert read_frame_number(visitor.pixels()) == N_FRAMES - 1  # what was there stays, but pale
        expect(visitor.page.locator(".stage img")).to_have_css("opacity", "0.25")
        n = len(visitor.complaints)
        visitor.page.get_by_role("button", name="Play").click()
        expect(visitor.page.get_by_role("button", name="Play")).to_be_visible()
        expect(visitor.page.get_by_role("alert")).to_contain_text("(404 Not Found)")
        assert len(visitor.complaints) > n
        origin.play("/movie.mov")
        visitor.page.get_by_role("button", name="Try again").click()
        visitor.rests_at(1)
        expect(visitor.page.get_by_role("alert")).to_have_count(0)
        assert all("status of 404" in complaint for complaint in visitor.complaints)
        visitor.complaints.clear()


def test_server_that_is_gone_is_told(make_visitor, mirror, tmp_path):
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path) as client:
        visitor = make_visitor(client)
        visitor.frame(2)
        visitor.page.context.set_offline(True)
        visitor.page.keyboard.press("ArrowRight")
        expect(visitor.page.get_by_role("alert")).to_contain_text("The server cannot be reached")
        visitor.page.context.set_offline(False)
        visitor.page.get_by_role("button", name="Try again").click()
        visitor.rests_at(3)
        expect(visitor.page.get_by_role("alert")).to_have_count(0)
        visitor.complaints.clear()


# ---- security


def test_names_are_text(visitor):
    visitor.visit("")
    expect(visitor.page.get_by_role("link", name=ODD, exact=True)).to_be_visible()
    visitor.page.get_by_role("link", name=ODD, exact=True).click()
    expect(visitor.page.locator("h1")).to_have_text(ODD)
    assert visitor.page.locator("b").count() == 0


def test_policy_holds(visitor):
    visitor.frame(1)
    assert visitor.complaints == []
    visitor.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.taken = true";
          document.head.append(script);
          const image = new Image();
          image.src = "https://other.example/pixel.png";
          document.body.append(image);
        }"""
    )
    visitor.page.wait_for_timeout(200)
    assert visitor.page.evaluate("() => window.taken") is None
    assert len(visitor.complaints) == 2
    assert all("Content Security Policy" in complaint for complaint in visitor.complaints)
    visitor.complaints.clear()


# ---- for everybody

UNNAMED = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, [tabindex='0']")]
  .filter((each) => each.checkVisibility())
  .filter((each) => !(each.getAttribute("aria-label") || each.textContent.trim() ||
                      [...(each.labels ?? [])].some((label) => label.textContent.trim())))
  .map((each) => each.outerHTML)"""

PALE = """() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (color) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = color;
    paint.fillRect(0, 0, 1, 1);
    return paint.getImageData(0, 0, 1, 1).data;
  };
  const luminance = ([r, g, b]) => [r, g, b]
    .map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (each) => {
    for (; each; each = each.parentElement) {
      const color = parse(getComputedStyle(each).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255];
  };
  return [...document.body.querySelectorAll("*")]
    .filter((each) => each.checkVisibility() && !each.closest("svg, .unseen, .stage, :disabled, template"))
    .filter((each) => each.matches("input, textarea") ||
                      [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((each) => {
      const [a, b] = [luminance(parse(getComputedStyle(each).color)), luminance(ground(each))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.textContent.trim().slice(0, 40)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


SMALL = """() => [...document.querySelectorAll("main :is(button, input, select, .button)")]
  .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 24)
  .map((each) => each.outerHTML)"""


def look(visitor, kind):
    visitor.visit(WHERE[kind])
    if kind == "movie":
        visitor.rests_at(7)
    if kind == "problem":
        visitor.complaints.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(make_visitor, scheme):
    visitor = make_visitor(color_scheme=scheme)
    page = visitor.page
    for kind in WHERE:
        look(visitor, kind)
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.title().endswith(" · camhd_access")
        for landmark in ("banner", "main", "contentinfo"):
            assert page.get_by_role(landmark).count() == 1, kind
        tags = page.evaluate("() => [...document.querySelectorAll('h1, h2, h3')].map((each) => each.tagName)")
        assert tags[0] == "H1", kind
        assert tags.count("H1") == 1, kind
        assert all(step <= 1 for step in np.diff([int(tag[1]) for tag in tags])), kind
        assert page.evaluate(UNNAMED) == [], kind
        assert page.locator("img:not([alt])").count() == 0, kind
        ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((each) => each.id)")
        assert len(ids) == len(set(ids)), kind
        assert page.evaluate(PALE) == [], kind


@pytest.mark.parametrize("kind", ["month", "movie"])
def test_by_keyboard_alone(visitor, kind):
    look(visitor, kind)
    page = visitor.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("main :is(a[href], button, input, select, textarea, .stage)")]
             .filter((each) => each.checkVisibility() && !each.disabled).length"""
    )
    for _ in range(wanted):
        page.keyboard.press("Tab")
        inside, outline = page.evaluate(
            """() => [document.activeElement.closest("main") !== null,
                      getComputedStyle(document.activeElement).outlineStyle]"""
        )
        assert inside
        assert outline != "none"


@pytest.mark.parametrize("width", [320, 360, 768])
def test_fits_a_phone(make_visitor, width):
    visitor = make_visitor(viewport={"width": width, "height": 740})
    for kind in WHERE:
        look(visitor, kind)
        assert visitor.page.evaluate("() => document.documentElement.scrollWidth") == width, kind
        assert visitor.page.evaluate(SMALL) == [], kind


def test_still_where_motion_is_not_wanted(make_visitor):
    visitor = make_visitor(reduced_motion="reduce")
    visitor.frame(1)
    names = visitor.page.evaluate(
        "() => [...document.querySelectorAll('*')].map((each) => getComputedStyle(each).animationName)"
    )
    assert set(names) == {"none"}
