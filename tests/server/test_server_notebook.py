"""The server in notebooks: `camhd_access.serve`, and the launcher of JupyterLab, below the path of a hub."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from html.parser import HTMLParser
from importlib.metadata import entry_points
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import nbformat
import pytest
from lazycache import DAY, MOVIE
from nbclient import NotebookClient
from playwright.sync_api import expect
from running_server import fetch
from webservers import free_port

import camhd_access
from camhd_access.server import notebook as notebook_module
from camhd_access.synthetic import serve_folder

CHROMIUM = "/usr/bin/chromium"
BASE = "/user/jane%40example.org/"
"""The path of a user's server on a hub."""
WAIT = 60_000


@pytest.fixture
def serve(mirror, tmp_path):
    """`serve`, for the archive; all servers are stopped afterwards."""
    started = []

    def serve(*mirrors, **settings):
        options = {"cache_dir": tmp_path / "cache"} | settings
        started.append(camhd_access.serve(*(mirrors or [f"{mirror.url}files/"]), **options))
        return started[-1]

    yield serve
    for each in started:
        each.stop()


class Frames(HTMLParser):
    """The attributes of the frames of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)
        (self.only,) = self.found

    def handle_starttag(self, tag, attributes):
        if tag == "iframe":
            self.found.append(dict(attributes))


# ---- serve


def test_it_serves_until_it_is_stopped(serve, mirror):
    server = serve()
    assert server.is_running
    assert f"{mirror.url}files/" in json.loads(fetch(server.url).body)
    assert repr(server) == f"<NotebookServer http://127.0.0.1:{server.port}/>"
    server.stop()
    server.stop()
    assert not server.is_running
    with pytest.raises(URLError):
        urlopen(server.url)  # noqa: S310 - on loopback
    assert repr(server) == "<NotebookServer stopped>"
    assert "stopped" in server._repr_html_()


def test_the_same_settings_start_one_server(serve, tmp_path):
    first, again, other = serve(), serve(height=300), serve(raw=False)
    assert first.port == again.port != other.port
    assert Frames(again._repr_html_()).only["height"] == "300"
    again.stop()
    assert not first.is_running
    assert other.is_running
    assert serve().is_running


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_was_forked_while_a_server_was_started_starts_its_own(serve):
    with notebook_module._lock:
        child = os.fork()
        if not child:
            try:
                signal.alarm(100)
                with serve() as server:
                    os._exit(0 if fetch(f"{server.url}healthz").body == b"ok" else 1)
            finally:
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_it_is_stopped_at_the_end_of_a_block(serve):
    with serve() as server:
        assert fetch(f"{server.url}healthz").body == b"ok"
    assert not server.is_running


def test_it_is_shown_in_a_frame(serve, monkeypatch):
    server = serve()
    assert Frames(server._repr_html_()).only["src"] == server.url
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", BASE)
    assert Frames(server._repr_html_()).only["src"] == f"{BASE}proxy/{server.port}/"
    chosen = serve(browser_url="https://host/x/{port}/?a=1&b='2'")
    assert Frames(chosen._repr_html_()).only["src"] == f"https://host/x/{server.port}/?a=1&b='2'"


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"ports": 1}, TypeError, "ports"),
        ({"max_pixels": 0}, ValueError, "max_pixels"),
        ({"workers": 2}, ValueError, "workers: not in a notebook"),
        ({"unix_socket": "/tmp/x"}, ValueError, "unix_socket: not in a notebook"),  # noqa: S108 - not made
        ({"file_overlay": "/no/such/folder"}, ValueError, "file_overlay: there is no folder"),
    ],
)
def test_wrong_settings_start_nothing(serve, settings, error, words):
    with pytest.raises(error, match=words):
        serve(**settings)


def test_a_port_in_use_is_told(serve):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="cannot listen on"):
        serve(port=taken.getsockname()[1])


def test_a_notebook_shows_it_and_ends_with_it(mirror, tmp_path):
    notebook = nbformat.v4.new_notebook()
    call = f"camhd_access.serve('{mirror.url}files/', cache_dir='{tmp_path}')"
    start = f"import camhd_access\nserver = {call}\nserver"
    again = start.replace("server = ", "again = ").replace("\nserver", "\nagain.port == server.port")
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in (start, again, "print(server.url)")]
    NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    shown, same, told = (cell.outputs[0] for cell in notebook.cells)
    url = told["text"].strip()
    assert Frames(shown["data"]["text/html"]).only["src"] == url
    assert same["data"]["text/plain"] == "True"
    for _ in range(400):  # the kernel is told to stop, not waited for
        try:
            urlopen(url).close()  # noqa: S310 - on loopback
        except URLError:
            return
        time.sleep(0.05)
    pytest.fail("the server is still running")


# ---- in a browser


@pytest.fixture
def page(browser):
    """A page of the browser; fails the test for errors that the browser reports."""
    page, faults = browser.new_page(), []
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda each: faults.append(each.text) if each.type in ("error", "warning") else None)
    yield page
    page.close()
    assert faults == []


def test_the_frame_of_a_notebook_on_another_port_shows_the_page(serve, page):
    page.set_content(serve()._repr_html_())
    expect(page.frame_locator("iframe").locator("main h1")).to_be_visible(timeout=WAIT)


def test_no_cors_is_no_frame_on_other_sites(serve):
    assert "frame-ancestors" not in fetch_page(serve().url).headers["Content-Security-Policy"]
    policy = fetch_page(serve(cors=False).url).headers["Content-Security-Policy"]
    assert "frame-ancestors 'self'" in policy


def fetch_page(url):
    request = Request(url, headers={"Accept": "text/html"})  # noqa: S310 - on loopback
    return urlopen(request)  # noqa: S310 - on loopback


# ---- behind jupyter-server-proxy


@contextmanager
def running_jupyter(folder, **environment):
    """A Jupyter server below the path of a hub's user; its URL, with that path."""
    pytest.importorskip("jupyter_server_proxy")
    port = free_port()
    command = [
        *(sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root"),
        *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="),
        f"--ServerApp.base_url={BASE}",
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.jpserver_extensions=jupyter_server_proxy=True",
    ]
    own = {f"JUPYTER_{name}": str(folder) for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")}
    log = folder / "jupyter.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | own | environment, cwd=folder
        )
    url = f"http://127.0.0.1:{port}{BASE}"
    try:
        for _ in range(1200):
            try:
                fetch(f"{url}api")
                break
            except (URLError, ConnectionError):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory, archive_path):
    with serve_folder(archive_path) as mirror:
        environment = {
            "CAMHD_MIRRORS": f"{mirror.url}files/",
            "CAMHD_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        }
        with running_jupyter(tmp_path_factory.mktemp("jupyter"), **environment) as url:
            yield url


def test_the_launcher_shows_the_page(jupyter):
    (told,) = (
        each
        for each in json.loads(fetch(f"{jupyter}server-proxy/servers-info").body)["server_processes"]
        if each["name"] == "camhd"
    )
    assert told["launcher_entry"]["title"] == "CamHD movies"
    assert told["launcher_entry"]["enabled"]
    icon = fetch(told["launcher_entry"]["icon_url"].replace(BASE, jupyter, 1))
    assert icon.body.startswith(b"<svg")


def see_a_movie(page, url):
    """Browse from the start to a frame, at a path below that of the hub."""
    page.goto(url)
    expect(page.locator("main h1")).to_be_visible(timeout=WAIT)
    mount = next(iter(json.loads(fetch(url).body).values()))["APIPath"]["V1"]
    assert mount.startswith(re.sub("^http://[^/]+", "", url) + "v1/")
    page.goto(f"{url}#/v1/{mount.partition('/v1/')[2]}{MOVIE}/frame/7")
    page.wait_for_selector('.stage img[data-number="7"]')
    assert page.evaluate("document.querySelector('.stage img').naturalWidth") == 320
    return mount


def test_the_page_works_below_the_path_of_a_hub(jupyter, page):
    mount = see_a_movie(page, f"{jupyter}camhd/")
    info = json.loads(fetch(f"{jupyter.partition(BASE)[0]}{mount}{MOVIE}/iiif/7/info.json").body)
    assert info["id"] == f"{jupyter.partition(BASE)[0]}{mount}{MOVIE}/iiif/7"
    day = fetch(f"{jupyter.partition(BASE)[0]}{mount}{DAY}//")
    assert json.loads(day.body)["Path"] == f"/{DAY}/"
    with pytest.raises(HTTPError, match="404"):
        fetch(f"{jupyter}camhd/no")


def test_a_notebook_on_a_hub_shows_its_server_through_the_proxy(jupyter, serve, page, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", BASE)
    server = serve()
    see_a_movie(page, jupyter.partition(BASE)[0] + server.browser_url)


def test_the_entry_point_imports_no_server():
    (entry,) = entry_points(group="jupyter_serverproxy_servers", name="camhd")
    code = (
        f"import sys; from {entry.module} import {entry.attr}; told = {entry.attr}(); "
        "assert not {'aiohttp', 'prometheus_client', 'numpy', 'camhd_access.server'} & set(sys.modules); "
        "assert told['command'][1:4] == ['-m', 'camhd_access.cli', 'serve']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
