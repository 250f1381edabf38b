"""Pixel formats: the conversion of planes against exact arithmetic."""

import threading

import numpy as np
import pytest
from exact_colors import exact_rgb

from camhd_access.decoding import pixels as pixels_module
from camhd_access.decoding.pixels import (
    CHROMA_MARGIN,
    LUMA_WEIGHTS,
    PIXEL_FORMATS,
    Planes,
    choose_matrix,
    convert_planes,
    find_pixel_format,
)

COLOR = [f for f in PIXEL_FORMATS.values() if f.is_color]


def random_planes(height, width, chroma_width, seed=0):
    rng = np.random.default_rng(seed)
    return Planes(
        *(rng.integers(4, 1020, (height, w), dtype=np.uint16) for w in (width, chroma_width, chroma_width))
    )


def convert(planes, pixel_format, matrix=1, width=None, **options):
    height, luma_width = planes.y.shape
    out = np.full(pixel_format.shape(height, width or luma_width), 77, pixel_format.dtype)
    convert_planes(planes, pixel_format, matrix=matrix, out=out, **options)
    return out


@pytest.mark.parametrize("pixel_format", COLOR, ids=lambda f: f.name)
def test_colors_of_one_frame_are_shared_by_the_threads_that_decode(pixel_format, monkeypatch):
    planes = random_planes(540, 94, 47)
    expected = convert(planes, pixel_format)
    threads = []

    def record(*arguments):
        threads.append(threading.current_thread().name)
        convert_rows(*arguments)

    convert_rows = pixels_module._convert_rows
    monkeypatch.setattr(pixels_module, "_convert_rows", record)
    assert np.array_equal(convert(planes, pixel_format, n_threads=2), expected)
    assert len(threads) == 5
    assert all(name.startswith("camhd-decode") for name in threads)


@pytest.mark.parametrize("pixel_format", COLOR, ids=lambda f: f.name)
@pytest.mark.parametrize("matrix", LUMA_WEIGHTS)
@pytest.mark.parametrize(("width", "chroma_width"), [(48, 24), (47, 24), (48, 48), (1, 1)])
def test_color_is_rounded_exactly(pixel_format, matrix, width, chroma_width):
    planes = random_planes(150, width, chroma_width)
    pixels = convert(planes, pixel_format, matrix).astype(float)
    if pixel_format.layout == "bgr":
        pixels = pixels[..., ::-1]
    assert abs(pixels - exact_rgb(planes, matrix, pixel_format.full_scale)).max() < 0.5 + 0.01


@pytest.mark.parametrize(
    ("code", "gray", "gray16"),
    [(4, 0, 0), (64, 0, 0), (502, 128, 32768), (940, 255, 65535), (1019, 255, 65535)],
)
def test_gray_is_stretched_and_codes_are_not(code, gray, gray16):
    planes = Planes(
        np.full((2, 2), code, np.uint16), np.empty((2, 1), np.uint16), np.empty((2, 1), np.uint16)
    )
    assert convert(planes, PIXEL_FORMATS["gray"]).tolist() == [[gray] * 2] * 2
    assert convert(planes, PIXEL_FORMATS["gray16le"]).tolist() == [[gray16] * 2] * 2
    assert convert(planes, PIXEL_FORMATS["gray16be"]).tolist() == [[gray16] * 2] * 2
    assert convert(planes, PIXEL_FORMATS["gray10le"]).tolist() == [[code] * 2] * 2


def test_byte_orders_hold_the_same_values():
    planes = random_planes(8, 16, 8)
    for little in ("rgb48le", "bgr48le", "gray16le"):
        a = convert(planes, PIXEL_FORMATS[little])
        b = convert(planes, PIXEL_FORMATS[little.replace("le", "be")])
        assert (a.dtype.str, b.dtype.str) == ("<u2", ">u2")
        assert np.array_equal(a, b)


@pytest.mark.parametrize("x0", [16, 17])
@pytest.mark.parametrize("x1", [18, 33, 34])
@pytest.mark.parametrize("pix_fmt", ["rgb24", "gray", "gray10le"])
def test_a_crop_with_its_margin_equals_the_crop_of_the_whole(x0, x1, pix_fmt):
    planes = random_planes(20, 64, 32)
    pixel_format = PIXEL_FORMATS[pix_fmt]
    whole = convert(planes, pixel_format)
    first, stop = x0 // 2, -(-(x1 + CHROMA_MARGIN) // 2)
    part = Planes(planes.y[:, 2 * first : 2 * stop], planes.cb[:, first:stop], planes.cr[:, first:stop])
    assert np.array_equal(convert(part, pixel_format, width=x1 - x0, first_column=x0 % 2), whole[:, x0:x1])


@pytest.mark.parametrize(
    ("frame_matrix", "track_matrix", "height", "chosen"),
    [
        (9, 1, 1080, 9),
        (2, 6, 1080, 6),
        (0, None, 1080, 1),
        (2, 2, 720, 1),
        (2, None, 576, 6),
        (None, None, 480, 6),
    ],
)
def test_the_matrix_is_the_frames_else_the_tracks_else_by_height(frame_matrix, track_matrix, height, chosen):
    assert choose_matrix(frame_matrix, track_matrix, height=height) == chosen


def test_unknown_formats_are_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'yuv420p'.*rgb24.*gray10le"):
        find_pixel_format("yuv420p")
