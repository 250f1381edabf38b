"""Fixtures for the tests of storage: a world of one remote file, one cache folder and one log."""

import pytest
from rangecache_target import NAME, SIZE, World, make_bytes


@pytest.fixture
def world(tmp_path):
    """The initial state: nothing is cached."""
    return World(tmp_path)


@pytest.fixture
def data(world):
    """Bytes of the world's file."""
    return world.put(NAME, make_bytes(SIZE))
