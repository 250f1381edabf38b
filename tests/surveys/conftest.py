"""The movies of `surveyed`, in a folder and on a web server."""

import pytest
from surveyed import CUT_SHORT, EMPTY, NAMES, write_numbered

from camhd_access.synthetic import serve_folder


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Three good movies, one that was cut short, and an empty one."""
    folder = tmp_path_factory.mktemp("surveyed")
    for n, name in enumerate(NAMES[:3]):
        write_numbered(folder / f"{name}.mov", n)
    write_numbered(folder / f"{CUT_SHORT}.mov", 3, layout="no-moov")
    (folder / f"{EMPTY}.mov").touch()
    return folder


@pytest.fixture
def paths(written):
    """The paths of all five movies."""
    return [str(written / f"{name}.mov") for name in NAMES]


@pytest.fixture
def good(paths):
    """The paths of the good movies."""
    return paths[:3]


@pytest.fixture
def server(written):
    """The movies on a web server that counts requests."""
    with serve_folder(written) as running:
        yield running
