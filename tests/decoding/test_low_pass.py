"""Halves and quarters in numpy compared with those of the compiled decoder: exact equality."""

import numpy as np
import pytest
from prores_samples import HD_KINDS, KINDS, Kind, apple_samples, random_windows, sample_of

from camhd_access import CamhdError
from camhd_access.decoding import low_pass, prores422
from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.decoding.windows import CodedWindow, walk_window, whole_window
from camhd_access.formats.prores import check_frame, parse_frame_header
from camhd_access.ranges import run_walk

OURS = [
    *(kind for kind in KINDS if "422" in kind.pix_fmt),
    Kind(722, 98, options=(("mbs_per_slice", "4"),)),
    Kind(355, 130, interlace=1, options=(("mbs_per_slice", "2"),)),
]
DAMAGED = [Kind(183, 83), Kind(355, 130, interlace=1, options=(("mbs_per_slice", "2"),))]


def by_both(kernel, coded, pix_fmt, reduce, *, masks=False):
    """Pixels and marks, or the message of the error, by the compiled decoder and by numpy."""
    pixel_format = PIXEL_FORMATS[pix_fmt]
    results = []
    for decode, options in ((prores422.decode_window, {"kernel": kernel}), (low_pass.decode_window, {})):
        out = np.full(pixel_format.shape(*(w.stop - w.start for w in coded.window)), 77, pixel_format.dtype)
        try:
            marks = decode(
                coded=coded,
                pixel_format=pixel_format,
                track_matrix=None,
                reduce=reduce,
                masks=masks,
                out=out,
                **options,
            )
        except CamhdError as error:
            results.append((type(error), str(error)))
        else:
            results.append((out, marks))
    return results


def assert_same(results):
    (ours, marks), (theirs, their_marks) = results
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        assert np.array_equal(ours, theirs)
        assert (marks is None) == (their_marks is None)
        assert marks is None or np.array_equal(marks, their_marks)
    else:
        assert results[0] == results[1]


def windows_of(kind, rng, reduce, *, field, n):
    """The whole picture, and parts of it."""
    height = (kind.height if field is None else kind.height // 2) // reduce
    width = kind.width // reduce
    yield slice(0, height), slice(0, width)
    yield from random_windows(rng, height, width, n)


@pytest.mark.parametrize("kind", OURS, ids=str)
def test_the_pixels_are_those_of_the_compiled_decoder(kernel, kind):
    sample, size, rng = sample_of(kind), (kind.height, kind.width), np.random.default_rng(kind.width)
    for field in (None, 0, 1) if kind.interlace else (None,):
        for reduce, pix_fmt in ((2, "rgb24"), (4, "bgr48be"), (2, "gray10le"), (4, "gray")):
            for window in windows_of(kind, rng, reduce, field=field, n=2):
                coded = whole_window(sample, size=size, window=window, field=field)
                assert_same(by_both(kernel, coded, pix_fmt, reduce))


@pytest.mark.parametrize("kind", HD_KINDS, ids=str)
def test_frames_of_high_definition(kernel, kind):
    for reduce in (2, 4):
        window = slice(0, kind.height // reduce), slice(0, kind.width // reduce)
        coded = whole_window(sample_of(kind), size=(kind.height, kind.width), window=window, field=None)
        assert_same(by_both(kernel, coded, "rgb24", reduce))


@pytest.mark.parametrize("kind", OURS, ids=str)
def test_windows_of_smaller_frames_made_of_slices(kernel, kind):
    sample, size, rng = sample_of(kind), (kind.height, kind.width), np.random.default_rng(5)
    for field in (None, 0, 1) if kind.interlace else (None,):
        for reduce, in_color in ((4, False), (2, True)):
            for window in windows_of(kind, rng, reduce, field=field, n=2):
                walk = walk_window(
                    len(sample), size=size, window=window, field=field, reduce=reduce, in_color=in_color
                )
                coded = run_walk(walk, sample)
                assert_same(by_both(kernel, coded, "rgb24" if in_color else "gray16le", reduce))


def test_frames_by_apples_encoders(kernel):
    for sample in apple_samples():
        header = parse_frame_header(sample)
        for reduce in (2, 4):
            window = slice(0, header.height // reduce), slice(0, header.width // reduce)
            assert_same(by_both(kernel, CodedWindow(sample, header, window, None), "rgb24", reduce))


@pytest.mark.parametrize("kind", DAMAGED, ids=str)
def test_damage_is_found_in_the_same_slices(kernel, kind):
    """Zeros, ones or noise anywhere, also in headers and tables, and samples that are cut off."""
    intact, rng = sample_of(kind), np.random.default_rng(7)
    size, n_damaged = (kind.height, kind.width), 0
    for attempt in range(60):
        sample, start = bytearray(intact), int(rng.integers(30, len(intact)))
        n_bytes = int(rng.integers(1, 40))
        filling = (bytes(n_bytes), b"\xff" * n_bytes, rng.bytes(n_bytes))[attempt % 3]
        sample[start : start + n_bytes] = filling[: len(intact) - start]
        if attempt % 5 == 0:
            del sample[start:]
        field = (None, 0, 1)[attempt % 3] if kind.interlace else None
        reduce = (2, 4)[attempt // 3 % 2]
        height = (kind.height if field is None else kind.height // 2) // reduce
        window = slice(0, height), slice(attempt % 7, kind.width // reduce)
        coded = whole_window(bytes(sample), size=size, window=window, field=field)
        for masks in (False, True):
            results = by_both(kernel, coded, ("gray10le", "rgb24")[attempt % 2], reduce, masks=masks)
            assert_same(results)
        n_damaged += results[0][1] is not None
    assert n_damaged > 10


def test_the_second_field_survives_damage_of_the_firsts_table(kernel):
    kind = DAMAGED[1]
    sample = bytearray(sample_of(kind))
    table = check_frame(bytes(sample)).pictures[0].start + 8
    sample[table : table + 2] = b"\0\0"
    window = slice(0, kind.height // 2), slice(0, kind.width // 2)
    coded = whole_window(bytes(sample), size=(kind.height, kind.width), window=window, field=None)
    results = by_both(kernel, coded, "gray10le", 2, masks=True)
    assert_same(results)
    marks = results[1][1]
    assert marks[::2].all()
    assert not marks[1::2].any()


@pytest.mark.parametrize("reduce", [2, 4])
def test_slices_that_are_cut_off_at_any_bit(kernel, reduce):
    """Zeros from some bit of each luma plane on: many of the cuts are within a run or a level."""
    intact = sample_of(DAMAGED[0])
    header = parse_frame_header(intact)
    (picture,) = check_frame(intact).pictures
    window = slice(0, header.height // reduce), slice(0, header.width // reduce)
    n_marked = 0
    for bit in range(64, 320, 2):
        cut = bytearray(intact)
        for first in picture.slice_offset.ravel().tolist():
            start = first + (cut[first] >> 3)
            stop, byte = start + int.from_bytes(cut[first + 2 : first + 4], "big"), start + bit // 8
            if byte < stop:
                cut[byte] &= 0xFF00 >> bit % 8 & 0xFF
                cut[byte + 1 : stop] = bytes(stop - byte - 1)
        results = by_both(kernel, CodedWindow(cut, header, window, None), "gray10le", reduce, masks=True)
        assert_same(results)
        n_marked += results[0][1] is not None
    assert n_marked > 100
