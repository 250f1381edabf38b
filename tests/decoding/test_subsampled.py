"""Colours of subsampled frames, compared with a definition in float64."""

from dataclasses import replace

import numpy as np
import pytest
from exact_colors import LOCATIONS, exact_inter_rgb

from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.decoding.subsampled import CodedFrame, average_blocks, convert_frame

HEIGHT, WIDTH = 22, 19


def make_frame(subsampling, bit_depth, *, seed=0, **properties):
    rng = np.random.default_rng(seed)
    height, width = (-(-HEIGHT // 2) if subsampling == "420" else HEIGHT), WIDTH
    width = WIDTH if subsampling == "444" else -(-width // 2)
    dtype, low, high = (np.uint8, 1, 255) if bit_depth == 8 else (np.uint16, 4, 1020)
    luma = rng.integers(low, high, (HEIGHT, WIDTH)).astype(dtype)
    chroma = [rng.integers(low, high, (height, width)).astype(dtype) for _ in range(2)]
    about = {"full_range": False, "matrix": 1, "interlaced": False} | properties
    return CodedFrame(0, False, (luma, *chroma), **about)


def convert(frame, name, location=0, window=(slice(0, HEIGHT), slice(0, WIDTH))):
    pixel_format = PIXEL_FORMATS[name]
    size = [extent.stop - extent.start for extent in window]
    out = np.empty(pixel_format.shape(*size), pixel_format.dtype)
    convert_frame(
        replace(frame, chroma_location=location), pixel_format, window=window, track_matrix=None, out=out
    )
    return out


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("name", ["rgb24", "rgb48le"])
def test_colours_by_definition(name, bit_depth, interlaced, location):
    frame = make_frame("420", bit_depth, interlaced=interlaced)
    full_scale = PIXEL_FORMATS[name].full_scale
    exact = exact_inter_rgb(frame, location, full_scale)
    tolerance = 0.5 + (1e-3 if name == "rgb24" else 0.02)  # float32, of 65535
    assert np.abs(convert(frame, name, location) - exact).max() <= tolerance


@pytest.mark.parametrize("subsampling", ["422", "444", "420"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_subsampling_range_and_matrix(subsampling, full_range, matrix, bit_depth):
    frame = make_frame(subsampling, bit_depth, full_range=full_range, matrix=matrix)
    exact = exact_inter_rgb(frame, 0, 255)
    assert np.abs(convert(frame, "rgb24") - exact).max() <= 0.501
    np.testing.assert_array_equal(convert(frame, "bgr24"), convert(frame, "rgb24")[..., ::-1])


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_crop_is_that_of_the_whole_frame(location, interlaced):
    frame = make_frame("420", 8, interlaced=interlaced)
    for name in ("rgb24", "rgb48le", "gray"):
        whole = convert(frame, name, location)
        for y, x in (((3, 9), (5, 14)), ((0, 1), (18, 19)), ((21, 22), (0, 1)), ((2, 20), (4, 18))):
            window = slice(*y), slice(*x)
            np.testing.assert_array_equal(convert(frame, name, location, window), whole[window])


def test_luma_alone_and_movies_without_colour():
    frame = make_frame("420", 8)
    luma = frame.planes[0].astype(float)
    gray = np.floor(((luma - 16) * 255 / 219).clip(0, 255) + 0.5)
    np.testing.assert_array_equal(convert(frame, "gray"), gray)
    colourless = CodedFrame(0, False, frame.planes[:1], full_range=False, matrix=2, interlaced=False)
    np.testing.assert_array_equal(convert(colourless, "rgb24"), np.stack([gray] * 3, axis=-1))


@pytest.mark.parametrize("step", [2, 4, 8])
def test_means_of_blocks_are_rounded_half_up(step):
    pixels = np.random.default_rng(0).integers(0, 65536, (27, 35, 3), np.uint16)
    height, width = 27 // step, 35 // step
    out = np.empty((height, width, 3), np.uint16)
    average_blocks(pixels, step, out=out)
    blocks = pixels[: height * step, : width * step].reshape(height, step, width, step, 3).astype(int)
    np.testing.assert_array_equal(out, (2 * blocks.sum(axis=(1, 3)) + step**2) // (2 * step**2))
