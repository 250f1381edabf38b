"""Frame headers and slice tables of ProRes samples, intact and damaged."""

import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prores_samples import KINDS, Kind, apple_samples, sample_of

from camhd_access.errors import CamhdError, FrameDecodeError, UnsupportedCodecError
from camhd_access.formats.prores import (
    check_frame,
    crop_field,
    crop_frame,
    parse_frame_header,
    walk_crop,
    walk_frame,
)
from camhd_access.formats.prores.slices import parse_slice_headers, slice_widths

PROGRESSIVE, TOP_FIRST, BOTTOM_FIRST = (Kind(46, 34, interlace=mode) for mode in (0, 1, 2))
TALL = Kind(48, 16400, options=(("mbs_per_slice", "1"), ("profile", "0")))
"""A slice table that goes on after the first 4,096 bytes."""
PICTURE = 156
"""Where the first picture begins."""
TABLE = PICTURE + 8
FIRST_SLICE = TABLE + 2 * 6
"""Three rows of two slices."""


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_header_says_what_was_encoded(kind):
    header = parse_frame_header(sample_of(kind)[:156])
    assert (header.width, header.height) == (kind.width, kind.height)
    assert header.interlace == kind.interlace
    assert header.interlaced == (kind.interlace > 0)
    assert header.chroma == ("444" if "444" in kind.pix_fmt else "422")
    assert header.alpha_bits == int(dict(kind.options).get("alpha_bits", 0))
    assert header.version == (header.chroma == "444")
    assert header.encoder == (b"Lavc" if kind.encoder == "prores_ks" else b"fmpg")
    assert header.frame_size == len(sample_of(kind))
    n_matrices = 0 if ("quant_mat", "default") in kind.options else 2
    assert header.picture_offset == 8 + header.header_size == 28 + 64 * n_matrices


def test_headers_by_apples_encoders():
    for sample in apple_samples():
        header = parse_frame_header(sample)
        assert (header.encoder, header.width, header.height, header.matrix) == (b"apl0", 320, 240, 6)
        assert header.frame_size == len(sample)
        frame = check_frame(sample, width=320, height=240)
        (picture,) = frame.pictures
        assert picture.slice_size.shape == (15, 3)
        assert 50 <= len(sample) - picture.stop <= 65  # padding


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_slices_fill_their_pictures_and_pictures_the_frame(kind):
    sample = sample_of(kind)
    frame = check_frame(sample, width=kind.width, height=kind.height)
    position = frame.header.picture_offset
    for picture in frame.pictures:
        assert picture.start == position
        stops = (picture.slice_offset + picture.slice_size).ravel()
        np.testing.assert_array_equal(picture.slice_offset.ravel()[1:], stops[:-1])
        position = stops[-1]
        assert position == picture.stop
        headers = parse_slice_headers(sample, picture)
        n_alpha = picture.slice_offset + picture.slice_size
        n_alpha = n_alpha - headers.plane_offset[2] - headers.plane_size[2]
        assert ((n_alpha > 0) if frame.header.alpha_bits else (n_alpha == 0)).all()
    assert position == len(sample)
    assert frame.column_edges[-1] == -(-kind.width // 16)


@pytest.mark.parametrize(
    ("n_macroblocks", "log2", "widths"),
    [
        (45, 3, [8, 8, 8, 8, 8, 4, 1]),
        (121, 3, [8] * 15 + [1]),
        (120, 3, [8] * 15),
        (3, 3, [2, 1]),
        (7, 2, [4, 2, 1]),
        (5, 0, [1] * 5),
    ],
)
def test_slices_are_halved_until_they_fit(n_macroblocks, log2, widths):
    assert slice_widths(n_macroblocks, log2) == widths


def test_matrices_left_out_are_flat_or_those_of_luma():
    sample = sample_of(PROGRESSIVE)
    luma, chroma = bytes(range(64)), bytes(range(64, 128))

    def with_matrices(flags, content):
        head = struct.pack(">H", 20 + len(content)) + sample[10:27] + bytes([flags]) + content
        return parse_frame_header(sample[:8] + head)

    both = with_matrices(3, luma + chroma)
    assert (both.luma_matrix, both.chroma_matrix) == (luma, chroma)
    luma_only = with_matrices(2, luma)
    assert (luma_only.luma_matrix, luma_only.chroma_matrix) == (luma, luma)
    chroma_only = with_matrices(1, chroma)
    assert (chroma_only.luma_matrix, chroma_only.chroma_matrix) == (bytes([4]) * 64, chroma)
    none = with_matrices(0, b"")
    assert (none.luma_matrix, none.chroma_matrix) == (bytes([4]) * 64,) * 2


def at(position, *values):
    """A mutation that overwrites bytes."""

    def mutate(sample):
        sample[position : position + len(values)] = bytes(values)
        return sample

    return mutate


def cut_to(n_bytes):
    return lambda sample: sample[:n_bytes]


def says_its_length(sample):
    sample[:4] = len(sample).to_bytes(4)
    return sample


def second_picture_gone(sample):
    first = check_frame(sample).pictures[0]
    return says_its_length(sample[: first.stop])


def second_picture_damaged(sample):
    first = check_frame(sample).pictures[0]
    sample[first.stop] = 0
    return sample


DAMAGE = [
    (PROGRESSIVE, cut_to(0), "0 bytes; a ProRes frame has at least 28"),
    (PROGRESSIVE, cut_to(27), "27 bytes"),
    (PROGRESSIVE, at(4, *b"moov"), "b'moov' instead of b'icpf' at byte 4"),
    (PROGRESSIVE, at(8, 0, 147), "header of 147 bytes at byte 8; its content needs 148"),
    (PROGRESSIVE, at(8, 255, 255), "header of 65535 bytes at byte 8; only"),
    (PROGRESSIVE, at(0, 0, 0, 0, 155), "header of 148 bytes at byte 8; only 147"),
    (PROGRESSIVE, at(16, 0, 0), "0x34 pixels at byte 16"),
    (PROGRESSIVE, at(18, 0, 0), "46x0 pixels at byte 16"),
    (PROGRESSIVE, at(17, 48), "48x34 pixels at byte 16 in a track of 46x34"),
    (PROGRESSIVE, at(17, 64), "6 slices at byte 161; 64x34 pixels make 3"),
    (PROGRESSIVE, at(20, 0x40), "chroma format 1 at byte 20"),
    (PROGRESSIVE, at(20, 0x8C), "interlace mode 3 at byte 20"),
    (PROGRESSIVE, at(25, 3), "alpha format 3 at byte 25"),
    (PROGRESSIVE, cut_to(-1), "truncated"),
    (PROGRESSIVE, cut_to(200), "truncated"),
    (PROGRESSIVE, lambda s: says_its_length(s[:160]), "picture header is due at 156"),
    (PROGRESSIVE, lambda s: says_its_length(s[:170]), "picture of .* bytes at byte 156 of a frame of 170"),
    (PROGRESSIVE, at(PICTURE, 7 << 3), "picture header of 7 bytes at byte 156"),
    (PROGRESSIVE, at(PICTURE + 1, 255), "picture of .* bytes at byte 156 of a frame of"),
    (PROGRESSIVE, at(PICTURE + 1, 0, 0, 0, 19), "slice table of 6 slices at byte 164 runs past"),
    (PROGRESSIVE, at(PICTURE + 1, 0, 0, 0, 60), "after the end 216 of the picture at byte 156"),
    (PROGRESSIVE, at(PICTURE + 5, 0, 7), "picture of 7 slices at byte 161; 46x34 pixels make 6"),
    (PROGRESSIVE, at(PICTURE + 7, 0x40), "slice dimensions 0x40 at byte 163"),
    (PROGRESSIVE, at(PICTURE + 7, 0x31), "slice dimensions 0x31 at byte 163"),
    (PROGRESSIVE, at(TABLE + 4, 0, 5), "slice 2 of 5 bytes at byte 168"),
    (PROGRESSIVE, at(TABLE + 4, 255, 255), "slices end at byte"),
    (PROGRESSIVE, at(FIRST_SLICE, 5 << 3), "slice 0 at byte 176 contradicts itself: 28"),
    (PROGRESSIVE, at(FIRST_SLICE + 1, 0), "slice 0 at byte 176 contradicts itself"),
    (PROGRESSIVE, at(FIRST_SLICE + 1, 225), "slice 0 at byte 176 contradicts itself"),
    (PROGRESSIVE, at(FIRST_SLICE + 2, 255), "slice 0 at byte 176 contradicts itself"),
    (PROGRESSIVE, at(FIRST_SLICE + 4, 255), "slice 0 at byte 176 contradicts itself"),
    (TOP_FIRST, second_picture_gone, "before its second field"),
    (BOTTOM_FIRST, second_picture_damaged, "picture header of 0 bytes"),
    (BOTTOM_FIRST, at(PICTURE + 1, 0, 0, 0, 15), "slice table of 4 slices at byte 164 runs past"),
]


@pytest.mark.parametrize(("kind", "damage", "message"), DAMAGE)
def test_damage_is_named_with_its_place(kind, damage, message):
    damaged = damage(bytearray(sample_of(kind)))
    with pytest.raises(FrameDecodeError, match=message):
        check_frame(damaged, width=kind.width, height=kind.height)


def test_an_unknown_version_is_unsupported_not_damaged():
    with pytest.raises(UnsupportedCodecError, match="version 2 at byte 10"):
        parse_frame_header(at(10, 0, 2)(bytearray(sample_of(PROGRESSIVE))))


def test_bytes_after_the_frame_are_nobodys_fault():
    sample = sample_of(PROGRESSIVE)
    assert check_frame(sample + bytes(100)).header == check_frame(sample).header


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(make):
    assert check_frame(make(sample_of(PROGRESSIVE))).header.width == 46
    assert crop_frame(make(sample_of(PROGRESSIVE)), (3, 9)) == crop_frame(sample_of(PROGRESSIVE), (3, 9))


def value_or_error(function, *args):
    """Any other exception than a `CamhdError` is a failure."""
    try:
        return function(*args)
    except CamhdError as error:
        return error


def follow(walk, sample):
    """Answer a walk, which must not request empty ranges or bytes outside the sample."""
    try:
        ranges = next(walk)
        while True:
            assert all(0 <= start < stop <= len(sample) for start, stop in ranges)
            ranges = walk.send([sample[start:stop] for start, stop in ranges])
    except StopIteration as end:
        return end.value


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_value_or_an_error_of_ours(data):
    for start in (b"", sample_of(PROGRESSIVE)[:8], sample_of(TOP_FIRST)[:PICTURE]):
        value_or_error(parse_frame_header, start + data)
        value_or_error(check_frame, start + data)
        value_or_error(crop_frame, start + data)


@settings(deadline=None)
@given(
    kind=st.sampled_from([PROGRESSIVE, TOP_FIRST, BOTTOM_FIRST]),
    changes=st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_any_damage_gives_a_value_or_an_error_of_ours(kind, changes):
    sample = bytearray(sample_of(kind))
    for position, value in changes:
        sample[position] = value
    value_or_error(check_frame, sample)
    value_or_error(crop_frame, sample)
    value_or_error(follow, walk_crop(len(sample)), sample)
    if not isinstance(value_or_error(check_frame, sample), CamhdError):
        interlaced = parse_frame_header(sample).interlaced
        assert crop_frame(sample).data
        assert not interlaced or crop_field(sample, 1).data


def test_a_long_slice_table_is_read_to_its_end():
    sample = sample_of(TALL)
    (picture,) = follow(walk_frame(len(sample)), sample).pictures
    assert picture.slice_size.shape == (1025, 3)
    assert picture.stop == len(sample)


def test_layouts_cannot_be_written_to():
    (picture,) = check_frame(sample_of(PROGRESSIVE)).pictures
    with pytest.raises(ValueError, match="read-only"):
        picture.slice_offset[0, 0] = 0


@pytest.mark.parametrize("frame_size", [100, 160, 172, 200])
def test_a_frame_that_denies_its_own_length_is_not_asked_for_what_lies_beyond(frame_size):
    sample = at(0, *frame_size.to_bytes(4))(bytearray(sample_of(TALL) * 2))
    assert isinstance(value_or_error(follow, walk_crop(len(sample)), sample), FrameDecodeError)


def test_values_pickle():
    sample = sample_of(TOP_FIRST)
    for value in (parse_frame_header(sample), crop_frame(sample, (0, 5))):
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - bytes of our own making
