"""Fixtures for the tests of storage: a world of one remote file, one cache folder and one log."""

import subprocess

import pytest
from rangecache_target import NAME, SIZE, World, make_bytes
from webservers import require


@pytest.fixture
def world(tmp_path):
    """The initial state: nothing is cached."""
    return World(tmp_path)


@pytest.fixture
def data(world):
    """Bytes of the world's file."""
    return world.put(NAME, make_bytes(SIZE))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Paths of a certificate for 127.0.0.1 that no authority signed, and of its key."""
    folder = tmp_path_factory.mktemp("certificate")
    paths = folder / "c.pem", folder / "k.pem"
    subprocess.run(
        [
            *(require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", paths[0], "-keyout", paths[1]),
        ],
        check=True,
        capture_output=True,
    )
    return paths
