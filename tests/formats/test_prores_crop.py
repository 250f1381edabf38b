"""Crops and fields in the compressed domain, compared with whole decoded frames."""

import numpy as np
import pytest
from prores_samples import HD_KINDS, KINDS, Kind, apple_samples, decode, decoded, sample_of

from camhd_access.errors import UnsupportedCodecError
from camhd_access.formats.prores import check_frame, crop_field, crop_frame, parse_frame_header, walk_crop
from camhd_access.ranges import run_walk

INTERLACED = [kind for kind in KINDS if kind.interlace]


def random_interval(rng, length):
    start, stop = sorted(rng.choice(length + 1, 2, replace=False).tolist())
    return start, stop


def cut(planes, y, x, chroma):
    """The rectangle in each plane; in 4:2:2, every chroma column that it touches."""
    half = slice(x[0] // 2, (x[1] + 1) // 2)
    return [
        plane[slice(*y), half if chroma == "422" and index in (1, 2) else slice(*x)]
        for index, plane in enumerate(planes)
    ]


def assert_crop_shows(cropped, whole, y, x):
    header = parse_frame_header(cropped.data)
    assert header.frame_size == len(cropped.data)
    if cropped.y_step == 1:
        check_frame(cropped.data, width=cropped.coded_width, height=cropped.coded_height)
    assert (cropped.height, cropped.width) == (y[1] - y[0], x[1] - x[0])
    small = decode(cropped.data)
    assert small[0].shape == (cropped.coded_height, cropped.coded_width)
    for index, expected in enumerate(cut(whole, y, x, header.chroma)):
        columns = cropped.chroma_columns if header.chroma == "422" and index in (1, 2) else cropped.columns
        np.testing.assert_array_equal(small[index][cropped.rows, columns], expected)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_decoded_crop_is_the_crop_of_the_decoded_frame(kind):
    rng = np.random.default_rng(1)
    sample = sample_of(kind)
    for _ in range(25):
        y, x = random_interval(rng, kind.height), random_interval(rng, kind.width)
        assert_crop_shows(crop_frame(sample, y, x), decoded(kind), y, x)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HD_KINDS, ids=str)
def test_crops_at_full_size(kind):
    sample, whole = sample_of(kind), decoded(kind)
    for y, x in [
        ((0, 64), (0, 1920)),
        ((460, 620), (768, 1152)),
        ((1071, 1080), (1, 1919)),
        ((5, 6), (7, 8)),
    ]:
        assert_crop_shows(crop_frame(sample, y, x), whole, y, x)
        if kind.interlace == 2:
            lines = [plane[1::2] for plane in whole]
            half = y[0] // 2, (y[1] + 1) // 2
            assert_crop_shows(crop_field(sample, 0, half, x), lines, half, x)


def test_crops_of_frames_by_apples_encoders():
    rng = np.random.default_rng(2)
    for sample in apple_samples():
        whole = decode(sample)
        for _ in range(25):
            y, x = random_interval(rng, 240), random_interval(rng, 320)
            assert_crop_shows(crop_frame(sample, y, x), whole, y, x)


@pytest.mark.parametrize("kind", INTERLACED, ids=str)
@pytest.mark.parametrize("field", [0, 1])
def test_a_field_decoded_alone_is_every_second_line(kind, field):
    rng = np.random.default_rng(3)
    parity = field if kind.interlace == 1 else 1 - field
    lines = [plane[parity::2] for plane in decoded(kind)]
    sample = sample_of(kind)
    n_lines = lines[0].shape[0]
    assert_crop_shows(crop_field(sample, field), lines, (0, n_lines), (0, kind.width))
    for _ in range(10):
        y, x = random_interval(rng, n_lines), random_interval(rng, kind.width)
        assert_crop_shows(crop_field(sample, field, y, x), lines, y, x)


def test_the_fields_share_the_bytes_between_them():
    sample = sample_of(KINDS[-1])
    first, second = (len(crop_field(sample, field).data) for field in (0, 1))
    assert first + second == len(sample) + parse_frame_header(sample).picture_offset
    assert 0.45 < first / len(sample) < 0.55


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_whole_frame_is_its_own_crop(kind):
    cropped = crop_frame(sample_of(kind))
    assert cropped == crop_frame(sample_of(kind), slice(None), slice(0, kind.width))
    assert len(cropped.data) == len(sample_of(kind))
    assert (cropped.y_offset, cropped.x_offset) == (0, 0)
    assert (cropped.height, cropped.width) == (kind.height, kind.width)


def test_what_a_crop_does_not_understand_it_copies():
    sample = bytearray(sample_of(KINDS[0]))
    sample[20] |= 0b11  # reserved bits, set by Apple's encoders
    sample[25] |= 0x30
    raw = parse_frame_header(crop_frame(sample, (0, 16), (0, 16)).data).raw
    assert raw[:8] + raw[12:] == sample[8:16] + sample[20:156]


class Recorder:
    """Answers the requests of a walk from a sample, and records them."""

    def __init__(self, sample):
        self.sample = sample
        self.rounds = []

    def run(self, walk):
        try:
            ranges = next(walk)
            while True:
                self.rounds.append(ranges)
                ranges = walk.send([self.sample[start:stop] for start, stop in ranges])
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(
    ("kind", "field", "n_rounds"),
    [(KINDS[6], None, 2), (KINDS[-1], None, 3), (KINDS[-1], 0, 2), (KINDS[-1], 1, 3)],
    ids=["progressive", "interlaced", "first field", "second field"],
)
def test_a_crop_from_parts_asks_for_little_and_equals_that_from_the_whole(kind, field, n_rounds):
    sample, y, x = sample_of(kind), (35, 40), (20, 70)
    recorder = Recorder(sample)
    cropped = recorder.run(walk_crop(len(sample), y=y, x=x, field=field))
    assert cropped == (crop_frame(sample, y, x) if field is None else crop_field(sample, field, y, x))
    assert len(recorder.rounds) == n_rounds
    pictures = check_frame(sample).pictures
    row = 35 // (16 if field is not None or not kind.interlace else 32)
    wanted = [p for i, p in enumerate(pictures) if field in (None, i)]
    for picture, (start, stop) in zip(wanted, recorder.rounds[-1], strict=True):
        sizes = picture.slice_size[row]
        assert start == picture.slice_offset[row, 0]
        assert stop - start <= sizes.sum()


def test_a_large_slice_table_takes_one_more_question():
    kind = KINDS[3]
    sample = sample_of(kind)
    recorder = Recorder(sample)
    walk = walk_crop(len(sample), y=(0, 1), x=(0, 1))
    assert next(walk) == [(0, 4096)]
    short = 8 + 148 + 20
    ((start, stop),) = walk.send([sample[:short]])
    assert (start, stop) == (short, 8 + 148 + 8 + 2 * 6 * 12)
    ((start, stop),) = walk.send([sample[start:stop]])
    with pytest.raises(StopIteration) as end:
        walk.send([sample[start:stop]])
    assert end.value.value == recorder.run(walk_crop(len(sample), y=(0, 1), x=(0, 1)))


def test_whole_rows_of_a_cut_off_sample_can_be_had():
    kind = KINDS[6]
    sample = sample_of(kind)
    available = check_frame(sample).pictures[0].slice_offset[3, 0]
    cut_off = sample[:available]
    cropped = run_walk(walk_crop(len(sample), y=(0, 48)), cut_off)
    assert_crop_shows(cropped, decoded(kind), (0, 48), (0, kind.width))


@pytest.mark.parametrize(
    ("y", "x"),
    [
        ((0, 0), None),
        ((5, 4), None),
        ((-1, 4), None),
        ((0, 35), None),
        (None, (0, 47)),
        (slice(0, 8, 2), None),
    ],
)
def test_rectangles_that_are_empty_or_leave_the_frame_are_refused(y, x):
    with pytest.raises(ValueError, match="must be a non-empty part of"):
        crop_frame(sample_of(KINDS[0]), y, x)


def test_a_progressive_frame_has_no_fields():
    with pytest.raises(ValueError, match="no fields"):
        crop_field(sample_of(KINDS[0]), 0)


def test_the_shorter_field_ends_first():
    kind = next(k for k in INTERLACED if k.height == 83)
    assert crop_field(sample_of(kind), 0).height == 41
    assert crop_field(sample_of(kind), 1).height == 42


def test_fields_with_slices_of_different_widths_are_refused():
    sample = bytearray(sample_of(Kind(46, 34, interlace=1)))
    sample[check_frame(sample).pictures[1].start + 7] = 2 << 4
    with pytest.raises(UnsupportedCodecError, match="another width"):
        crop_frame(sample)
