"""Files of go-multimov and go-frameset: read, checked, and converted to arrays."""

import json

import numpy as np
import pytest

from camhd_access import (
    FrameIndexError,
    MissingMoovError,
    open_movie,
    open_movies,
    open_timelapse,
    read_frameset,
    read_multimov,
)
from camhd_access.synthetic import read_frame_number, serve_folder, write_movie

NAMES = ["CAMHDA301-20160710T000000Z.mov", "CAMHDA301-20160710T030000Z.mov"]


@pytest.fixture(scope="module")
def movies(tmp_path_factory):
    """A folder of two movies; frames of the second count from 100."""
    folder = tmp_path_factory.mktemp("multimov")
    for i, name in enumerate(NAMES):
        start = np.datetime64("2016-07-10T00:00:00") + np.timedelta64(3 * i, "h")
        write_movie(
            folder / name, n_frames=20, width=256, height=64, start_time=start, first_frame_number=100 * i
        )
    return folder


def multimov(*order, **more):
    """A file as written by go-multimov, including its unused durations in nanoseconds."""
    listed = {
        str(i): {"ShortName": name, "Relapath": name, "NumFrames": 20, "Duration": 667_333_333}
        for i, name in enumerate(NAMES)
    }
    sequence = [{"FrameOffset": 20 * n, "Hash": str(i)} for n, i in enumerate(order)]
    return {"Version": "0.1", "Movies": listed, "Sequence": sequence} | more


@pytest.fixture
def write(tmp_path):
    def write_json(content, name="list.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_json


@pytest.mark.parametrize("content", [{}, {"Version": "0.1"}])
def test_empty_lists(write, content):
    assert read_multimov(write(content)).movies == ()
    assert read_multimov(write(content)).n_frames == 0


def test_movies_lie_beside_the_list(write, tmp_path):
    found = read_multimov(write(multimov(0, 1)))
    assert found.movies == tuple(str(tmp_path / name) for name in NAMES)
    assert found.lengths == (20, 20)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("/data/movies", "/data/movies/"),
        ("https://host/files/", "https://host/files/"),
        ("../movies", "{parent}/movies/"),
        ("", "{folder}/"),
    ],
)
def test_base_folder(write, tmp_path, base, expected):
    (movie,) = read_multimov(write(multimov(0, BaseDir=base))).movies
    assert movie == expected.format(parent=tmp_path.parent, folder=tmp_path) + NAMES[0]


def test_paths_are_cleaned_and_short_names_serve(write, tmp_path):
    content = multimov(0, 1)
    content["Movies"]["0"]["Relapath"] = "sub/./../other/a.mov"
    del content["Movies"]["1"]["Relapath"]
    assert read_multimov(write(content)).movies == (f"{tmp_path}/other/a.mov", f"{tmp_path}/{NAMES[1]}")


def test_list_on_a_server(movies):
    (movies / "list.json").write_text(json.dumps(multimov(1, 0)))
    with serve_folder(movies) as server:
        found = read_multimov(server.url + "list.json")
        assert found.movies == (server.url + NAMES[1], server.url + NAMES[0])
        assert open_movies(found.movies, progress=False).sizes["time"] == 40


def test_the_same_movie_may_repeat(write, movies):
    found = read_multimov(write(multimov(0, 0, 1, 0, BaseDir=str(movies))))
    assert found.n_frames == 80
    paths, frames = found.locate([0, 19, 20, 39, 40, 79])
    assert frames == [0, 19, 0, 19, 0, 19]
    assert [path.endswith(NAMES[1]) for path in paths] == [False, False, False, False, True, False]
    assert found.locate(41) == ([str(movies / NAMES[1])], [1])


@pytest.mark.parametrize("frame", [-1, 40])
def test_no_frame_outside(write, frame):
    with pytest.raises(FrameIndexError, match=f"no frame {frame}: there are frames 0 to 39"):
        read_multimov(write(multimov(0, 1))).locate([0, frame])


def test_frames_of_a_list_are_read(write, movies):
    found = read_multimov(write(multimov(1, 0, BaseDir=str(movies))))
    paths, frames = found.locate([5, 25])
    video = open_timelapse(paths, frame=frames, pix_fmt="gray", progress=False)
    assert [read_frame_number(picture) for picture in video.to_numpy()] == [5, 105]  # in order of time


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Sequence": [{"FrameOffset": 0, "Hash": "77"}]}, "a movie '77', which is not listed"),
        ({"Sequence": [{"FrameOffset": 5, "Hash": "0"}]}, "said to follow 5 frames; there are 0 before it"),
        (
            {"Sequence": [{"FrameOffset": 0}]},
            r"list\.json does not have the expected format: it lacks 'Hash'",
        ),
        ({"Movies": {"0": {"ShortName": "a.mov"}}}, "it lacks 'NumFrames'"),
        ({"BaseDir": 5}, "not have the expected format"),
    ],
)
def test_lists_that_contradict_themselves(write, change, message):
    with pytest.raises(ValueError, match=message):
        read_multimov(write(multimov(0) | change))


@pytest.mark.parametrize("read", [read_multimov, read_frameset])
@pytest.mark.parametrize("content", ["", "[1]", "<html>"])
def test_what_is_no_list(write, read, content):
    with pytest.raises(ValueError, match=r"list\.json"):
        read(write(content))


GOOD = {
    "Source": NAMES[0],
    "NumFrames": 70,
    "Chunks": [
        {"Name": "third", "Frames": [31, 30]},
        {"Name": "first", "Frames": [1, 7, 3], "Description": "the beginning"},
        {"Name": "second", "Start": 20, "End": 30},
        {"Name": "fifth", "Start": 60, "End": 65},
        {"Name": "fourth", "Start": 50, "End": 60},
    ],
}
"""Like the ancestors' `good_frameset.json`: 5 chunks that begin at 1, 20, 30, 50 and 60, 30 frames in all.
Their test has a constant of 31; by their own rules it is 30."""


def test_frames_count_from_0_and_are_sorted(write, tmp_path):
    found = read_frameset(write(GOOD))
    assert found.sequence.movies == (str(tmp_path / NAMES[0]),)
    assert list(found.chunks) == ["first", "second", "third", "fourth", "fifth"]
    assert [list(frames) for frames in found.chunks.values()] == [
        [0, 2, 6],
        [*range(19, 29)],
        [29, 30],
        [*range(49, 59)],
        [*range(59, 64)],
    ]
    assert sum(map(len, found.chunks.values())) == 30
    assert found.descriptions["first"] == "the beginning"
    assert found.descriptions["third"] == ""


def test_open_chunks_end_where_the_next_begins(write):
    chunks = [{"Name": "b", "Start": 40}, {"Name": "a", "Start": 10, "End": 0}]
    found = read_frameset(write(GOOD | {"Chunks": chunks})).chunks
    assert (found["a"][[0, -1]].tolist(), found["b"][[0, -1]].tolist()) == ([9, 38], [39, 69])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Source": ""}, "is not a frameset: it has no Source"),
        ({"Chunks": [{"Name": "x", "Start": 1, "Frames": [2]}]}, "'x' must have either Frames or Start"),
        ({"Chunks": [{"Name": "x"}]}, "'x' must have either Frames or Start"),
        ({"Chunks": [{"Name": "x", "Start": 1}, {"Name": "x", "Start": 2}]}, "the same name"),
        ({"Chunks": [{"Start": 1}]}, r"list\.json does not have the expected format: it lacks 'Name'"),
        ({"Chunks": [{"Name": "x", "Start": "1"}]}, "not have the expected format: 'str'"),
        ({"Chunks": [{"Name": "x", "Frames": [1.5]}]}, "not have the expected format: 'float'"),
        ({"Chunks": [{"Name": "x", "Frames": [10**30]}]}, "not have the expected format"),
        ({"Chunks": {"x": [1]}}, "not have the expected format"),
        ({"NumFrames": "70"}, "not have the expected format: 'str'"),
    ],
)
def test_framesets_that_contradict_themselves(write, change, message):
    with pytest.raises(ValueError, match=message):
        read_frameset(write(GOOD | change))


@pytest.mark.parametrize("frames", [{"Frames": [71]}, {"Frames": [-2]}, {"Start": 70, "End": 10**12}])
def test_frameset_of_frames_that_are_not_there(write, frames):
    with pytest.raises(FrameIndexError):
        read_frameset(write(GOOD | {"Chunks": [{"Name": "x"} | frames]}))


@pytest.mark.parametrize("chunks", [[], None])
def test_frameset_of_nothing(write, chunks):
    found = read_frameset(write(GOOD | {"Chunks": chunks}))
    assert (found.sequence.n_frames, dict(found.chunks)) == (70, {})


def test_frameset_of_a_movie(write, movies, monkeypatch):
    monkeypatch.setenv("CAMHD_MOVIES", str(movies))
    chunks = [{"Name": "end", "Start": 18}]
    found = read_frameset(write({"Source": f"$CAMHD_MOVIES/{NAMES[1]}", "Chunks": chunks}))
    video = open_movie(found.sequence.movies[0], frames=found.chunks["end"], pix_fmt="gray")
    assert [read_frame_number(picture) for picture in video.to_numpy()] == [117, 118, 119]


def test_frameset_of_a_list(write, movies):
    write(multimov(0, 1, BaseDir=str(movies)), "both.json")
    found = read_frameset(
        write({"Source": "both.json", "Chunks": [{"Name": "seam", "Start": 20, "End": 22}]})
    )
    paths, frames = found.locate("seam")
    video = open_timelapse(paths, frame=frames, pix_fmt="gray", progress=False)
    assert [read_frame_number(picture) for picture in video.to_numpy()] == [19, 100]


def test_frameset_of_a_movie_that_cannot_be_opened(write, tmp_path):
    write_movie(tmp_path / NAMES[0], n_frames=3, width=256, height=64, layout="no-moov")
    with pytest.raises(MissingMoovError):
        read_frameset(write({"Source": NAMES[0], "Chunks": []}))
