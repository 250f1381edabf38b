"""The calls documented by pycamhd-lazycache: requests and responses."""

import io
import json
import re
import urllib.parse
import urllib.request

import numpy as np
import pytest
from lazycache import DAY, MOVIE, running_server
from PIL import Image

from camhd_access import MovieReader
from camhd_access.synthetic import serve_folder, write_archive


@pytest.fixture(scope="module")
def archive_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder / "files", n_frames=4, width=320, height=192)
    return folder


@pytest.fixture
def base(archive_path, tmp_path):
    """The client's server URL, without a trailing slash."""
    with (
        serve_folder(archive_path) as mirror,
        running_server(f"{mirror.url}files/", cache_dir=tmp_path) as client,
    ):
        yield f"http://127.0.0.1:{client.port}{client.mount}".rstrip("/")


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=100) as answer:  # noqa: S310 - http, to this machine
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def get_metadata(url):
    """A dict, or None when the status is not 200."""
    status, body = get(url)
    return json.loads(body) if status == 200 else None


def get_frame(url, number, format="np", width=None, height=None):  # noqa: A002 - as the client has it
    """`…/frame/<number>` and an extension but for arrays, which come raw and fall back to PNG on 501."""
    parts = urllib.parse.urlsplit(url)
    extension = {"np": ".rgba", "Image": ".rgba"}.get(format, f".{format}")
    query = f"width={width}&height={height}" if width else ""
    asked = parts._replace(path=f"{parts.path}/frame/{number}{extension}", query=query)
    status, body = get(urllib.parse.urlunsplit(asked))
    assert status == 200
    if format == "np":
        return np.frombuffer(body, np.uint8).reshape(height or 192, width or 320, 4)
    return Image.open(io.BytesIO(body))


def test_get_dir_of_a_url_without_a_slash(base):
    assert get_metadata(base)["Directories"] == ["RS03ASHS"]
    assert get_metadata(f"{base}/{DAY}")["Path"] == f"/{DAY}/"


def test_find_walks_folders_by_joining_names(base):
    def find(url):
        listing = get_metadata(url)
        found = [f"{url}{name}" for name in listing["Files"] if re.search("mov$", name)]
        return found + [each for name in listing["Directories"] for each in find(f"{url}{name}/")]

    assert len(find(f"{base}/")) == 9
    assert f"{base}/{MOVIE}" in find(f"{base}/")


def test_get_metadata(base):
    told = get_metadata(f"{base}/{MOVIE}")
    assert told["NumFrames"] == 4
    assert told["URL"] == f"/{MOVIE}"
    assert get_metadata(f"{base}/{DAY}/nix.mov") is None


def test_convert_basename_leads_to_the_movie(base):
    name = "CAMHDA301-20161113T000000Z"
    year, month, day = re.match(r"CAMHDA301-(\d{4})(\d{2})(\d{2})T\d{6}Z", name).groups()
    assert get_metadata(f"{base}/RS03ASHS/PN03B/06-CAMHDA301/{year}/{month}/{day}/{name}.mov") is not None


@pytest.mark.parametrize("format", ["png", "jpg", "jpeg", "bmp"])
def test_get_frame_as_image(base, format):  # noqa: A002 - as the client has it
    assert get_frame(f"{base}/{MOVIE}", 2, format).size == (320, 192)


def test_get_frame_as_array(base, archive_path):
    expected = MovieReader(archive_path / "files" / MOVIE).read([1])[0]
    found = get_frame(f"{base}/{MOVIE}", 2)
    np.testing.assert_array_equal(found[..., :3], expected)
    assert get_frame(f"{base}/{MOVIE}", 2, width=160, height=90).shape == (90, 160, 4)


def test_hundred_clients_get_the_same_metadata(base):
    assert len({get(f"{base}/{MOVIE}") for _ in range(100)}) == 1
