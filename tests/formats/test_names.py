"""Movie names and start times."""

import json

import numpy as np
import pytest
from shared_data import shared_data

from camhd_access.formats.names import StartTime, choose_start_time, find_movie_name

OOI = "https://rawdata.oceanobservatories.org/files/RS03ASHS/PN03B/06-CAMHDA301/2016/11/13"


def ns(text):
    return np.datetime64(text, "ns")


@pytest.mark.parametrize(
    ("urlpath", "basename", "time", "part", "tells_end"),
    [
        (f"{OOI}/CAMHDA301-20161113T000000Z.mov", "20161113T000000Z", "2016-11-13T00:00:00", None, False),
        ("CAMHDA301-20170301T001500.mov?sv=x/y", "20170301T001500", "2017-03-01T00:15:00", None, True),
        ("CAMHDA301-20150709T134200Z_01.mov", "20150709T134200Z_01", "2015-07-09T13:42:00", 1, False),
        ("CAMHDA301-20230116T031500_01", "20230116T031500_01", "2023-01-16T03:15:00", 1, True),
        ("memory://CAMHDA301-20161121T235959.mp4", "20161121T235959", "2016-11-21T23:59:59", None, False),
        ("CAMHDA301-20161122T000000.mov", "20161122T000000", "2016-11-22T00:00:00", None, True),
    ],
)
def test_names_of_all_eras(urlpath, basename, time, part, tells_end):
    name = find_movie_name(urlpath)
    assert (name.basename, name.time_from_name, name.part, name.tells_end) == (
        f"CAMHDA301-{basename}",
        np.datetime64(time, "s"),
        part,
        tells_end,
    )


@pytest.mark.parametrize(
    ("source", "apart", "after", "expected"),
    [
        ("mvhd", 338.0, 0.0, "its clock"),
        ("mvhd", 338.0, -338.0, "its name"),
        ("name", 338.0, 338.0, "its clock"),
        ("name", 338.0, 0.0, "its name"),
        ("mvhd", 61.0, -30.0, "its clock and its name"),
        ("mvhd", 338.0, 3600.0, "neither"),
        ("mvhd", 86_400.0 + 100, 0.0, "its clock"),
        ("name", 2 * 86_400.0, 3.0, "its clock and its name"),  # it tells no day
        ("mvhd", 338.0, None, None),
        ("mvhd", None, 0.0, None),
    ],
)
def test_what_the_timecode_confirms(source, apart, after, expected):
    start = StartTime(ns("2016-03-20T12:05:38"), source, apart, after)
    assert start.timecode_agrees_with == expected
    assert (start.doubt or "").endswith(f"; its timecode agrees with {expected}") == (
        expected is not None and apart > 60
    )


@pytest.mark.parametrize(
    "stem",
    [
        "",
        "movie",
        "CAMHDA301-20161313T000000Z",
        "CAMHDA301-16771231T000000Z",  # before and after the times that nanoseconds hold
        "CAMHDA301-22620101T000000",
        "CAMHDA301-2016",
        "xCAMHDA301",
        "CAMHDA301-20161113T000000Z_001234",
    ],
)
def test_other_names_are_not_guessed_at(stem):
    assert find_movie_name(f"{stem}.mov") is None


def test_names_are_put_in_order_of_time_and_part():
    stems = ["20150716T010015Z_01", "20150716T010015Z_02", "20161122T000000", "20161122T001500"]
    names = [find_movie_name(f"CAMHDA301-{stem}.mov") for stem in stems]
    assert sorted([names[i] for i in (2, 1, 3, 0)], key=lambda name: name.sort_key) == names
    assert names[0].day == "2015-07-16"


def test_a_name_that_tells_the_end_is_corrected_by_the_duration():
    name = find_movie_name("CAMHDA301-20170301T001500.mov")
    assert name.start_time(899.5) == ns("2017-03-01T00:00:00.5")


@pytest.mark.parametrize(
    ("basename", "created", "expected"),
    [
        (
            "CAMHDA301-20161113T000000Z",
            "2016-11-13T00:00:02",
            StartTime(ns("2016-11-13T00:00:02"), "mvhd", 2.0),
        ),
        (
            "CAMHDA301-20161113T000000Z",
            "2016-11-12T00:00:00",
            StartTime(ns("2016-11-12T00:00:00"), "mvhd", -86400.0),
        ),
        (
            "CAMHDA301-20161113T000000Z",
            "1972-01-01T00:00:00",
            StartTime(ns("2016-11-13"), "name", -1415923200.0),
        ),
        ("CAMHDA301-20161113T000000Z", None, StartTime(ns("2016-11-13"), "name", None)),
        ("movie", "2016-11-13T00:00:02", StartTime(ns("2016-11-13T00:00:02"), "mvhd", None)),
        ("movie", None, StartTime(None, "unknown", None)),
        (
            "CAMHDA301-20170301T001500",
            "2017-03-01T00:00:01",
            StartTime(ns("2017-03-01T00:00:01"), "mvhd", 1.0),
        ),
        ("CAMHDA301-20170301T001500", None, StartTime(ns("2017-03-01"), "name", None)),
    ],
)
def test_the_start_is_the_movies_own_unless_that_is_far_off(basename, created, expected):
    creation_time = None if created is None else np.datetime64(created, "s")
    assert choose_start_time(find_movie_name(basename), creation_time, duration_seconds=900) == expected


def test_the_real_archive_agrees_with_its_names():
    """Corrected for their era, names and creation times of the real archive lie minutes apart."""
    catalog = shared_data("camhd_catalog_2018.jsonl")
    rows = [json.loads(line) for line in catalog.read_text().splitlines()]
    names = [find_movie_name(row["filename"]) for row in rows]
    assert all(names)
    apart = []
    for row, name in zip(rows, names, strict=True):
        if row["moov"] and row["timestamp"]:
            duration = 900 if row["frame_count"] > 60_000 else row["frame_count"] * 1001 / 30000
            start = choose_start_time(name, np.datetime64(row["timestamp"], "s"), duration_seconds=duration)
            apart.append((start.disagreement_seconds, start.source))
    assert sum(source == "name" for _, source in apart) <= 20  # clocks that were days off
    agreeing = np.array([abs(seconds) for seconds, source in apart if source == "mvhd"])
    assert np.quantile(agreeing, 0.75) < 60
    assert len(agreeing) > 9000
