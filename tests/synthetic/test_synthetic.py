"""Synthetic movies: libav agrees with every table, and each frame shows its number."""

import shutil
import struct
import subprocess
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camhd_access.synthetic import VentScene, read_frame_number, write_movie, write_sparse_movie
from camhd_access.synthetic.encoder import encode_frame, iter_encoded, open_encoder
from camhd_access.synthetic.framenumber import MAX_FRAME_NUMBER, draw_frame_number

START = np.datetime64("2016-11-13T00:00:03")
N_FRAMES = 20  # three chunks of six, and one of two
FIRST_NUMBER = 41


def numbered_plane(number):
    plane = np.full((192, 320), 300, np.uint16)
    draw_frame_number(plane, number)
    return plane


def area_means(plane, factor):
    height, width = plane.shape
    return plane.reshape(height // factor, factor, width // factor, factor).mean(axis=(1, 3))


@given(st.integers(0, MAX_FRAME_NUMBER), st.sampled_from([1, 2, 4, 8]), st.sampled_from(["frame", "field"]))
def test_a_number_is_read_at_every_size(number, factor, part):
    plane = numbered_plane(number)[:: 2 if part == "field" else 1]
    assert read_frame_number(area_means(plane, factor)) == number


@given(st.integers(0, MAX_FRAME_NUMBER))
def test_a_number_is_read_from_colours_and_through_noise(number):
    plane = numbered_plane(number)
    noisy = plane + np.random.default_rng(number).normal(0, 100, plane.shape)
    assert read_frame_number(noisy) == number
    assert read_frame_number(np.repeat((plane // 4).astype(np.uint8)[..., None], 3, axis=2)) == number


@given(st.integers(0, MAX_FRAME_NUMBER), st.integers(0, 31))
def test_one_wrong_block_is_no_number(number, block):
    plane = numbered_plane(number)
    y, x = 32 * (block // 16), 16 * (block % 16)
    plane[y : y + 32, x : x + 16] = 1004 - plane[y : y + 32, x : x + 16]
    with pytest.raises(ValueError, match="no frame number"):
        read_frame_number(plane)


@pytest.mark.parametrize(
    "picture",
    [
        np.full((192, 320), 64),
        np.zeros((192, 320, 3), np.uint8),
        np.random.default_rng(0).integers(64, 940, (192, 320)),
        numbered_plane(5)[32:],
        numbered_plane(5)[:, 8:],
        numbered_plane(5)[:40],
    ],
    ids=["black", "black rgb", "noise", "moved up", "moved left", "cut"],
)
def test_other_pictures_carry_no_number(picture):
    with pytest.raises(ValueError, match="no frame number"):
        read_frame_number(picture)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="65536"):
        draw_frame_number(np.zeros((192, 320), np.uint16), 65536)
    with pytest.raises(ValueError, match="too small"):
        draw_frame_number(np.zeros((192, 255), np.uint16), 1)


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    path = tmp_path_factory.mktemp("synthetic") / "movie.mov"
    write_movie(
        path, n_frames=N_FRAMES, width=320, height=192, start_time=START, first_frame_number=FIRST_NUMBER
    )
    return path


def top_level_atoms(data):
    """(type, start, stop) of each."""
    atoms, start = [], 0
    while start < len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
        atoms.append((kind, start, start + size))
        start += size
    return atoms


def video_samples(path):
    """(start, size) of each video sample, as libav's demuxer reads the index."""
    with av.open(path) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def read_numbers(path):
    with av.open(path) as container:
        return [read_frame_number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_every_frame_is_the_one_it_claims_to_be(movie):
    assert read_numbers(movie) == list(range(FIRST_NUMBER, FIRST_NUMBER + N_FRAMES))


def test_the_recorder_s_layout(movie):
    data = movie.read_bytes()
    atoms = top_level_atoms(data)
    assert [kind for kind, _, _ in atoms] == [b"ftyp", b"wide", b"mdat", b"moov"]
    assert atoms[-1][2] == len(data)
    assert struct.unpack_from(">I", data, atoms[2][1]) == (1,)
    moov = data[atoms[3][1] :]
    assert moov.count(b"co64") == 3
    assert moov.count(b"stco") == 0


def test_six_samples_a_chunk_with_the_sound_in_between(movie):
    samples = video_samples(movie)
    gaps = [following[0] - sum(sample) for sample, following in pairwise(samples)]
    sound_bytes = {6 * (1601 * 6 + 3), 6 * (1601 * 6 + 4)}  # 9609.6 samples, of two times three bytes
    assert [gap > 0 for gap in gaps] == [i % 6 == 5 for i in range(N_FRAMES - 1)]
    assert {gap for gap in gaps if gap} <= sound_bytes


def test_sound_and_timecode_are_demuxed(movie):
    with av.open(movie) as container:
        packets = [packet for packet in container.demux() if packet.size]
        (sound,) = container.streams.audio
        assert (sound.codec_context.name, sound.rate, sound.channels) == ("pcm_s24be", 48_000, 2)
        n_sound_bytes = sum(packet.size for packet in packets if packet.stream.type == "audio")
        assert n_sound_bytes == 6 * (N_FRAMES * 1001 * 48_000 // 30_000)
        (timecode,) = (bytes(packet) for packet in packets if packet.stream.type == "data")
        assert int.from_bytes(timecode) == 3 * 30
        assert container.streams.video[0].metadata["timecode"] == "00:00:03:00"


def test_times_and_properties_are_as_asked(movie):
    with av.open(movie) as container:
        video = container.streams.video[0]
        assert container.metadata["creation_time"] == f"{START}.000000Z"
        assert (video.codec_context.codec_tag, video.average_rate) == (
            "apcn",
            Fraction(30000, 1001),
        )
        assert (video.width, video.height, video.frames, video.duration) == (
            320,
            192,
            N_FRAMES,
            N_FRAMES * 1001,
        )
        assert [packet.pts for packet in container.demux(video) if packet.size] == [
            1001 * i for i in range(N_FRAMES)
        ]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(
    "command",
    [
        "ffmpeg -v warning -xerror -i {} -map 0:v -map 0:a -f null -",
        "ffmpeg -v warning -i {} -map 0 -c copy -f framecrc -",
    ],
)
def test_ffmpeg_reads_it_without_a_warning(movie, command):
    done = subprocess.run(command.format(movie).split(), check=True, capture_output=True)
    assert done.stderr == b""


def test_samples_are_two_field_pictures_in_bt709(movie):
    data = movie.read_bytes()
    for start, size in video_samples(movie):
        sample = data[start : start + size]
        assert struct.unpack_from(">I4s", sample) == (size, b"icpf")
        assert (sample[20] >> 2) & 3 == 1  # interlaced, top field first
        assert sample[24] == 1  # matrix
        first_picture = 8 + struct.unpack_from(">H", sample, 8)[0]
        second_picture = first_picture + struct.unpack_from(">I", sample, first_picture + 1)[0]
        assert second_picture + struct.unpack_from(">I", sample, second_picture + 1)[0] == size


def test_the_decoded_picture_is_the_one_that_was_drawn(movie):
    drawn, _, _ = VentScene(320, 192).picture(4, N_FRAMES, frame_number=FIRST_NUMBER + 4)
    with av.open(movie) as container:
        frame = list(container.decode(video=0))[4]
    decoded = np.frombuffer(frame.planes[0], "<u2").reshape(192, -1)[:, :320].astype(int)
    assert np.abs(decoded - drawn).mean() < 6
    assert np.abs(decoded[0::2] - drawn[1::2]).mean() > 10  # the camera moves: the fields differ


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "moov-first"},
        {"interlaced": False},
        {"audio": False, "timecode": False},
        {"width": 322, "height": 190},
        {"width": 256, "height": 64},
        {"n_frames": 1},
        {"workers": 1},
        {"start_time": START, "blank": False, "run": 7},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_every_option_makes_a_movie_that_libav_reads(tmp_path, options):
    path = tmp_path / "movie.mov"
    arguments = {"n_frames": 7, "width": 320, "height": 192, **options}
    write_movie(path, **arguments)
    assert read_numbers(path) == list(range(arguments["n_frames"]))
    data = path.read_bytes()
    order = [kind for kind, _, _ in top_level_atoms(data)]
    moov_first = [b"ftyp", b"moov", b"wide", b"mdat"]
    assert order == (moov_first if "layout" in options else [b"ftyp", b"wide", b"mdat", b"moov"])
    with av.open(path) as container:
        assert ("creation_time" in container.metadata) == ("start_time" in options)
        assert len(container.streams) == (1 if "audio" in options else 3)
        assert next(container.decode(video=0)).interlaced_frame == options.get("interlaced", True)


@pytest.mark.parametrize(
    "options", [{"n_frames": 0}, {"scene": VentScene(256, 64)}, {"first_frame_number": 65_530}]
)
def test_wrong_arguments_are_refused(tmp_path, options):
    with pytest.raises(ValueError):
        write_movie(tmp_path / "movie.mov", **{"n_frames": 7, "width": 320, "height": 192, **options})


def test_a_recording_cut_off_has_frames_but_no_index(tmp_path, movie):
    path = tmp_path / "cut.mov"
    write_movie(
        path,
        n_frames=N_FRAMES,
        width=320,
        height=192,
        start_time=START,
        first_frame_number=FIRST_NUMBER,
        layout="no-moov",
    )
    whole, cut = movie.read_bytes(), path.read_bytes()
    last_start, last_size = video_samples(movie)[-1]
    assert last_start < len(cut) < last_start + last_size
    assert cut == whole[: len(cut)]
    with pytest.raises(av.InvalidDataError):
        av.open(path)


def test_the_same_arguments_write_the_same_bytes(tmp_path, movie):
    path = tmp_path / "again.mov"
    write_movie(
        path,
        n_frames=N_FRAMES,
        width=320,
        height=192,
        start_time=START,
        first_frame_number=FIRST_NUMBER,
        workers=1,
        scene=VentScene(320, 192),
    )
    assert path.read_bytes() == movie.read_bytes()


def test_a_blank_movie_is_black_and_small(tmp_path):
    path = tmp_path / "blank.mov"
    write_movie(path, n_frames=8, blank=True)
    assert max(size for _, size in video_samples(path)) < 30_000
    with av.open(path) as container:
        frame = next(container.decode(video=0))
    luma = np.frombuffer(frame.planes[0], "<u2").reshape(1080, -1)
    assert (luma == 64).all()
    with pytest.raises(ValueError, match="no frame number"):
        read_frame_number(luma)


def test_lamps_are_off_at_both_ends_and_the_edges_are_dark():
    scene = VentScene(320, 192)
    first, middle, last = (scene.picture(i, 100)[0][96:].astype(float) for i in (0, 50, 99))
    assert first.mean() < 70
    assert last.mean() < 70
    assert middle[:, 110:210].mean() > 250
    assert middle[:, -16:].mean() < 80


def test_encoding_runs_only_a_little_ahead():
    encoder, scene, drawn = open_encoder(320, 192, interlaced=True), VentScene(320, 192), []

    def draw(frame_index):
        drawn.append(frame_index)
        return scene.picture(frame_index, 1000)

    samples = iter_encoded(draw, range(1000), lambda: open_encoder(320, 192, interlaced=True), workers=2)
    assert next(samples) == encode_frame(encoder, scene.picture(0, 1000))
    samples.close()
    assert len(drawn) <= 5


@pytest.fixture(scope="module")
def sparse_movie(tmp_path_factory):
    path = tmp_path_factory.mktemp("sparse") / "large.mov"
    write_sparse_movie(path, coded=(0, 7_200, 24_999), start_time=START)
    return path


def test_a_sparse_movie_is_large_and_takes_little(sparse_movie):
    status = sparse_movie.stat()
    assert 13e9 < status.st_size < 16e9
    assert status.st_blocks * 512 < 10e6


def test_a_sparse_movie_s_coded_frames_are_where_the_index_says(sparse_movie):
    with av.open(sparse_movie) as container:
        video = container.streams.video[0]
        assert (video.frames, video.width, video.height) == (25_000, 1920, 1080)
        for frame_index in (0, 7_200, 24_999):
            container.seek(frame_index * 1001, stream=video)
            packet = next(container.demux(video))
            assert packet.pts == frame_index * 1001
            (frame,) = packet.decode()
            assert read_frame_number(frame.to_ndarray(format="rgb24")) == frame_index


def test_a_sparse_movie_s_other_frames_are_holes_of_about_the_right_size(sparse_movie):
    with av.open(sparse_movie) as container:
        video = container.streams.video[0]
        container.seek(100 * 1001, stream=video)
        packets = [packet for packet, _ in zip(container.demux(video), range(20), strict=False)]
        assert not any(bytes(packet).strip(b"\0") for packet in packets)
        sizes = [packet.size for packet in packets]
    assert 532_000 <= min(sizes) < max(sizes) <= 588_000


def test_frames_are_as_large_as_the_camera_s():
    sample = encode_frame(open_encoder(1920, 1080, interlaced=True), VentScene().picture(24, 48))
    assert 450_000 < len(sample) < 750_000
