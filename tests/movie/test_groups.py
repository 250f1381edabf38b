"""Frames of movies with inter-frame coding, compared with libav's decode of the whole movie."""

import pickle
from dataclasses import replace
from importlib import import_module
from math import prod

import av
import fsspec
import inter_movies
import numpy as np
import pytest
import xarray as xr

from camhd_access import MovieReader, MovieStore, open_movie, open_movies, write_clip
from camhd_access.arrays import group_chunks
from camhd_access.arrays.zarr.references import write_references
from camhd_access.decoding import groups
from camhd_access.errors import CamhdError, FrameDecodeError, UnsupportedCodecError

open_movie_module = import_module("camhd_access.arrays.open_movie")  # hidden by the function of that name

GROUPED = ["closed groups", "open groups, pyramid", "one group", "HEVC, open groups"]


def open_bytes(data, name="movie.mp4"):
    fsspec.filesystem("memory").pipe_file(f"/groups/{name}", data)
    return MovieReader(f"memory://groups/{name}")


def expected(structure, data):
    return inter_movies.expected_gray16(inter_movies.decode(data), full_range=structure == "full range")


def read(reader, frames, **options):
    return reader.read(frames, pix_fmt="gray16le", **options)


@pytest.mark.parametrize("structure", inter_movies.STRUCTURES)
def test_every_frame_is_that_of_a_sequential_decode(structure):
    data = inter_movies.encode(structure)
    luma, reader = expected(structure, data), open_bytes(data)
    np.testing.assert_array_equal(read(reader, slice(None)), luma)
    order = np.random.default_rng(1).integers(0, len(luma), 25)
    np.testing.assert_array_equal(read(reader, order), luma[order])
    for frame in order[:12].tolist():
        np.testing.assert_array_equal(read(reader, frame)[0], luma[frame])
    for frame in range(20):
        np.testing.assert_array_equal(read(reader, frame)[0], luma[frame])


@pytest.mark.parametrize("structure", GROUPED)
def test_copies_that_begin_within_a_group(structure):
    data = inter_movies.copy(inter_movies.encode(structure), skip_seconds=0.77)
    luma, reader = expected(structure, data), open_bytes(data)
    assert reader.n_frames == len(luma)
    np.testing.assert_array_equal(read(reader, slice(None)), luma)
    for frame in (0, 1, 5, 20, len(luma) - 1):
        np.testing.assert_array_equal(read(reader, frame)[0], luma[frame])


@pytest.mark.parametrize("structure", [name for name in inter_movies.STRUCTURES if "HEVC" not in name])
def test_streams_that_do_not_tell_their_reordering(structure):
    data = inter_movies.encode(structure)
    bare = inter_movies.strip_usability(data)
    luma = inter_movies.expected_gray16(inter_movies.decode(bare))
    assert len(luma) == 60
    reader = open_bytes(bare, f"bare-{structure}.mp4")
    np.testing.assert_array_equal(read(reader, slice(None)), luma)
    for frame in range(59, -1, -3):
        np.testing.assert_array_equal(read(reader, frame)[0], luma[frame])


def test_an_index_with_an_order_that_no_decoder_can_restore():
    data = inter_movies.strip_usability(inter_movies.encode("closed groups"))
    coded = open_bytes(data).index.coded
    decoder = groups.RunDecoder(replace(coded, rank=coded.rank[::-1].copy()), 0)
    samples = [data[a : a + n] for a, n in zip(coded.offset.tolist(), coded.size.tolist(), strict=True)]
    frames = [each for sample in samples for each in decoder.send(sample)] + list(decoder.finish())
    assert len(frames) == 60


def test_ten_bits_as_coded():
    data = inter_movies.encode("HEVC, 10 bit")
    luma = np.stack([planes[0] for planes in inter_movies.decode(data)])
    reader = open_bytes(data)
    np.testing.assert_array_equal(reader.read(slice(None), pix_fmt="gray10le"), luma)
    with pytest.raises(ValueError, match="coded with 8 bits"):
        open_bytes(inter_movies.encode("closed groups")).read(0, pix_fmt="gray10le")


@pytest.mark.parametrize("structure", GROUPED)
def test_what_is_fetched_and_decoded(structure, sent):
    data = inter_movies.encode(structure)
    reader, is_reference = open_bytes(data), inter_movies.find_references(data)
    coded = reader.index.coded
    assert not is_reference.all()
    for frame in (29, 7, 50):
        (sample,) = coded.samples_of(np.array([frame]))
        ranks = coded.rank[: sample + 1]
        start = max(np.flatnonzero(coded.is_sync[: sample + 1] & (ranks <= ranks[sample])))
        plan = reader.plan(frame)
        sent.clear()
        read(reader, frame)
        fetched = np.arange(start, sample + 1)
        assert sent == fetched[is_reference[fetched] | (fetched == sample)].tolist()
        assert (plan.n_frames, plan.n_requests) == (len(fetched), 1)
        assert plan.n_bytes == coded.size[fetched].sum()


@pytest.mark.parametrize("structure", GROUPED)
def test_frames_asked_for_together_are_decoded_once(structure, sent):
    data = inter_movies.encode(structure)
    reader, frames = open_bytes(data), [31, 3, 30, 3, 59, 33]
    read(reader, frames)
    wanted = set(reader.index.coded.samples_of(np.array(frames)).tolist())
    assert len(sent) == len(set(sent)) <= reader.plan(frames).n_frames
    assert wanted <= set(sent)
    assert inter_movies.find_references(data)[list(set(sent) - wanted)].all()
    sent.clear()
    read(reader, slice(None))
    assert sorted(sent) == list(range(60))


@pytest.mark.parametrize("structure", GROUPED)
@pytest.mark.parametrize("step", [1, 4])
def test_consecutive_reads_go_on_where_the_decoder_stands(structure, step, sent):
    data = inter_movies.encode(structure)
    luma, reader = expected(structure, data), open_bytes(data, f"go-on-{structure}-{step}.mp4")
    for start in range(0, 60, step):
        np.testing.assert_array_equal(read(reader, slice(start, start + step)), luma[start : start + step])
    n_groups = reader.index.is_sync.sum()
    assert len(sent) <= 60 + step + 16 * n_groups
    if structure == "one group":
        assert len(sent) <= 60 + 2 * step + 8


@pytest.mark.parametrize("structure", GROUPED)
@pytest.mark.parametrize("step", [5, 7])
def test_reads_over_the_edge_of_a_group_go_on_too(structure, step, sent):
    data = inter_movies.encode(structure)
    luma, reader = expected(structure, data), open_bytes(data, f"edge-{structure}-{step}.mp4")
    for start in range(0, 60, step):
        np.testing.assert_array_equal(read(reader, slice(start, start + step)), luma[start : start + step])
    assert len(sent) <= 60 + 2 * step


@pytest.mark.parametrize("structure", inter_movies.STRUCTURES)
def test_frames_that_others_do_not_need_are_not_decoded(structure, sent):
    data = inter_movies.encode(structure)
    luma, reader = expected(structure, data), open_bytes(data, f"needed-{structure}.mp4")
    is_needed = inter_movies.find_references(data)
    for frame in range(len(luma) - 1, -1, -3):  # backwards: no sequence that goes on
        sent.clear()
        np.testing.assert_array_equal(read(reader, frame)[0], luma[frame])
        (sample,) = reader.index.coded.samples_of(np.array([frame]))
        (start,) = reader.index.coded.find_starts(np.array([sample]))
        fetched = np.arange(sent[0] if structure == "gradual refresh" else start, sample + 1)
        assert sent == fetched[is_needed[fetched] | (fetched == sample)].tolist()
    order = np.random.default_rng(4).permutation(len(luma))[:9]
    np.testing.assert_array_equal(read(reader, order), luma[order])


def test_a_long_group_whose_samples_all_count_as_sync_samples(origin):
    data = inter_movies.encode("one group", 1200).replace(b"stss", b"free")
    luma = expected("one group", data)
    reader = MovieReader(origin.put("/m.mp4", data), cache=False)
    assert reader.index.coded.is_sync.all()
    origin.requests.clear()
    np.testing.assert_array_equal(read(reader, 1150)[0], luma[1150])
    assert len(origin.requests) < 30
    assert origin.n_sent < 4 * len(data)
    other = MovieReader(origin.put("/n.mp4", data), cache=False)
    origin.requests.clear()
    write_clip(other, slice(1150, 1155), "memory://groups/clip.mov", progress=False)
    assert len(origin.requests) < 30
    another = MovieReader(origin.put("/o.mp4", data), cache=False)
    np.testing.assert_array_equal(read(another, slice(None)), luma)


def test_crops_and_reductions_are_made_of_decoded_frames():
    reader = open_bytes(inter_movies.encode("open groups"))
    whole = reader.read(17)
    crop = reader.read(17, y=slice(3, 32), x=slice(5, 50))
    np.testing.assert_array_equal(crop, whole[:, 3:32, 5:50])
    for step in (2, 4, 8):
        blocks = whole[0].reshape(64 // step, step, 96 // step, step, 3).astype(int).sum(axis=(1, 3))
        means = (blocks + step**2 // 2) // step**2
        np.testing.assert_array_equal(reader.read(17, reduce=step)[0], means)
        part = reader.read(17, reduce=step, y=slice(1, 5), x=slice(2, 7))
        np.testing.assert_array_equal(part[0], means[1:5, 2:7])
    with pytest.raises(ValueError, match="reduce must be"):
        reader.read(0, reduce=3)


def test_a_stack_in_another_process_reads_the_index_there():
    data = inter_movies.encode("open groups")
    reader = open_bytes(data)
    stack = reader.stack([40, 2], pix_fmt="gray16le")
    copy = pickle.loads(pickle.dumps(stack))  # noqa: S301
    assert len(pickle.dumps(stack)) < 5000
    np.testing.assert_array_equal(copy.read(), expected("", data)[[40, 2]])
    again = pickle.loads(pickle.dumps(reader))  # noqa: S301
    np.testing.assert_array_equal(read(again, 40)[0], expected("", data)[40])


def test_what_the_codec_lacks_is_refused_by_name(tmp_path):
    reader = open_bytes(inter_movies.encode("fields"), "refused.mp4")
    assert reader.interlaced
    for options in ({"fields": True}, {"fields": "first"}, {"deinterlace": "linear"}):
        with pytest.raises(ValueError, match=r"only read from ProRes.*this movie is H.264"):
            reader.read(0, **options)
    with pytest.raises(UnsupportedCodecError, match=r"have a header; this movie is H.264"):
        reader.read_header()
    with pytest.raises(UnsupportedCodecError, match=r"frames of H.264 depend on others"):
        write_clip(reader, slice(3, 9, 2), tmp_path / "clip.mov")
    with pytest.raises(UnsupportedCodecError, match="do not decode one by one"):
        MovieStore("memory://groups/refused.mp4")
    with pytest.raises(UnsupportedCodecError, match="do not decode one by one"):
        write_references(reader, tmp_path / "movie.json")
    decoder = reader.stack(0).decoder
    for step in (decoder.take, decoder.walk, decoder.decode):
        with pytest.raises(UnsupportedCodecError, match="does not decode without those before it"):
            step()
    write_clip(reader, slice(3, 9), tmp_path / "clip.mp4", progress=False)
    with av.open(tmp_path / "clip.mp4") as clip:
        assert sum(1 for _ in clip.decode(video=0)) == 6


# ---- damage


def damage(data, sample, coded, *, keep=0):
    """The movie with one sample overwritten, but for its first bytes."""
    start, stop = int(coded.offset[sample]) + keep, int(coded.offset[sample] + coded.size[sample])
    return data[:start] + b"\x55" * (stop - start) + data[stop:]


@pytest.mark.parametrize("structure", ["closed groups", "open groups, pyramid", "HEVC, checksums"])
def test_damage_raises_and_what_depends_on_it(structure):
    data = inter_movies.encode(structure)
    luma, coded = expected(structure, data), open_bytes(data).index.coded
    syncs = np.flatnonzero(coded.is_sync)
    later = np.arange(len(coded.rank)) > syncs[1]
    hit = int(np.flatnonzero(later & (coded.rank > coded.rank[syncs[1]]))[0])  # others refer to it
    keep = 100 if "checksums" in structure else 0
    reader = open_bytes(damage(data, hit, coded, keep=keep), "damaged.mp4")
    frame = int(coded.rank[hit])
    pixels = read(reader, slice(None), errors="mask")
    wrong = pixels.mask.any(axis=(1, 2))
    assert wrong[frame]
    # Nothing wrong is shown: whatever is not masked is exact.
    np.testing.assert_array_equal(pixels.data[~wrong], luma[~wrong])
    assert not wrong[: coded.rank[syncs[0]] + 8].any()
    assert not wrong[coded.rank[syncs[3]] :].any()
    with pytest.raises(FrameDecodeError, match=rf"frame {frame} of /groups/damaged.mp4 .* is damaged"):
        read(reader, frame)
    dependent = int(np.flatnonzero(wrong)[-1])
    with pytest.raises(FrameDecodeError, match="is damaged: "):
        read(reader, dependent)
    for good in np.flatnonzero(~wrong)[::7].tolist():
        np.testing.assert_array_equal(read(reader, good)[0], luma[good])


def test_a_movie_that_begins_without_a_sync_sample():
    data = inter_movies.encode("closed groups")
    place = data.index(b"stss") + 8
    first, second = data[place + 4 : place + 8], data[place + 8 : place + 12]
    assert first == b"\0\0\0\1"
    reader = open_bytes(data[: place + 4] + second + data[place + 8 :], "headless.mp4")
    with pytest.raises(FrameDecodeError, match="before the start of the movie"):
        read(reader, 3)
    start = int.from_bytes(second, "big")
    np.testing.assert_array_equal(read(reader, start)[0], expected("", data)[start])


def test_frames_of_another_size_and_kind(monkeypatch):
    reader = open_bytes(inter_movies.encode("closed groups"), "sizes.mp4")
    stack = reader.stack(0)
    other = replace(stack, decoder=replace(stack.decoder, frame_size=(64, 98)))
    with pytest.raises(FrameDecodeError, match="frame of 96x64 pixels in a movie of 98x64"):
        other.read()
    monkeypatch.setattr(groups.SequenceContext, "send", lambda *_: [])
    with pytest.raises(FrameDecodeError, match="the decoder returns no frame"):
        reader.read(30)


# ---- arrays


@pytest.mark.parametrize("structure", ["closed groups", "open groups"])
def test_dask_chunks_are_whole_groups(structure, sent):
    data = inter_movies.encode(structure)
    reader = open_bytes(data, "chunks.mp4")
    movie = open_movie("memory://groups/chunks.mp4", pix_fmt="gray16le")
    assert movie.chunks[0] == (60,)  # small frames: all groups together
    luma = expected(structure, data)
    stack = reader.stack(slice(None), pix_fmt="gray16le")
    lengths = group_chunks.cut_between_groups(stack, n_at_once=10, frame_bytes=1)
    assert sum(lengths) == 60
    assert set(np.cumsum(lengths)[:-1]) <= set(np.flatnonzero(reader.index.is_sync))
    chunked = open_movie("memory://groups/chunks.mp4", pix_fmt="gray16le", chunks={"time": lengths})
    sent.clear()
    total = chunked.astype("uint32").sum("time").compute()
    np.testing.assert_array_equal(total, luma.sum(axis=0, dtype=np.uint32))
    n_shared = 0 if structure == "closed groups" else 4 * len(lengths)  # leading frames of the next group
    assert 60 <= len(sent) <= 60 + n_shared
    np.testing.assert_array_equal(chunked.mean("time"), luma.mean(axis=0))
    long = group_chunks.cut_between_groups(stack, n_at_once=5, frame_bytes=group_chunks.MAX_GROUP_BYTES // 8)
    assert max(long) == 5


def cut_small(monkeypatch, n_frames=10):
    """Default chunks of at least `n_frames` of the size in `inter_movies`."""
    monkeypatch.setattr(open_movie_module, "DASK_CHUNK_BYTES", n_frames * prod(inter_movies.SIZE))


def count_decoded(movie):
    parts = [part for stack in movie.data.task_stacks() for part in getattr(stack, "stacks", [stack])]
    return sum(part.n_decoded for part in parts)


def test_dask_chunks_of_several_movies_are_whole_groups(monkeypatch, tmp_path):
    data = inter_movies.encode("closed groups")
    paths = [tmp_path / f"CAMHDA301-20161113T00{minute}00Z.mp4" for minute in ("00", "15")]
    for path in paths:
        path.write_bytes(data)
    cut_small(monkeypatch)
    movie = open_movies(paths, pix_fmt="gray", clock="name", progress=False)
    assert movie.chunks[0] == (12,) * 10
    assert count_decoded(movie) == 120
    within = movie[30:]
    assert within.chunks[0] == (6, *(12,) * 7)
    assert count_decoded(within) == 96
    once = open_movie(paths[0], pix_fmt="gray", clock="name", chunks=None)
    np.testing.assert_array_equal(within[:40], np.concatenate([once[30:], once[:10]]))


def test_selections_keep_groups_together(monkeypatch):
    open_bytes(inter_movies.encode("closed groups"), "selected.mp4")
    cut_small(monkeypatch)
    movie = open_movie("memory://groups/selected.mp4", pix_fmt="gray")
    pixels = movie.values
    assert movie.chunks[0] == (12,) * 5
    for index, lengths in (
        (slice(5, None), (7, 12, 12, 12, 12)),
        (slice(None, None, 2), (12, 12, 6)),
        (slice(None, None, -1), (12,) * 5),
        (slice(20, 20), (0,)),
    ):
        assert movie[index].chunks[0] == lengths
        assert count_decoded(movie[index]) <= 60
        np.testing.assert_array_equal(movie[index], pixels[index])
    for index in ([7] * 30, [50, 3, 51, 4]):
        assert max(movie[index].chunks[0]) <= 12
        np.testing.assert_array_equal(movie[index], pixels[index])
    assert movie[:, :32].chunks[0] == movie[..., 3].chunks[0] == movie.chunks[0]
    uneven = movie[5:][:, :32]
    assert uneven.chunks[0] == (7, 12, 12, 12, 12)
    np.testing.assert_array_equal(uneven, pixels[5:, :32])


def test_arrays_say_what_they_are_made_of():
    reader = open_bytes(inter_movies.encode("HEVC, 10 bit"), "about.mp4")
    movie = open_movie("memory://groups/about.mp4", frames=[5, 40])
    assert movie.attrs["codec"] == "HEVC (hvc1)"
    assert movie.attrs["coding"] == "lossy inter-frame, 10 bit"
    assert movie.attrs["color_matrix"] == "ITU-R BT.601"
    np.testing.assert_array_equal(movie, reader.read([5, 40]))
    dataset = xr.open_dataset("memory://groups/about.mp4", engine="camhd", chunks={})
    np.testing.assert_array_equal(dataset.video[40], reader.read(40)[0])
    masked = open_movie("memory://groups/about.mp4", frames=[5, 40], errors="mask")
    assert float(masked.damaged.sum()) == 0


def test_errors_of_this_package_only(monkeypatch):
    data = inter_movies.encode("closed groups", 24)
    coded = open_bytes(data).index.coded
    rng = np.random.default_rng(7)
    for k in range(30):
        sample = int(rng.integers(len(coded.offset)))
        place = int(coded.offset[sample] + rng.integers(coded.size[sample]))
        broken = data[:place] + bytes([data[place] ^ (1 << k % 8)]) + data[place + 1 :]
        try:
            read(open_bytes(broken, f"flip-{k}.mp4"), slice(None))
        except CamhdError as error:
            assert "is damaged" in str(error)  # noqa: PT017
