"""Timecode of clips, compared with ffprobe."""

import shutil
import struct
import subprocess
from contextlib import suppress
from dataclasses import replace

import atoms
import numpy as np
import pytest
from atoms import Track, movie
from hypothesis import given, settings
from hypothesis import strategies as st

from camhd_access import MovieReader, write_clip
from camhd_access.errors import CamhdError, InvalidMovieError
from camhd_access.formats.quicktime.timecode import TimecodeLabel, find_timecode, movie_seconds
from camhd_access.movie.timecodes import read_start
from camhd_access.synthetic import write_movie

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def write_by_ffmpeg(path, timecode, rate, n_frames=30):
    source = ["-f", "lavfi", "-i", f"testsrc2=size=64x48:rate={rate}", "-frames:v", str(n_frames)]
    command = ["ffmpeg", "-v", "error", *source, "-c:v", "prores_ks", "-timecode", timecode, path]
    subprocess.run(command, check=True)


def read_by_ffprobe(path):
    entries = ["-select_streams", "v", "-show_entries", "stream_tags=timecode", "-of", "csv=p=0"]
    found = subprocess.run(
        ["ffprobe", "-v", "error", *entries, path], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


@needs_ffmpeg
@pytest.mark.parametrize(
    ("rate", "first", "frame", "expected"),
    [
        ("30000/1001", "01:00:59:20", 7, "01:00:59:27"),
        ("30000/1001", "01:00:59:20", 10, "01:01:00:00"),
        ("30000/1001", "01:00:59;20", 9, "01:00:59;29"),
        ("30000/1001", "01:00:59;20", 10, "01:01:00;02"),  # two numbers are left out
        ("30000/1001", "01:09:59;20", 10, "01:10:00;00"),  # but not at each tenth minute
        ("30000/1001", "23:59:59:20", 12, "24:00:00:02"),  # ffmpeg does not say that it wraps
        ("60000/1001", "00:00:59;50", 10, "00:01:00;04"),
        ("25", "10:00:00:20", 6, "10:00:01:01"),
    ],
)
def test_a_clip_starts_with_the_timecode_of_its_first_frame(tmp_path, rate, first, frame, expected):
    write_by_ffmpeg(tmp_path / "movie.mov", first, rate)
    assert (
        read_by_ffprobe(tmp_path / "movie.mov") == first == str(MovieReader(tmp_path / "movie.mov").timecode)
    )
    write_clip(
        MovieReader(tmp_path / "movie.mov"), slice(frame, None, 3), tmp_path / "clip.mov", progress=False
    )
    assert (
        read_by_ffprobe(tmp_path / "clip.mov") == expected == str(MovieReader(tmp_path / "clip.mov").timecode)
    )


@pytest.mark.parametrize(
    ("number", "rate", "drops", "seconds"),
    [
        (0, 30, False, 0),
        (30 * 3600 + 15, 30, False, 3600.5),
        (30 * 86_400 + 60, 30, False, 2),  # a day later
        (1800, 30, True, 60 + 2 / 30),
        (107_892, 30, True, 3600),  # SMPTE ST 12-1: frames in an hour of drop-frame
        (25 * 61, 25, False, 61),
    ],
)
def test_the_time_of_day_that_a_label_shows(number, rate, drops, seconds):
    label = TimecodeLabel(number, rate, drops)
    assert label.seconds_of_day == pytest.approx(seconds, abs=1e-9)
    noon = np.datetime64("2016-11-13T12:00:00.25", "ns")
    assert label.seconds_after(noon) == round((seconds - 0.25) % 86_400 - 43_200)


@needs_ffmpeg
@pytest.mark.parametrize(
    "movflags", ["frag_keyframe+empty_moov", "frag_keyframe", "frag_every_frame+default_base_moof"]
)
@pytest.mark.parametrize("first", ["01:00:59:20", "23:59:59;20"])
def test_fragmented_movies(tmp_path, movflags, first):
    write_by_ffmpeg(tmp_path / "whole.mov", first, "30000/1001")
    path = tmp_path / "movie.mov"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        tmp_path / "whole.mov",
        "-c",
        "copy",
        "-movflags",
        movflags,
        path,
    ]
    subprocess.run(command, check=True)
    assert b"moof" in path.read_bytes()
    reader = MovieReader(path)
    assert read_by_ffprobe(path) == first == str(reader.timecode)
    write_clip(reader, slice(4, 12), tmp_path / "clip.mov", progress=False)
    whole = MovieReader(tmp_path / "whole.mov")
    write_clip(whole, slice(4, 12), tmp_path / "other.mov", progress=False)
    assert read_by_ffprobe(tmp_path / "clip.mov") == read_by_ffprobe(tmp_path / "other.mov")


@needs_ffmpeg
def test_a_fragmented_movie_whose_timecode_is_damaged(tmp_path):
    write_by_ffmpeg(tmp_path / "whole.mov", "01:00:59:20", "30000/1001")
    options = ["-c", "copy", "-movflags", "frag_keyframe+empty_moov"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", tmp_path / "whole.mov", *options, tmp_path / "movie.mov"], check=True
    )
    data = (tmp_path / "movie.mov").read_bytes()
    place = data.rindex(b"trex", 0, data.index(b"moof"))  # of the timecode: names another track
    (tmp_path / "bad.mov").write_bytes(data[: place + 8] + struct.pack(">I", 7) + data[place + 12 :])
    reader = MovieReader(tmp_path / "bad.mov")
    assert reader.timecode is None
    assert reader.read(slice(None)).shape[0] == 30


def test_a_movie_without_timecode_and_one_whose_timecode_is_damaged(tmp_path):
    write_movie(tmp_path / "none.mov", n_frames=1, width=320, height=192, timecode=False)
    assert MovieReader(tmp_path / "none.mov").timecode is None
    write_movie(
        tmp_path / "some.mov", n_frames=1, width=320, height=192, start_time=np.datetime64("2016-11-13")
    )
    reader = MovieReader(tmp_path / "some.mov")
    place = find_timecode(reader.index).offset.astype(">u8").tobytes()
    data = (tmp_path / "some.mov").read_bytes()
    assert data.count(place) == 1
    (tmp_path / "bad.mov").write_bytes(data.replace(place, struct.pack(">Q", 1 << 40)))
    damaged = MovieReader(tmp_path / "bad.mov")
    with pytest.raises(InvalidMovieError, match=r"bad\.mov: its timecode is beyond the end of the file"):
        _ = damaged.timecode
    assert read_start(damaged) == damaged.start
    assert read_start(reader) == replace(reader.start, timecode_disagreement_seconds=0.0)


def timecode_track(numbers, durations, *, flags=0, rate=30, entry=None, **options):
    entry = entry or atoms.atom("tmcd", struct.pack(">6xH4xIIIBx", 1, flags, 30_000, 1001, rate))
    samples = [struct.pack(">I", number) for number in numbers]
    return Track(samples, "tmcd", entry=entry, durations=durations, **options)


def read_timecode(path):
    """Numbers and durations of a clip's timecode, which lies in one chunk before the frames."""
    data = path.read_bytes()
    at = data.rindex(b"stts")
    n_rows = struct.unpack_from(">I", data, at + 8)[0]
    runs = np.frombuffer(data, ">u4", 2 * n_rows, at + 12).reshape(-1, 2)
    durations = np.repeat(runs[:, 1], runs[:, 0]).tolist()
    media = data.index(b"mdat") + 12
    return list(struct.unpack_from(f">{len(durations)}I", data, media)), durations


def clip_with_timecode(tmp_path, timecode, frames, **video):
    path = tmp_path / "movie.mov"
    header = atoms.mvhd(timescale=30_000, creation=3_560_000_000)
    path.write_bytes(movie([Track(atoms.samples(20), **video), timecode], header=header))
    reader = MovieReader(path)
    write_clip(reader, frames, tmp_path / "clip.mov", progress=False)
    assert MovieReader(tmp_path / "clip.mov").read_encoded(slice(None)) == reader.read_encoded(frames)
    return read_timecode(tmp_path / "clip.mov")


@pytest.mark.parametrize(
    ("flags", "rate", "n_numbers"),
    [(2, 30, 2_592_000), (3, 30, 2_589_408), (3, 60, 5_178_816), (2, 25, 2_160_000), (1, 30, 1 << 32)],
)
def test_numbers_begin_anew_at_midnight_where_the_movie_says_so(tmp_path, flags, rate, n_numbers):
    timecode = timecode_track([n_numbers - 5], [20 * 1001], flags=flags, rate=rate)
    assert clip_with_timecode(tmp_path, timecode, slice(3, 4))[0] == [n_numbers - 2]
    assert clip_with_timecode(tmp_path, timecode, slice(7, 9))[0] == [2]


def test_timecode_that_jumps_within_the_clip(tmp_path):
    timecode = timecode_track([100, 500, 900, 40], [5 * 1001] * 4)
    assert clip_with_timecode(tmp_path, timecode, slice(7, 17)) == ([502, 900, 40], [3003, 5005, 2002])
    assert clip_with_timecode(tmp_path, timecode, slice(5, 10)) == ([500], [5005])


def test_a_number_for_each_frame(tmp_path):
    timecode = timecode_track(range(70, 90), [1001] * 20)
    assert clip_with_timecode(tmp_path, timecode, [3, 4]) == ([73, 74], [1001, 1001])


def test_edit_lists_move_frames_against_timecode(tmp_path):
    timecode = timecode_track([100], [20 * 1001])
    moved = {"edits": [(18 * 1001, 2 * 1001, 1)]}  # frame 2 is the first that is shown
    assert clip_with_timecode(tmp_path, timecode, slice(7, 9), **moved) == ([105], [2002])
    late = {"edits": [(4 * 1001, -1, 1), (20 * 1001, 0, 1)]}  # four frames' time of nothing
    assert clip_with_timecode(tmp_path, timecode, slice(7, 9), **late) == ([111], [2002])
    timecode = timecode_track([100], [20 * 1001], edits=[(17 * 1001, 3 * 1001, 1)])
    assert clip_with_timecode(tmp_path, timecode, slice(7, 9)) == ([110], [2002])


def test_timecode_of_another_form_is_left_out(tmp_path):
    timecode = timecode_track([100], [20 * 1001], entry=atoms.atom("tc64", bytes(26)))
    clip_with_timecode(tmp_path, timecode, slice(7, 9))
    assert b"tmcd" not in (tmp_path / "clip.mov").read_bytes()


@pytest.mark.parametrize(
    "timecode",
    [
        timecode_track([1], [1001], rate=0),
        timecode_track([1], [1001], entry=atoms.atom("tmcd", bytes(9))),
        timecode_track([1], [1001], common_size=3),
        timecode_track([1], [1001], chunk_table=lambda _: atoms.co64([1 << 40])),
    ],
    ids=["no rate", "cut short", "no numbers", "elsewhere"],
)
def test_damaged_timecode_does_no_harm_to_frames_and_is_told_of(tmp_path, timecode):
    path = tmp_path / "movie.mov"
    path.write_bytes(movie([Track(atoms.samples(5)), timecode]))
    reader = MovieReader(path)
    assert reader.read_encoded(slice(None)) == atoms.samples(5)
    with pytest.raises(InvalidMovieError):
        write_clip(reader, slice(3), tmp_path / "clip.mov")


@given(data=st.data())
@settings(max_examples=300)
def test_whatever_stands_there_is_timecode_or_an_error_of_ours(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "timecode.mov"
    if not path.exists():
        timecode = timecode_track([7, 9], [2002, 3003], edits=[(0, -1, 1), (5005, 0, 1)])
        path.write_bytes(movie([Track(atoms.samples(5)), timecode], header=atoms.mvhd(timescale=30_000)))
    reader = MovieReader(path)
    track = bytearray(reader.index.timecode_track)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(track) - 1))
        track[at] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]))
    track = track[: data.draw(st.sampled_from([len(track), len(track) - 5, len(track) // 2]))]
    index = replace(reader.index, timecode_track=bytes(track))
    with suppress(CamhdError):
        timecode = find_timecode(index)
        if timecode:
            stretch = timecode.between(movie_seconds(index, 1001), movie_seconds(index, 4004))
            assert len(stretch.renumber([b"1234"] * len(stretch.places))) == 4 * len(stretch.sample_ticks)
            assert stretch.sample_ticks.sum() == pytest.approx(timecode.kind.timescale * 3003 / 30_000, abs=1)
