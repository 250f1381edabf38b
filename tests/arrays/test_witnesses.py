"""Other sources of times: the timecode, and edit lists that hide or delay frames."""

import atoms
import numpy as np
import pytest
import xarray as xr
from commands import run

from camhd_access import MovieReader, open_movie, open_movies, open_timelapse, write_clip
from camhd_access.synthetic import serve_folder, write_movie

FAST = "CAMHDA301-20160320T120000Z"
RIGHT = "CAMHDA301-20161113T000000Z"
SMALL = {"n_frames": 4, "width": 320, "height": 192}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    write_movie(folder / f"{FAST}.mov", start_time=np.datetime64("2016-03-20T12:05:38"), **SMALL)
    write_movie(folder / f"{RIGHT}.mov", start_time=np.datetime64("2016-11-13T00:00:02"), **SMALL)
    write_movie(folder / "none.mov", timecode=False, start_time=np.datetime64("2016-11-14"), **SMALL)
    return folder


@pytest.fixture(scope="module")
def edited(tmp_path_factory, folder):
    """The path of a movie whose first frame is hidden, and whose others are delayed by half a second."""
    samples = MovieReader(folder / f"{RIGHT}.mov").read_encoded(slice(None))
    track = atoms.Track(
        samples, entry=atoms.video_entry("apcn", 320, 192), edits=[(300, -1, 1), (1000, 1001, 1)]
    )
    path = tmp_path_factory.mktemp("edited") / "CAMHDA301-20161114T000000Z.mov"
    created = int((np.datetime64("2016-11-14") - np.datetime64("1904-01-01")) / np.timedelta64(1, "s"))
    path.write_bytes(atoms.movie([track], header=atoms.mvhd(timescale=600, creation=created)))
    return path


# ---- timecode


def test_a_local_movie_carries_how_far_its_timecode_is_from_its_start(folder):
    assert open_movie(folder / f"{RIGHT}.mov").timecode_disagreement_seconds == 0
    by_name = open_movie(folder / f"{FAST}.mov", clock="name")
    assert by_name.timecode_disagreement_seconds == by_name.time_disagreement_seconds == 338
    assert np.isnan(open_movie(folder / "none.mov").timecode_disagreement_seconds)


def test_the_warning_tells_what_the_timecode_confirms(folder):
    with pytest.warns(UserWarning, match=r"338 s later than its name; its timecode agrees with its clock; "):
        movie = open_movie(folder / f"{FAST}.mov")
    assert movie.timecode_disagreement_seconds == 0


@pytest.mark.filterwarnings("ignore:.*its timecode agrees with its clock")
def test_of_a_server_the_timecode_is_read_where_clock_and_name_differ(folder):
    with serve_folder(folder) as server:
        right = open_movie(f"{server.url}{RIGHT}.mov", cache=False)
        assert server.n_requests == 1
        assert np.isnan(right.timecode_disagreement_seconds)
        n_bytes = server.n_bytes_sent
        fast = open_movie(f"{server.url}{FAST}.mov", clock="mvhd", cache=False)
        assert server.n_requests == 3
        assert fast.timecode_disagreement_seconds == 0
        index_bytes = min(512 * 1024, MovieReader(folder / f"{FAST}.mov").file_size)
        assert server.n_bytes_sent - n_bytes == index_bytes + 4
        lapse = open_timelapse(
            [f"{server.url}{name}.mov" for name in (FAST, RIGHT)], frame=0, cache=False, progress=False
        )
    np.testing.assert_array_equal(lapse.timecode_disagreement_seconds, [0, np.nan])


# ---- edit lists


def test_frames_are_delayed_and_marked_as_the_edit_list_says(edited):
    movie = open_movie(edited)
    assert movie.hidden.values.tolist() == [1, 0, 0, 0]
    half = np.timedelta64(500_000_000, "ns")
    ticks = np.arange(4) * 1001
    expected = (
        np.datetime64("2016-11-14", "ns") + half + np.rint(ticks / 30_000 * 1e9).astype("timedelta64[ns]")
    )
    np.testing.assert_array_equal(movie.time, expected)
    assert movie[movie.hidden.values == 0].frame.values.tolist() == [1, 2, 3]
    reader = MovieReader(edited)
    assert reader.frame_at(0.5 + 3 * 1001 / 30_000) == reader.frame_at("2016-11-14T00:00:00.600") == 3
    assert (
        "delay:          0.500 s from the start to the first frame (edit list)\n"
        in run("info", edited).stdout
    )
    assert "hidden frames:  1 are not shown by players\n" in run("info", edited).stdout


def test_a_clip_keeps_delayed_times(edited, tmp_path):
    write_clip(MovieReader(edited), slice(1, None), tmp_path / "clip.mov", progress=False)
    np.testing.assert_array_equal(open_movie(tmp_path / "clip.mov").time, open_movie(edited).time[1:])


def test_movies_with_and_without_hidden_frames_are_joined(edited, folder):
    with_some, without = open_movie(edited), open_movie(folder / f"{RIGHT}.mov")
    expected = [0] * 4 + [1] + [0] * 3
    assert (
        xr.concat([without, with_some], "time", coords="different", compat="equals").hidden.values.tolist()
        == expected
    )
    joined = open_movies([edited, folder / f"{RIGHT}.mov"], progress=False)
    assert joined.hidden.values.tolist() == expected
