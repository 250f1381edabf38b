"""Films and images show the right frames, by the numbers in them."""

import itertools
import shutil
import subprocess
from fractions import Fraction

import av
import fsspec
import numpy as np
import pytest
from PIL import Image, ImageSequence

from camhd_access import MovieReader, write_clip
from camhd_access.errors import FrameDecodeError
from camhd_access.output.film_writers import ENCODERS, choose_rate
from camhd_access.synthetic import read_frame_number

FRAMES = [3, 4, 5, 30]


@pytest.fixture(scope="module")
def reader(movie_path):
    return MovieReader(movie_path)


def write(reader, frames, path, **options):
    write_clip(reader, frames, path, progress=False, **options)
    return path


def film_numbers(path):
    with av.open(path) as film:
        return [read_frame_number(frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)]


@pytest.mark.parametrize(("codec", "name"), [("h264", "h264"), ("h265", "hevc")])
def test_mp4_shows_the_frames(reader, tmp_path, codec, name):
    if not set(ENCODERS[codec]) & av.codecs_available:
        pytest.skip(f"libav was built without an encoder for {codec}")
    path = write(reader, FRAMES, tmp_path / "film.mp4", codec=codec)
    assert film_numbers(path) == FRAMES
    with av.open(path) as film:
        (stream,) = film.streams
        assert stream.codec_context.name == name
        assert (stream.width, stream.height, stream.pix_fmt) == (320, 192, "yuv420p")
        assert float(stream.average_rate) == pytest.approx(30000 / 1001)
        assert stream.codec_context.colorspace == 1


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_ffmpeg_plays_mp4(reader, tmp_path, codec):
    path = write(reader, FRAMES, tmp_path / "film.mp4", codec=codec)
    command = [
        "ffprobe",
        "-v",
        "error",
        "-count_frames",
        "-show_entries",
        "stream=nb_read_frames",
        "-of",
        "csv=p=0",
    ]
    found = subprocess.run([*command, path], capture_output=True, text=True, check=True)
    assert (found.stdout.strip(), found.stderr) == ("4", "")


@pytest.mark.parametrize("name", ["film.gif", "film.webp"])
def test_gif_and_webp_show_the_frames(reader, tmp_path, name):
    path = write(reader, FRAMES, tmp_path / name, fps=5)
    with Image.open(path) as film:
        assert film.n_frames == len(FRAMES)
        for i, number in enumerate(FRAMES):
            film.seek(i)
            film.load()
            assert film.info["duration"] == 200
            assert read_frame_number(np.asarray(film.convert("RGB"))) == number


def test_frames_that_lie_apart_are_shown_at_ten_a_second(reader, tmp_path):
    with av.open(write(reader, slice(None, None, 10), tmp_path / "film.mp4")) as film:
        assert film.streams.video[0].average_rate == 10


def test_films_are_shrunk_never_stretched(reader, tmp_path):
    for width, size in [(161, (160, 96)), (1000, (320, 192))]:
        with av.open(write(reader, [0], tmp_path / "film.mp4", width=width)) as film:
            assert (film.streams.video[0].width, film.streams.video[0].height) == size


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff"])
def test_images_are_the_frames(reader, tmp_path, suffix):
    write(reader, FRAMES, tmp_path / f"frame_{{frame:03d}}.{suffix}")
    names = [f"frame_{i:03d}.{suffix}" for i in FRAMES]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name, pixels in zip(names, reader.read(FRAMES), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name)), pixels)


@pytest.mark.parametrize("suffix", ["jpg", "JPEG"])
def test_jpegs_show_the_frames(reader, tmp_path, suffix):
    write(reader, slice(0, 10), tmp_path / f"{{frame}}.{suffix}", width=256)
    for i in range(10):
        with Image.open(tmp_path / f"{i}.{suffix}") as image:
            assert (image.format, image.size) == ("JPEG", (256, 154))


def test_one_frame_needs_no_number(reader, tmp_path):
    write(reader, 7, tmp_path / "seven.png")
    assert read_frame_number(np.asarray(Image.open(tmp_path / "seven.png"))) == 7


def test_a_frame_may_be_wanted_twice(reader, tmp_path):
    write(reader, [3, 3] * 20, tmp_path / "{frame}.png")
    assert read_frame_number(np.asarray(Image.open(tmp_path / "3.png"))) == 3


@pytest.mark.parametrize("name", ["movie.mov", "link.mov", "movie.mp4", "frame_{frame}.png"])
def test_a_clip_does_not_replace_its_movie(movie_path, tmp_path, name):
    path = tmp_path / ("movie.mp4" if name.endswith(".mp4") else "movie.mov")
    path.write_bytes(movie_path.read_bytes())
    (tmp_path / "link.mov").symlink_to(path)
    (tmp_path / f"frame_{FRAMES[-1]}.png").symlink_to(path)
    for source, target in itertools.product(
        (path, path.as_uri()), (tmp_path / name, f"file://{tmp_path}/{name}")
    ):
        with pytest.raises(ValueError, match="is the movie itself; choose another name"):
            write(MovieReader(source), FRAMES, target)
    assert path.read_bytes() == movie_path.read_bytes()


@pytest.mark.parametrize(("fps", "shown"), [(None, 30000 / 1001), (10, 10), (60, 50)])
def test_gifs_keep_time(reader, tmp_path, fps, shown):
    with Image.open(write(reader, slice(0, 40), tmp_path / "film.gif", fps=fps)) as film:
        milliseconds = [frame.info["duration"] for frame in ImageSequence.Iterator(film)]
    assert len(milliseconds) == 40
    assert sum(milliseconds) == pytest.approx(40_000 / shown, abs=10)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (0.002, Fraction(1, 500)),
        (0.003, Fraction(3, 1000)),
        (0.0025, Fraction(1, 400)),
        (1 / 3, Fraction(1, 3)),
        (0.5, Fraction(1, 2)),
        (1, Fraction(1)),
        (1.5, Fraction(3, 2)),
        (30000 / 1001, Fraction(30000, 1001)),
        (120, Fraction(120)),
    ],
)
def test_rates_are_exact(fps, rate):
    assert choose_rate(fps, own_fps=None) == rate


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_a_slow_film_is_shown_as_slowly(reader, tmp_path, name):
    with av.open(write(reader, [3, 4, 5], tmp_path / name, fps=0.002)) as film:
        assert film.streams.video[0].average_rate == Fraction(1, 500)
    if name.endswith(".gif"):
        with Image.open(tmp_path / name) as film:
            assert [frame.info["duration"] for frame in ImageSequence.Iterator(film)] == [500_000] * 3


def test_films_and_images_elsewhere(reader):
    store = fsspec.filesystem("memory")
    write(reader, FRAMES, "memory://films/film.mp4")
    assert film_numbers(store.open("/films/film.mp4")) == FRAMES
    write(reader, FRAMES, "memory://films/{frame}.png")
    assert read_frame_number(np.asarray(Image.open(store.open("/films/30.png")))) == 30


@pytest.mark.parametrize(
    ("name", "frames", "options", "message"),
    [
        ("clip.avi", FRAMES, {}, r"clip.avi: .* must end in \.mov, \.qt, \.mp4, \.gif, \.webp, \.png, "),
        ("clip", FRAMES, {}, "the name of a clip must end in"),
        ("clip.gif", FRAMES, {"codec": "h265"}, r"\.gif does not support codec"),
        ("clip.mp4", FRAMES, {"codec": "vp9"}, "h264 or h265"),
        ("clip.mp4", FRAMES, {"fps": 0}, "fps must be a positive number, not 0"),
        ("clip.mp4", FRAMES, {"fps": 0.0005}, r"fps must be at least 0\.002, not 0\.0005"),
        ("clip.mp4", FRAMES, {"fps": 5e-324}, "fps must be at least"),
        ("clip.gif", FRAMES, {"fps": float("inf")}, "fps must be a positive number, not inf"),
        ("clip.mp4", FRAMES, {"width": 0}, "width must be at least 1, not 0"),
        ("{frame}.png", FRAMES, {"width": -3}, "width must be at least 1, not -3"),
        ("{frame}.png", FRAMES, {"fps": 5, "codec": "h264"}, r"\.png does not support codec or fps"),
        ("clip.mp4", [], {}, "the selection contains no frames: the movie has frames 0 to 39"),
        ("clip.png", FRAMES, {}, "gives several frames the same name"),
        ("{number}.png", FRAMES, {}, "needs a frame number"),
        ("{frame:x", FRAMES, {}, "the name of a clip must end in"),
        ("{frame.png", FRAMES, {}, "needs a frame number"),
        ("{frame.width}.png", FRAMES, {}, "needs a frame number"),
        ("{frame[0]}.png", FRAMES, {}, "needs a frame number"),
    ],
)
def test_what_cannot_be_written(reader, tmp_path, name, frames, options, message):  # noqa: PLR0917 - a table
    with pytest.raises(ValueError, match=message):
        write(reader, frames, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_to(reader, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no such folder: '{tmp_path}/none'"):
        write(reader, FRAMES, tmp_path / "none" / "clip.mov")
    (tmp_path / "folder.mov").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.mov"):
        write(reader, FRAMES, tmp_path / "folder.mov")
    with pytest.raises(ValueError, match="read-only"):
        write(reader, FRAMES, "http://127.0.0.1:9/clip.mov")


def test_a_damaged_frame_is_copied_but_not_drawn(movie_path, tmp_path):
    damaged = tmp_path / "movie.mov"
    data = bytearray(movie_path.read_bytes())
    index = MovieReader(movie_path).index
    data[index.offset[5] + 200 : index.offset[5] + 260] = b"\xff" * 60
    damaged.write_bytes(data)
    reader = MovieReader(damaged)
    write(reader, slice(4, 7), tmp_path / "clip.mov")
    assert MovieReader(tmp_path / "clip.mov").read_encoded(slice(None)) == reader.read_encoded(slice(4, 7))
    for name in ("film.mp4", "film.gif", "{frame}.png"):
        with pytest.raises(FrameDecodeError, match="frame 5"):
            write(reader, slice(4, 7), tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mov", "movie.mov"]
