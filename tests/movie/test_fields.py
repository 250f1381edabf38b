"""Fields of interlaced movies."""

import dask
import numpy as np
import pytest
import xarray as xr
from oracle import decode_ten_bits, read_by_libav, write_by_libav
from prores_samples import KINDS

from camhd_access import FrameDecodeError, MovieReader, open_movie, open_movies
from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.formats.prores import check_frame
from camhd_access.synthetic import write_movie

INTERLACED = [kind for kind in KINDS if kind.interlace]
TOP_FIRST, BOTTOM_FIRST = 1, 2


@pytest.fixture(scope="module")
def progressive_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("progressive") / "a.mov"
    write_movie(path, n_frames=2, width=256, height=64, interlaced=False)
    return path


def lines_of_fields(frames, order):
    """The even and the odd lines of each frame, in the order in which they are shown, as long as both."""
    n = frames.shape[1] // 2
    first = 0 if order == TOP_FIRST else 1
    return np.stack([frames[i, parity::2][:n] for i in range(len(frames)) for parity in (first, 1 - first)])


def order_of(path):
    return read_by_libav(path).packets[0][20] >> 2 & 3


# ---- pixels


@pytest.mark.parametrize("kind", INTERLACED, ids=str)
def test_fields_are_every_second_line_the_first_shown_first(kind, tmp_path):
    path = write_by_libav(tmp_path / "a.mov", kind)
    libav = read_by_libav(path)
    luma = np.stack([planes[0] for planes in decode_ten_bits(libav)])
    assert order_of(path) == BOTTOM_FIRST
    fields = MovieReader(path).read(slice(None), fields=True, pix_fmt="gray10le")
    assert fields.shape == (6, kind.height // 2, kind.width)
    assert np.array_equal(fields, lines_of_fields(luma, BOTTOM_FIRST))


@pytest.mark.parametrize("pix_fmt", PIXEL_FORMATS)
def test_fields_in_every_pixel_format(movie_path, pix_fmt):
    reader = MovieReader(movie_path)
    assert order_of(movie_path) == TOP_FIRST
    whole = reader.read([30, 2], pix_fmt=pix_fmt)
    assert np.array_equal(
        reader.read([30, 2], fields=True, pix_fmt=pix_fmt), lines_of_fields(whole, TOP_FIRST)
    )


def test_of_an_odd_height_the_line_that_only_one_field_has_is_left_out(tmp_path):
    kind = next(kind for kind in INTERLACED if kind.height == 83)
    reader = MovieReader(write_by_libav(tmp_path / "a.mov", kind))
    whole = reader.read(1)
    fields = reader.read(1, fields=True)
    assert fields.shape[1] == 41
    assert np.array_equal(fields[1], whole[0, 0:82:2])  # the top field, shown second, has 42 lines


@pytest.mark.parametrize("pix_fmt", ["rgb24", "gray10le"])
def test_crops_of_fields_count_in_lines_of_the_field(movie_path, pix_fmt):
    reader = MovieReader(movie_path)
    whole = reader.read([5, 1], fields=True, pix_fmt=pix_fmt)
    for y, x in [
        (slice(0, 1), slice(0, 1)),
        (slice(17, 40), slice(31, 99)),
        (slice(-5, None), slice(-3, None)),
    ]:
        assert np.array_equal(reader.read([5, 1], y=y, x=x, fields=True, pix_fmt=pix_fmt), whole[:, y, x])
    with pytest.raises(ValueError, match="y=96:100 is empty"):
        reader.read(0, y=slice(96, 100), fields=True)


def test_each_field_is_decoded_alone(movie_path, tmp_path):
    path = tmp_path / "a.mov"
    path.write_bytes(movie_path.read_bytes())
    reader = MovieReader(path)
    (sample,) = reader.read_encoded(7)
    second = check_frame(sample).pictures[1]
    with path.open("r+b") as file:
        file.seek(int(reader.index.offset[7]) + second.start + second.head_size + second.size // 2)
        file.write(b"\xff" * 1000)
    spoilt = MovieReader(path)
    with pytest.raises(FrameDecodeError, match="frame 7 of"):
        spoilt.read(7)
    fields = spoilt.stack(7, fields=True)
    assert np.array_equal(fields.select([0]).read(), MovieReader(movie_path).read(7, fields=True)[:1])
    with pytest.raises(FrameDecodeError, match="frame 7 of"):
        fields.select([1]).read()


def test_both_fields_cost_one_fetch_of_the_frame(served_movie, movie_url):
    reader = MovieReader(movie_url, cache=False)
    assert reader.interlaced
    before = served_movie.n_requests, served_movie.n_bytes_sent
    reader.read([8, 30], fields=True)
    sizes = reader.index.size
    assert served_movie.n_requests - before[0] == 2
    assert served_movie.n_bytes_sent - before[1] == sizes[8] + sizes[30]


def test_whether_it_is_interlaced_costs_one_small_request_once(served_movie, movie_url):
    reader = MovieReader(movie_url, cache=False)
    before = served_movie.n_requests, served_movie.n_bytes_sent
    reader.stack(fields=True)
    reader.stack(fields=True)
    assert served_movie.n_requests - before[0] == 1
    assert served_movie.n_bytes_sent - before[1] <= 512


@pytest.mark.parametrize("n_damaged", [1, 3, 4])
def test_whether_it_is_interlaced_tells_the_first_frame_that_is_whole(movie_path, tmp_path, n_damaged):
    path = tmp_path / movie_path.name
    data = bytearray(movie_path.read_bytes())
    for offset in MovieReader(movie_path).index.offset[:n_damaged]:
        data[offset : offset + 40] = bytes(40)
    path.write_bytes(data)
    if n_damaged < 4:
        assert MovieReader(path).read(5, fields=True).shape[0] == 2
    else:
        with pytest.raises(FrameDecodeError, match=f"{path}: its first frames are damaged: .*icpf"):
            MovieReader(path).read(5, fields=True)
        with pytest.warns(UserWarning, match=f"1 of 2 .*left out:\n.*{path}: its first frames"):
            video = open_movies([movie_path, path], fields=True, unreadable="skip", progress=False)
        assert video.sizes["time"] == 80


@pytest.mark.parametrize("fields", [True, False])
def test_a_progressive_movie_has_none(progressive_path, fields):
    if fields:
        with pytest.raises(ValueError, match=r"a\.mov is progressive: its frames have no fields"):
            MovieReader(progressive_path).read(0, fields=True)
        with pytest.raises(ValueError, match="progressive"):
            open_movie(progressive_path, fields=True)
        with pytest.raises(ValueError, match="progressive"):
            xr.open_dataset(progressive_path, engine="camhd", fields=True)
    else:
        assert MovieReader(progressive_path).read(0).shape == (1, 64, 256, 3)


def test_a_progressive_frame_in_an_interlaced_movie_is_named(tmp_path):
    path = tmp_path / "a.mov"
    write_movie(path, n_frames=3, width=256, height=64)
    write_movie(tmp_path / "b.mov", n_frames=3, width=256, height=64, interlaced=False)
    index = MovieReader(path).index
    (other,) = MovieReader(tmp_path / "b.mov").read_encoded(1)
    with path.open("r+b") as file:
        file.seek(int(index.offset[2]))
        file.write(other[: int(index.size[2])])
        assert len(other) <= index.size[2], "the fields of these frames cost more than the frames"
    with pytest.raises(FrameDecodeError, match=r"frame 2 of .*progressive frame"):
        MovieReader(path).read([0, 2], fields=True)


# ---- arrays


@pytest.mark.parametrize("chunks", [None, "auto", 3, {"time": 5, "y": 40}], ids=str)
def test_fields_as_an_array(movie_path, chunks):
    movie = open_movie(movie_path, fields=True, chunks=chunks)
    reader = MovieReader(movie_path)
    pixels = reader.read(slice(None), fields=True)
    assert movie.shape == (80, 96, 320, 3)
    assert movie.frame.values.tolist() == [i // 2 for i in range(80)]
    assert movie.field.values.tolist() == [0, 1] * 40
    assert movie.field.dtype.kind == "i"
    assert movie.field.dims == movie.encoded_size.dims == ("time",)
    assert np.array_equal(movie.encoded_size, np.repeat(reader.index.size, 2))
    assert np.array_equal(movie, pixels)
    assert np.array_equal(movie[[9, 3, 4], 5:60], pixels[[9, 3, 4], 5:60])
    assert np.array_equal(movie[movie.field.values == 1][::7], pixels[1::2][::7])


def test_the_second_field_is_shown_half_a_frame_later(movie_path):
    frames, fields = open_movie(movie_path), open_movie(movie_path, fields=True)
    assert np.array_equal(fields.time[::2], frames.time)
    half = 1e9 * 1001 / 60_000
    since = (fields.time - fields.time[0]) / np.timedelta64(1, "ns")
    assert abs(since - half * np.arange(80)).max() <= 1
    assert fields.indexes["time"].is_monotonic_increasing


def test_times_of_fields_where_nothing_tells_when_the_movie_began(tmp_path):
    write_movie(tmp_path / "a.mov", n_frames=2, width=256, height=64)
    movie = open_movie(tmp_path / "a.mov", fields=True)
    assert movie.time.dtype == np.dtype("timedelta64[ns]")
    assert movie.time.values.astype(int).tolist() == [0, 16_683_333, 33_366_667, 50_050_000]


def test_some_frames_by_their_fields(movie_path):
    movie = open_movie(movie_path, frames=[20, 4], fields=True)
    assert movie.frame.values.tolist() == [20, 20, 4, 4]
    assert np.array_equal(movie, MovieReader(movie_path).read([20, 4], fields=True))
    dataset = xr.open_dataset(movie_path, engine="camhd", frames=[20, 4], fields=True)
    assert np.array_equal(dataset.video, movie)
    assert dataset.field.values.tolist() == [0, 1, 0, 1]


def test_what_is_shown_differently_is_named_differently(movie_path):
    options = [{}, {"fields": True}, {"reduce": 8}, {"errors": "mask"}, {"fields": True, "reduce": 8}]
    names = {open_movie(movie_path, frames=[1], **each).data.name for each in options}
    assert len(names) == len(options)
    assert dask.base.tokenize(open_movie(movie_path, fields=True)) == dask.base.tokenize(
        open_movie(movie_path, fields=True)
    )
