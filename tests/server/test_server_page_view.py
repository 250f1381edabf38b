"""The page in a real browser: zoom, brightness, stretch, fields, thumbnails, times, and listings."""

import base64
import io
import re
import shutil

import numpy as np
import pytest
from lazycache import MOVIE, running_server
from PIL import Image
from playwright.sync_api import expect

from camhd_access.synthetic import serve_folder, write_archive


@pytest.fixture(scope="module")
def archive_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder / "files", n_frames=40, width=320, height=192)
    return folder


DRAWN = """(selector) => document.querySelector(selector).toDataURL("image/png").split(",")[1]"""


def drawn(visitor, selector):
    """The pixels of a canvas."""
    data = base64.b64decode(visitor.page.evaluate(DRAWN, selector))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def rectangle(page, selector):
    box = page.locator(selector).bounding_box()
    return np.array([box["x"], box["y"], box["width"], box["height"]])


# ---- zoom and pan


def test_zoom_by_keys_and_pan_by_dragging(visitor):
    visitor.frame(5)
    page = visitor.page
    stage = rectangle(page, ".stage")
    assert np.abs(rectangle(page, ".stage img") - stage).max() < 1
    for _ in range(4):
        page.keyboard.press("+")
    x, y, width, height = rectangle(page, ".stage img")
    assert (width, height) == pytest.approx(4 * stage[2:], rel=0.001)
    assert (x + width / 2, y + height / 2) == pytest.approx(stage[:2] + stage[2:] / 2, abs=1)
    expect(page.locator("[data-part=scale]")).to_have_text("4.0\N{MULTIPLICATION SIGN}")
    visitor.drag((160, 96), (200, 116))  # to the right and down, in pixels of the unzoomed image
    moved = rectangle(page, ".stage img")
    assert moved[:2] - (x, y) == pytest.approx(stage[2:] * (40 / 320, 20 / 192), abs=1)
    assert visitor.crop() == (0, 0, 320, 192)
    visitor.drag((10, 10), (310, 180))  # not beyond the edge
    visitor.drag((10, 10), (310, 180))
    assert rectangle(page, ".stage img")[:2] == pytest.approx(stage[:2], abs=1)
    page.keyboard.press("0")
    assert np.abs(rectangle(page, ".stage img") - stage).max() < 1


def test_zoom_by_wheel_keeps_the_place(visitor):
    visitor.frame(5)
    page = visitor.page
    x, y, width, height = rectangle(page, ".stage")
    page.mouse.move(x + width / 4, y + height / 4)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    page.wait_for_selector(".stage.zoomed.pixelated")
    left, top, wide, high = rectangle(page, ".stage img")
    assert wide == pytest.approx(4 * width, rel=0.001)
    assert ((x + width / 4 - left) / wide, (y + height / 4 - top) / high) == pytest.approx(
        (0.25, 0.25), abs=0.005
    )
    page.mouse.wheel(0, 50)
    page.wait_for_function(
        "(top) => document.querySelector('.stage img').getBoundingClientRect().top < top - 40", arg=top
    )
    page.get_by_role("button", name="Fit").click()
    expect(page.locator(".stage.zoomed")).to_have_count(0)
    expect(page.get_by_role("button", name="Zoom out")).to_be_disabled()


def test_select_while_zoomed(visitor):
    visitor.frame(5)
    page = visitor.page
    for _ in range(4):
        page.keyboard.press("+")  # shows the middle quarter: 120 to 200, 72 to 120
    page.keyboard.down("Shift")
    visitor.drag((80, 48), (240, 144))
    page.keyboard.up("Shift")
    assert visitor.crop() == (140, 84, 40, 24)
    selected, image = rectangle(page, ".selection .frame"), rectangle(page, ".stage img")
    assert selected[2] / image[2] == pytest.approx(40 / 320, rel=0.05)


# ---- brightness


def test_brightness_changes_what_is_shown_only(visitor, reader):
    visitor.frame(5)
    page = visitor.page
    page.get_by_label("Brightness").fill("1")
    expect(page.locator(".stage img")).to_have_css("filter", "brightness(2)")
    _, body = visitor.save("PNG")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), reader.read(4)[0])


def test_stretch_shows_ten_bits(visitor, reader):
    visitor.frame(5)
    page = visitor.page
    page.get_by_role("button", name="Stretch").click()
    told = page.locator("[data-part=codes]")
    expect(told).to_contain_text("Luma: black is")
    black, white = map(int, re.findall(r"is (\d+)", told.inner_text()))
    codes = reader.read(4, pix_fmt="gray10le")[0].astype(int)
    tail = 0.002 * codes.size
    assert (codes <= black).sum() > tail >= (codes < black).sum()
    assert (codes >= white).sum() > tail >= (codes > white).sum()
    expected = np.clip(np.rint(255 * (codes - black) / (white - black)), 0, 255)
    found = drawn(visitor, ".stage canvas")
    assert (found == found[..., :1]).all()
    assert np.abs(found[..., 0] - expected).max() <= 1  # halves are rounded in another way
    assert len(np.unique(found[..., 0])) > 100
    page.keyboard.press("ArrowRight")
    visitor.rests_at(6)
    expect(page.locator(".stage canvas")).to_be_visible()
    page.get_by_role("button", name="Stretch").click()
    expect(page.locator(".stage canvas")).to_be_hidden()
    expect(told).to_have_text("")


def test_stretch_shows_the_field_that_is_chosen(visitor, reader):
    visitor.frame(5)
    page = visitor.page
    page.get_by_role("button", name="Stretch").click()
    page.get_by_label("Fields").select_option("Second field")
    canvas = "document.querySelector('.stage canvas')"
    page.wait_for_function(f"() => !{canvas}.hidden && {canvas}.height === 96")
    told = page.locator("[data-part=codes]").inner_text()
    black, white = map(int, re.findall(r"is (\d+)", told))
    codes = reader.read(4, pix_fmt="gray10le", fields=True)[1].astype(int)
    expected = np.clip(np.rint(255 * (codes - black) / (white - black)), 0, 255)
    assert np.abs(drawn(visitor, ".stage canvas")[..., 0] - expected).max() <= 1


def test_deinterlaced_pictures_and_films(visitor):
    visitor.frame(5)
    page = visitor.page
    fields = page.get_by_label("Fields")
    fields.select_option("Deinterlaced")
    page.wait_for_selector('.stage img[src$="frame/5.jpg?quality=90&deinterlace=linear"]')
    page.get_by_label("Speed").select_option("0.25")
    page.get_by_role("button", name="Loop").click()  # it does not end before it is looked at
    page.get_by_role("button", name="Play").click()
    page.wait_for_selector(".stage.playing")
    assert [url for url in visitor.asked if url.endswith("/hls/index.m3u8?deinterlace=linear")]
    assert [url for url in visitor.asked if "/1.m4s?step=1&width=960&deinterlace=linear" in url]
    with page.expect_request(lambda request: "/2.m4s" in request.url and "deinterlace" not in request.url):
        fields.select_option("Both fields")  # while it plays
    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector('.stage img[src$="jpg?quality=90"]')


def test_one_field_is_shown(visitor, reader):
    visitor.frame(5)
    for name, field in (("Second field", 1), ("First field", 0)):
        visitor.page.get_by_label("Fields").select_option(name)
        visitor.page.wait_for_selector(f'.stage img[src$="frame/5.jpg?quality=90&field={field}"]')
        shown = visitor.pixels().astype(int)
        errors = [np.abs(shown - each).mean() for each in reader.read(4, fields=True)]
        assert shown.shape == (96, 320, 3)
        assert np.argmin(errors) == field
        assert errors[field] < 3  # it is a JPEG


# ---- time


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("00:00:01", 1),
        ("0:00:01.5", 16),
        ("2016-11-13 00:00:02", 31),
        ("2016-11-13T00:00:01.34Z", 11),
        ("00:00:02.3 UTC", 40),
    ],
)
def test_go_to_a_time(visitor, text, number):
    visitor.frame(7)
    field = visitor.page.get_by_label("UTC")
    field.fill(text)
    field.press("Enter")
    visitor.rests_at(number)


def test_times_outside_are_told(visitor):
    visitor.frame(7)
    field, note = visitor.page.get_by_label("UTC"), visitor.page.locator(".note")
    for text, told in [
        ("00:04", "This movie is from 00:00:01 to 00:00:02 UTC."),
        ("23:59:59", "This movie is from"),
        ("noon", "A time is written as"),
    ]:
        field.fill(text)
        field.press("Enter")
        expect(note).to_contain_text(told)
    visitor.rests_at(7)
    field.fill("00:00:02")
    field.press("Enter")
    visitor.rests_at(31)
    expect(note).to_have_text("")


def test_thumbnails_over_the_slider(visitor, reader):
    visitor.frame(1)
    page = visitor.page
    sheets = lambda: [url for url in visitor.asked if "/sheet.jpg" in url]  # noqa: E731
    assert not sheets()
    x, y, width, height = rectangle(page, "#scrubber")
    page.mouse.move(x + 0.6 * width, y + height / 2)  # the browser may report it again at any time
    page.wait_for_function(
        """() => {
          const slider = document.getElementById("scrubber");
          const { left, width } = slider.getBoundingClientRect();
          slider.dispatchEvent(new PointerEvent("pointermove", { clientX: left + 0.6 * width }));
          return !document.querySelector(".thumbnail").hidden;
        }"""
    )
    (sheet,) = sheets()
    every = float(re.search(r"every=([\d.]+)", sheet)[1])
    at = int(0.6 * reader.duration / every) * every
    frame = reader.frame_at(at) if at <= reader.duration else 0
    thumbnail = drawn(visitor, ".thumbnail canvas").astype(int)
    assert thumbnail.shape == (96, 160, 3)
    index = int(np.searchsorted(reader.elapsed() / np.timedelta64(1, "s"), at))
    assert abs(index - frame) <= 1
    expected = reader.read(index, reduce=2)[0].astype(int)
    assert np.abs(thumbnail - expected)[25:].mean() < 6  # it is a JPEG; its time is written on top
    page.mouse.move(5, 5)
    expect(page.locator(".thumbnail")).to_be_hidden()


# ---- listings


def test_listings_show_a_lit_frame_and_what_is_wrong_with_a_movie(make_visitor, archive_path, tmp_path):
    (tmp_path / "www").mkdir()
    for path in (archive_path / "files").rglob("*.mov"):
        shutil.copy(path, tmp_path / "www")
    with serve_folder(tmp_path / "www") as mirror, running_server(mirror.url, cache_dir=tmp_path) as client:
        visitor = make_visitor(client)
        visitor.visit("")
        page, rows = visitor.page, visitor.page.locator(".movies li")
        for day, told in [
            ("20180301", "blank: 880 bytes per frame: no picture"),
            ("20161201", "broken: This recording is truncated: the file has no index."),
            ("20160126", "broken: This file is damaged, or not a movie in ProRes, H.264 or HEVC."),
        ]:
            expect(rows.filter(has_text=day).locator("em")).to_have_text(told)
        expect(page.locator(".preview img")).to_have_count(6)
        expect(page.locator("em")).to_have_count(3)
        assert len(visitor.complaints) == 2
        visitor.complaints.clear()
        row = rows.filter(has_text="20161113T000000Z")
        lit = client.get(MOVIE.rpartition("/")[2]).json()["LitFrame"]
        assert lit > 3  # the first ones are dark
        assert row.locator("img").get_attribute("src").endswith(f"00Z.mov/frame/{lit}.jpg?reduce=8")
        row.get_by_role("link").click()
        visitor.rests_at(lit)
        page.get_by_role("button", name="First frame").click()
        visitor.rests_at(1)
        page.reload()  # a link to a frame
        visitor.rests_at(1)


def test_only_movies_in_view_are_previewed_two_at_a_time(make_visitor, tmp_path):
    (tmp_path / "www").mkdir()
    for i in range(100):
        (tmp_path / "www" / f"CAMHDA301-20161113T{i // 60:02d}{i % 60:02d}00Z.mov").touch()
    with serve_folder(tmp_path / "www") as mirror, running_server(mirror.url, cache_dir=tmp_path) as client:
        visitor = make_visitor(client)
        held = []

        def hold(route):  # playwright takes no methods of lists
            held.append(route)

        def wait_for_more(n):
            for _ in range(2000):
                if len(held) > n:
                    return
                visitor.page.wait_for_timeout(10)
            raise AssertionError(f"{n} movies were requested, and no more")

        visitor.page.route(re.compile(r"\.mov$"), hold)
        visitor.visit("")
        links = visitor.page.locator(".movies a")
        in_view = links.evaluate_all(
            "(links) => links.filter((each) => each.getBoundingClientRect().top < innerHeight).length"
        )
        assert 4 < in_view < 60
        for n in range(in_view):
            wait_for_more(n)
            assert len(held) <= n + 2
            held[n].fulfill(json={})
        visitor.page.wait_for_timeout(200)
        assert len(held) == in_view
        links.nth(59).scroll_into_view_if_needed()
        wait_for_more(in_view)


def test_long_listings_are_filtered_and_shown_page_by_page(make_visitor, tmp_path):
    (tmp_path / "www").mkdir()
    names = [f"CAMHDA301-20161113T{i // 60:02d}{i % 60:02d}00Z.mov" for i in range(150)]
    for name in names:
        (tmp_path / "www" / name).touch()
    with serve_folder(tmp_path / "www") as mirror, running_server(mirror.url, cache_dir=tmp_path) as client:
        visitor = make_visitor(client)
        visitor.page.route(re.compile(r"\.mov$"), lambda route: route.fulfill(json={}))  # all files are empty
        visitor.visit("")
        page, links = visitor.page, visitor.page.locator(".movies a")
        assert links.count() == 60
        page.get_by_role("button", name="Show 60 more").click()
        assert links.count() == 120
        expect(links.nth(60)).to_be_focused()
        page.get_by_role("button", name="Show 30 more").click()
        assert [each.rpartition("\n")[2] for each in links.all_inner_texts()] == names
        expect(page.get_by_role("button", name="more")).to_have_count(0)
        page.get_by_label("Filter").fill("T0204 camhda")
        assert [each.rpartition("\n")[2] for each in links.all_inner_texts()] == [names[124]]
        expect(page.locator(".filter")).to_contain_text("1 of 150")
        page.get_by_label("Filter").fill("nothing of the kind")
        assert links.count() == 0
        page.get_by_label("Filter").fill("")
        assert links.count() == 60


def test_short_listings_have_no_filter(visitor):
    visitor.visit(MOVIE.rpartition("/")[0] + "/")
    assert visitor.page.locator(".movies a").count() > 1
    expect(visitor.page.get_by_label("Filter")).to_have_count(0)
