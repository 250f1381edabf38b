"""Clips without re-encoding of movies with inter-frame coding: libav, ffmpeg and we show the same frames."""

import shutil
import subprocess

import inter_movies
import numpy as np
import pytest

from camhd_access import MovieReader, plan_clip, write_clip
from camhd_access.errors import FrameDecodeError, UnsupportedCodecError, UnsupportedMovieError
from camhd_access.synthetic import serve_folder

SELECTIONS = [slice(3, 9), slice(13, 27), slice(17, 18), slice(57, 60)]
"""Within a group of 12, across groups, one frame, and the end."""

NAME = "CAMHDA301-20161113T000000Z.mp4"


def write(folder, data, name=NAME):
    (folder / name).write_bytes(data)
    return MovieReader(folder / name)


def clip_of(reader, frames, path):
    write_clip(reader, frames, path, progress=False)
    return MovieReader(path)


def check(reader, whole, frames, path):
    """The clip shows these frames of the movie, whose planes are `whole`, at their times."""
    clip = clip_of(reader, frames, path)
    assert len(clip) == len(range(len(reader))[frames])
    np.testing.assert_array_equal(clip.read(slice(None)), reader.read(frames))
    np.testing.assert_array_equal(clip.index.duration, reader.index.duration[frames])
    if reader.start_time is None:
        pts = reader.index.pts[frames]
        np.testing.assert_array_equal(clip.index.pts, pts - pts[0])
    else:
        np.testing.assert_array_equal(clip.times(), reader.times()[frames])
    shown = inter_movies.decode(path.read_bytes())
    assert len(shown) == len(clip)
    for one, other in zip(shown, whole[frames], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("structure", inter_movies.STRUCTURES)
def test_a_clip_shows_its_frames_only(structure, tmp_path):
    data = inter_movies.encode(structure)
    reader, whole = write(tmp_path, data), inter_movies.decode(data)
    for frames in SELECTIONS:
        check(reader, whole, frames, tmp_path / "clip.mov")


@pytest.mark.parametrize("structure", ["closed groups", "open groups, pyramid"])
def test_at_a_variable_rate(structure, tmp_path):
    data = inter_movies.encode(structure, varies=True)
    for frames in SELECTIONS:
        check(write(tmp_path, data), inter_movies.decode(data), frames, tmp_path / "clip.mov")


def test_times_that_do_not_fit_into_its_header_are_refused(tmp_path):
    """3.97 s of samples fit into 32 bits at a billion ticks a second; 0.97 s of pause before them do not."""
    data = inter_movies.encode("closed groups", 148, video_track_timescale="1000000000")
    reader = write(tmp_path, data)
    assert reader.index.timescale == 1_000_000_000
    write_clip(reader, slice(0, 20), tmp_path / "clip.mov", progress=False)
    assert len(MovieReader(tmp_path / "clip.mov")) == 20
    with pytest.raises(UnsupportedMovieError, match="do not fit into 32-bit times; select fewer frames"):
        plan_clip(reader, slice(29, 148))


@pytest.mark.parametrize("frames", [slice(2, 8), slice(0, 3), slice(30, 39)], ids=str)
def test_of_a_movie_that_hides_samples_itself(tmp_path, frames):
    data = inter_movies.copy(inter_movies.encode("open groups"), skip_seconds=0.7)
    reader = write(tmp_path, data, "movie.mp4")
    assert reader.index.coded.n_hidden > 0
    check(reader, inter_movies.decode(data), frames, tmp_path / "clip.mov")


def test_a_clip_of_a_clip(tmp_path):
    data = inter_movies.encode("open groups")
    first = clip_of(write(tmp_path, data), slice(5, 50), tmp_path / "first.mov")
    check(first, inter_movies.decode(data)[5:50], slice(10, 20), tmp_path / "second.mov")
    assert MovieReader(tmp_path / "second.mov").original_frames(np.arange(10)).tolist() == [*range(15, 25)]


def test_ffmpeg_shows_its_frames_only(tmp_path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    data = inter_movies.encode("strict pyramid")
    clip_of(write(tmp_path, data), slice(13, 27), tmp_path / "clip.mov")
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "clip.mov", "-map", "0:v", "-f", "rawvideo", "-"]
    pixels = subprocess.run(command, capture_output=True, check=True).stdout
    planes = [plane.tobytes() for frame in inter_movies.decode(data)[13:27] for plane in frame]
    assert pixels == b"".join(planes)


def test_samples_are_those_from_the_sync_sample_to_the_last_that_is_needed(tmp_path):
    reader = write(tmp_path, inter_movies.encode("closed groups"))
    clip, coded = plan_clip(reader, slice(15, 20)), reader.index.coded
    samples = coded.samples_of(np.arange(15, 20))
    start = np.flatnonzero(coded.is_sync[: samples.min() + 1])[-1]
    assert 0 < start < samples.min()
    np.testing.assert_array_equal(clip.sample_offset, coded.offset[start : samples.max() + 1])
    np.testing.assert_array_equal(clip.sample_size, coded.size[start : samples.max() + 1])
    assert clip.frames.tolist() == [*range(15, 20)]
    written = clip_of(reader, slice(15, 20), tmp_path / "clip.mov")
    assert written.index.coded.n_hidden == len(clip.sample_size) - 5 - (coded.rank[samples.max()] > 19)
    assert (tmp_path / "clip.mov").read_bytes() == clip.read()
    assert (tmp_path / "clip.mov").stat().st_size == clip.size


def test_what_a_clip_costs(tmp_path):
    (tmp_path / NAME).write_bytes(inter_movies.encode("closed groups"))
    with serve_folder(tmp_path) as server:
        reader = MovieReader(server.url + NAME, cache=False)
        n_requests, n_bytes = server.n_requests, server.n_bytes_sent
        clip = plan_clip(reader, slice(15, 20))
        assert server.n_requests - n_requests == 1
        assert (
            server.n_bytes_sent - n_bytes == clip.sample_size[0]
        )  # which says whether decoding can begin there
        n_requests, n_bytes = server.n_requests, server.n_bytes_sent
        assert len(clip.read()) == clip.size
        assert server.n_requests - n_requests == 1
        assert server.n_bytes_sent - n_bytes == clip.sample_size.sum()


def test_what_makes_no_clip_is_told(tmp_path):
    reader = write(tmp_path, inter_movies.encode("closed groups"))
    for frames in (slice(0, 20, 2), [3, 7]):
        with pytest.raises(UnsupportedCodecError, match=r"H\.264 depend on others; .*choose a step of 1"):
            plan_clip(reader, frames)
    with pytest.raises(ValueError, match="in the order of the movie"):
        plan_clip(reader, [4, 3])
    data = bytearray(inter_movies.encode("one group"))
    data[data.index(b"\x65\x88", MovieReader(tmp_path / NAME).index.coded.offset[0])] = 0x61  # no longer IDR
    reader = write(tmp_path, data, "late.mp4")
    with pytest.raises(FrameDecodeError, match="frame 3 depends on frames before the start of the movie"):
        plan_clip(reader, slice(3, 6))
    with pytest.raises(FrameDecodeError, match="it depends on frames before the start of the movie"):
        reader.read(3)
