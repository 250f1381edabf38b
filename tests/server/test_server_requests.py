"""Validation of requests: paths, queries and headers are accepted or rejected before any work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, MultiDict

from camhd_access.server import ServerSettings
from camhd_access.server.mirrors import find_place, open_mirrors, split_path
from camhd_access.server.parameters import parse_clip, parse_film, parse_frame, parse_hls, parse_sheet
from camhd_access.server.problems import Problem
from camhd_access.server.routes import describe_api

SETTINGS = ServerSettings()
NOTHING = MultiDict()


def unless_refused(parse):
    """The result of `parse`; None if it rejects the request as a client error."""
    try:
        return parse()
    except Problem as problem:
        if problem.status not in (400, 414):
            raise
        return None


@pytest.fixture(scope="module")
def mirrors():
    urls = (
        "https://rawdata.oceanobservatories.org/files/",
        "https://Host.example:8000/files/a b/",
        "http://h/",
    )
    return open_mirrors(ServerSettings(mirrors=urls))


def test_mounts(mirrors):
    assert [mirror.mount_path for mirror in mirrors] == [
        "/v1/org/oceanobservatories/rawdata/files/",
        "/v1/example:8000/host/files/a%20b/",
        "/v1/h/",
    ]


def test_no_mirror_hides_another():
    with pytest.raises(ValueError, match="/v1/h/a/"):
        open_mirrors(ServerSettings(mirrors=("https://h/a/", "http://h/a/")))


def test_places(mirrors):
    place = find_place("/v1/org/oceanobservatories/rawdata/files/A/b%20c.mov", mirrors)
    assert (place.mirror, place.names, place.path) == (mirrors[0], ("A", "b c.mov"), "/A/b c.mov")
    assert place.mirror.url_of(place.names) == f"{mirrors[0].url}A/b%20c.mov"
    assert find_place("/v1/example%3A8000/host/files/a%20b", mirrors).is_folder


@pytest.mark.parametrize("path", ["/v1/org/oceanobservatories/rawdata/x", "/v2/h/", "/v1/H/", "/v1"])
def test_places_of_no_mirror(mirrors, path):
    with pytest.raises(Problem) as caught:
        find_place(path, mirrors)
    assert caught.value.status == 404


@given(st.text(max_size=60))
def test_any_path_is_plain_names_or_refused(text):
    names = unless_refused(lambda: split_path("/" + text)) or ()
    assert not any(set(name) & set("/\\%\0\r\n") or name in ("", ".", "..") for name in names)


@given(st.lists(st.sampled_from(["..", ".", "%2e", "%2E", "%2f", "%5c", "%", "25", "a", "/", "\\", "%00"])))
def test_no_path_leads_up(parts):
    names = unless_refused(lambda: split_path("/v1/h/" + "".join(parts))) or ()
    assert all(name not in (".", "..") and name == name.replace("/", "").replace("\\", "") for name in names)


WORDS = st.one_of(
    st.text(max_size=12), st.integers().map(str), st.sampled_from(["1", "8", "0,0,4,4", "1e9", "nan"])
)
NAMES = st.sampled_from(
    [
        "width",
        "height",
        "crop",
        "reduce",
        "field",
        "pix_fmt",
        "quality",
        "every",
        "columns",
        "start",
        "stop",
        "fps",
    ]
)
QUERIES = st.dictionaries(NAMES, WORDS, max_size=3).map(MultiDict)


@given(st.text(max_size=12), QUERIES, st.dictionaries(st.just("X-lazycache-output-width"), WORDS))
def test_any_frame_is_bounded_or_refused(name, query, headers):
    wanted = unless_refused(lambda: parse_frame(name, query, CIMultiDict(headers), SETTINGS))
    if wanted is not None:
        assert wanted.number >= 1
        assert (wanted.width or 1) * (wanted.height or 1) <= SETTINGS.max_pixels


@given(st.sampled_from(["", "jpg", "png", "mp4", "gif", "x"]), QUERIES)
def test_any_sheet_or_film_is_bounded_or_refused(extension, query):
    for parse in (
        lambda: parse_sheet(extension, query, SETTINGS),
        lambda: parse_film(extension, query, SETTINGS),
    ):
        wanted = unless_refused(parse)
        assert wanted is None or 16 <= wanted.width <= 1920


def test_keys_tell_requests_apart():
    queries = [
        {},
        {"width": "5"},
        {"height": "5"},
        {"crop": "0,0,5,5"},
        {"reduce": "8"},
        {"field": "0"},
        {"field": "1"},
    ]
    names = ["1.jpg", "2.jpg", "1.png", "1.jpeg"]
    asked = [(name, query) for name in names for query in queries] + [("1.jpg", {"quality": "50"})]
    keys = {parse_frame(name, MultiDict(query), {}, SETTINGS).key for name, query in asked}
    assert len(keys) == len(asked)


def test_what_is_usual_has_one_key():
    plain = parse_frame("1", NOTHING, {}, SETTINGS)
    assert plain.key == parse_frame("0001.png", MultiDict(reduce="1"), {}, SETTINGS).key


def cases_of(schema):
    """Texts that a schema allows, and texts that it does not."""
    if "enum" in schema:
        return [str(value) for value in schema["enum"]], ["-1", "x"]
    if "pattern" in schema:
        return ["1,2,3,4"], ["1,2,3", "a"]
    least, most = schema["minimum"], schema["maximum"]
    return [str(least), str(most)], [str(least - 1), str(most + 1)]


@pytest.mark.parametrize("max_pixels", [300, 16000, 4096 * 4096])
def test_the_document_has_the_bounds_of_the_parser(mirrors, max_pixels):
    settings = ServerSettings(max_pixels=max_pixels)
    parsers = {
        "frame/{number}.{extension}": lambda query: parse_frame(
            "1.npy" if "pix_fmt" in query else "1.jpg", query, {}, settings
        ),
        "sheet": lambda query: parse_sheet("", query, settings),
        "animation": lambda query: parse_film("", query, settings),
        "hls/index.m3u8": lambda query: parse_hls("index.m3u8", query, settings)[1],
        "clip/{numbers}.mov": lambda query: parse_clip("1-1.mov", query, settings),
    }
    paths = describe_api(mirrors, settings)["paths"]
    for route, parse in parsers.items():
        declared = paths[f"{mirrors[0].mount_path}{{path}}.mov/{route}"]["get"]["parameters"]
        for parameter in (each for each in declared if each["in"] == "query"):
            name, schema = parameter["name"], parameter["schema"]
            good, bad = cases_of(schema)
            for text in good:
                parse(MultiDict({name: text}))
            for text in bad:
                with pytest.raises(Problem, match=name):
                    parse(MultiDict({name: text}))
            if "default" in schema:
                assert parse(MultiDict({name: str(schema["default"])})).key == parse(NOTHING).key
