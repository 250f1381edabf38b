"""Fixtures that several test modules share: real web servers, and a faulty one."""

import pytest
from origin import running_origin
from webservers import start_apache, start_nginx

START = {"apache": start_apache, "nginx": start_nginx}


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
    """A web server that misbehaves as it is told: see `origin.Origin`."""
    with running_origin() as running:
        yield running
