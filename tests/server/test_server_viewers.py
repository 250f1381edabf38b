"""IIIF viewers of other people, in a real browser on another site: OpenSeadragon and Mirador."""

import io
import re

import numpy as np
import pytest
from lazycache import running_server
from PIL import Image
from playwright.sync_api import expect
from viewers import MIRADOR, OPENSEADRAGON, site_of

from camhd_access.synthetic import read_frame_number, serve_folder, write_movie

CHROMIUM = "/usr/bin/chromium"
WIDTH, HEIGHT, N_FRAMES = 1280, 720, 40
WAIT = 40_000


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    write_movie(
        folder / "CAMHDA301-20161113T000000Z.mov",
        n_frames=N_FRAMES,
        width=WIDTH,
        height=HEIGHT,
        start_time=np.datetime64("2016-11-13T00:00:00"),
    )
    with (
        serve_folder(folder) as mirror,
        running_server(mirror.url, cache_dir=tmp_path_factory.mktemp("cache")) as client,
    ):
        yield client


@pytest.fixture
def page(browser):
    """A page of the browser; fails the test for errors of the page, and for requests that fail."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.set_default_timeout(WAIT)
    page.faults, page.answers = [], []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("response", lambda response: page.answers.append((response.status, response.url)))
    yield page
    page.close()
    assert page.faults == []
    assert {status for status, _ in page.answers} <= {200}


def url_of(client, end):
    return f"http://127.0.0.1:{client.port}{client.at('CAMHDA301-20161113T000000Z.mov')}/iiif/{end}"


def asked(page, pattern):
    """The parts that a pattern finds in the addresses of images."""
    return [found.groups() for _, url in page.answers if (found := re.search(pattern, url))]


def test_openseadragon_shows_the_frame_to_the_pixel(client, page, tmp_path):
    start = """
        viewer = OpenSeadragon({id: "viewer", crossOriginPolicy: "Anonymous", showNavigationControl: false,
                                tileSources: "URL"});
        isWhole = () => viewer.world.getItemAt(0)?.getFullyLoaded();
    """.replace("URL", url_of(client, "7/info.json"))
    with site_of(OPENSEADRAGON, start, tmp_path) as site:
        page.goto(site)
        page.wait_for_function("isWhole()")
        shown = np.asarray(Image.open(io.BytesIO(page.locator("#viewer").screenshot())).convert("RGB"))
        assert shown.shape == (HEIGHT, WIDTH, 3)
        assert read_frame_number(shown) == 6
        page.evaluate("viewer.viewport.zoomTo(0.25, null, true)")
        page.wait_for_function("isWhole()")
    tiles = asked(page, r"/iiif/7/(\d+),(\d+),(\d+),\d+/(\d+),\d+/0/default\.jpg")
    corners = {(x, y) for x in ("0", "512", "1024") for y in ("0", "512")}
    assert {(x, y) for x, y, width, shown_width in tiles if width == shown_width} == corners
    scales = {round(int(width) / int(shown_width)) for _, _, width, shown_width in tiles}
    wholes = {round(WIDTH / int(width)) for (width,) in asked(page, r"/iiif/7/full/(\d+),\d+/0/default\.jpg")}
    assert len(scales | wholes) > 1
    assert scales | wholes <= {1, 2, 4, 8}  # those that the decoder makes


def test_mirador_opens_the_manifest(client, page, tmp_path):
    manifest = url_of(client, "manifest.json?every=0.5")
    start = """
        Mirador.viewer({id: "viewer", windows: [{manifestId: "URL", canvasIndex: 1}]});
    """.replace("URL", manifest)
    with site_of(MIRADOR, start, tmp_path) as site:
        with page.expect_response(re.compile(r"/iiif/16/(full|[\d,]+)/[\w,]+/0/default\.jpg")):
            page.goto(site)
        expect(page.get_by_role("region", name="0:00.5 (frame 16)")).to_be_visible(timeout=WAIT)
        with page.expect_response(re.compile(r"/iiif/31/(full|[\d,]+)/[\w,]+/0/default\.jpg")):
            page.get_by_role("button", name="Next item").click()
        expect(page.get_by_role("region", name="0:01.0 (frame 31)")).to_be_visible(timeout=WAIT)
    assert (200, manifest) in page.answers
    assert {number for (number,) in asked(page, r"/iiif/(\d+)/info\.json")} >= {"16", "31"}
