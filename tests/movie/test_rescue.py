"""Truncated recordings: rebuilt indexes, sidecars and their requests."""

import pickle
import resource
import struct

import atoms
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from new_process import forget_open_movies
from shared_data import shared_data

from camhd_access import CamhdError, InvalidMovieError, MissingMoovError, MovieReader, open_movie
from camhd_access.cli import main
from camhd_access.formats.prores.header import parse_frame_header
from camhd_access.movie.rescue import read_sidecar, recover_index, write_sidecar
from camhd_access.movie.rescue.walk import walk_segment
from camhd_access.ranges import ByteRange
from camhd_access.storage.source import open_source
from camhd_access.synthetic import read_frame_number, serve_folder, write_movie

NAME = "CAMHDA301-20160310T150000Z.mov"
EVERY_KIND = [(interlaced, audio) for interlaced in (True, False) for audio in (True, False)]
WHOLE = 1 << 26


@pytest.fixture(autouse=True)
def _new_process():
    forget_open_movies()


def recover_bytes(data, segment_bytes=WHOLE):
    source = open_source("memory://rescue/movie.mov")
    source.filesystem.pipe_file(source.path, data)
    return recover_index(source, segment_bytes=segment_bytes)


def assert_same(found, offsets, sizes):
    np.testing.assert_array_equal(found.index.offset, offsets)
    np.testing.assert_array_equal(found.index.size, sizes)


@pytest.fixture(scope="module", params=EVERY_KIND, ids=str)
def both(request, tmp_path_factory):
    """Paths of a movie and of the same recording without its end and index."""
    interlaced, audio = request.param
    folder = tmp_path_factory.mktemp("rescue")
    kind = {"n_frames": 20, "width": 320, "height": 192, "interlaced": interlaced, "audio": audio}
    write_movie(folder / "whole.mov", start_time=np.datetime64("2016-03-10T15:00:00"), **kind)
    write_movie(folder / NAME, layout="no-moov", **kind)
    return folder / "whole.mov", folder / NAME


@pytest.fixture
def cut_path(both):
    return both[1]


@pytest.mark.parametrize("segment_bytes", [1_000, 20_000, 100_000, WHOLE])
def test_every_whole_frame_is_found(both, segment_bytes):
    whole = MovieReader(both[0]).index
    found = recover_index(open_source(str(both[1])), segment_bytes=segment_bytes)
    assert_same(found, whole.offset[:-1], whole.size[:-1])
    assert found.index.interlaced == MovieReader(both[0]).interlaced
    assert found.cut == ByteRange(int(whole.offset[-1]), both[1].stat().st_size)
    assert found.holes == ()
    np.testing.assert_array_equal(found.index.pts / found.index.timescale, whole.pts[:-1] / whole.timescale)


def test_movie_without_index_reads_like_the_whole(both):
    reader = MovieReader(both[1], recover=True)
    np.testing.assert_array_equal(reader.read([0, 7, -1]), MovieReader(both[0]).read([0, 7, 18]))
    assert [read_frame_number(picture) for picture in reader.read(slice(None), pix_fmt="gray")] == list(
        range(19)
    )
    assert reader.start_time == np.datetime64("2016-03-10T15:00:00")  # of the name: there is no mvhd
    movie = open_movie(both[1], recover=True)
    assert movie.sizes["time"] == 19
    assert movie["time_source"].item() == "name"
    assert movie.attrs["comment"].startswith(
        "index rebuilt from 19 frame headers, their rate assumed 30000/1001"
    )
    assert "truncated after" in movie.attrs["comment"]


def test_movie_with_an_index_keeps_it(both):
    reader = MovieReader(both[0], recover=True)
    assert reader.recovery is None
    assert reader.n_frames == 20


def test_without_recover_the_error_tells_of_it(cut_path):
    for _ in range(2):
        with pytest.raises(MissingMoovError, match=r"recover=True .*--recover"):
            MovieReader(cut_path)
        MovieReader(cut_path, recover=True)


def test_engine_recovers(cut_path):
    import xarray as xr

    assert xr.open_dataset(cut_path, engine="camhd", recover=True).sizes["time"] == 19


@pytest.fixture(scope="module")
def media(movie_path):
    """The media of a movie, without anything around them; offsets and sizes of its frames therein."""
    index = MovieReader(movie_path).index
    start, stop = int(index.offset[0]) - 4, int(index.offset[-1] + index.size[-1])
    return movie_path.read_bytes()[start:stop], index.offset - start, index.size


def test_end_of_the_last_frame_is_the_end(media):
    data, offsets, sizes = media
    found = recover_bytes(data)
    assert_same(found, offsets, sizes)
    assert found.cut is None


@pytest.mark.parametrize("n_bytes", [1, 500, 4000])
def test_any_cut_of_the_last_frame(media, n_bytes):
    data, offsets, sizes = media
    found = recover_bytes(data[:-n_bytes])
    assert_same(found, offsets[:-1], sizes[:-1])
    assert found.cut == ByteRange(int(offsets[-1]), len(data) - n_bytes)


def test_cut_frame_behind_sound(media):
    data, offsets, sizes = media
    found = recover_bytes(data[: offsets[36] + 400])  # the first of a chunk
    assert_same(found, offsets[:36], sizes[:36])
    assert found.cut == ByteRange(int(offsets[36]), int(offsets[36]) + 400)


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(b"", id="media alone"),
        pytest.param(struct.pack(">I4s", 0, b"mdat"), id="size 0"),
        pytest.param(struct.pack(">I4sQ", 1, b"mdat", 8), id="size 8"),
        pytest.param(struct.pack(">I4sQ", 1, b"mdat", 1 << 62), id="size beyond any file"),
        pytest.param(
            struct.pack(">I4s", 8, b"wide") + struct.pack(">I4s", 5000, b"free") + bytes(4992), id="free"
        ),
        pytest.param(bytes(1 << 20), id="zeros"),
        pytest.param(b"icpf" * 1000, id="letters"),
    ],
)
@pytest.mark.parametrize("after", [b"", bytes(1 << 20), struct.pack(">I4s", 900_000, b"moov") + b"icpf" * 5])
def test_what_surrounds_the_media_does_not_matter(media, before, after):
    data, offsets, sizes = media
    found = recover_bytes(before + data + after, segment_bytes=300_000)
    assert_same(found, offsets + len(before), sizes)
    assert found.cut is None
    assert found.holes == ()


def test_zeros_instead_of_most_of_the_file_are_not_read(media):
    data, offsets, _ = media
    n_zeros = 200 << 20
    found, n_bytes = answer_counted([data, n_zeros])
    np.testing.assert_array_equal(found.offsets, offsets)
    assert n_bytes < 25 << 20


def answer_counted(pieces):
    """Frames that a complete walk finds in data and zeros, and the bytes read."""
    from counted_file import CountedFile as File

    file = File(*pieces)
    walk = walk_segment(ByteRange(0, file.size), parse_frame_header(pieces[0][4:]), file_size=file.size)
    try:
        ranges = next(walk)
        while True:
            ranges = walk.send([file.read(ByteRange(*wanted)).data for wanted in ranges])
    except StopIteration as end:
        return end.value, file.n_bytes


@pytest.mark.parametrize("recover", [False, True])
@pytest.mark.parametrize(
    "content", [b"", bytes(100), b"icpf", b"<html>not found</html>", bytes(30 << 20)], ids=len
)
def test_what_holds_no_frame_is_invalid(tmp_path, content, recover):
    (tmp_path / "odd.mov").write_bytes(content)
    with pytest.raises(InvalidMovieError, match=r"odd\.mov: "):
        MovieReader(tmp_path / "odd.mov", recover=recover)


class Samples(list):
    """Samples that hypothesis does not print."""

    def __repr__(self):
        return f"{len(self)} samples"


@pytest.fixture(scope="module", params=[True, False], ids=["interlaced", "progressive"])
def samples(request, tmp_path_factory):
    """The bytes of a few frames."""
    path = tmp_path_factory.mktemp("samples") / "movie.mov"
    write_movie(path, n_frames=16, width=256, height=128, interlaced=request.param)
    return Samples(MovieReader(path).read_encoded(slice(6, 10)))


def test_letters_alone_cost_no_requests(media):
    data, offsets, _ = media
    found, n_bytes = answer_counted([data, 1 << 20, b"icpf" * (1 << 20), 1 << 20])
    np.testing.assert_array_equal(found.offsets, offsets)
    assert n_bytes < len(data) + (7 << 20)


def test_lost_frame_is_a_hole(samples):
    sizes = list(map(len, samples))
    lost = recover_bytes(b"".join((samples[0], bytes(4) + samples[1][4:], *samples[2:])))
    assert_same(lost, np.delete(np.cumsum(sizes) - sizes, 1), np.delete(sizes, 1))
    assert lost.holes == (ByteRange(sizes[0], sizes[0] + sizes[1]),)
    assert f"no frames in bytes {sizes[0]} to {sizes[0] + sizes[1]}" in lost.summary


fake = st.one_of(
    st.binary(max_size=40),
    st.just(b"icpf"),
    st.tuples(st.just("silence"), st.integers(0, 40_000)),
    st.tuples(st.just("head"), st.integers(0, 3), st.integers(0, 50)),
    st.tuples(st.just("lie"), st.integers(0, 3), st.integers(0, 50), st.integers(0, (1 << 32) - 1)),
)
"""Possible data between frames: noise, silence, the beginning of a frame, the same with another length.

The last never directly behind a frame: a length could be made up then that leads to another true frame."""


def spell(piece, samples):
    if isinstance(piece, bytes):
        return piece
    kind, which, *percent_and_length = piece
    if kind == "silence":
        return bytes(which)
    percent, *length = percent_and_length
    head = samples[which][: len(samples[which]) * percent // 100]
    return b"!" + struct.pack(">I", *length) + head[4:] if length else head


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.lists(fake, max_size=4)), min_size=1, max_size=12),
    st.sampled_from([3_000, 10_000, WHOLE]),
)
def test_what_looks_like_a_frame_is_none(samples, layout, segment_bytes):
    file, offsets = bytearray(), []
    for which, pieces in layout:
        file += b"".join(spell(piece, samples) for piece in pieces)
        offsets.append(len(file))
        file += samples[which]
    found = recover_bytes(bytes(file), segment_bytes)
    assert_same(found, offsets, [len(samples[which]) for which, _ in layout])


def test_beginning_of_a_frame_that_says_it_ends_where_the_sound_does(samples):
    lie = struct.pack(">I", 2000) + samples[1][4:2000]
    found = recover_bytes(samples[0] + lie + samples[2])
    assert_same(found, [0, len(samples[0]) + 2000], [len(samples[0]), len(samples[2])])


@pytest.mark.parametrize("name", ["", "-hq", "-lt", "-proxy"])
def test_frames_of_apples_encoder(name):
    path = shared_data("quicktime", f"apple-prores-422{name}.mov")
    whole = MovieReader(path).index
    found = recover_index(open_source(str(path)), segment_bytes=50_000)
    assert_same(found, whole.offset, whole.size)


# What it costs, and that it is paid once


@pytest.fixture(scope="module")
def large_path(tmp_path_factory):
    """A cut recording of 42 whole frames, of which 512 bytes are read rather than all."""
    path = tmp_path_factory.mktemp("large") / NAME
    write_movie(path, n_frames=43, width=1280, height=720, layout="no-moov")
    return path


@pytest.fixture
def served(large_path):
    with serve_folder(large_path.parent) as server:
        yield server


def test_large_frames_cost_little(large_path, served):
    found = recover_index(open_source(served.url + NAME, cache=False))
    assert found.index.n_frames == 42
    assert found.index.size.min() > 65_536
    # A request a frame, one more for each second field that was searched for, and those of the beginning.
    assert served.n_requests <= 42 + 42 // 6 + 9
    assert served.n_bytes_sent < large_path.stat().st_size / 5


def test_small_frames_are_read_several_at_once(movie_path, served_movie):
    found = recover_index(open_source(served_movie.url + movie_path.name, cache=False))
    assert found.index.n_frames == 40
    assert served_movie.n_requests <= 15


def test_segments_over_a_network(large_path, served):
    near = recover_index(open_source(str(large_path)))
    found = recover_index(open_source(served.url + NAME, cache=False), segment_bytes=500_000)
    assert_same(found, near.index.offset, near.index.size)
    assert found.cut == near.cut


def test_walked_once(served):
    first = MovieReader(served.url + NAME, recover=True)
    forget_open_movies()
    n_before = served.n_requests
    again = MovieReader(served.url + NAME, recover=True)
    assert served.n_requests - n_before <= 3
    assert_same(again.recovery, first.index.offset, first.index.size)
    assert again.recovery.cut == first.recovery.cut
    np.testing.assert_array_equal(again.read(41), first.read(41))


def test_heads_of_frames_do_not_fill_the_cache(served):
    from camhd_access.storage.rangecache import CacheFolder

    MovieReader(served.url + NAME, recover=True)
    assert CacheFolder().info().n_blocks < 20


def test_without_cache_nothing_is_kept(served):
    from camhd_access.storage.rangecache import default_cache_dir

    MovieReader(served.url + NAME, recover=True, cache=False)
    assert not default_cache_dir().exists()


def test_other_movie_at_the_same_address(tmp_path):
    path = tmp_path / NAME
    for n_frames in (3, 5):
        forget_open_movies()
        write_movie(path, n_frames=n_frames, width=256, height=64, layout="no-moov")
        assert MovieReader(path, recover=True).n_frames == n_frames - 1


@pytest.mark.parametrize("damage", [b"", b"not numpy's", None], ids=["empty", "other", "half"])
def test_damaged_kept_index_is_made_again(cut_path, damage, caplog):
    from camhd_access.storage.rangecache import default_cache_dir

    MovieReader(cut_path, recover=True)
    (kept,) = default_cache_dir().rglob("*.npz")
    content = kept.read_bytes()
    kept.write_bytes(content[: len(content) // 2] if damage is None else damage)
    forget_open_movies()
    assert MovieReader(cut_path, recover=True).n_frames == 19
    assert "rebuilding the index" in caplog.text
    assert kept.read_bytes() == content


def test_folder_that_cannot_be_written(cut_path, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CAMHD_CACHE_DIR", str(tmp_path / "file"))
    forget_open_movies()
    assert MovieReader(cut_path, recover=True).n_frames == 19
    assert "is not cached" in caplog.text


def test_sidecar_opens_at_once(both, tmp_path):
    rebuilt = MovieReader(both[1], recover=True)
    write_sidecar(tmp_path / "sidecar.npz", rebuilt.recovery)
    reader = MovieReader(both[1], recover=tmp_path / "sidecar.npz")
    assert_same(reader.recovery, rebuilt.index.offset, rebuilt.index.size)
    for name in ("pts", "duration", "is_sync"):
        np.testing.assert_array_equal(getattr(reader.index, name), getattr(rebuilt.index, name))
    for name in ("codec", "width", "height", "interlaced", "timescale"):
        assert getattr(reader.index, name) == getattr(rebuilt.index, name)
    assert reader.recovery.summary == rebuilt.recovery.summary


def test_sidecar_lies_anywhere(cut_path):
    write_sidecar("memory://rescue/sidecar.npz", MovieReader(cut_path, recover=True).recovery)
    assert MovieReader(cut_path, recover="memory://rescue/sidecar.npz").n_frames == 19


def test_sidecar_of_another_movie(both, tmp_path):
    write_sidecar(tmp_path / "sidecar.npz", MovieReader(both[1], recover=True).recovery)
    with pytest.raises(InvalidMovieError, match="is the index of a file of"):
        MovieReader(both[0], recover=tmp_path / "sidecar.npz")


@pytest.mark.parametrize("content", [b"", b"PK", b"{}"])
def test_what_is_no_sidecar(cut_path, tmp_path, content):
    (tmp_path / "odd.npz").write_bytes(content)
    with pytest.raises(InvalidMovieError, match=r"is not an index written by `camhd recover`"):
        MovieReader(cut_path, recover=tmp_path / "odd.npz")
    with pytest.raises(FileNotFoundError):
        MovieReader(cut_path, recover=tmp_path / "missing.npz")


def test_damaged_sidecars(cut_path, tmp_path):
    whole = MovieReader(cut_path, recover=True).recovery
    write_sidecar(tmp_path / "sidecar.npz", whole)
    content = (tmp_path / "sidecar.npz").read_bytes()
    n_refused = 0
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        (tmp_path / "sidecar.npz").write_bytes(damaged)
        try:
            found = read_sidecar(tmp_path / "sidecar.npz", file_size=whole.file_size)
        except InvalidMovieError:
            n_refused += 1
        else:
            assert_same(found, whole.index.offset, whole.index.size)
    assert n_refused > len(content) / 6


def test_reader_takes_its_index_along(cut_path):
    copy = pickle.loads(pickle.dumps(MovieReader(cut_path, recover=True)))  # noqa: S301 - our own
    forget_open_movies()
    assert copy.recovery is not None
    assert read_frame_number(copy.read(7, pix_fmt="gray")[0]) == 7


def test_command(cut_path, tmp_path):
    result = CliRunner().invoke(main, ["recover", str(cut_path), "-o", str(tmp_path / "sidecar.npz")])
    assert result.exit_code == 0, result.output
    assert "index rebuilt from 19 frame headers" in result.stdout
    assert MovieReader(cut_path, recover=tmp_path / "sidecar.npz").n_frames == 19


@pytest.mark.parametrize(
    "command",
    [
        ("info",),
        ("plan",),
        ("frame", "--at", "0.5"),
        ("sheet", "--every", "0.3"),
        ("clip", "--frames", "3:9", "-o", "clip.mov"),
    ],
    ids=" ".join,
)
def test_commands_open_what_was_cut_off(cut_path, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(main, [*command, str(cut_path)])
    assert refused.exit_code == 1
    assert "command line: --recover" in refused.stderr
    recovered = CliRunner().invoke(main, [*command, "--recover", str(cut_path)])
    assert recovered.exit_code == 0, recovered.stderr


@pytest.mark.parametrize("name", [NAME, "sidecar.npz", f"file://{{}}/{NAME}"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_recover_does_not_replace_the_movie(cut_path, tmp_path, name, force):
    path = tmp_path / NAME
    path.write_bytes(cut_path.read_bytes())
    (tmp_path / "sidecar.npz").symlink_to(path)
    output = name.format(tmp_path) if "://" in name else str(tmp_path / name)
    result = CliRunner().invoke(main, ["recover", *force, "-o", output, str(path)])
    assert result.exit_code
    assert "is the movie itself" in result.output or "an index is not a movie" in result.output
    assert path.read_bytes() == cut_path.read_bytes()


def test_command_of_a_whole_movie(movie_path):
    result = CliRunner().invoke(main, ["recover", str(movie_path)])
    assert result.exit_code == 0
    assert "nothing to recover" in result.stdout


# ---- an index that is there, and lies


def move_index_to_the_front(data):
    """Move `moov` without correcting the offsets."""
    at = data.rindex(b"moov") - 4
    n_ftyp = struct.unpack(">I", data[:4])[0]
    return data[:n_ftyp] + data[at:] + data[n_ftyp:at]


def say_another_size(data):
    """The sample description says 1280x720."""
    at = data.rindex(b"apcn") + 28
    assert struct.unpack(">HH", data[at : at + 4]) == (320, 192)
    return data[:at] + struct.pack(">HH", 1280, 720) + data[at + 4 :]


LIES = {
    "moved": move_index_to_the_front,
    "behind a preamble": lambda data: b"\0" * 512 + data,
    "behind a line of text": lambda data: b"HTTP/1.1 200 OK\r\n\r\n" + data,
    "of another size": say_another_size,
    "with a huge sample": lambda data: atoms.change_size(data, 0, 3 << 30),
}


@pytest.fixture(params=LIES.values(), ids=LIES)
def lying_path(request, movie_path, tmp_path):
    path = tmp_path / movie_path.name
    path.write_bytes(request.param(movie_path.read_bytes()))
    return path


@pytest.fixture(scope="module")
def whole_pictures(movie_path):
    return MovieReader(movie_path).read([0, 7, -1])


def test_an_index_that_lies_is_made_anew(lying_path, whole_pictures):
    reader = MovieReader(lying_path, recover=True)
    assert reader.recovery is not None
    assert reader.n_frames == 40
    np.testing.assert_array_equal(reader.read([0, 7, -1]), whole_pictures)


def test_the_error_of_an_index_that_lies_tells_of_the_cure(lying_path):
    with pytest.raises(CamhdError, match="recover=True"):
        MovieReader(lying_path).read(0)
    with pytest.raises(CamhdError, match="recover=True"):
        open_movie(lying_path)[3].compute()
    with pytest.raises(CamhdError, match="recover=True"):
        assert MovieReader(lying_path).interlaced is None


def test_the_command_makes_an_index_that_lies_anew(lying_path, whole_pictures, tmp_path):
    output = str(tmp_path / "sidecar.npz")
    result = CliRunner().invoke(main, ["recover", "--force", str(lying_path), "-o", output])
    assert result.exit_code == 0, result.output
    assert "index rebuilt from 40 frame headers" in result.stdout
    reader = MovieReader(lying_path, recover=output)
    np.testing.assert_array_equal(reader.read([0, 7, -1]), whole_pictures)


def test_the_command_makes_a_right_index_anew_when_it_is_forced_to(movie_path, tmp_path, whole_pictures):
    output = str(tmp_path / "sidecar.npz")
    result = CliRunner().invoke(main, ["recover", "--force", str(movie_path), "-o", output])
    assert result.exit_code == 0, result.output
    whole, rebuilt = MovieReader(movie_path), MovieReader(movie_path, recover=output)
    assert_same(rebuilt.recovery, whole.index.offset, whole.index.size)
    assert MovieReader(movie_path, recover=True).recovery is None


def test_a_frame_damaged_at_the_start_is_no_reason_for_a_new_index(movie_path, tmp_path):
    whole = MovieReader(movie_path).index
    data = bytearray(movie_path.read_bytes())
    data[int(whole.offset[0]) : int(whole.offset[1])] = bytes(int(whole.offset[1] - whole.offset[0]))
    path = tmp_path / movie_path.name
    path.write_bytes(data)
    reader = MovieReader(path, recover=True)
    assert (reader.recovery, reader.n_frames) == (None, 40)


def test_a_frame_of_another_size_is_an_error_of_the_movie(movie_path, tmp_path):
    path = tmp_path / movie_path.name
    path.write_bytes(say_another_size(movie_path.read_bytes()))
    for read in (
        lambda: MovieReader(path).read(slice(None)),
        lambda: MovieReader(path).read(0, y=slice(0, 16)),
        lambda: MovieReader(path).read(0, reduce=8),
        lambda: MovieReader(path).read(0, fields=True),
        lambda: MovieReader(path).interlaced,
        lambda: open_movie(path)[:4].mean("time").compute(),
        lambda: open_movie(path, fields=True),
    ):
        with pytest.raises(
            InvalidMovieError, match=r"frame of 320x192 pixels in a movie of 1280x720.*recover"
        ):
            read()


def test_a_huge_size_is_an_error_before_an_array_is_made(movie_path, tmp_path):
    path = tmp_path / movie_path.name
    data = movie_path.read_bytes()
    at = data.rindex(b"apcn") + 28
    for size in [(65535, 65535), (65535, 192), (8192, 8192), (16384, 320)]:
        path.write_bytes(data[:at] + struct.pack(">HH", *size) + data[at + 4 :])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(InvalidMovieError, match="recover=True"):
            MovieReader(path).read([0, 1, 2])
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
