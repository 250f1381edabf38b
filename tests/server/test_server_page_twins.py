"""The page in a real browser: masters beside their twins, and the page of a twin."""

import io

import av
import inter_movies
import numpy as np
import pytest
from lazycache import serving
from PIL import Image
from playwright.sync_api import expect

from camhd_access import MovieReader
from camhd_access.synthetic import write_movie

BOTH, TWIN, LAST = (f"CAMHDA301-20161113T{hour}0000Z" for hour in ("00", "03", "06"))
"""A recording with master and twin, one of which only the twin is left, and one without a twin."""

N_FRAMES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "movies"
    folder.mkdir()
    for name in (BOTH, LAST):
        write_movie(folder / f"{name}.mov", n_frames=3, width=256, height=64)
    for name in (BOTH, TWIN):
        (folder / f"{name}.mp4").write_bytes(inter_movies.encode("open groups", N_FRAMES))
    (folder / f"{BOTH}.mp4.md5").write_text("a checksum")
    return folder


@pytest.fixture(scope="module")
def client(folder, tmp_path_factory):
    with serving(folder, tmp_path_factory.mktemp("cache")) as client:
        yield client


def rests_at(visitor, number):
    visitor.page.wait_for_selector(f'.stage img[data-number="{number}"][src$="quality=90"]')


def test_a_recording_is_listed_once_with_a_link_to_its_twin(visitor, folder):
    visitor.visit("")
    page, rows = visitor.page, visitor.page.locator(".movies li")
    expect(rows.locator("span")).to_have_text([f"{BOTH}.mov", f"{TWIN}.mp4", f"{LAST}.mov"])
    expect(rows.nth(1).locator(".preview img")).to_have_count(1)
    expect(page.locator("summary")).to_have_text("Other files (1)")
    index = MovieReader(folder / f"{TWIN}.mp4").index
    keys = np.flatnonzero(index.is_sync)
    number = 1 + next(key for key in keys if index.size[key] >= np.median(index.size[keys]))
    src = rows.nth(1).locator("img").get_attribute("src")
    assert src.endswith(f"{TWIN}.mp4/frame/{number}.jpg?reduce=8")
    page.get_by_role("link", name=f"Twin .mp4: {BOTH}.mp4").click()
    rests_at(visitor, number)
    expect(page.locator(".name")).to_have_text(f"{BOTH}.mp4")


def test_a_frame_of_a_twin(visitor, folder, client):
    frame = MovieReader(folder / f"{BOTH}.mp4").read(17)[0]
    visitor.visit(f"{BOTH}.mp4/frame/18")
    rests_at(visitor, 18)
    assert visitor.pixels().shape == frame.shape
    page = visitor.page
    expect(page.locator("aside dl")).to_contain_text("H.264 (avc1)")
    expect(page.locator("[data-part=scan]")).to_be_hidden()
    page.locator(".stage").focus()
    for key, number in [("ArrowRight", 19), ("End", N_FRAMES), ("Home", 1)]:
        page.keyboard.press(key)
        rests_at(visitor, number)
    visitor.visit(f"{BOTH}.mp4/frame/18?crop=2,4,16,8")
    rests_at(visitor, 18)
    assert visitor.crop() == (2, 4, 16, 8)
    name, body = visitor.save("PNG")
    assert name == f"{BOTH}-frame-000018-2-4-16x8.png"
    np.testing.assert_array_equal(Image.open(io.BytesIO(body)), frame[4:12, 2:18])
    with page.expect_response(lambda each: "pix_fmt=gray16le" in each.url) as response:
        page.get_by_role("button", name="Stretch").click()
    expected = MovieReader(folder / f"{BOTH}.mp4").read(17, pix_fmt="gray16le")[0]
    np.testing.assert_array_equal(np.load(io.BytesIO(response.value.body())), expected)
    expect(page.locator("[data-part=codes]")).to_contain_text("of 65535")


def test_downloads_of_a_twin(visitor, folder):
    visitor.visit(f"{TWIN}.mp4/frame/50")
    rests_at(visitor, 50)
    name, body = visitor.save("H.264 sample")
    assert (name, body) == (
        f"{TWIN}-frame-000050.avc1",
        MovieReader(folder / f"{TWIN}.mp4").read_encoded(49)[0],
    )
    name, body = visitor.save("Clip, H.264")
    assert name == f"{TWIN}-frame-000050.mov"
    with av.open(io.BytesIO(body)) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == N_FRAMES - 49
    name, body = visitor.save("Film, MP4")
    assert name == f"{TWIN}-frame-000050.mp4"
    with av.open(io.BytesIO(body)) as film:
        assert sum(1 for _ in film.decode(video=0)) == N_FRAMES - 49


def test_a_twin_plays(visitor):
    visitor.visit(f"{BOTH}.mp4/frame/1")
    rests_at(visitor, 1)
    visitor.page.keyboard.press("l")
    rests_at(visitor, N_FRAMES)
    assert any(f"{BOTH}.mp4/hls/1.m4s" in url for url in visitor.asked), visitor.asked


def test_thumbnails_of_a_twin(visitor):
    visitor.visit(f"{BOTH}.mp4/frame/1")
    rests_at(visitor, 1)
    box = visitor.page.locator("#scrubber").bounding_box()
    with visitor.page.expect_response(lambda each: f"{BOTH}.mp4/sheet.jpg" in each.url):
        visitor.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visitor.page.wait_for_function("() => document.querySelector('.thumbnail canvas').width > 0")


def test_from_movie_to_movie(visitor):
    """The previous and next movies are of the same kind, if there are such; the other kind is linked."""
    visitor.visit(f"{BOTH}.mp4/frame/1")
    page, name = visitor.page, visitor.page.locator(".name")
    expect(page.get_by_role("link", name="Previous movie")).to_be_hidden()
    page.get_by_role("link", name="Next movie").click()
    expect(name).to_have_text(f"{TWIN}.mp4")
    page.get_by_role("link", name="Next movie").click()
    expect(name).to_have_text(f"{LAST}.mov")
    page.get_by_role("link", name="Previous movie").click()
    expect(name).to_have_text(f"{TWIN}.mp4")
    visitor.visit(f"{BOTH}.mov/frame/1")
    page.get_by_role("link", name="twin (.mp4)").click()
    expect(name).to_have_text(f"{BOTH}.mp4")
    page.get_by_role("link", name="master (.mov)").click()
    expect(name).to_have_text(f"{BOTH}.mov")
    assert page.get_by_role("link", name="whole file").get_attribute("href").endswith(f"/{BOTH}.mov")
