"""Fixtures for the tests of the server: an archive, its mirror, and a client of a server of that mirror."""

import os

import pytest
from lazycache import MOVIE, running_server
from playwright.sync_api import sync_playwright
from visitor import CHROMIUM, Visitor

from camhd_access import MovieReader
from camhd_access.synthetic import serve_folder, write_archive


@pytest.fixture(scope="module")
def archive_path(tmp_path_factory):
    """A folder that holds an archive in `files/`."""
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder / "files", n_frames=12, width=320, height=192)
    return folder


@pytest.fixture
def mirror(archive_path):
    """A web server for that folder."""
    with serve_folder(archive_path) as server:
        yield server


@pytest.fixture
def client(mirror, tmp_path):
    """A client of our server, whose mirror is the archive."""
    with running_server(f"{mirror.url}files/", cache_dir=tmp_path / "cache") as client:
        yield client


@pytest.fixture(scope="module")
def reader(archive_path):
    """The archive's first movie, from disk."""
    return MovieReader(archive_path / "files" / MOVIE)


@pytest.fixture(scope="module")
def browser():
    """Chromium; tests are skipped where it is not installed."""
    if not os.path.exists(CHROMIUM):  # noqa: PTH110 - one name of a program
        pytest.skip(f"{CHROMIUM} is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def make_visitor(browser, client):
    """Makes users of the page, whose browsers must not complain."""
    visitors = []

    def make(client=client, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        visitors.append(Visitor(context.new_page(), client))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.page.context.close()
        assert visitor.complaints == []


@pytest.fixture
def visitor(make_visitor):
    """A user of the page."""
    return make_visitor()
