"""Previews from DC coefficients, compared with means of decoded pixels."""

import numpy as np
import pytest
from prores_samples import HD_KINDS, KINDS, Kind, apple_samples, decode, decoded, encode, sample_of

from camhd_access.errors import CamhdError, FrameDecodeError
from camhd_access.formats.prores import check_frame, decode_preview
from camhd_access.formats.prores.dc import CODEBOOKS, _read_codes
from camhd_access.formats.prores.slices import parse_slice_headers

INTERLACED = [kind for kind in KINDS if kind.interlace]
PROGRESSIVE = [kind for kind in KINDS if not kind.interlace]


def block_means(plane):
    height, width = (n // 8 for n in plane.shape)
    return plane[: height * 8, : width * 8].reshape(height, 8, width, 8).mean(axis=(1, 3))


def is_clipped(plane):
    """The blocks in which the decoder may have clipped pixels; there the mean is not the DC coefficient."""
    height, width = (n // 8 for n in plane.shape)
    blocks = plane[: height * 8, : width * 8].reshape(height, 8, width, 8)
    return ((blocks <= 4) | (blocks >= 1019)).any(axis=(1, 3))


def fields_of(plane, interlace):
    first = 0 if interlace == 1 else 1
    return [plane[first::2], plane[1 - first :: 2]]


def assert_near(preview, plane):
    expected = block_means(plane)
    assert preview.shape == expected.shape
    assert preview.dtype == np.uint16
    error = np.abs(preview - expected)
    assert error[~is_clipped(plane)].max(initial=0) <= 0.75
    assert error.max() < 60


@pytest.mark.parametrize("kind", PROGRESSIVE, ids=str)
def test_a_preview_is_within_one_code_value_of_the_means(kind):
    previews = decode_preview([sample_of(kind)], planes="yuv")
    assert len(previews) == 3
    for preview, plane in zip(previews, decoded(kind), strict=False):
        assert_near(preview[0], plane)


def test_previews_of_frames_by_apples_encoders():
    for sample in apple_samples():
        for preview, plane in zip(decode_preview([sample], planes="yuv"), decode(sample), strict=True):
            assert_near(preview[0], plane)


@pytest.mark.parametrize("kind", INTERLACED, ids=str)
def test_previews_of_fields_are_as_exact(kind):
    previews = decode_preview([sample_of(kind)], planes="yuv", fields=True)
    for preview, plane in zip(previews, decoded(kind), strict=False):
        for field, lines in zip(preview[0], fields_of(plane, kind.interlace), strict=True):
            assert_near(field[: lines.shape[0] // 8], lines[: kind.height // 2])


@pytest.mark.parametrize("kind", INTERLACED, ids=str)
def test_pairs_of_rows_of_an_interlaced_frame_are_exact_means_of_16_lines(kind):
    previews = decode_preview([sample_of(kind)], planes="yuv")
    for preview, plane in zip(previews, decoded(kind), strict=False):
        assert preview.shape == (1, plane.shape[0] // 8, plane.shape[1] // 8)
        n_pairs = plane.shape[0] // 16
        of_pairs = preview[0, : 2 * n_pairs].reshape(n_pairs, 2, -1).mean(axis=1)
        expected = block_means(plane[: 16 * n_pairs]).reshape(n_pairs, 2, -1).mean(axis=1)
        exact = ~is_clipped(plane[: 16 * n_pairs]).reshape(n_pairs, 2, -1).any(axis=1)
        exact &= ((preview > 4) & (preview < 1019))[0, : 2 * n_pairs].reshape(n_pairs, 2, -1).all(axis=1)
        assert np.abs(of_pairs - expected)[exact].max(initial=0) <= 1.25


def test_a_slope_keeps_its_slope_when_interlaced():
    kind = Kind(96, 160, interlace=1, options=(("profile", "3"),))
    slope = np.broadcast_to(np.linspace(100, 900, 160)[:, None], (160, 96)).astype("<u2")
    sample = encode(kind, [slope, *[np.full((160, 48), 512, "<u2")] * 2])
    (luma,) = decode_preview([sample])
    inner = slice(2, -2)
    assert np.abs(luma[0] - block_means(slope))[inner].max() <= 2


def test_many_frames_at_once_equal_each_alone():
    kind = KINDS[5]
    samples = [sample_of(kind, seed) for seed in range(4)]
    together = decode_preview(samples, planes="yuv")
    alone = [decode_preview([sample], planes="yuv") for sample in samples]
    for plane in range(3):
        np.testing.assert_array_equal(together[plane], np.concatenate([planes[plane] for planes in alone]))
    np.testing.assert_array_equal(decode_preview(samples)[0], together[0])


def test_hard_edges_at_the_finest_quantiser_need_the_longest_codes():
    kind = Kind(256, 32, options=(("profile", "3"), ("flags", "+qscale"), ("global_quality", "118")))
    stripes = np.where((np.arange(256) // 8) % 2, 1019, 4)
    luma = np.broadcast_to(stripes, (32, 256)).astype("<u2")
    luma = np.where(np.arange(32)[:, None] < 16, luma, np.flip(luma))
    sample = encode(kind, [luma, *[luma[:, ::2]] * 2])
    previews = decode_preview([sample], planes="yuv")
    for preview, plane in zip(previews, decode(sample), strict=True):
        np.testing.assert_allclose(preview[0], block_means(plane), atol=8)  # the decoder clips


@pytest.mark.parametrize("book", range(5))
def test_codes_of_every_length_are_read(book):
    """Against a reader of one bit at a time, for all values that a 15-bit coefficient can lead to."""
    last_quotient, rice_order, golomb_order = CODEBOOKS[book].tolist()

    def write(value):
        if value >> rice_order <= last_quotient:
            tail = format(value & (1 << rice_order) - 1, f"0{rice_order}b") if rice_order else ""
            return "0" * (value >> rice_order) + "1" + tail
        rest = value - (last_quotient + 1 << rice_order) + (1 << golomb_order)
        return "0" * (last_quotient + 1 + rest.bit_length() - 1 - golomb_order) + format(rest, "b")

    values = np.unique(np.geomspace(1, 65000, 400).astype(int)) - 1
    codes = [write(value) for value in values.tolist()]
    bits = np.array([int(code.ljust(32, "1"), 2) for code in codes])
    decoded_values, lengths = _read_codes(bits, book)
    np.testing.assert_array_equal(decoded_values, values)
    np.testing.assert_array_equal(lengths, [len(code) for code in codes])


def test_a_plane_without_data_is_neutral():
    kind = Kind(48, 32)
    sample = bytearray(sample_of(kind))
    (picture,) = check_frame(sample).pictures
    for start in picture.slice_offset.ravel().tolist():
        n_luma, n_cb = (int.from_bytes(sample[start + i : start + i + 2]) for i in (2, 4))
        sample[start + 2 : start + 6] = (n_luma + n_cb).to_bytes(2) + bytes(2)  # Cb is luma's padding now
    sizes = parse_slice_headers(sample, picture).plane_size
    assert not sizes[1].any()
    luma, cb, _ = decode_preview([sample], planes="yuv")
    assert (cb == 512).all()
    np.testing.assert_array_equal(luma, decode_preview([sample_of(kind)])[0])


def test_a_chroma_matrix_left_out_is_that_of_luma():
    """As interpreted by libav, with a luma matrix that is not flat."""
    sample = sample_of(Kind(96, 64, options=(("profile", "0"),)))
    luma_matrix = bytes([9]) + sample[29:92]
    body = (84).to_bytes(2) + sample[10:27] + bytes([2]) + luma_matrix + sample[156:]
    sample = (8 + len(body)).to_bytes(4) + b"icpf" + body
    for preview, plane in zip(decode_preview([sample], planes="yuv"), decode(sample), strict=True):
        assert_near(preview[0], plane)


def test_samples_of_different_geometry_are_refused():
    with pytest.raises(ValueError, match="same geometry"):
        decode_preview([sample_of(KINDS[3]), sample_of(KINDS[4])])
    with pytest.raises(ValueError, match="at least one sample"):
        decode_preview([])


def test_a_progressive_frame_has_no_fields():
    with pytest.raises(ValueError, match="no fields"):
        decode_preview([sample_of(KINDS[0])], fields=True)


def test_damage_before_the_coefficients_is_named():
    with pytest.raises(FrameDecodeError, match="truncated"):
        decode_preview([sample_of(KINDS[0]), sample_of(KINDS[0])[:-1]])


def test_coefficients_past_the_end_of_their_plane_are_damage():
    sample = bytearray(sample_of(KINDS[0]))
    (picture,) = check_frame(sample).pictures
    for start, size in zip(picture.slice_offset.ravel(), picture.slice_size.ravel(), strict=True):
        sample[start + 6 : start + size] = bytes(size - 6)
        sample[start + 2 : start + 6] = (8).to_bytes(2) * 2
    with pytest.raises(FrameDecodeError, match="run past its end"):
        decode_preview([sample])


def test_random_damage_gives_a_picture_or_an_error_of_ours():
    rng = np.random.default_rng(0)
    sample = sample_of(KINDS[2])
    for _ in range(200):
        damaged = bytearray(sample)
        for position in rng.integers(0, len(sample), 1 + rng.integers(20)).tolist():
            damaged[position] = int(rng.integers(256))
        try:
            (luma,) = decode_preview([damaged])
        except CamhdError:
            continue
        assert luma.shape == (1, 50 // 8, 130 // 8)
        assert luma.min() >= 4
        assert luma.max() <= 1019


def test_full_size_gives_135_rows():
    for kind in HD_KINDS:
        luma, cb, cr = decode_preview([sample_of(kind)] * 2, planes="yuv")
        assert luma.shape == (2, 135, 240)
        assert cb.shape == cr.shape == (2, 135, 120)
        if kind.interlace:
            assert decode_preview([sample_of(kind)], fields=True)[0].shape == (1, 2, 67, 240)
        else:
            assert_near(luma[1], decoded(kind)[0])
