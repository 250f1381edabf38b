"""Reduced frames: halves, quarters and previews."""

import numpy as np
import pytest
import xarray as xr
from exact_colors import exact_rgb
from oracle import decode_ten_bits, read_by_libav, write_by_libav
from prores_samples import KINDS, Kind

from camhd_access import FrameDecodeError, MovieReader, UnsupportedCodecError, open_movie
from camhd_access.decoding.pixels import PIXEL_FORMATS, Planes
from camhd_access.synthetic import serve_folder, write_movie

PROGRESSIVE = [kind for kind in KINDS if not kind.interlace and "444" not in kind.pix_fmt]
ALL_OF_444 = [kind for kind in KINDS if not kind.interlace and "444" in kind.pix_fmt]
INTERLACED = [kind for kind in KINDS if kind.interlace]


def block_means(plane, height=8):
    n_rows, n_columns = plane.shape[0] // height, plane.shape[1] // 8
    blocks = plane[: n_rows * height, : n_columns * 8].reshape(n_rows, height, n_columns, 8)
    return blocks.mean(axis=(1, 3))


def is_clipped(plane, height=8):
    """The blocks in which the decoder may have clipped pixels; there the mean is another one."""
    return block_means((plane <= 4) | (plane >= 1019), height) > 0


def assert_means(preview, plane, height=8, tolerance=1.0):
    expected = block_means(plane, height)
    assert preview.shape == expected.shape
    error = abs(preview - expected)[~is_clipped(plane, height)]
    assert error.size
    assert error.max() <= tolerance


@pytest.fixture(scope="module")
def progressive_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("progressive") / "a.mov"
    write_movie(path, n_frames=11, width=272, height=120, interlaced=False)
    return path


# ---- pixels


@pytest.mark.parametrize("kind", PROGRESSIVE + ALL_OF_444, ids=str)
def test_luma_is_the_mean_of_8x8_pixels_within_one_code(kind, tmp_path):
    path = write_by_libav(tmp_path / "a.mov", kind)
    previews = MovieReader(path).read(slice(None), reduce=8, pix_fmt="gray10le")
    assert previews.dtype == np.uint16
    for preview, planes in zip(previews, decode_ten_bits(read_by_libav(path)), strict=True):
        assert_means(preview, planes[0])


@pytest.mark.parametrize("kind", INTERLACED, ids=str)
def test_of_interlaced_frames_pairs_of_rows_and_fields_are_exact(kind, tmp_path):
    path = write_by_libav(tmp_path / "a.mov", kind)
    reader = MovieReader(path)
    frames = reader.read(slice(None), reduce=8, pix_fmt="gray10le")
    fields = reader.read(slice(None), reduce=8, fields=True, pix_fmt="gray10le")
    assert frames.shape == (3, kind.height // 8, kind.width // 8)
    assert fields.shape == (6, kind.height // 2 // 8, kind.width // 8)
    n_pairs = kind.height // 16
    for i, (luma, *_) in enumerate(decode_ten_bits(read_by_libav(path))):
        pairs = frames[i, : 2 * n_pairs].reshape(n_pairs, 2, -1)
        expected, clipped = (f(luma, 16)[:n_pairs] for f in (block_means, is_clipped))
        free = ~clipped & ((pairs > 4) & (pairs < 1019)).all(axis=1)
        assert abs(pairs.mean(axis=1) - expected)[free].max() <= 1.25
        for field, parity in zip(fields[2 * i : 2 * i + 2], (1, 0), strict=True):  # bottom field first
            assert_means(field, luma[parity::2][: kind.height // 2])


@pytest.mark.parametrize("pix_fmt", PIXEL_FORMATS)
def test_every_pixel_format(progressive_path, pix_fmt):
    pixel_format = PIXEL_FORMATS[pix_fmt]
    previews = MovieReader(progressive_path).read(slice(None), reduce=8, pix_fmt=pix_fmt)
    assert previews.dtype == pixel_format.dtype
    for preview, planes in zip(previews, read_by_libav(progressive_path).planes, strict=True):
        luma, *chroma = (block_means(plane) for plane in planes)
        if pixel_format.layout == "code":
            expected, tolerance = luma, 1.0
        elif pixel_format.layout == "gray":
            expected = ((luma - 64) / 876).clip(0, 1) * pixel_format.full_scale
            tolerance = 0.75 * pixel_format.full_scale / 876 + 0.51
        else:
            wide = [np.repeat(plane, 2, axis=1) for plane in chroma]  # a block of chroma is 16 pixels wide
            rgb = exact_rgb(Planes(luma, *wide), 1, pixel_format.full_scale)
            expected = rgb if pixel_format.layout == "rgb" else rgb[..., ::-1]
            tolerance = 3 * 0.75 * pixel_format.full_scale / 876 + 0.51
        assert preview.shape == expected.shape
        assert abs(preview - expected).max() <= tolerance


@pytest.mark.parametrize("kind", [*PROGRESSIVE[:5], *ALL_OF_444, *INTERLACED[:2]], ids=str)
def test_color_where_the_last_chroma_block_is_not_whole(kind, tmp_path):
    reader = MovieReader(write_by_libav(tmp_path / "a.mov", kind, n_frames=1))
    colors = reader.read(0, reduce=8)
    assert colors.shape == (1, kind.height // 8, kind.width // 8, 3)
    red, green, blue = np.moveaxis(colors[0].astype(float), -1, 0)
    weight = reader.index.color_matrix or 6
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114)}[weight]
    luma = reader.read(0, reduce=8, pix_fmt="gray")[0]
    inside = (colors[0] > 0).all(axis=-1) & (colors[0] < 255).all(axis=-1)
    assert abs(kr * red + (1 - kr - kb) * green + kb * blue - luma)[inside].max(initial=0) <= 1.01


@pytest.mark.parametrize("fields", [False, True])
def test_y_and_x_count_in_the_reduced_picture(movie_path, fields):
    reader = MovieReader(movie_path)
    whole = reader.read([3, 1], reduce=8, fields=fields)
    y, x = slice(2, 9), slice(-7, -1)
    assert np.array_equal(reader.read([3, 1], y=y, x=x, reduce=8, fields=fields), whole[:, y, x])
    with pytest.raises(ValueError, match="x=40:44 is empty"):
        reader.read(0, x=slice(40, 44), reduce=8)


@pytest.mark.parametrize("parallel", [False, True])
def test_many_frames_at_once_equal_each_alone(movie_path, parallel):
    reader = MovieReader(movie_path)
    frames = [39, 0, 7, 7, 21, 3, 4, 5, 38]
    together = reader.stack(frames, reduce=8).read(parallel=parallel)
    assert np.array_equal(together, np.concatenate([reader.read(i, reduce=8) for i in frames]))


@pytest.mark.parametrize("reduce", [0, 3, 16, -8])
def test_other_reductions_are_refused(movie_path, reduce):
    with pytest.raises(ValueError, match=r"reduce must be 1, 2, 4 or 8, not"):
        MovieReader(movie_path).read(0, reduce=reduce)


@pytest.mark.parametrize("reduce", [8.0, 8.5, "8", True, None, [8]])
def test_a_reduction_is_a_whole_number(movie_path, reduce):
    with pytest.raises(TypeError, match="reduce must be 1, 2, 4 or 8, not"):
        MovieReader(movie_path).read(0, reduce=reduce)


@pytest.mark.parametrize("reduce", [2, 4])
@pytest.mark.parametrize("fields", [False, True])
def test_halves_and_quarters_near_the_means_of_areas(movie_path, reduce, fields):
    movie = open_movie(movie_path, frames=slice(2), pix_fmt="gray10le", fields=True, reduce=reduce)
    assert movie.shape == (4, 96 // reduce, 320 // reduce)
    assert "low frequencies" in movie.attrs["cell_methods"]
    whole = MovieReader(movie_path).read(slice(2), pix_fmt="gray10le", fields=True).astype(float)
    means = whole.reshape(4, 96 // reduce, reduce, 320 // reduce, reduce).mean(axis=(2, 4))
    difference = movie.values - means
    assert abs(difference.mean()) < 1
    assert np.sqrt((difference**2).mean()) < 12
    if not fields:  # whose lines stay apart
        frames = MovieReader(movie_path).read(slice(2), pix_fmt="gray10le", reduce=reduce)
        assert np.array_equal(frames[:, 0::2], movie.values[0::2])
        assert np.array_equal(frames[:, 1::2], movie.values[1::2])


@pytest.mark.parametrize("reduce", [2, 4])
@pytest.mark.parametrize("pix_fmt", ["gray", "rgb24"])
def test_crops_of_halves_and_quarters_fetch_a_part(movie_path, reduce, pix_fmt):
    options = {"pix_fmt": pix_fmt, "reduce": reduce}
    whole = MovieReader(movie_path).read(slice(6), **options)
    y, x = slice(3, 11), slice(7, 30)
    with serve_folder(movie_path.parent) as server:
        reader = MovieReader(server.url + movie_path.name, cache=False)
        assert np.array_equal(reader.read(slice(6), y=y, x=x, **options), whole[:, y, x])


def test_halves_of_444_are_refused(tmp_path):
    path = write_by_libav(tmp_path / "a.mov", ALL_OF_444[0])
    with pytest.raises(UnsupportedCodecError, match="4:2:2"):
        MovieReader(path).read(0, reduce=2)


def test_a_reduction_may_be_a_number_of_numpy(movie_path):
    assert MovieReader(movie_path).read(0, reduce=np.int64(8)).shape == (1, 24, 40, 3)


def test_a_picture_smaller_than_a_block_has_no_preview(tmp_path):
    reader = MovieReader(write_by_libav(tmp_path / "a.mov", Kind(46, 34), n_frames=1))
    assert reader.read(0, reduce=8).shape == (1, 4, 5, 3)


# ---- damage


@pytest.fixture
def damaged_path(movie_path, tmp_path):
    """Frame 6 has lost the end of its slice table, frame 9 is of another size."""
    path = tmp_path / "a.mov"
    path.write_bytes(movie_path.read_bytes())
    offset = MovieReader(path).index.offset
    with path.open("r+b") as file:
        file.seek(int(offset[6]) + 170)
        file.write(bytes(20))
        file.seek(int(offset[9]) + 16)
        file.write((328).to_bytes(2))
    return path


def test_a_damaged_sample_of_a_batch_is_named(damaged_path):
    reader = MovieReader(damaged_path)
    with pytest.raises(FrameDecodeError, match=rf"frame 6 of {damaged_path}.*slice"):
        reader.read(slice(4, 8), reduce=8)
    with pytest.raises(FrameDecodeError, match=r"frame 9 of .*328x192 pixels in a movie of 320x192"):
        reader.read(slice(8, 12), reduce=8)


def test_the_others_of_its_batch_are_read(damaged_path, movie_path):
    previews = MovieReader(damaged_path).read(slice(None), reduce=8, errors="mask")
    assert np.flatnonzero(previews.mask.any(axis=(1, 2, 3))).tolist() == [6, 9]
    good = np.delete(np.arange(40), [6, 9])
    assert np.array_equal(previews.data[good], MovieReader(movie_path).read(good, reduce=8))


def test_samples_that_do_not_go_together_are_decoded_one_by_one(tmp_path):
    """As where an encoder changes the width of slices within a movie."""
    kinds = [Kind(183, 83, options=(("mbs_per_slice", str(n)),)) for n in (1, 8)]
    paths = [write_by_libav(tmp_path / f"{i}.mov", kind) for i, kind in enumerate(kinds)]
    narrow, wide = (MovieReader(path) for path in paths)
    (sample,) = wide.read_encoded(1)
    before = narrow.read(slice(None), reduce=8)
    assert len(sample) <= narrow.index.size[1]
    with paths[0].open("r+b") as file:
        file.seek(int(narrow.index.offset[1]))
        file.write(sample)
    mixed = MovieReader(paths[0]).read(slice(None), reduce=8)
    assert np.array_equal(mixed[1], wide.read(1, reduce=8)[0])
    assert np.array_equal(mixed[[0, 2]], before[[0, 2]])


# ---- arrays


@pytest.mark.parametrize("chunks", [None, "auto", 3], ids=str)
def test_previews_as_an_array(movie_path, chunks):
    movie = open_movie(movie_path, reduce=8, chunks=chunks)
    assert movie.shape == (40, 24, 40, 3)
    assert movie.attrs["cell_methods"] == "y: x: mean (of 8 by 8 pixels)"
    pixels = MovieReader(movie_path).read(slice(None), reduce=8)
    assert np.array_equal(movie, pixels)
    assert np.array_equal(movie[5, 3:9], pixels[5, 3:9])
    assert np.array_equal(movie.isel(time=[7, 2], x=[3, 0]), pixels[[7, 2]][:, :, [3, 0]])
    assert np.array_equal(movie.time, open_movie(movie_path).time)
    assert np.array_equal(movie.encoded_size, MovieReader(movie_path).index.size)


def test_previews_by_the_engine(movie_path):
    dataset = xr.open_dataset(movie_path, engine="camhd", reduce=8, chunks={})
    assert np.array_equal(dataset.video[::9], MovieReader(movie_path).read(slice(None, None, 9), reduce=8))


def test_full_size(tmp_path):
    write_movie(tmp_path / "a.mov", n_frames=1)
    reader = MovieReader(tmp_path / "a.mov")
    assert reader.read(0, reduce=8).shape == (1, 135, 240, 3)
    assert reader.read(0, reduce=8, fields=True).shape == (2, 67, 240, 3)
