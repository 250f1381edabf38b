"""The package's own decoder compared with libav: exact equality."""

from dataclasses import replace

import numpy as np
import pytest
from prores_samples import HD_KINDS, KINDS, Kind, apple_samples, decode, decoded, random_windows, sample_of

from camhd_access import CamhdError, FrameDecodeError
from camhd_access.decoding import libav, prores422, repair
from camhd_access.decoding.decoders import choose_decoder
from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.decoding.sums import Sums
from camhd_access.decoding.windows import CodedWindow, walk_window, whole_window
from camhd_access.formats.prores import check_frame, decode_preview, parse_frame_header
from camhd_access.ranges import run_walk

OURS = [
    *(kind for kind in KINDS if "422" in kind.pix_fmt),
    Kind(722, 98, options=(("mbs_per_slice", "4"),)),
    Kind(355, 130, interlace=1, options=(("mbs_per_slice", "2"),)),
    *HD_KINDS,
]
INTERLACED = Kind(355, 130, interlace=1, options=(("mbs_per_slice", "2"),))
FORMATS = list(PIXEL_FORMATS)


def read(kernel, sample, window=None, pix_fmt="gray10le", *, field=None, reduce=1, masks=False, **options):
    """Pixels of a window by our decoder, and where it marked damage."""
    header = parse_frame_header(sample)
    size = header.height, header.width
    lines = size[0] if field is None else size[0] // 2
    window = window or (slice(0, lines // reduce), slice(0, size[1] // reduce))
    pixel_format = PIXEL_FORMATS[pix_fmt]
    out = np.full(pixel_format.shape(*(w.stop - w.start for w in window)), 77, pixel_format.dtype)
    coded = whole_window(sample, size=size, window=window, field=field)
    marks = prores422.decode_window(
        kernel,
        coded,
        pixel_format=pixel_format,
        track_matrix=None,
        reduce=reduce,
        masks=masks,
        out=out,
        **options,
    )
    return (out, marks) if masks else out


def read_by_libav(sample, window, pix_fmt, field=None):
    header = parse_frame_header(sample)
    pixel_format = PIXEL_FORMATS[pix_fmt]
    out = np.empty(pixel_format.shape(*(w.stop - w.start for w in window)), pixel_format.dtype)
    libav.decode_frame(
        sample,
        size=(header.height, header.width),
        window=window,
        field=field,
        pixel_format=pixel_format,
        out=out,
    )
    return out


@pytest.mark.parametrize("kind", OURS, ids=str)
def test_planes_are_libavs(kernel, kind):
    for seed in range(2):
        expected = decoded(kind, seed)
        for luma_only in (False, True):
            planes = prores422.sample_planes(kernel, sample_of(kind, seed), luma_only=luma_only)
            again = prores422.sample_planes(kernel, sample_of(kind, seed), luma_only=luma_only, out=planes)
            assert again is planes
            assert np.array_equal(planes.y, expected[0])
            if not luma_only:
                assert np.array_equal(planes.cb, expected[1])
                assert np.array_equal(planes.cr, expected[2])


def test_frames_by_apples_encoders(kernel):
    for sample in apple_samples(n_frames=3):
        for ours, expected in zip(prores422.sample_planes(kernel, sample), decode(sample), strict=True):
            assert np.array_equal(ours, expected)


@pytest.mark.parametrize("kind", OURS, ids=str)
def test_hundreds_of_windows(kernel, kind):
    sample, luma = sample_of(kind), decoded(kind)[0]
    rng = np.random.default_rng(kind.width)
    for window in random_windows(rng, kind.height, kind.width, 200 if kind.width < 1000 else 20):
        assert np.array_equal(read(kernel, sample, window), luma[window])


def test_hundreds_of_windows_of_apples_frames(kernel):
    rng = np.random.default_rng(1)
    for sample in apple_samples():
        luma = decode(sample)[0]
        for window in random_windows(rng, *luma.shape, 200):
            assert np.array_equal(read(kernel, sample, window), luma[window])


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("kind", OURS[:-2], ids=str)
def test_every_format_of_windows_and_fields(kernel, kind, pix_fmt):
    sample = sample_of(kind)
    rng = np.random.default_rng(FORMATS.index(pix_fmt))
    whole = slice(0, kind.height), slice(0, kind.width)
    for window in [whole, *random_windows(rng, kind.height, kind.width, 8)]:
        expected = read_by_libav(sample, window, pix_fmt)
        assert np.array_equal(read(kernel, sample, window, pix_fmt), expected)
    if kind.interlace:
        for field in (0, 1):
            for window in random_windows(rng, kind.height // 2, kind.width, 6):
                expected = read_by_libav(sample, window, pix_fmt, field)
                assert np.array_equal(read(kernel, sample, window, pix_fmt, field=field), expected)


@pytest.mark.parametrize("pix_fmt", ["gray10le", "rgb24"])
@pytest.mark.parametrize("kind", OURS[:-2], ids=str)
def test_windows_of_smaller_frames_made_of_slices(kernel, kind, pix_fmt):
    """The result of a reader that has fetched only some byte ranges."""
    sample, size = sample_of(kind), (kind.height, kind.width)
    rng = np.random.default_rng(5)
    pixel_format = PIXEL_FORMATS[pix_fmt]
    for field in (None, 0, 1) if kind.interlace else (None,):
        height = kind.height if field is None else kind.height // 2
        for window in random_windows(rng, height, kind.width, 10):
            walk = walk_window(
                len(sample), size=size, window=window, field=field, in_color=pixel_format.is_color
            )
            coded = run_walk(walk, sample)
            out = np.empty(pixel_format.shape(*(w.stop - w.start for w in window)), pixel_format.dtype)
            prores422.decode_window(kernel, coded, pixel_format=pixel_format, track_matrix=None, out=out)
            assert np.array_equal(out, read_by_libav(sample, window, pix_fmt, field))


def test_arrays_whose_lines_are_not_contiguous(kernel):
    kind = OURS[0]
    pixel_format = PIXEL_FORMATS["rgb24"]
    window = slice(0, kind.height), slice(0, kind.width)
    coded = whole_window(sample_of(kind), size=(kind.height, kind.width), window=window, field=None)
    expected = read(kernel, sample_of(kind), pix_fmt="rgb24")
    for larger in (
        np.zeros((kind.height, kind.width, 6), "u1"),
        np.zeros((2 * kind.height, kind.width, 3), "u1"),
    ):
        out = larger[..., ::2] if larger.shape[-1] == 6 else larger[::-2]
        prores422.decode_window(kernel, coded, pixel_format=pixel_format, track_matrix=None, out=out)
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("reduce", [1, 2, 4])
@pytest.mark.parametrize("kind", OURS, ids=str)
def test_windows_along_the_edges_of_slices(kernel, kind, reduce):
    """Their blocks go straight to the array, which may be part of a larger one: nothing else is written."""
    sample, rng = sample_of(kind), np.random.default_rng(reduce)
    whole = read(kernel, sample, reduce=reduce)
    pictures = check_frame(sample).pictures
    height, width = (16 * n // reduce for n in (len(pictures), 1 << pictures[0].log2_slice_width))
    for _ in range(10):
        window = tuple(
            slice(step * start, min(step * stop, length))
            for step, length in zip((height, width), whole.shape, strict=True)
            for start, stop in [sorted(rng.choice(-(-length // step) + 1, 2, replace=False).tolist())]
        )
        around = np.full([n + 6 for n in whole.shape], 77, np.uint16)
        out, expected = around[3:-3, 3:-3][window], around.copy()
        expected[3:-3, 3:-3][window] = whole[window]
        coded = whole_window(sample, size=(kind.height, kind.width), window=window, field=None)
        prores422.decode_window(
            kernel, coded, pixel_format=PIXEL_FORMATS["gray10le"], track_matrix=None, reduce=reduce, out=out
        )
        assert np.array_equal(around, expected)


@pytest.mark.parametrize("pix_fmt", ["gray10le", "rgb24"])
@pytest.mark.parametrize("kind", [OURS[0], INTERLACED, HD_KINDS[1]], ids=str)
def test_threads_that_share_a_frame_change_nothing(kernel, kind, pix_fmt):
    sample = sample_of(kind)
    expected = read(kernel, sample, pix_fmt=pix_fmt)
    for n_threads in (2, 3, 50):
        assert np.array_equal(read(kernel, sample, pix_fmt=pix_fmt, n_threads=n_threads), expected)


# ---- sums


@pytest.mark.parametrize("pix_fmt", ["gray10le", "gray", "rgb24", "gray16le", "rgb48le"])
def test_sums_of_values_are_numpys(kernel, pix_fmt):
    kind, pixel_format = INTERLACED, PIXEL_FORMATS[pix_fmt]
    window = slice(3, 101), slice(7, 344)
    pictures = np.stack([read(kernel, sample_of(kind, seed), window, pix_fmt) for seed in range(4)])
    sums = Sums.zeros(pictures.shape[1:], pixel_format, squares=False)
    for seed in range(4):
        coded = whole_window(sample_of(kind, seed), size=(kind.height, kind.width), window=window, field=None)
        prores422.decode_window(kernel, coded, pixel_format=pixel_format, track_matrix=None, out=sums)
    assert np.array_equal(sums.values, pictures.sum(axis=0, dtype=np.uint64))


@pytest.mark.parametrize("mbs_per_slice", ["8", "4", "2"])
@pytest.mark.parametrize("interlace", [0, 1, 2])
@pytest.mark.parametrize("columns", [slice(0, 320), slice(128, 256), slice(16, 320), slice(0, 303)], ids=str)
def test_sums_of_whole_slices_are_numpys(kernel, mbs_per_slice, interlace, columns):
    """Blocks are added to sums where a row of slices lies in the window, and lines elsewhere."""
    kind = Kind(320, 130, interlace=interlace, options=(("mbs_per_slice", mbs_per_slice),))
    pixel_format = PIXEL_FORMATS["gray10le"]
    window = slice(5, 130), columns
    pictures = [read(kernel, sample_of(kind, seed), window) for seed in range(2)]
    sums = Sums.zeros(pictures[0].shape, pixel_format, squares=False)
    n = sums.capacity // 2 + 2  # so that they must be moved
    for seed in [0, 1] * n:
        coded = whole_window(sample_of(kind, seed), size=(130, 320), window=window, field=None)
        prores422.decode_window(kernel, coded, pixel_format=pixel_format, track_matrix=None, out=sums)
    values, squares = sums.result()
    assert squares is None
    assert np.array_equal(values, n * (pictures[0].astype(np.uint64) + pictures[1]))


# ---- reduced pictures


@pytest.mark.parametrize("reduce", [2, 4])
@pytest.mark.parametrize("kind", [OURS[0], INTERLACED, *HD_KINDS], ids=str)
def test_reduced_pictures_are_near_the_means_of_areas(kernel, kind, reduce):
    planes = prores422.sample_planes(kernel, sample_of(kind), reduce=reduce)
    height, width = kind.height // reduce, kind.width // reduce
    assert planes.y.shape == (height, width)
    step = 2 if kind.interlace else 1  # lines of each field are reduced among themselves
    for parity in range(step):
        lines = decoded(kind)[0][parity::step].astype(float)
        ours = planes.y[parity::step]
        n, m = len(lines) // reduce, width
        means = lines[: n * reduce, : m * reduce].reshape(n, reduce, m, reduce).mean(axis=(1, 3))
        difference = ours[:n] - means[: len(ours)]
        assert abs(difference.mean()) < 1
        assert np.sqrt((difference**2).mean()) < 20


@pytest.mark.parametrize("kind", OURS, ids=str)
def test_block_means_are_those_of_the_dc_coefficients(kernel, kind):
    """Both decoders of previews agree: by numpy, and compiled."""
    assert_equal_means(kernel, [sample_of(kind, seed) for seed in range(2)])


def test_block_means_of_apples_frames(kernel):
    for sample in apple_samples(n_frames=3):
        assert_equal_means(kernel, [sample])


def means_of(kernel, sample, field=None, **options):
    coded = CodedWindow(sample, parse_frame_header(sample), (slice(0, 1), slice(0, 1)), field)
    return prores422.sample_means(kernel, coded, **options)


def assert_equal_means(kernel, samples):
    header = parse_frame_header(samples[0])
    for field in (None, 0, 1) if header.interlaced else (None,):
        for planes in ("luma", "yuv"):
            expected = decode_preview(samples, planes=planes, fields=field is not None)
            for i, sample in enumerate(samples):
                means = means_of(kernel, sample, field, luma_only=planes == "luma")
                for ours, theirs in zip(means, expected, strict=True):
                    assert ours.dtype == np.uint16
                    assert np.array_equal(ours, theirs[i] if field is None else theirs[i, field])


@pytest.mark.parametrize("kind", [OURS[0], replace(INTERLACED, width=352)], ids=str)
def test_damage_before_the_last_dc_coefficient_is_found_in_previews(kernel, kind):
    """All damage found by numpy's decoder is found; results that both consider intact are equal."""
    rng = np.random.default_rng(5)
    intact, n_found = sample_of(kind), 0
    for _ in range(200):
        damaged = bytearray(intact)
        start = int(rng.integers(len(damaged)))
        damaged[start : start + 64] = bytes(min(64, len(damaged) - start))
        sample = bytes(damaged)
        try:
            expected = decode_preview([sample], planes="yuv")
        except CamhdError:
            n_found += 1
            with pytest.raises(CamhdError):
                means_of(kernel, sample)
            continue
        try:
            means = means_of(kernel, sample)
        except FrameDecodeError:
            continue
        for ours, theirs in zip(means, expected, strict=True):
            assert np.array_equal(ours, theirs[0])
    assert n_found > 5


@pytest.mark.parametrize("reduce", [2, 4])
@pytest.mark.parametrize("pix_fmt", ["gray10le", "rgb24"])
def test_windows_of_reduced_pictures_are_cut_from_the_whole(kernel, reduce, pix_fmt):
    rng = np.random.default_rng(2)
    for kind in OURS[:-2]:
        whole = read(kernel, sample_of(kind), pix_fmt=pix_fmt, reduce=reduce)
        for window in random_windows(rng, kind.height // reduce, kind.width // reduce, 20):
            assert np.array_equal(
                read(kernel, sample_of(kind), window, pix_fmt, reduce=reduce), whole[window]
            )


# ---- damage


def damage_slice(sample, picture, row, column, filling):
    """The sample with all of one slice behind its header overwritten."""
    found = check_frame(sample).pictures[picture]
    start, n_bytes = int(found.slice_offset[row, column]), int(found.slice_size[row, column])
    damaged = bytearray(sample)
    damaged[start + 6 : start + n_bytes] = (filling * n_bytes)[: n_bytes - 6]
    return bytes(damaged)


@pytest.mark.parametrize("pix_fmt", ["gray10le", "rgb24"])
@pytest.mark.parametrize("kind", [Kind(183, 83), INTERLACED], ids=str)
def test_the_damaged_slice_is_named_and_all_others_are_exact(kernel, kind, pix_fmt):
    sample = sample_of(kind)
    whole = read(kernel, sample, pix_fmt=pix_fmt)
    frame = check_frame(sample)
    rng = np.random.default_rng(4)
    for _ in range(10):
        picture = int(rng.integers(len(frame.pictures)))
        row, column = (int(rng.integers(n)) for n in frame.pictures[0].slice_size.shape)
        damaged = damage_slice(sample, picture, row, column, b"\0")
        with pytest.raises(FrameDecodeError) as caught:
            read(kernel, damaged, pix_fmt=pix_fmt)
        byte = frame.pictures[picture].slice_offset[row, column]
        assert f"slice row {row}, column {column}, at byte {byte}" in str(caught.value)
        if kind.interlace:
            assert ("first", "second")[picture] in str(caught.value)
        found, marks = read(kernel, damaged, pix_fmt=pix_fmt, masks=True)
        left, right = frame.column_edges[column : column + 2] * 16
        is_odd = kind.interlace and (picture == 1) != (kind.interlace == 2)
        lines = (
            slice(32 * row + is_odd, 32 * row + 32, 2) if kind.interlace else slice(16 * row, 16 * row + 16)
        )
        expected = np.zeros(whole.shape[:2], np.bool_)
        expected[lines, max(0, left - (pix_fmt == "rgb24")) : right] = True
        assert np.array_equal(marks, expected)
        assert np.array_equal(found[~marks], whole[~marks])
        assert not found[marks].any()


def test_damage_outside_the_window_does_no_harm(kernel):
    kind = Kind(183, 83)
    sample = sample_of(kind)
    damaged = damage_slice(sample, 0, 5, 0, b"\0")
    window = slice(0, 80), slice(0, 183)
    assert np.array_equal(read(kernel, damaged, window), decoded(kind)[0][window])
    _, marks = read(kernel, damaged, window, masks=True)
    assert marks is None
    with pytest.raises(FrameDecodeError, match="slice row 5, column 0"):
        read(kernel, damaged)


@pytest.mark.parametrize("kind", [Kind(183, 83), INTERLACED], ids=str)
def test_a_frame_that_is_cut_off_keeps_its_whole_rows(kernel, kind):
    sample, luma = sample_of(kind), decoded(kind)[0]
    frame = check_frame(sample)
    rng = np.random.default_rng(6)
    first = frame.pictures[0].slice_offset[0, 0]
    for n_bytes in rng.integers(first, len(sample), 20).tolist():
        cut = sample[:n_bytes]
        with pytest.raises(FrameDecodeError):
            read(kernel, cut)
        found, marks = read(kernel, cut, masks=True)
        assert np.array_equal(found[~marks], luma[~marks])
        for number, picture in enumerate(frame.pictures):
            ends = picture.slice_offset[:, -1] + picture.slice_size[:, -1]
            n_rows = int(np.searchsorted(ends, n_bytes, "right"))
            step = len(frame.pictures)
            parity = int(step == 2 and (number == 1) != (kind.interlace == 2))
            assert not marks[parity : 16 * step * n_rows : step].any()


def test_a_second_field_without_structure_leaves_the_first(kernel):
    sample, luma = sample_of(INTERLACED), decoded(INTERLACED)[0]
    start = check_frame(sample).pictures[1].start
    for place in (0, 5, 7):  # header size, number of slices, their width
        damaged = bytearray(sample)
        damaged[start + place] ^= 0xFF
        with pytest.raises(FrameDecodeError):
            read(kernel, bytes(damaged))
        found, marks = read(kernel, bytes(damaged), masks=True)
        assert np.array_equal(found[0::2], luma[0::2])  # top first
        assert marks[1::2].all()
        assert not marks[0::2].any()
        assert np.array_equal(read(kernel, bytes(damaged), field=0), luma[0::2])


@pytest.mark.parametrize("filling", [b"\0", b"\xff", None], ids=["zeros", "ones", "noise"])
def test_all_bulk_damage_is_noticed(kernel, filling):
    sample = sample_of(HD_KINDS[1])
    rng = np.random.default_rng(3)
    for start in rng.integers(3000, len(sample) - 4096, 12).tolist():
        damaged = bytearray(sample)
        damaged[start : start + 4096] = filling * 4096 if filling else rng.bytes(4096)
        with pytest.raises(FrameDecodeError):
            read(kernel, bytes(damaged), pix_fmt="rgb24")
    assert np.array_equal(read(kernel, sample), decoded(HD_KINDS[1])[0])


@pytest.mark.parametrize("pix_fmt", ["gray10le", "rgb24"])
@pytest.mark.parametrize("kind", [Kind(183, 83), INTERLACED], ids=str)
def test_libav_alone_keeps_and_marks_the_same(kernel, kind, pix_fmt):
    sample = sample_of(kind)
    frame, rng = check_frame(sample), np.random.default_rng(7)
    mutants = [
        sample[:n] for n in rng.integers(frame.pictures[0].slice_offset[0, 0], len(sample), 4).tolist()
    ]
    starts = rng.integers(frame.pictures[0].slice_offset[0, 0], len(sample) - 60, 6).tolist()
    mutants += [sample[:start] + bytes(50) + sample[start + 50 :] for start in starts]
    if kind.interlace:
        start = frame.pictures[1].start
        mutants.append(sample[:start] + b"\0" + sample[start + 1 :])
    size, pixel_format = (kind.height, kind.width), PIXEL_FORMATS[pix_fmt]
    for mutant in mutants:
        for field in (None, 0, 1) if kind.interlace else (None,):
            height = kind.height if field is None else kind.height // 2
            for window in [(slice(0, height), slice(0, kind.width)), (slice(5, 30), slice(20, 151))]:
                ours, marks = read(kernel, mutant, window, pix_fmt, field=field, masks=True)
                coded = whole_window(mutant, size=size, window=window, field=field)
                theirs = np.empty_like(ours)
                found = repair.decode_repaired(
                    coded, pixel_format=pixel_format, track_matrix=None, out=theirs
                )
                assert np.array_equal(ours, theirs)
                assert (marks is None) == (found is None)
                assert marks is None or np.array_equal(marks, found)


def test_libav_alone_names_the_slice(monkeypatch):
    monkeypatch.setenv("CAMHD_DECODER", "libav")
    decoder = choose_decoder((INTERLACED.height, INTERLACED.width), pix_fmt="rgb24")
    damaged = damage_slice(sample_of(INTERLACED), 1, 2, 3, b"\0")
    window = slice(0, INTERLACED.height), slice(0, INTERLACED.width)
    out = np.empty((*(w.stop for w in window), 3), np.uint8)
    with pytest.raises(FrameDecodeError, match=r"slice row 2, column 3, at byte \d+, of the second field"):
        decoder.decode([decoder.take(damaged, window, None)], out=[out])


def test_no_sample_is_written_to(kernel):
    sample = bytearray(sample_of(INTERLACED))
    before = bytes(sample)
    read(kernel, memoryview(sample).toreadonly())
    assert bytes(sample) == before
    assert replace(parse_frame_header(sample)).width == INTERLACED.width
