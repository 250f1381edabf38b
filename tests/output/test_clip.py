"""Clips compared with their movie, by libav and ffprobe."""

import hashlib
import io
import json
import pickle
import shutil
import subprocess

import atoms
import av
import fsspec
import numpy as np
import pytest
from atoms import Track, movie
from hypothesis import given
from hypothesis import strategies as st
from oracle import read_by_libav, write_by_libav
from prores_samples import Kind
from shared_data import shared_data

from camhd_access import MovieReader, plan_clip, write_clip
from camhd_access.errors import FrameIndexError, RemoteFileChangedError, UnsupportedMovieError
from camhd_access.formats.quicktime import parse_moov
from camhd_access.synthetic import serve_folder, write_movie

START = np.datetime64("2016-11-13T00:00:03")
SELECTIONS = [slice(None), slice(7, 30), slice(7, 30, 4), 39, [3, 4, 20], [-2, -1]]


def clip_of(reader, frames, path):
    write_clip(reader, frames, path, progress=False)
    return MovieReader(path)


def hashes(samples):
    return [hashlib.sha256(sample).hexdigest() for sample in samples]


def probe(path):
    """The output of ffprobe, which decodes the whole file."""
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    command = [
        "ffprobe",
        "-v",
        "error",
        "-count_frames",
        "-show_streams",
        "-show_format",
        "-of",
        "json",
        path,
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not found.stderr
    return json.loads(found.stdout)


def check_clip(path, source, indices):
    """Check that samples, times and pixels of the clip at `path` equal those of `source`, read by libav."""
    clip = read_by_libav(path)
    assert hashes(clip.packets) == hashes([source.packets[i] for i in indices])
    assert clip.time_base == source.time_base
    assert [pts - clip.pts[0] for pts in clip.pts] == [
        source.pts[i] - source.pts[indices[0]] for i in indices
    ]
    for planes, i in zip(clip.planes, indices, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, source.planes[i], strict=True))


@pytest.mark.parametrize("frames", SELECTIONS, ids=str)
def test_samples_times_and_pixels_are_those_of_the_movie(movie_path, movie_by_libav, tmp_path, frames):
    reader = MovieReader(movie_path)
    clip = clip_of(reader, frames, tmp_path / "clip.mov")
    indices = np.atleast_1d(np.arange(40)[frames])
    check_clip(tmp_path / "clip.mov", movie_by_libav, indices)
    assert clip.read_encoded(slice(None)) == [movie_by_libav.packets[i] for i in indices]
    np.testing.assert_array_equal(clip.times(), reader.times()[indices])
    np.testing.assert_array_equal(clip.read(slice(None)), reader.read(indices))
    assert clip.index.duration[-1] == reader.index.duration[indices[-1]]
    elapsed = clip.elapsed() / np.timedelta64(1, "s")
    assert [clip.frame_at(seconds) for seconds in elapsed] == list(range(len(indices)))


def test_ffmpeg_plays_every_frame_from_the_first_on_with_its_timecode(movie_path, tmp_path):
    clip_of(MovieReader(movie_path), slice(7, 30), tmp_path / "clip.mov")
    found = probe(tmp_path / "clip.mov")
    video, timecode = found["streams"]
    assert video["nb_read_frames"] == "23"
    assert float(video["start_time"]) == 0
    assert video["r_frame_rate"] == video["avg_frame_rate"] == "30000/1001"
    assert video["field_order"] == "tt"
    assert video["color_space"] == "bt709"
    assert video["tags"]["timecode"] == timecode["tags"]["timecode"] == "00:00:03:07"
    assert found["format"]["tags"]["creation_time"] == "2016-11-13T00:00:03.000000Z"


def test_the_header_is_made_like_the_movie_s(movie_path, tmp_path):
    clip_of(MovieReader(movie_path), slice(7, 30), tmp_path / "clip.mov")
    data, source = (tmp_path / "clip.mov").read_bytes(), movie_path.read_bytes()
    assert data[4:8] == b"ftyp"
    assert data.find(b"moov") < data.find(b"mdat")
    described = source[source.index(b"stsd", source.index(b"vmhd")) :][:150]  # colr, fiel and pasp in it
    assert described in data
    assert b"soun" not in data


def test_a_clip_of_a_clip_is_a_clip_of_the_movie(movie_path, tmp_path):
    reader = MovieReader(movie_path)
    first = clip_of(reader, slice(7, 30), tmp_path / "first.mov")
    clip_of(first, slice(3, None, 2), tmp_path / "second.mov")
    clip_of(reader, slice(10, 30, 2), tmp_path / "at_once.mov")
    assert (tmp_path / "second.mov").read_bytes() == (tmp_path / "at_once.mov").read_bytes()


@pytest.mark.parametrize("options", [{"interlaced": False}, {"audio": False, "timecode": False}], ids=str)
def test_other_recordings(tmp_path, options):
    path = tmp_path / "movie.mov"
    write_movie(path, n_frames=9, width=256, height=64, start_time=START, **options)
    clip = clip_of(MovieReader(path), slice(2, 8), tmp_path / "clip.mov")
    check_clip(tmp_path / "clip.mov", read_by_libav(path), range(2, 8))
    assert clip.interlaced == options.get("interlaced", True)
    assert len(probe(tmp_path / "clip.mov")["streams"]) == (1 if "timecode" in options else 2)


@pytest.mark.parametrize(
    "kind",
    [
        Kind(130, 50, interlace=2),
        Kind(210, 96, "yuv444p10le"),
        Kind(210, 82, "yuva444p10le", options=(("alpha_bits", "16"),)),
    ],
    ids=str,
)
def test_other_kinds_of_prores(tmp_path, kind):
    source = read_by_libav(write_by_libav(tmp_path / "movie.mov", kind, 5))
    clip = clip_of(MovieReader(tmp_path / "movie.mov"), slice(1, 5, 2), tmp_path / "clip.mov")
    check_clip(tmp_path / "clip.mov", source, [1, 3])
    assert probe(tmp_path / "clip.mov")["streams"][0]["nb_read_frames"] == "2"
    assert clip.index.codec == MovieReader(tmp_path / "movie.mov").index.codec


@pytest.mark.parametrize("kind", ["", "-hq", "-lt", "-proxy"])
def test_movies_of_apple_s_encoder(tmp_path, kind):
    path = shared_data("quicktime", f"apple-prores-422{kind}.mov")
    reader = MovieReader(path)
    clip = clip_of(reader, slice(5, 20), tmp_path / "clip.mov")
    check_clip(tmp_path / "clip.mov", read_by_libav(path), range(5, 20))
    np.testing.assert_array_equal(clip.times(), reader.times()[5:20])


def handmade(folder, name="movie.mov", **options):
    """A reader of a movie whose samples are no pictures."""
    durations = options.pop("durations", [100, 250, 50, 1000, 7, 300])
    track = Track(
        atoms.samples(len(durations)),
        durations=durations,
        **{"timescale": 600, "samples_per_chunk": [2, 1]} | options,
    )
    path = folder / name
    path.write_bytes(movie([track], header=atoms.mvhd(creation=3_560_000_000)))
    return MovieReader(path)


def test_durations_that_vary(tmp_path):
    reader = handmade(tmp_path)
    clip = clip_of(reader, [1, 2, 4], tmp_path / "clip.mov")
    np.testing.assert_array_equal(
        clip.index.duration, [250, 1050, 7]
    )  # until the next one; the last as it was
    np.testing.assert_array_equal(clip.times(), reader.times()[[1, 2, 4]])
    with av.open(tmp_path / "clip.mov") as container:
        packets = [p for p in container.demux(video=0) if p.size]
    assert [bytes(p) for p in packets] == reader.read_encoded([1, 2, 4])
    assert [p.pts for p in packets] == [0, 250, 1300]


def test_a_movie_whose_frames_start_late(tmp_path):
    reader = handmade(tmp_path, composition=[900] * 6, edits=[(600, -1, 1), (1707, 900, 1)])
    clip = clip_of(reader, slice(2, None), tmp_path / "clip.mov")
    np.testing.assert_array_equal(clip.times(), reader.times()[2:])


def test_a_movie_that_does_not_tell_when_it_began(tmp_path):
    write_movie(tmp_path / "movie.mov", n_frames=9, width=256, height=64)
    reader = MovieReader(tmp_path / "movie.mov")
    clip = clip_of(reader, slice(4, None), tmp_path / "clip.mov")
    assert clip.start_time is None
    np.testing.assert_array_equal(clip.elapsed(), reader.elapsed()[4:])


def test_a_movie_whose_name_alone_tells_when_it_began(tmp_path):
    name = "CAMHDA301-20161201T120000.mov"  # when it ended, by then
    write_movie(tmp_path / name, n_frames=9, width=256, height=64)
    reader = MovieReader(tmp_path / name)
    clip = clip_of(reader, slice(4, None), tmp_path / "clip.mov")
    one_tick = np.timedelta64(33_334, "ns")
    assert abs(clip.times() - reader.times()[4:]).max() < one_tick


def test_a_movie_whose_index_was_lost(tmp_path, movie_path):
    write_movie(tmp_path / "cut.mov", n_frames=20, width=320, height=192, layout="no-moov")
    reader = MovieReader(tmp_path / "cut.mov", recover=True)
    clip = clip_of(reader, slice(3, 9), tmp_path / "clip.mov")
    assert clip.read_encoded(slice(None)) == reader.read_encoded(slice(3, 9))
    assert probe(tmp_path / "clip.mov")["streams"][0]["nb_read_frames"] == "6"
    assert clip.interlaced


def test_frames_that_lie_in_the_file_in_another_order_than_they_are_shown(tmp_path):
    """Chunk 2 of 3 lies last: the clip has its frames in order, though it reads them in two runs."""
    samples = atoms.samples(6)
    track = Track(samples, samples_per_chunk=[2])
    media = b"".join(samples[:2] + samples[4:] + samples[2:4])
    start = len(atoms.FTYP) + 8
    sizes = [len(s) for s in samples]
    places = [start, start + sum(sizes[:2] + sizes[4:]), start + sum(sizes[:2])]
    (tmp_path / "movie.mov").write_bytes(
        atoms.FTYP + atoms.atom("mdat", media) + atoms.moov([track], [places])
    )
    reader = MovieReader(tmp_path / "movie.mov")
    assert clip_of(reader, slice(None), tmp_path / "clip.mov").read_encoded(slice(None)) == samples


@given(data=st.data())
def test_any_part_of_a_clip_is_that_part(movie_path, data):
    clip = plan_clip(MovieReader(movie_path), slice(3, 35, 3))
    whole = clip.read()
    assert len(whole) == clip.size
    start = data.draw(st.integers(0, clip.size))
    stop = data.draw(st.integers(start, clip.size + 10))
    assert clip.read(start, stop) == whole[start:stop]
    head, ranges = clip.pieces(start, stop)
    assert len(head) + sum(r.n_bytes for r in ranges) == min(stop, clip.size) - start


def test_parts_that_a_clip_does_not_have(movie_path):
    clip = plan_clip(MovieReader(movie_path), slice(3))
    assert clip.read(clip.size) == b""
    for start, stop in [(-1, 5), (5, 3), (clip.size + 1, None)]:
        with pytest.raises(ValueError, match="the clip has"):
            clip.read(start, stop)


def test_a_layout_pickles_and_two_plans_are_the_same(movie_path):
    clip = plan_clip(MovieReader(movie_path), slice(3, 9))
    assert pickle.loads(pickle.dumps(clip)).read() == clip.read()  # noqa: S301 - our own
    assert plan_clip(MovieReader(movie_path), slice(3, 9)).read() == clip.read()


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        ([], ValueError, "the selection contains no frames: the movie has frames 0 to 39"),
        ([5, 4], ValueError, "in the order of the movie"),
        ([5, 5], ValueError, "each once"),
        (slice(5, 2, -1), ValueError, "in the order of the movie"),
        ([40], FrameIndexError, "no frame 40"),
    ],
)
def test_frames_that_make_no_clip(movie_path, tmp_path, frames, error, message):
    with pytest.raises(error, match=message):
        write_clip(MovieReader(movie_path), frames, tmp_path / "clip.mov")
    assert not list(tmp_path.iterdir())


def test_a_clip_that_is_too_long_for_its_header(tmp_path):
    reader = handmade(tmp_path, durations=[(1 << 31) - 1] * 3, media_header_version=1)
    assert clip_of(reader, [0], tmp_path / "clip.mov").n_frames == 1
    with pytest.raises(UnsupportedMovieError, match="fewer frames"):
        plan_clip(reader, slice(None))


def test_a_clock_that_is_a_century_fast(tmp_path):
    header = atoms.mvhd(creation=(1 << 32) + 5, version=1)
    (tmp_path / "movie.mov").write_bytes(movie([Track(atoms.samples(3))], header=header))
    with pytest.raises(UnsupportedMovieError, match="began in 2040; clips can store times from 1904"):
        plan_clip(MovieReader(tmp_path / "movie.mov"), 1)


def test_a_name_of_before_1904(tmp_path):
    path = tmp_path / "CAMHDA301-19031231T235959Z.mov"
    path.write_bytes(movie([Track(atoms.samples(3))], header=atoms.mvhd(creation=0)))
    with pytest.raises(UnsupportedMovieError, match="began in 1903"):
        plan_clip(MovieReader(path), 1)


def test_to_a_file_a_url_and_an_open_file(movie_path, tmp_path):
    reader = MovieReader(movie_path)
    whole = plan_clip(reader, slice(5)).read()
    memory = io.BytesIO()
    for target in (tmp_path / "a.mov", str(tmp_path / "B.MOV"), f"file://{tmp_path}/c.mov", memory):
        write_clip(reader, slice(5), target, progress=False)
    write_clip(reader, slice(5), "memory://clips/d.mov", progress=False)
    assert memory.getvalue() == whole
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {whole}
    assert len(list(tmp_path.iterdir())) == 3
    assert fsspec.filesystem("memory").cat("/clips/d.mov") == whole


def test_a_clip_that_fails_leaves_nothing_and_what_was_there(movie_path, tmp_path):
    copy = tmp_path / "movie.mov"
    copy.write_bytes(movie_path.read_bytes())
    reader = MovieReader(copy)
    plan = plan_clip(reader, slice(5))
    copy.write_bytes(movie_path.read_bytes() + b"more")
    (tmp_path / "clip.mov").write_text("an older one")
    with pytest.raises(RemoteFileChangedError):
        plan.read()
    for target in (tmp_path / "clip.mov", tmp_path / "new.mov"):
        with pytest.raises(RemoteFileChangedError):
            write_clip(reader, slice(5), target, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mov", "movie.mov"]
    assert (tmp_path / "clip.mov").read_text() == "an older one"


def test_options_of_films_are_refused(movie_path, tmp_path):
    for options in ({"fps": 10}, {"width": 100}, {"codec": "h264"}):
        with pytest.raises(ValueError, match=rf"\.mov does not support {next(iter(options))}"):
            write_clip(MovieReader(movie_path), slice(5), tmp_path / "clip.mov", **options)


@given(data=st.data())
def test_whatever_the_tables_say_libav_finds_the_same_in_movie_and_clip(tmp_path_factory, data):
    n = data.draw(st.integers(1, 12))
    durations = data.draw(st.lists(st.integers(1, 5000), min_size=n, max_size=n))
    late = data.draw(st.sampled_from([0, 1, 599, 100_000]))
    track = Track(
        atoms.samples(n),
        durations=durations,
        timescale=data.draw(st.sampled_from([24, 600, 30_000, 90_000])),
        samples_per_chunk=data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)),
        composition=[late] * n if late else None,
    )
    audio = Track([b"sound!"] * 3, "soun", durations=[10] * 3)
    path = tmp_path_factory.getbasetemp() / "drawn.mov"
    path.write_bytes(movie([track, audio], header=atoms.mvhd(creation=3_560_000_000)))
    reader = MovieReader(path)
    chosen = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    clip = clip_of(reader, chosen, path.with_name("drawn_clip.mov"))
    np.testing.assert_array_equal(clip.times(), reader.times()[chosen])
    with av.open(path.with_name("drawn_clip.mov")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [bytes(packet) for packet in packets] == [atoms.samples(n)[i] for i in chosen]
    starts = np.cumsum([0, *durations])
    assert [packet.pts for packet in packets] == [starts[i] - starts[chosen[0]] for i in chosen]
    assert packets[-1].duration == durations[chosen[-1]]


def test_a_frame_of_no_bytes_stays_one(tmp_path):
    samples = [*atoms.samples(2), b"", *atoms.samples(1)]
    (tmp_path / "movie.mov").write_bytes(movie([Track(samples)]))
    clip = clip_of(MovieReader(tmp_path / "movie.mov"), slice(1, None), tmp_path / "clip.mov")
    assert clip.read_encoded(slice(None)) == samples[1:]


def test_a_clip_of_more_than_4_gib(sparse_path):
    reader = MovieReader(sparse_path)
    clip = plan_clip(reader, slice(None, None, 2))
    assert clip.size > 1 << 32
    head = len(clip.header)
    moov_stop = head - 16 - 4  # before the header of `mdat`, and the timecode
    moov = clip.header[clip.header.index(b"moov") - 4 : moov_stop]
    index = parse_moov(moov, offset=0, file_size=clip.size)
    np.testing.assert_array_equal(index.size, reader.index.size[::2])
    np.testing.assert_array_equal(index.offset, head + np.cumsum(index.size) - index.size)
    at = int(index.offset[3600])
    assert clip.read(at, at + int(index.size[3600])) == reader.read_encoded(7200)[0]


class _Nowhere(io.RawIOBase):
    """A file that only counts bytes."""

    n_bytes = 0

    def writable(self):
        return True

    def write(self, data):
        self.n_bytes += len(data)
        return len(data)


def test_what_a_clip_of_a_movie_of_13_gb_costs(sparse_path):
    with serve_folder(sparse_path.parent) as server:
        reader = MovieReader(server.url + sparse_path.name, cache=False)
        n_requests, n_bytes = server.n_requests, server.n_bytes_sent
        clip, plan = plan_clip(reader, slice(7200, 7300)), reader.plan(slice(7200, 7300))
        assert server.n_requests - n_requests == 1
        assert server.n_bytes_sent - n_bytes == 4  # the timecode
        write_clip(reader, slice(7200, 7300), _Nowhere(), progress=False)
        assert server.n_requests - n_requests == 2 + plan.n_requests
        assert server.n_bytes_sent - n_bytes == 8 + plan.n_bytes
        assert plan.n_bytes < 1.02 * (clip.size - len(clip.header))  # the sound between the frames
        n_bytes = server.n_bytes_sent
        some = clip.read(clip.size // 2, clip.size // 2 + 1000)
        assert server.n_bytes_sent - n_bytes == len(some) == 1000


def test_memory_does_not_grow_with_the_clip(sparse_path):
    import tracemalloc

    reader = MovieReader(sparse_path)
    target = _Nowhere()
    tracemalloc.start()
    try:
        write_clip(reader, slice(0, 400), target, progress=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert target.n_bytes > 200e6
    assert peak < 64e6
