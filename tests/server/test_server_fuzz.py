"""Fuzzing of the server: requests from its own OpenAPI description, and known attacks.

Whatever is asked, the answer is one that the description tells of, nothing fails inside, no word of the
machine is told, and the mirror is asked for nothing but what lies below its folder.
"""

import json
import re
import socket
from http.client import HTTPResponse
from urllib.parse import quote, unquote

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lazycache import running_server
from origin import running_origin
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from camhd_access.server.declarations import declare_parameters
from camhd_access.server.routes import MIRROR_ROUTES, ROUTES
from camhd_access.synthetic import write_movie

FILES = "/files/"
LISTING = '<title>Index of /files</title><a href="movie.mov">movie.mov</a><a href="notes.txt">notes.txt</a>'


def lists(x):
    x.answer(200, {"Content-Type": "text/html"}, LISTING.encode())


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A mirror with one movie in `/files/`, and a secret beside that folder."""
    path = tmp_path_factory.mktemp("movie") / "movie.mov"
    write_movie(path, n_frames=8, width=256, height=64)
    with running_origin() as origin:
        origin.put(f"{FILES}movie.mov", path.read_bytes())
        origin.put(f"{FILES}notes.txt", b"words")
        origin.put("/secret.mov", path.read_bytes())
        origin.play(FILES, lists, always=True)
        yield origin


@pytest.fixture(scope="module")
def client(origin, tmp_path_factory):
    cache_dir = tmp_path_factory.mktemp("cache")
    with running_server(origin.url + FILES, cache_dir=cache_dir, max_pixels=1 << 20) as client:
        yield client


def check_told(status, headers, content):
    """Errors are problem details that match the status; no response reveals anything about the machine."""
    if status >= 400:
        assert headers["content-type"].startswith("application/problem+json")
        assert json.loads(content)["status"] == status
    told = f"{headers} {content!r}" if status >= 300 else str(headers)
    assert not re.search(r"Traceback|site-packages|/work|/tmp|/home|/root|Error\(|\.py\b", told)


@pytest.fixture(scope="module")
def description(client):
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{client.port}/openapi.json")


def ask_as_described(operation, mode, **known):
    """Make a request that the description of an operation allows, or one that it forbids."""

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(mode, path_parameters=known))
    def ask(case):
        if mode is GenerationMode.NEGATIVE:  # of a number the first digits count, as in go-lazycache
            assume(not re.match("0*[1-9]", unquote(str(case.path_parameters.get("number", "")))))
        # What is allowed in general may still be beyond this movie: its frames, its width and height.
        response = case.call()
        if response.status_code != 414:  # what is too long is refused before it is read
            case.validate_response(response, excluded_checks=[positive_data_acceptance])
        headers = {name: ", ".join(values) for name, values in response.headers.items()}
        check_told(response.status_code, headers, response.content)

    ask()


DECLARED = declare_parameters(1 << 20)
ABOUT_MOVIES = [route for route in MIRROR_ROUTES if ".mov" in route.path]
WITH_NUMBERS = [route for route in ABOUT_MOVIES if route.name in DECLARED or "{number}" in route.path]


@pytest.mark.parametrize("path", [route.path for route in ROUTES])
def test_own_answers_are_those_described(description, path):
    ask_as_described(description[path]["GET"], GenerationMode.POSITIVE)


@pytest.mark.parametrize("path", [route.path for route in MIRROR_ROUTES])
def test_answers_about_any_path_are_those_described(description, client, path):
    ask_as_described(description[client.mount + path]["GET"], GenerationMode.POSITIVE)


@pytest.mark.parametrize("path", [route.path for route in ABOUT_MOVIES])
def test_answers_about_a_movie_are_those_described(description, client, path):
    ask_as_described(description[client.mount + path]["GET"], GenerationMode.POSITIVE, path="movie")


@pytest.mark.parametrize("path", [route.path for route in WITH_NUMBERS])
def test_what_the_description_does_not_allow_is_refused(description, client, path):
    ask_as_described(description[client.mount + path]["GET"], GenerationMode.NEGATIVE, path="movie")


# ---- what no description foresees

PIECES = st.one_of(
    st.sampled_from(
        [
            *("movie.mov", "secret.mov", "notes.txt", "frame", "sample", "1.npy", "frame.mov", "MOVIE.MOV"),
            *(
                ".",
                "..",
                "...",
                "~",
                "%2e%2e",
                "%2E.",
                ".%2e",
                "%252e%252e",
                "..%2f..",
                "..%5c..",
                "..;",
                "..\\",
            ),
            *(
                "%2f",
                "%5c",
                "%00",
                "movie.mov%00.jpg",
                "%0d%0aX-Evil:%201",
                "%c0%ae%c0%ae",
                "%ff",
                "%",
                "%zz",
            ),
            *(
                "%e2%80%ae",
                "%EF%BC%8F",
                "%F0%9F%90%99",
                "http:",
                "http%3a%2f%2fevil.example",
                "@evil.example",
            ),
            *(
                "etc",
                "passwd",
                "C:",
                "file:",
                "",
                "-1",
                "0",
                "9" * 400,
                "x" * 1100,
                "v1",
                "files",
                "page",
                "*",
            ),
        ]
    ),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=8),
    st.text(max_size=4).map(lambda text: quote(text, safe="")),
)
BEGINNINGS = st.sampled_from(
    [
        *(["{mount}", "{mount}movie.mov/", "{mount}movie.mov/frame/", "/", "/v1/"] * 4),
        "\\",
        "http://evil.example/",
    ]
)
ENDS = st.builds(str.join, st.sampled_from(["/", "/", "/", "//", "\\", "%2f"]), st.lists(PIECES, max_size=4))
METHODS = st.sampled_from([*(["GET"] * 8), "HEAD", "OPTIONS", "POST", "DELETE", "TRACE", "get"])
MADE = st.sampled_from(
    ["frame/1", "frame/3.npy", "frame/5.tif", "sample/2", "sheet", "animation.gif", "activity"]
)
PARAMETERS = sorted({each.name for parameters in DECLARED.values() for each in parameters})
VALUES = st.one_of(
    st.integers(-9, 300).map(str),
    st.integers().map(str),
    st.lists(st.integers(-9, 300).map(str), min_size=3, max_size=5).map(",".join),
    st.sampled_from(
        ["1e9", "nan", "inf", "1_0", "%C2%B2", "+1", "0x10", "9" * 900, "1.5", "", "rgb48le", "gray"]
    ),
    PIECES,
)


def ask_raw(port, method, target):
    """Status, headers and content of the answer to a request line that no client would send."""
    request = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=100) as connection:
        connection.sendall(request.encode())
        answer = HTTPResponse(connection, method=method)
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read()


@settings(max_examples=500, deadline=None)
@given(METHODS, st.builds(str.__add__, BEGINNINGS, ENDS))
def test_no_path_does_harm(client, origin, method, target):
    n = len(origin.requests)
    status, headers, content = ask_raw(client.port, method, target.replace("{mount}", client.mount))
    assert status in {200, 204, 301, 302, 400, 404, 405, 414, 422}
    if headers["server"] == "camhd_access" and method != "HEAD":  # else aiohttp finds that it is not HTTP
        check_told(status, headers, content)
    if status == 301:  # to the clean path, on this server
        assert re.match(r"/(?![/\\])", headers["location"])
    if status == 302:
        assert headers["location"] == f"{origin.url}{FILES}notes.txt"
    for request in origin.requests[n:]:
        asked = unquote(request.path)
        assert asked.startswith(FILES)
        assert not {"..", "."} & set(asked.split("/"))
        assert not set("\\%\0") & set(asked)


@settings(max_examples=200, deadline=None)
@given(MADE, st.lists(st.tuples(st.sampled_from(PARAMETERS), VALUES).map("=".join), max_size=3))
def test_no_parameter_does_harm(client, made, parameters):
    status, headers, content = ask_raw(
        client.port, "GET", f"{client.mount}movie.mov/{made}?{'&'.join(parameters)}"
    )
    assert status in {200, 400}
    if headers["server"] == "camhd_access":
        check_told(status, headers, content)
