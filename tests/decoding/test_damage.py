"""Damage of each kind, in each part of a frame: it is found, named, and nothing else is marked."""

import re

import numpy as np
import pytest
from prores_samples import Kind, sample_of

from camhd_access import CamhdError, FrameDecodeError
from camhd_access.decoding import machine_code
from camhd_access.decoding.decoders import choose_decoder
from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.decoding.sums import Sums
from camhd_access.formats.prores import check_frame
from camhd_access.ranges import run_walk

KINDS = [Kind(183, 83), Kind(355, 130, interlace=1, options=(("mbs_per_slice", "2"),))]
REDUCTIONS = (1, 2, 4, 8)


@pytest.fixture(params=["numba", "libav"])
def setting(request, kernel, monkeypatch):
    """Each decoder in turn: compiled, or libav and numpy."""
    monkeypatch.setenv("CAMHD_DECODER", request.param)
    monkeypatch.setattr(machine_code._kernels, "kernel", kernel)
    return request.param


def read(kind, sample, pix_fmt="gray10le", *, reduce=1, field=None, part=np.s_[:, :], walks=False, **options):
    """Pixels of a part of a frame or field, and where damage is marked."""
    size = kind.height, kind.width
    decoder = choose_decoder(size, pix_fmt=pix_fmt, fields=field is not None, reduce=reduce)
    window = tuple(slice(*p.indices(n)[:2]) for p, n in zip(part, decoder.size, strict=True))
    if walks:
        coded = run_walk(decoder.walk(len(sample), window, field), sample)
    else:
        coded = decoder.take(sample, window, field)
    pixel_format = PIXEL_FORMATS[pix_fmt]
    out = np.full(pixel_format.shape(*(w.stop - w.start for w in window)), 77, pixel_format.dtype)
    (marks,) = decoder.decode([coded], out=[out], **options)
    return out, np.zeros(out.shape[:2], np.bool_) if marks is None else marks


def parts_of(kind, reduce, field=None):
    """The whole, and a part that begins and ends within slices."""
    height = (kind.height if field is None else kind.height // 2) // reduce
    yield np.s_[:, :]
    yield np.s_[height // 5 : height * 4 // 5, 20 // reduce : 151 // reduce]


def change(sample, place, values):
    changed = bytearray(sample)
    changed[place : place + len(values)] = values
    return bytes(changed)


def overwrite(sample, picture, row, column):
    """The sample with all of one slice but its header overwritten by codes that are too long."""
    start, stop = (
        int(each[row, column])
        for layout in [check_frame(sample).pictures[picture]]
        for each in (layout.slice_offset, layout.slice_stop)
    )
    return change(sample, start + 6, (b"\0\0\0\0\0\0\0\1" * (stop - start))[: stop - start - 6])


@pytest.mark.parametrize("walks", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_message_names_row_column_and_byte(setting, kind, walks):
    sample = sample_of(kind)
    pictures = check_frame(sample).pictures
    for picture, row, column in [(0, 0, 0), (0, 2, 1), (len(pictures) - 1, 3, 0)]:
        damaged = overwrite(sample, picture, row, column)
        byte = pictures[picture].slice_offset[row, column]
        for reduce in REDUCTIONS if setting == "libav" else (1,):
            for pix_fmt in ("gray10le", "rgb24"):
                with pytest.raises(FrameDecodeError) as caught:
                    read(kind, damaged, pix_fmt, reduce=reduce, walks=walks)
                assert f"slice row {row}, column {column}, at byte {byte}" in str(caught.value)
                if kind.interlace:
                    assert f"of the {('first', 'second')[picture]} field" in str(caught.value)
        if kind.interlace:
            with pytest.raises(
                FrameDecodeError, match=f"row {row}, column {column}, at byte {byte}, of the "
            ):
                read(kind, damaged, field=picture, walks=walks)
            other, _ = read(kind, damaged, field=1 - picture, walks=walks)
            assert np.array_equal(other, read(kind, sample, field=1 - picture)[0])


def test_libav_does_not_say_which_part(setting):
    damaged = overwrite(sample_of(KINDS[0]), 0, 1, 1)
    with pytest.raises(FrameDecodeError) as caught:
        read(KINDS[0], damaged, "rgb24")
    what = "its luma and Cb and Cr" if setting == "numba" else "it"
    assert str(caught.value).endswith(f": {what} cannot be decoded")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_truncated_samples_raise_and_keep_their_whole_rows(setting, kind):
    sample = sample_of(kind)
    fields = (None, 0, 1) if kind.interlace else (None,)
    for twentieth in range(20):
        cut = sample[: len(sample) * twentieth // 20]
        for field, reduce in [(field, reduce) for field in fields for reduce in REDUCTIONS]:
            part = [*parts_of(kind, reduce, field)][twentieth % 2]
            with pytest.raises(FrameDecodeError):
                read(kind, cut, reduce=reduce, field=field, part=part)
            if twentieth == 0:
                continue  # there is no frame header
            found, marks = read(kind, cut, reduce=reduce, field=field, part=part, masks=True)
            whole, _ = read(kind, sample, reduce=reduce, field=field, part=part)
            assert np.array_equal(found[~marks], whole[~marks])
            assert not found[marks].any()
            if twentieth == 19 and field != 1 and part[0].start is None:
                assert marks.mean() < 0.6


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("pix_fmt", ["gray16le", "rgb24"])
def test_what_lies_outside_of_damaged_slices_is_exact(setting, kind, reduce, pix_fmt):
    sample = sample_of(kind)
    layout = check_frame(sample)
    n_rows, n_columns = layout.pictures[0].slice_size.shape
    for picture, row, column in [(0, 1, 0), (len(layout.pictures) - 1, n_rows // 2, n_columns - 2)]:
        start = int(layout.pictures[picture].slice_offset[row, column])
        for damaged in (overwrite(sample, picture, row, column), change(sample, start + 1, b"\0")):
            for field in (None, 0, 1) if kind.interlace else (None,):
                for part in parts_of(kind, reduce, field):
                    found, marks = read(
                        kind, damaged, pix_fmt, reduce=reduce, field=field, part=part, masks=True
                    )
                    whole, _ = read(kind, sample, pix_fmt, reduce=reduce, field=field, part=part)
                    assert np.array_equal(found[~marks], whole[~marks])
                    assert not found[marks].any()
                    is_shown = field in (None, picture)
                    if part[0].start is None and damaged[start + 1] == 0:
                        assert marks.any() == is_shown
                    assert marks.mean() < 0.5


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_a_field_survives_damage_of_the_others_structure(setting, reduce):
    kind = KINDS[1]
    sample = sample_of(kind)
    first, second = check_frame(sample).pictures
    for place, lost in (
        (first.start + 8, 0),  # a slice's size in the table
        (second.start + 8, 1),
        (second.start, 1),  # header size
        (second.start + 5, 1),  # number of slices
        (second.start + 7, 1),  # their width
    ):
        damaged = change(sample, place, bytes([sample[place] ^ 0xFF]))
        for part in parts_of(kind, reduce, 0):
            options = {"reduce": reduce, "part": part}
            found, marks = read(kind, damaged, field=1 - lost, masks=True, **options)
            assert not marks.any()
            assert np.array_equal(found, read(kind, sample, field=1 - lost, **options)[0])
            found, marks = read(kind, damaged, field=lost, masks=True, **options)
            assert marks.all()
            assert not found.any()
        with pytest.raises(FrameDecodeError):
            read(kind, damaged, reduce=reduce)
        if reduce < 8:  # an eighth of a frame mixes both
            _, marks = read(kind, damaged, reduce=reduce, masks=True)
            assert marks[lost::2].all()
            assert not marks[1 - lost :: 2].any()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_damaged_headers_are_errors_or_change_nothing_that_is_shown(setting, kind):
    sample = sample_of(kind)
    starts = [picture.start for picture in check_frame(sample).pictures]
    for place in [
        *range(8),
        8,
        9,
        10,
        11,
        16,
        17,
        18,
        19,
        *(s + n for s in starts for n in (0, 1, 2, 5, 6, 7)),
    ]:
        damaged = change(sample, place, bytes([sample[place] ^ 0xFF]))
        with pytest.raises(CamhdError):
            read(kind, damaged)


def test_sums_refuse_damage(setting):
    kind = KINDS[1]
    decoder = choose_decoder((kind.height, kind.width), pix_fmt="gray10le")
    window = slice(0, kind.height), slice(0, kind.width)
    damaged = overwrite(sample_of(kind), 1, 2, 3)
    for sample in (damaged, sample_of(kind)[:-1]):
        sums = Sums.zeros((kind.height, kind.width), PIXEL_FORMATS["gray10le"], squares=True)
        with pytest.raises(FrameDecodeError, match=r"slice row 2, column 3, at byte \d+|truncated"):
            decoder.add_up(decoder.take(sample, window, None), sums)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_compiled_decoder_finds_all_damage_that_libav_finds(kernel, monkeypatch, kind):
    """Single bytes anywhere in the slices: which are damaged, and what is left."""
    monkeypatch.setattr(machine_code._kernels, "kernel", kernel)
    sample, rng = sample_of(kind), np.random.default_rng(11)
    first, n_found = int(check_frame(sample).pictures[0].slice_offset[0, 0]), 0
    for place in rng.integers(first, len(sample), 25).tolist():
        damaged = change(sample, place, rng.bytes(3))
        for reduce, pix_fmt in ((1, "rgb24"), (2, "gray10le"), (8, "rgb24")):
            results = []
            for setting in ("numba", "libav"):
                monkeypatch.setenv("CAMHD_DECODER", setting)
                try:
                    message = ""
                    read(kind, damaged, pix_fmt, reduce=reduce)
                except FrameDecodeError as error:
                    message = re.sub(r"its (luma|Cb|Cr)( and C[br])*", "it", str(error))
                results.append((message, *read(kind, damaged, pix_fmt, reduce=reduce, masks=True)))
            (ours, our_pixels, our_marks), (theirs, their_pixels, their_marks) = results
            assert not theirs or ours
            assert not (their_marks & ~our_marks).any()
            assert np.array_equal(our_pixels[~our_marks], their_pixels[~our_marks])
            n_found += bool(theirs)
    assert n_found > 8
