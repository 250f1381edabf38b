"""Base names and times are accepted instead of URLs, and looked up in the default archive."""

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from commands import run

from camhd_access import MovieReader, open_archive, open_movie, open_movies, open_timelapse, write_clip
from camhd_access.errors import FrameIndexError, RemoteFileNotFoundError
from camhd_access.synthetic import serve_folder, write_movie

NAME = "CAMHDA301-20161113T000000Z"
START = np.datetime64("2016-11-13T00:00:03")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    for hour in (0, 3):
        day = folder / "2016" / "11" / "13"
        day.mkdir(parents=True, exist_ok=True)
        write_movie(
            day / f"CAMHDA301-20161113T0{hour}0000Z.mov",
            n_frames=12,
            width=256,
            height=64,
            start_time=START + np.timedelta64(hour, "h"),
            first_frame_number=100 * hour,
        )
    return folder


@pytest.fixture
def archive(folder, monkeypatch, tmp_path):
    """The default archive, and an empty folder to be in."""
    monkeypatch.setenv("CAMHD_ARCHIVE", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def path(folder):
    return folder / "2016" / "11" / "13" / f"{NAME}.mov"


ADDRESSES = [
    NAME,
    "2016-11-13T00:00:03.1",
    "2016-11-13 00:04",
    "2016-11-13T00:04:00Z",
    "2016-11-12T16:04-08:00",
    dt.datetime(2016, 11, 13, 0, 4, tzinfo=dt.UTC),
    np.datetime64("2016-11-13T00:04"),
    pd.Timestamp("2016-11-13T00:04"),
]


@pytest.mark.parametrize("address", ADDRESSES, ids=str)
def test_a_name_or_a_time_is_the_movie(archive, path, address):
    reader = MovieReader(address)
    assert reader.urlpath == str(path)
    assert reader.n_frames == 12


def test_wherever_movies_are_opened(archive, path):
    expected = open_movie(path).to_numpy()
    np.testing.assert_array_equal(open_movie(NAME).values, expected)
    np.testing.assert_array_equal(xr.open_dataset(NAME, engine="camhd").video.values, expected)
    np.testing.assert_array_equal(xr.open_dataset("2016-11-13T00:04", engine="camhd").video.values, expected)
    both = open_movies([NAME, "2016-11-13T03:04"], progress=False)
    assert both.sizes["time"] == 24
    lapse = open_timelapse(["2016-11-13T03:04", NAME], frame=2, progress=False)
    assert lapse.movie.to_numpy().tolist() == [NAME, "CAMHDA301-20161113T030000Z"]


def test_a_file_of_that_name_stands_before_the_archive(archive, path, tmp_path):
    (tmp_path / NAME).write_bytes(path.read_bytes())
    assert MovieReader(NAME).urlpath == NAME


def test_no_movie_at_that_time_is_an_error_that_names_the_nearest(archive):
    with pytest.raises(RemoteFileNotFoundError, match="nearest"):
        open_movie("2016-11-13T01:30")
    failed = run("info", "2016-11-13T01:30")
    assert failed.exit_code == 1
    assert failed.stderr.startswith("camhd: no movie")


def test_the_archive_is_that_of_the_environment(archive, monkeypatch):
    assert [url.rpartition("/")[2] for url in open_archive().movies()] == [
        f"{NAME}.mov",
        "CAMHDA301-20161113T030000Z.mov",
    ]
    assert len(run("ls").stdout.splitlines()) == 2
    monkeypatch.delenv("CAMHD_ARCHIVE")
    assert open_archive().root.startswith("https://rawdata.oceanobservatories.org/")


def test_a_distant_archive_is_asked_for_two_days_only(folder, monkeypatch, path):
    with serve_folder(folder) as server:
        monkeypatch.setenv("CAMHD_ARCHIVE", server.url)
        assert MovieReader("2016-11-13T00:04", cache=False).n_frames == 12
        assert server.n_requests <= 7


# ---- frames by time


def test_the_frame_of_a_time(archive, path):
    reader = MovieReader(path)
    for frame in (0, 5, 11):
        moment = reader.times()[frame]
        for told in (moment, str(moment), pd.Timestamp(moment).tz_localize("UTC")):
            assert reader.frame_at(told) == frame
    assert reader.frame_at(0.2) == 6
    for duration in (np.timedelta64(200_000_000, "ns"), pd.Timedelta("200ms"), dt.timedelta(seconds=0.2)):
        assert reader.frame_at(duration) == 6
    for moment in ("9999-12-31", np.datetime64("1500-01-01"), "13/11/2016"):
        with pytest.raises(ValueError, match=r"moment='.*' is not a valid time; try '2016-11-13'"):
            reader.frame_at(moment)
    for outside in ("2016-11-13T00:00:02", "2016-11-13T00:00:05"):
        with pytest.raises(FrameIndexError):
            reader.frame_at(outside)


def test_the_command_takes_times(archive, path, tmp_path):
    time = "2016-11-13T00:00:03.2"
    for arguments in ([time], ["--at", time, NAME], ["--at", time, path], ["--at", 0.2, NAME]):
        shown = run("frame", "--json", "-o", tmp_path / "a.png", *arguments)
        assert shown.exit_code == 0, shown.stderr
        facts = json.loads(shown.stdout)
        assert (facts["frame"], facts["url"]) == (6, str(path))
    assert run("frame", "--frame", 3, "-o", tmp_path / "a.png", time).stdout.endswith("frame 3 of 12\n")
    clip = run("clip", "--from", time, "--to", "2016-11-13T00:00:03.3", "-o", tmp_path / "a.mov", NAME)
    assert clip.stdout.endswith("3 of 12 frames\n")
    assert run("sheet", "-o", tmp_path / "b.png", time).exit_code == 0
    assert json.loads(run("info", "--json", NAME).stdout)["url"] == str(path)


@pytest.mark.parametrize("at", ["2016-13-40T00:00", "13-11-2016", "2016-11", "now-1"])
def test_what_is_no_time_is_refused(archive, at):
    refused = run("frame", "--at", at, NAME)
    assert refused.exit_code in (1, 2), refused.stdout
    assert "is not a valid time" in refused.stderr or "not a valid" in refused.stderr


def test_a_clip_by_name(archive, path, tmp_path):
    write_clip(MovieReader(NAME), [3], tmp_path / "a.mov", progress=False)
    assert MovieReader(tmp_path / "a.mov").read_encoded([0]) == MovieReader(path).read_encoded([3])
