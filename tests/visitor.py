"""A user of the web page, in a real browser."""

import base64
import io

import numpy as np
from lazycache import MOVIE
from PIL import Image
from playwright.sync_api import expect

from camhd_access.synthetic import read_frame_number

CHROMIUM = "/usr/bin/chromium"

PIXELS = """() => {
  const image = document.querySelector(".stage img");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""


class Visitor:
    """A browser user, and the errors reported by the browser."""

    def __init__(self, page, client):
        self.page = page
        self.client = client
        self.complaints = []
        self.asked = []
        page.set_default_timeout(20_000)
        page.on("console", lambda message: self._listen(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def _listen(self, kind, text):
        if kind in ("error", "warning"):
            self.complaints.append(text)

    @property
    def origin(self):
        return f"http://127.0.0.1:{self.client.port}"

    def visit(self, path):
        """Open the page at a place of the mirror, afresh."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.origin}/#{self.client.mount}{path}")
        expect(self.page.locator("main h1")).to_be_visible()

    def frame(self, number, movie=MOVIE):
        """Open the page at a frame of a movie, and wait for it."""
        self.visit(f"{movie}/frame/{number}")
        self.rests_at(number)

    def rests_at(self, number):
        """The whole frame of that number is shown: in its pixels, and wherever the page tells it."""
        self.page.wait_for_selector(f'.stage img[data-number="{number}"][src$="quality=90"]')
        assert self.pixels().shape == (192, 320, 3)
        assert read_frame_number(self.pixels()) == number - 1
        assert self.page.get_by_label("Frame", exact=True).input_value() == str(number)
        assert self.page.get_by_label("Position in the movie").input_value() == str(number)
        assert f".mov/frame/{number}" in self.page.url

    def pixels(self):
        """The picture that is shown."""
        data = base64.b64decode(self.page.evaluate(PIXELS))
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def save(self, name):
        """Name and bytes of a download."""
        with self.page.expect_download() as download:
            self.page.get_by_role("link", name=name, exact=True).click()
        return download.value.suggested_filename, download.value.path().read_bytes()

    def drag(self, start, stop):
        """Drag on the picture, from and to pixels of the movie."""
        box = self.page.locator(".stage").bounding_box()
        (x0, y0), (x1, y1) = (
            (box["x"] + x * box["width"] / 320, box["y"] + y * box["height"] / 192) for x, y in (start, stop)
        )
        self.page.mouse.move(x0, y0)
        self.page.mouse.down()
        self.page.mouse.move((x0 + x1) / 2, y1, steps=3)
        self.page.mouse.move(x1, y1)
        self.page.mouse.up()

    def crop(self):
        return tuple(
            int(self.page.get_by_label(name, exact=True).input_value())
            for name in ("Left", "Top", "Width", "Height")
        )
