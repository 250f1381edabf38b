"""Colours by the compiled kernel: those of `subsampled`, bit by bit."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from inter_movies import encode

from camhd_access import MovieReader
from camhd_access.decoding import machine_code
from camhd_access.decoding.colors import convert_colors, is_supported
from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.decoding.subsampled import CodedFrame, convert_frame

COLORS = [name for name, known in PIXEL_FORMATS.items() if known.is_color]
GRAYS = [name for name, known in PIXEL_FORMATS.items() if known.layout == "gray"]
SUBSAMPLINGS = {"4:2:0": (2, 2), "4:2:2": (1, 2), "4:4:0": (2, 1), "4:4:4": (1, 1)}
"""Lines and columns of luma for each of chroma."""
SIZES = [(1, 1), (2, 1), (1, 2), (3, 5), (7, 16), (22, 19), (9, 32), (6, 65)]
"""With and without columns beyond whole vectors of 16."""


def make_frame(rng, subsampling, size, bit_depth, **about):
    """Random planes with lines that are longer than they are wide, of all codes."""
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    sizes = [size, *[[-(-n // step) for n, step in zip(size, SUBSAMPLINGS[subsampling], strict=True)]] * 2]
    planes = []
    for height, width in sizes:
        codes = rng.integers(0, 1 << bit_depth, (height, width + int(rng.integers(0, 40)))).astype(dtype)
        codes[rng.random(codes.shape) < 0.1] = rng.choice([0, (1 << bit_depth) - 1])
        planes.append(codes[:, :width])
    about = {"full_range": False, "matrix": 1, "interlaced": False} | about
    return CodedFrame(0, False, tuple(planes), **about)


def both(kernel, frame, name, location, window=None, *, track_matrix=None):
    """The same pixels, by the kernel and by numpy."""
    frame = replace(frame, chroma_location=location)
    pixel_format = PIXEL_FORMATS[name]
    window = window or tuple(slice(0, n) for n in frame.planes[0].shape)
    size = [part.stop - part.start for part in window]
    results = []
    for compiled in (True, False):
        room = np.full(pixel_format.shape(size[0], size[1] + 5), 77, pixel_format.dtype)
        out = room[:, : size[1]]
        options = {"window": window, "track_matrix": track_matrix, "out": out}
        if compiled:
            assert is_supported(frame, pixel_format, window, out)
            convert_colors(kernel, frame, pixel_format, **options)
        else:
            convert_frame(frame, pixel_format, **options)
        assert (room[:, size[1] :] == 77).all()
        results.append(out)
    return results


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("interlaced", [False, True])
def test_every_place_of_chroma_and_every_format(kernel, subsampling, bit_depth, interlaced):
    rng = np.random.default_rng(0)
    for location, name, size in product(range(6), COLORS, SIZES):
        frame = make_frame(rng, subsampling, size, bit_depth, interlaced=interlaced)
        np.testing.assert_array_equal(*both(kernel, frame, name, location))


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("name", GRAYS)
def test_luma(kernel, bit_depth, name):
    rng = np.random.default_rng(4)
    for size in [*SIZES, (40, 96)]:
        frame = make_frame(rng, "4:2:0", size, bit_depth)
        frame.planes[0].flat[:] = np.arange(frame.planes[0].size) % (
            1 << bit_depth
        )  # every code in the largest
        np.testing.assert_array_equal(*both(kernel, frame, name, 0))
        colourless = replace(frame, planes=frame.planes[:1])
        window = tuple(slice(n // 3, n - n // 4) for n in size)
        np.testing.assert_array_equal(*both(kernel, colourless, name, 0, window))


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
def test_ranges_and_matrices(kernel, bit_depth, full_range):
    rng = np.random.default_rng(1)
    for matrix, track_matrix, name, location in product((0, 1, 2, 5, 6, 7, 9), (None, 9), COLORS, (0, 1)):
        frame = make_frame(rng, "4:2:0", (16, 67), bit_depth, full_range=full_range, matrix=matrix)
        np.testing.assert_array_equal(*both(kernel, frame, name, location, track_matrix=track_matrix))


def test_windows(kernel):
    rng = np.random.default_rng(2)
    for subsampling, location, interlaced in product(SUBSAMPLINGS, range(6), (False, True)):
        frame = make_frame(rng, subsampling, (46, 83), 8, interlaced=interlaced)
        for _ in range(8):
            window = tuple(
                slice(*sorted(rng.choice(n + 1, 2, replace=False).tolist())) for n in frame.planes[0].shape
            )
            np.testing.assert_array_equal(*both(kernel, frame, "rgb24", location, window))


def test_all_codes_of_luma_and_chroma(kernel):
    """Every pair of luma and chroma of 8 bits, in every channel: no product or sum rounds otherwise."""
    luma, chroma = (codes.astype(np.uint8) for codes in np.meshgrid(np.arange(256), np.arange(256)))
    for cb, cr in ((chroma, chroma[::-1]), (chroma, np.roll(chroma, 77, axis=0))):
        for full_range in (False, True):
            frame = CodedFrame(0, False, (luma, cb, cr), full_range=full_range, matrix=1, interlaced=False)
            for name in ("rgb24", "rgb48le"):
                np.testing.assert_array_equal(*both(kernel, frame, name, 0))


def test_what_the_kernel_leaves_to_numpy():
    rng = np.random.default_rng(3)
    frame = make_frame(rng, "4:2:0", (8, 16), 8)
    rgb, window = PIXEL_FORMATS["rgb24"], (slice(0, 8), slice(0, 16))
    out = np.empty((8, 16, 3), np.uint8)
    assert is_supported(frame, rgb, window, out)
    gray, luma = PIXEL_FORMATS["gray"], np.empty((8, 16), np.uint8)
    assert is_supported(frame, gray, window, luma)
    assert not is_supported(frame, gray, window, out[..., 0])
    assert not is_supported(replace(frame, full_range=True), gray, window, luma)
    assert not is_supported(frame, PIXEL_FORMATS["gray10le"], window, np.empty((8, 16), np.uint16))
    assert not is_supported(frame, rgb, (slice(0, 9), slice(0, 16)), np.empty((9, 16, 3), np.uint8))
    assert not is_supported(frame, rgb, window, out[:4])
    assert not is_supported(frame, rgb, window, np.empty((16, 8, 3), np.uint8).transpose(1, 0, 2))
    luma, cb, cr = frame.planes
    for planes in ((luma,), (luma, cb[:, :2], cr[:, :2]), (luma, cb, cr[:2]), (luma[:, ::-1], cb, cr)):
        other = CodedFrame(0, False, planes, full_range=False, matrix=1, interlaced=False)
        assert not is_supported(other, rgb, window, out)


@pytest.fixture
def counted(kernel, monkeypatch):
    """A process that has loaded the kernel; the tasks that it was given."""
    tasks = []

    def count(parameters):
        tasks.append(parameters)
        return kernel(parameters)

    monkeypatch.delenv("CAMHD_DECODER", raising=False)
    monkeypatch.setattr(machine_code, "_kernels", machine_code._Kernels())
    machine_code._kernels.kernel, machine_code._kernels.is_final = count, True
    return tasks


@pytest.mark.parametrize(
    "structure",
    ["closed groups", "fields", "full range", "4:2:2, 10 bit", "HEVC, closed groups", "HEVC, 10 bit"],
)
def test_decoded_movies(counted, monkeypatch, tmp_path, structure):
    path = tmp_path / "CAMHDA301-20240101T000000.mp4"
    path.write_bytes(encode(structure))
    reader = MovieReader(path, cache=False)
    for name, reduce in (("rgb24", 1), ("bgr24", 1), ("rgb48le", 1), ("rgb24", 2)):
        counted.clear()
        compiled = reader.read(slice(4, 20), pix_fmt=name, reduce=reduce)
        assert len(counted) == 16
        with monkeypatch.context() as patch:
            patch.setenv("CAMHD_DECODER", "libav")
            by_numpy = reader.read(slice(4, 20), pix_fmt=name, reduce=reduce)
        assert len(counted) == 16
        np.testing.assert_array_equal(compiled, by_numpy)


def test_luma_counts_less_than_colours(monkeypatch, tmp_path):
    announced = []
    monkeypatch.setattr(
        "camhd_access.movie.group_stack.announce", lambda n, *, waits: announced.append((n, waits))
    )
    path = tmp_path / "CAMHDA301-20240101T000000.mp4"
    path.write_bytes(encode("closed groups"))
    reader = MovieReader(path, cache=False)
    reader.read(slice(0, 35), pix_fmt="gray")
    reader.read(slice(0, 5), pix_fmt="rgb24")
    assert announced == [(2, True), (5, True)], "a local file"
