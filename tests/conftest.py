"""Shared fixtures: real web servers, and a faulty one."""

import os
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from azurite import running_azurite
from bucket import running_s3
from hypothesis import settings
from oracle import read_by_libav
from origin import running_origin
from webservers import start_apache, start_nginx

from camhd_access.decoding import libav
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.synthetic import serve_folder, write_movie, write_sparse_movie

_numbers = count()

settings.register_profile("any machine", deadline=None)  # a busy one is no failure
settings.load_profile("any machine")

START = {"apache": start_apache, "nginx": start_nginx}

TESTS = Path(__file__).parent
PURE = {"formats", "decoding", "test_architecture.py", "test_ranges.py"}
"""The rooms, and modules, whose tests need bytes and values alone."""


def pytest_ignore_collect(collection_path, config):
    """With `-m pure…` other rooms are not even imported, which takes longer than all pure tests of some."""
    if config.getoption("markexpr").startswith("pure") and collection_path.parent == TESTS:
        return collection_path.name not in PURE or None
    return None


LONGEST = "test_notebooks.py"
"""They begin first, so that no process is left alone with them at the end."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name != LONGEST)
    for item in items:
        if item.path.is_relative_to(TESTS) and item.path.relative_to(TESTS).parts[0] in PURE:
            item.add_marker("pure")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI nothing is skipped: a missing server or missing data fail the test."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr[2]}"
    return report


@pytest.fixture
def sent(monkeypatch):
    """The number of each sample that of H.264 or HEVC that is decoded."""
    numbers = []
    send = libav.SequenceContext.send

    def counting(self, sample, number):
        numbers.append(number)
        return send(self, sample, number)

    monkeypatch.setattr(libav.SequenceContext, "send", counting)
    return numbers


@pytest.fixture(scope="session")
def web_root(tmp_path_factory):
    """The folder that `webserver` serves; tests put their files into folders of their own below it."""
    return tmp_path_factory.mktemp("www")


@pytest.fixture(scope="session", params=START)
def webserver(request, web_root, tmp_path_factory):
    """A real web server, of each kind in turn: see `webservers.WebServer`."""
    with START[request.param](web_root, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
def origin():
    """A web server with selectable misbehaviour: see `origin.Origin`."""
    with running_origin() as running:
        yield running


@pytest.fixture(scope="session")
def s3():
    """An S3 API: see `bucket.S3Server`."""
    with running_s3() as server:
        yield server


@pytest.fixture(scope="session")
def azure(tmp_path_factory):
    """Azure's Blob Storage: see `azurite.AzureServer`."""
    with running_azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory):
    """A separate cache folder, and no proxies or logins in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        patch.setenv("NETRC", os.devnull)
        patch.setenv("CAMHD_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """Filesystems and a cache without state of earlier tests, whose ports may be reused."""
    LazyHTTPFileSystem.clear_instance_cache()
    RangeCacheFileSystem.clear_instance_cache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAMHD_CACHE_DIR", f"{os.environ['CAMHD_CACHE_DIR']}/{next(_numbers)}")
        yield


@pytest.fixture(scope="session")
def movie_path(tmp_path_factory):
    """A movie of 40 numbered frames, 320x192, interlaced, named and timed as one of the camera."""
    path = tmp_path_factory.mktemp("movie") / "CAMHDA301-20161113T000000Z.mov"
    write_movie(path, n_frames=40, width=320, height=192, start_time=np.datetime64("2016-11-13T00:00:03"))
    return path


@pytest.fixture(scope="session")
def movie_by_libav(movie_path):
    """The same movie, read by libav."""
    return read_by_libav(movie_path)


@pytest.fixture(scope="session")
def sparse_path(tmp_path_factory):
    """A movie of 25,000 frames and 13 GB, nearly all of them holes; frames 0 and 7200 are there."""
    path = tmp_path_factory.mktemp("sparse") / "CAMHDA301-20161113T000000Z.mov"
    write_sparse_movie(path, start_time=np.datetime64("2016-11-13T00:00:03"))
    return path


@pytest.fixture
def served_movie(movie_path):
    """The folder of `movie_path` on a small web server that counts what it sends."""
    with serve_folder(movie_path.parent) as server:
        yield server


@pytest.fixture
def movie_url(served_movie, movie_path):
    """URL of the movie on that server."""
    return served_movie.url + movie_path.name
