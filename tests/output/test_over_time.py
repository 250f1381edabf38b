"""Quantiles over time are numpy's, for one decoding of each slice; results say of which frames they are."""

import tracemalloc

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from camhd_access import MovieReader, open_movie
from camhd_access.decoding.decoders import FrameDecoder
from camhd_access.output import over_time
from camhd_access.synthetic import write_movie


@pytest.fixture(scope="module")
def pixels(movie_path):
    return MovieReader(movie_path).read(slice(None))


@pytest.mark.parametrize("band_bytes", [1, 64 << 20], ids=["many bands", "one band"])
@pytest.mark.parametrize("q", [0.5, 0, 1, 0.1, [0.25, 0.75]], ids=str)
def test_quantiles_are_numpys(movie_path, pixels, monkeypatch, q, band_bytes):
    monkeypatch.setattr(over_time, "BAND_BYTES", band_bytes)
    found = open_movie(movie_path).camhd.quantile(q)
    np.testing.assert_array_equal(found.values, np.quantile(pixels, q, axis=0))
    assert found.dims == ("quantile", "y", "x", "channel")[-found.ndim :]


def test_a_band_is_in_memory_once():
    frames = da.ones((64, 512, 1024), np.uint8, chunks=(64, -1, -1)).map_blocks(np.array)
    median = xr.DataArray(
        frames, dims=("time", "y", "x"), coords={"time": np.arange(64) * np.timedelta64(1, "s")}
    ).camhd.median()
    with dask.config.set(scheduler="synchronous"):
        tracemalloc.start()
        median.compute()
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert frames.nbytes < peak_bytes < 1.7 * frames.nbytes


CASES = [
    {"fields": "first"},
    {"fields": True},
    {"deinterlace": "linear"},
    {"reduce": 2},
    {"reduce": 8},
    {"pix_fmt": "gray16le"},
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_medians_of_all_that_is_shown(movie_path, monkeypatch, options):
    monkeypatch.setattr(over_time, "BAND_BYTES", 1)
    expected = np.median(MovieReader(movie_path).read(slice(None), **options), axis=0)
    np.testing.assert_array_equal(open_movie(movie_path, **options).camhd.median().values, expected)


@pytest.mark.parametrize(
    "part", [np.s_[3:9, 17:101, 5:70], np.s_[::-3, ::7], np.s_[[4, 4, 9], 180:]], ids=str
)
def test_medians_of_parts(movie_path, pixels, monkeypatch, part):
    monkeypatch.setattr(over_time, "BAND_BYTES", 1)
    found = open_movie(movie_path)[part].camhd.median()
    np.testing.assert_array_equal(found.values, np.median(pixels[part], axis=0))


def test_each_slice_is_decoded_once(movie_path, monkeypatch):
    monkeypatch.setattr(over_time, "BAND_BYTES", 1)
    windows = []
    decode = FrameDecoder.decode

    def count(self, coded, **options):
        windows.extend((each.window[0].start, each.window[0].stop) for each in coded)
        return decode(self, coded, **options)

    monkeypatch.setattr(FrameDecoder, "decode", count)
    open_movie(movie_path).camhd.median().compute(scheduler="synchronous")
    assert sorted(set(windows)) == [(y, y + 32) for y in range(0, 192, 32)]
    assert len(windows) == 6 * 40


def test_what_is_missing_is_left_out(movie_path, tmp_path):
    path = tmp_path / movie_path.name
    data = bytearray(movie_path.read_bytes())
    start = int(MovieReader(movie_path).index.offset[5])
    data[start + 4000 : start + 4100] = bytes(100)
    path.write_bytes(data)
    movie = open_movie(path, errors="mask", pix_fmt="gray")[3:8]
    expected = np.nanmedian(movie.values.astype(np.float64), axis=0)
    np.testing.assert_array_equal(movie.camhd.median().values, expected)
    alone = open_movie(path, errors="mask", pix_fmt="gray")[5:6]
    np.testing.assert_array_equal(np.isnan(alone.camhd.median().values), np.isnan(alone.values[0]))


def test_computed_and_plain_arrays_have_quantiles_too(movie_path, pixels):
    loaded = open_movie(movie_path)[3:9].compute()
    np.testing.assert_array_equal(loaded.camhd.median().values, np.median(pixels[3:9], axis=0))
    lazy = open_movie(movie_path)[3:9].astype(np.float32) / 2
    np.testing.assert_array_equal(lazy.camhd.median().values, np.median(pixels[3:9] / 2, axis=0))


def test_means_and_deviations_say_of_which_frames_they_are(movie_path):
    movie = open_movie(movie_path)[10:20]
    for name in ("mean", "std"):
        found = getattr(movie.camhd, name)()
        np.testing.assert_array_equal(found.values, getattr(movie, name)("time").values)
        title = found.camhd.imshow().axes[0].get_title()
        assert title == f"{movie_path.stem}  ·  {name} of 10 frames, 00:00:03 to 00:00:03"
        assert found.attrs["cell_methods"].endswith(f"time: {name}")
    assert open_movie(movie_path)[:1].camhd.median().attrs["operation"].startswith("median of 1 frame,")


@pytest.mark.parametrize("q", [-0.1, 1.1, [], [[0.5]], np.nan], ids=str)
def test_what_is_no_quantile_is_refused(movie_path, q):
    with pytest.raises(ValueError, match="from 0 to 1"):
        open_movie(movie_path).camhd.quantile(q)


@pytest.mark.parametrize("step", [1, 3, 40])
def test_pairs(movie_path, pixels, step):
    pairs = list(open_movie(movie_path, chunks=7).camhd.pairs(step))
    assert len(pairs) == max(0, 40 - step)
    for number, (one, other) in enumerate(pairs):
        assert (int(one.frame), int(other.frame)) == (number, number + step)
        np.testing.assert_array_equal(one.values, pixels[number])
        np.testing.assert_array_equal(other.values, pixels[number + step])


def test_steps_of_pairs_are_checked_at_once(movie_path):
    for step in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="step must be a number of frames"):
            open_movie(movie_path).camhd.pairs(step)


# ---- habits of readers


def test_a_reader_is_a_sequence_of_frames(movie_path, pixels):
    with MovieReader(movie_path) as reader:
        assert len(reader) == 40
        np.testing.assert_array_equal(reader[7], pixels[7])
        np.testing.assert_array_equal(reader[-1], pixels[-1])
        np.testing.assert_array_equal(reader[3:9:2], pixels[3:9:2])
        np.testing.assert_array_equal(np.stack(list(reader)), pixels)
        with pytest.raises(IndexError):
            reader[40]


def test_frames_are_chosen_by_masks(movie_path, pixels):
    mask = np.arange(40) % 7 == 3
    np.testing.assert_array_equal(MovieReader(movie_path).read(mask), pixels[mask])
    np.testing.assert_array_equal(open_movie(movie_path, frames=mask).values, pixels[mask])
    movie = open_movie(movie_path)
    np.testing.assert_array_equal(movie[mask].values, pixels[mask])
    np.testing.assert_array_equal(
        movie.isel(time=movie.encoded_size > movie.encoded_size.mean()).frame.dtype, int
    )
    with pytest.raises(TypeError, match="a mask of 3 for 40 frames"):
        MovieReader(movie_path).read([True, False, True])


def test_notebooks_show_what_there_is_without_a_request(served_movie, movie_url, tmp_path):
    reader = MovieReader(movie_url, cache=False)
    movie = open_movie(movie_url, cache=False)
    n_before = served_movie.n_requests
    assert "40" in reader._repr_html_()
    assert "by its clock" in reader._repr_html_()
    assert "requests" in reader.plan(slice(None))._repr_html_()
    assert "requests" in movie.camhd.plan()._repr_html_()
    from camhd_access import open_archive

    assert served_movie.url.rstrip("/") in open_archive(served_movie.url)._repr_html_()
    assert served_movie.n_requests == n_before
    assert "&lt;b&gt;" in open_archive(str(tmp_path / "<b>"))._repr_html_()


def test_a_median_of_many_large_frames_takes_few_bytes(tmp_path):
    """Memory of a task: all frames of a band, which is as small as possible."""
    write_movie(tmp_path / "a.mov", n_frames=2, width=1920, height=1080)
    movie = open_movie(tmp_path / "a.mov", frames=np.arange(1000) % 2)
    bands = over_time._in_bands(movie)
    assert np.prod(bands.chunksize) <= 190e6  # two threads hold two, and as much to sort
