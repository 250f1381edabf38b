"""Decoding with libav: pixels of frames, fields and windows, and damaged samples."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from prores_samples import HD_KINDS, KINDS, apple_samples, decoded, sample_of

from camhd_access import FrameDecodeError, UnsupportedCodecError
from camhd_access.decoding.libav import decode_frame, decode_planes
from camhd_access.decoding.pixels import LUMA_WEIGHTS, PIXEL_FORMATS, Planes, convert_planes
from camhd_access.formats.prores import check_frame

FORMATS = list(PIXEL_FORMATS)
KIND = KINDS[7]  # 183x83, interlaced, slices of four macroblocks
MATRIX_BYTE = 24  # SMPTE RDD 36, 5.1.1: 8 bytes before the header, 16 before matrix_coefficients


def read(sample, size, window=None, pix_fmt="gray10le", **options):
    """The result of `decode_frame` for a sample."""
    window = window or (slice(0, size[0]), slice(0, size[1]))
    pixel_format = PIXEL_FORMATS[pix_fmt]
    out = np.full(pixel_format.shape(*(w.stop - w.start for w in window)), 77, pixel_format.dtype)
    decode_frame(sample, size=size, window=window, pixel_format=pixel_format, out=out, **options)
    return out


def converted(kind, pix_fmt, matrix):
    """The same from libav's planes."""
    pixel_format = PIXEL_FORMATS[pix_fmt]
    out = np.empty(pixel_format.shape(kind.height, kind.width), pixel_format.dtype)
    convert_planes(Planes(*decoded(kind)[:3]), pixel_format, matrix=matrix, out=out)
    return out


@pytest.mark.parametrize("kind", [*KINDS, *HD_KINDS], ids=str)
def test_planes_are_libavs(kind):
    for luma_only in (False, True):
        planes = decode_planes(sample_of(kind), luma_only=luma_only)
        expected = decoded(kind)
        assert np.array_equal(planes.y, expected[0])
        if luma_only:
            assert planes.cb.size == planes.cr.size == 0
        else:
            assert np.array_equal(planes.cb, expected[1])
            assert np.array_equal(planes.cr, expected[2])


def test_frames_by_apples_encoders():
    for sample in apple_samples(n_frames=2):
        expected = read(sample, (240, 320))
        assert np.array_equal(expected, decode_planes(sample).y)
        y, x = slice(33, 150), slice(301, 320)
        assert np.array_equal(read(sample, (240, 320), (y, x)), expected[y, x])


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("kind", [KINDS[4], KIND, KINDS[9], KINDS[10], KINDS[12]], ids=str)
def test_windows_are_cut_from_the_whole(kind, pix_fmt):
    rng = np.random.default_rng(FORMATS.index(pix_fmt))
    size = (kind.height, kind.width)
    whole = converted(kind, pix_fmt, matrix=6)
    assert np.array_equal(read(sample_of(kind), size, pix_fmt=pix_fmt), whole)
    corners = [(0, 1, 0, 1), (kind.height - 1, kind.height, kind.width - 1, kind.width)]
    for _ in range(12):
        y0, y1 = sorted(rng.choice(kind.height + 1, 2, replace=False).tolist())
        x0, x1 = sorted(rng.choice(kind.width + 1, 2, replace=False).tolist())
        corners.append((y0, y1, x0, x1))
    for y0, y1, x0, x1 in corners:
        window = slice(y0, y1), slice(x0, x1)
        assert np.array_equal(read(sample_of(kind), size, window, pix_fmt), whole[window])


@pytest.mark.parametrize("track_matrix", [None, 9])
@pytest.mark.parametrize("stated", [0, 1, 2, 5, 6, 7, 9])
def test_the_matrix_of_the_frame_is_obeyed(stated, track_matrix):
    kind = KINDS[0]
    sample = bytearray(sample_of(kind))
    sample[MATRIX_BYTE] = stated
    used = stated if stated in LUMA_WEIGHTS else track_matrix or 6
    found = read(bytes(sample), (kind.height, kind.width), pix_fmt="rgb48le", track_matrix=track_matrix)
    assert np.array_equal(found, converted(kind, "rgb48le", used))


@pytest.mark.parametrize("pix_fmt", ["gray10le", "rgb24"])
def test_threads_that_share_a_frame_change_nothing(pix_fmt):
    kind = HD_KINDS[1]
    size = (kind.height, kind.width)
    assert np.array_equal(
        read(sample_of(kind), size, pix_fmt=pix_fmt, n_threads=3),
        read(sample_of(kind), size, pix_fmt=pix_fmt),
    )


def test_any_buffer_will_do():
    sample, size = sample_of(KIND), (KIND.height, KIND.width)
    inside = memoryview(b"before" + sample + b"after")[6:-5]
    for buffer in (sample, bytearray(sample), memoryview(sample), inside):
        assert np.array_equal(read(buffer, size), decoded(KIND)[0])


# ---- damage


def test_a_frame_of_another_size_is_refused():
    with pytest.raises(FrameDecodeError, match=r"183x83.*184x83"):
        read(sample_of(KIND), (83, 184))


def test_an_unknown_version_is_named():
    sample = bytearray(sample_of(KIND))
    sample[11] = 9
    with pytest.raises(UnsupportedCodecError, match="version"):
        read(bytes(sample), (83, 183))


@pytest.mark.parametrize("pix_fmt", ["gray10le", "rgb24"])
def test_a_truncated_frame_is_never_shown(pix_fmt):
    sample = sample_of(KIND)
    for n_bytes in [*range(0, 200, 7), *range(200, len(sample), 503), len(sample) - 1]:
        with pytest.raises(FrameDecodeError):
            read(sample[:n_bytes], (83, 183), pix_fmt=pix_fmt)


@pytest.mark.parametrize("filling", [b"\0", b"\xff", None], ids=["zeros", "ones", "noise"])
def test_bulk_damage_is_noticed_and_leaves_no_trace(filling):
    """Damage as by a network or a disk; the next frame decoded by the same thread is correct."""
    kind = HD_KINDS[1]
    sample, size = sample_of(kind), (kind.height, kind.width)
    rng = np.random.default_rng(3)
    for start in rng.integers(0, len(sample) - 4096, 6).tolist():
        damaged = bytearray(sample)
        damaged[start : start + 4096] = filling * 4096 if filling else rng.bytes(4096)
        with pytest.raises(FrameDecodeError):
            read(bytes(damaged), size)
        assert np.array_equal(read(sample_of(KIND), (83, 183)), decoded(KIND)[0])
    assert np.array_equal(read(sample, size), decoded(kind)[0])


def test_damage_outside_the_window_does_no_harm():
    sample = bytearray(sample_of(KIND))
    for picture in check_frame(bytes(sample)).pictures:
        for start, n_bytes in zip(picture.slice_offset[-1], picture.slice_size[-1], strict=True):
            sample[start + 8 : start + n_bytes] = bytes(n_bytes - 8)  # behind the slice's header
    upper = slice(0, 64), slice(0, 183)
    assert np.array_equal(read(bytes(sample), (83, 183), upper), decoded(KIND)[0][:64])
    with pytest.raises(FrameDecodeError):
        read(bytes(sample), (83, 183), (slice(0, 65), slice(0, 183)))


# ---- threads and processes


def check_many(seed):
    """Whether whole frames and windows of several sizes, by turns, are right in this thread."""
    rng = np.random.default_rng(seed)
    for kind in rng.permutation(np.array(KINDS[:8], dtype=object)):
        y = slice(int(rng.integers(0, 20)), kind.height)
        x = slice(int(rng.integers(0, 20)), kind.width)
        expected = decoded(kind)[0]
        size = (kind.height, kind.width)
        if not np.array_equal(read(sample_of(kind), size), expected):
            return False
        if not np.array_equal(read(sample_of(kind), size, (y, x)), expected[y, x]):
            return False
    return True


def test_eight_threads_decode_at_once():
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check_many, range(24)))


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # what is tested is just that
def test_a_forked_process_decodes():
    kind = HD_KINDS[0]
    read(sample_of(kind), (kind.height, kind.width), n_threads=2)
    assert check_many(0)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map_async(check_many, range(3)).get(60) == [True] * 3
        pool.close()
        pool.join()
