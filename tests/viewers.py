"""IIIF viewers of other people, as published at npm, on a site of their own on loopback.

They are in the folder `.viewers`, where CI unpacks them.
"""

import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

VIEWERS = Path(__file__).parent.parent / ".viewers"
OPENSEADRAGON, MIRADOR = (
    "openseadragon/build/openseadragon/openseadragon.min.js",
    "mirador/dist/mirador.min.js",
)

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>viewer</title><link rel="icon" href="data:,">
<style>html, body { margin: 0 } #viewer { position: relative; width: 100vw; height: 100vh }</style>
<div id="viewer"></div><script src="viewer.js"></script><script src="start.js"></script></html>
"""


@contextmanager
def site_of(script, start, folder):
    """The URL of a page, made in `folder`, with a viewer that the JavaScript `start` starts."""
    if not (VIEWERS / script).exists():
        pytest.skip(f"not installed: {script.partition('/')[0]} (see .ci/run)")
    shutil.copy(VIEWERS / script, folder / "viewer.js")
    (folder / "start.js").write_text(start)
    (folder / "page.html").write_text(PAGE)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/page.html"
        finally:
            server.shutdown()
            thread.join()


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
