"""Single fields and deinterlaced frames, compared with numpy's results from libav's fields."""

import shutil

import numpy as np
import pytest
import xarray as xr
from commands import run
from PIL import Image

from camhd_access import MovieReader, open_movie, open_movies, open_timelapse, write_clip
from camhd_access.arrays.zarr import write_samples
from camhd_access.synthetic import serve_folder, write_movie


def expected_of(field, line_offset=0):
    """Whole frames of first fields, shape (frame, y, x, …), by arithmetic of its own."""
    n_rows = field.shape[1]
    out = np.empty((len(field), 2 * n_rows, *field.shape[2:]), field.dtype)
    wide = field.astype(np.int64)
    out[:, line_offset::2] = field
    between = (wide[:, :-1] + wide[:, 1:] + 1) // 2
    if line_offset == 0:
        out[:, 1:-1:2], out[:, -1] = between, field[:, -1]
    else:
        out[:, 2::2], out[:, 0] = between, field[:, 0]
    return out


@pytest.fixture(scope="module")
def reader(movie_path):
    return MovieReader(movie_path)


@pytest.mark.parametrize("pix_fmt", ["rgb24", "gray16le", "gray10le", "rgb48le"])
@pytest.mark.parametrize("reduce", [1, 8])
def test_one_field_of_each_frame(reader, pix_fmt, reduce):
    options = {"pix_fmt": pix_fmt, "reduce": reduce}
    both = reader.read([3, 30, 4], fields=True, **options)
    np.testing.assert_array_equal(reader.read([3, 30, 4], fields="first", **options), both[::2])


@pytest.mark.parametrize("pix_fmt", ["rgb24", "gray16le", "gray10le", "rgb48le"])
def test_made_up_lines_are_means_of_those_above_and_below(reader, pix_fmt):
    field = reader.read([3, 30, 4], fields=True, pix_fmt=pix_fmt)[::2]
    made = reader.read([3, 30, 4], deinterlace="linear", pix_fmt=pix_fmt)
    np.testing.assert_array_equal(made, expected_of(field))


def test_lines_of_a_movie_whose_odd_lines_come_first(movie_path, tmp_path):
    path = tmp_path / movie_path.name
    shutil.copy(movie_path, path)
    offsets = MovieReader(path).index.offset
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset + 20)  # flags of the frame header (SMPTE RDD 36, 5.1.1)
            (flags,) = file.read(1)
            file.seek(offset + 20)
            file.write(bytes([flags & ~0x0C | 2 << 2]))
    reader = MovieReader(path, cache=False)
    assert not reader.top_field_first
    field = reader.read([3], fields="first", pix_fmt="gray16le")
    made = reader.read([3], deinterlace="linear", pix_fmt="gray16le")
    np.testing.assert_array_equal(made, expected_of(field, line_offset=1))
    movie = open_movie(path, deinterlace="linear")
    assert movie.interpolated.values[:4].tolist() == [True, False, True, False]
    later = shutil.copy(path, tmp_path / "CAMHDA301-20161113T010000Z.mov")
    options = {"deinterlace": "linear", "clock": "name", "progress": False}
    alike, both = (open_movies([each, later], **options) for each in (path, movie_path))
    assert alike.interpolated.values[:4].tolist() == [True, False, True, False]
    assert both.sizes["time"] == 2 * len(reader)
    assert "interpolated" not in both.coords  # differs


@pytest.mark.parametrize("reduce", [1, 2, 8])
@pytest.mark.parametrize(
    "rows", [slice(0, 1), slice(7, 8), slice(8, 19), slice(11, 24), slice(23, 24)], ids=str
)
def test_crops_are_those_of_the_whole(reader, reduce, rows):
    options = {"pix_fmt": "gray16le", "deinterlace": "linear", "reduce": reduce}
    whole = reader.read([5, 6], **options)
    part = reader.read([5, 6], y=rows, x=slice(3, 31), **options)
    np.testing.assert_array_equal(part, whole[:, rows, 3:31])


def test_crops_from_afar_are_those_of_the_whole(movie_path, reader):
    whole = reader.read([5, 6], deinterlace="linear")
    with serve_folder(movie_path.parent) as server:
        far = MovieReader(server.url + movie_path.name, cache=False)
        for rows in (slice(0, 9), slice(61, 70), slice(180, 192)):
            part = far.read([5, 6], deinterlace="linear", y=rows)
            np.testing.assert_array_equal(part, whole[:, rows])
        alone = open_movie(server.url + movie_path.name, cache=False, deinterlace="linear")[5, 61:70]
        np.testing.assert_array_equal(alone.values, whole[0, 61:70])


def test_a_still_picture_reduced_is_nearly_its_preview(tmp_path):
    """In a static scene, interpolated lines are between the neighbouring lines of the whole frames."""
    write_movie(tmp_path / "a.mov", n_frames=2, width=256, height=128)
    reader = MovieReader(tmp_path / "a.mov")
    made = reader.read([1], deinterlace="linear", pix_fmt="gray10le", reduce=8)[0].astype(int)
    whole = reader.read([1], pix_fmt="gray10le", reduce=8)[0].astype(int)
    assert made.shape == whole.shape
    assert np.corrcoef(made.ravel(), whole.ravel())[0, 1] > 0.9


OPENED = {
    "open_movie": lambda path, **options: open_movie(path, **options)[5],
    "no dask": lambda path, **options: open_movie(path, chunks=None, **options)[5],
    "engine": lambda path, **options: xr.open_dataset(path, engine="camhd", **options).video[5],
    "engine with dask": lambda path, **options: xr.open_dataset(
        path, engine="camhd", chunks={}, **options
    ).video[5],
    "open_movies": lambda path, **options: open_movies([path], progress=False, **options)[5],
    "open_timelapse": lambda path, **options: open_timelapse([path], frame=5, progress=False, **options)[0],
}


@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize("options", [{"fields": "first"}, {"deinterlace": "linear"}], ids=str)
def test_wherever_movies_are_opened(movie_path, reader, opened, options):
    frame = OPENED[opened](movie_path, **options)
    np.testing.assert_array_equal(frame.values, reader.read([5], **options)[0])
    assert frame.time.values == reader.times()[5]
    assert frame.frame == 5
    lines = np.arange(192.0) if "deinterlace" in options else np.arange(96) * 2 + 0.5
    np.testing.assert_array_equal(frame.y.values, lines)
    methods = frame.attrs["cell_methods"]
    if "deinterlace" in options:
        assert "interpolated linearly" in methods
        assert frame.attrs["deinterlace"].startswith("linear")
        np.testing.assert_array_equal(frame.interpolated.values, np.arange(192) % 2 == 1)
    else:
        assert "one field" in methods
        assert (int(frame.field), int(frame.line_offset)) == (0, 0)


def test_means_over_time_are_of_what_is_shown(movie_path, reader):
    for options in ({"fields": "first"}, {"deinterlace": "linear"}):
        mean = open_movie(movie_path, **options).mean("time")
        np.testing.assert_array_equal(mean.values, reader.read(slice(None), **options).mean(axis=0))


def test_a_made_up_line_is_damaged_where_one_that_it_is_made_of_is(movie_path, tmp_path):
    path = tmp_path / movie_path.name
    data = bytearray(movie_path.read_bytes())
    index = MovieReader(movie_path).index
    start = int(index.offset[5])
    data[start + 4000 : start + 4100] = bytes(100)
    path.write_bytes(data)
    reader = MovieReader(path)
    field = reader.read([5], fields="first", errors="mask", pix_fmt="gray")[0]
    made = reader.read([5], deinterlace="linear", errors="mask", pix_fmt="gray")[0]
    mask = np.ma.getmaskarray(field)
    assert mask.any()
    assert not mask.all()
    expected = np.repeat(mask, 2, axis=0)
    expected[1:-1:2] |= mask[1:]
    np.testing.assert_array_equal(np.ma.getmaskarray(made), expected)


@pytest.mark.parametrize(
    "options",
    [
        {"fields": "second"},
        {"fields": 1},
        {"deinterlace": "bob"},
        {"fields": True, "deinterlace": "linear"},
        {"fields": "first", "deinterlace": "linear"},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(movie_path, reader, options):
    for refuse in (lambda: open_movie(movie_path, **options), lambda: reader.read([0], **options)):
        with pytest.raises(ValueError, match=r"fields|deinterlace"):
            refuse()


def test_progressive_movies_have_no_fields(tmp_path):
    write_movie(tmp_path / "a.mov", n_frames=2, width=256, height=64, interlaced=False)
    for options in ({"fields": "first"}, {"deinterlace": "linear"}):
        with pytest.raises(ValueError, match="progressive"):
            open_movie(tmp_path / "a.mov", **options)


def test_a_timelapse_has_one_field_of_each(movie_path):
    with pytest.raises(ValueError, match="one image of each movie"):
        open_timelapse([movie_path], frame=0, fields=True, progress=False)


def test_zarr_holds_whole_frames_or_both_fields(reader, tmp_path):
    with pytest.raises(ValueError, match="both of its fields"):
        write_samples(reader, slice(None), tmp_path / "a.zarr", fields="first", progress=False)


# ---- what leaves


@pytest.mark.parametrize("suffix", [".mp4", ".gif", "_{frame}.png"])
def test_clips_without_a_comb(movie_path, reader, tmp_path, suffix):
    write_clip(reader, [5], tmp_path / f"a{suffix}", deinterlace="linear", progress=False)
    path = next(tmp_path.iterdir())
    made = run("info", path).stdout
    assert "--deinterlace" in made
    if suffix.endswith("png"):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), reader.read([5], deinterlace="linear")[0])
    with pytest.raises(ValueError, match="deinterlace"):
        write_clip(reader, [5], tmp_path / "a.mov", deinterlace="linear", progress=False)


def test_the_command_line(movie_path, reader, tmp_path):
    path = tmp_path / "a.png"
    assert run("frame", "--frame", 5, "--deinterlace", "-o", path, movie_path).exit_code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(path)), reader.read([5], deinterlace="linear")[0])
    assert run("frame", "--frame", 5, "--field", 1, "-o", path, movie_path).exit_code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(path)), reader.read([5], fields=True)[1])
    refused = run("frame", "--frame", 5, "--field", 1, "--deinterlace", "-o", path, movie_path)
    assert refused.exit_code == 2
    assert run("sheet", "--deinterlace", "-o", path, movie_path).exit_code == 0
