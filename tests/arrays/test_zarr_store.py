"""A movie as a Zarr store: bit-identical to the reader."""

import asyncio
import json
import pickle
import subprocess
import sys

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from dask.base import tokenize
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import unpickle, write_by_libav
from prores_samples import KINDS, Kind
from shared_data import shared_data
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from camhd_access import (
    FrameDecodeError,
    FrameIndexError,
    MissingMoovError,
    MovieReader,
    RemoteFileChangedError,
    open_movie,
    write_references,
)
from camhd_access.arrays.zarr import MovieStore, ProResCodec, hierarchy
from camhd_access.synthetic import serve_folder, write_movie

VIEWS = [
    {},
    {"pix_fmt": "gray10le"},
    {"pix_fmt": "rgb48le"},
    {"pix_fmt": "gray16le", "frames": [30, 2, 2, -1]},
    {"fields": True},
    {"reduce": 8},
    {"reduce": 8, "fields": True, "pix_fmt": "gray", "frames": slice(3, 20, 5)},
]


@pytest.mark.parametrize("options", VIEWS, ids=str)
@pytest.mark.parametrize("chunks", [None, {}])
def test_it_is_the_array_of_open_movie(movie_path, options, chunks):
    dataset = xr.open_zarr(MovieStore(movie_path, **options), chunks=chunks)
    xr.testing.assert_identical(dataset.video.load(), open_movie(movie_path, **options).load())


def test_luma_is_that_of_libav(movie_path, movie_by_libav):
    video = zarr.open_group(MovieStore(movie_path, pix_fmt="gray10le"), mode="r")["video"]
    assert np.array_equal(video[:], movie_by_libav.luma())
    assert video.chunks == (1, 192, 320)


@pytest.mark.parametrize("kind", [*KINDS[:3], *KINDS[10:12], Kind(46, 35, interlace=1)], ids=str)
@pytest.mark.parametrize("options", [{}, {"pix_fmt": "gray10le"}, {"fields": True}], ids=str)
def test_movies_of_all_kinds(tmp_path, kind, options):
    path = write_by_libav(tmp_path / "a.mov", kind)
    if options.get("fields") and not kind.interlace:
        with pytest.raises(ValueError, match="progressive"):
            MovieStore(path, **options)
        return
    expected = open_movie(path, **options, chunks=None)
    assert expected.time.dtype.kind == "m"  # it does not tell when it began
    xr.testing.assert_identical(xr.open_zarr(MovieStore(path, **options)).video.load(), expected.load())


@pytest.mark.parametrize("name", ["422", "422-hq", "422-lt", "422-proxy"])
def test_movies_of_a_real_camera(name):
    path = shared_data("quicktime", f"apple-prores-{name}.mov")
    for options in ({"pix_fmt": "rgb24"}, {"pix_fmt": "gray10le", "frames": [-1, 0]}):
        dataset = xr.open_zarr(MovieStore(path, **options))
        assert np.array_equal(dataset.video.load(), open_movie(path, **options))


def test_groups_attributes_are_those_of_the_engine(movie_path):
    by_engine = xr.open_dataset(movie_path, engine="camhd")
    dataset = xr.open_zarr(MovieStore(movie_path))
    assert dataset.attrs == by_engine.attrs
    assert list(dataset.data_vars) == ["video"]
    assert dataset.sel(channel="G").video.shape == (40, 192, 320)


@pytest.mark.parametrize("pix_fmt", ["rgb48be", "gray16be"])
def test_numbers_are_native(movie_path, pix_fmt):
    video = zarr.open_group(MovieStore(movie_path, pix_fmt=pix_fmt), mode="r")["video"]
    assert video.dtype == np.uint16
    assert video.dtype.isnative
    assert np.array_equal(video[3], MovieReader(movie_path).read(3, pix_fmt=pix_fmt)[0])


# ---- parts of frames

PARTS = [
    np.s_[3],
    np.s_[3, 5, 7, 1],
    np.s_[2:9:3, 100:140, 31:33],
    np.s_[5:7, ::50, 3::7, 2],
    np.s_[:2, -1, -1],
    np.s_[7:7],
]


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("options", [{}, {"fields": True}, {"reduce": 8}], ids=str)
def test_a_part_is_the_part_of_the_whole(movie_path, part, options):
    video = zarr.open_group(MovieStore(movie_path, **options), mode="r")["video"]
    assert np.array_equal(video[part], video[:][part])


def test_lists_pair_or_do_not_as_they_were_asked(movie_path):
    video = zarr.open_group(MovieStore(movie_path), mode="r")["video"]
    pixels = video[:]
    frames, rows, columns = [9, 2, 3], [0, 191, 17], [300, 4, 5]
    assert np.array_equal(
        video.vindex[frames, rows, columns, [0, 1, 2]], pixels[frames, rows, columns, [0, 1, 2]]
    )
    assert np.array_equal(
        video.oindex[frames, slice(4, 90, 7), sorted(columns)], pixels[frames, 4:90:7][:, :, sorted(columns)]
    )
    mask = np.zeros(40, bool)
    mask[[3, 30]] = True
    assert np.array_equal(video.oindex[mask], pixels[mask])


@st.composite
def selections(draw):
    """For each axis of the first frames of a movie: a number, a stretch with a step, or a sorted list."""
    chosen = []
    for length in (4, 192, 320, 3):
        number = st.integers(0, length - 1)
        stretch = st.builds(slice, number, st.integers(0, length), st.integers(1, 40))
        numbers = st.lists(number, min_size=1, max_size=5, unique=True).map(sorted)
        chosen.append(draw(number | stretch | numbers))
    return tuple(chosen)


@pytest.fixture(scope="module", params=[{}, {"fields": True}], ids=str)
def whole(request, movie_path):
    """The first pictures of a movie as Zarr, and as numbers."""
    store = MovieStore(movie_path, frames=slice(4), **request.param)
    return zarr.open_group(store, mode="r")["video"], MovieReader(movie_path).read(slice(4), **request.param)


@settings(max_examples=60, deadline=None)
@given(selection=selections())
def test_any_part_of_any_axis(whole, selection):
    video, pixels = whole
    for axis in reversed(range(4)):
        at = selection[axis]
        at = [i for i in at if i < pixels.shape[axis]] if isinstance(at, list) else at
        assume(at != [] and not (isinstance(at, int) and at >= pixels.shape[axis]))
        selection = (*selection[:axis], at, *selection[axis + 1 :])
        pixels = pixels[(slice(None),) * axis + (at,)]
    assert np.array_equal(video.oindex[selection], pixels)


def test_a_crop_decodes_its_slices_only(movie_path):
    """Damage elsewhere in the frame is not seen, as with the reader."""
    codec = ProResCodec((192, 320), "gray10le")
    sample = bytearray(MovieReader(movie_path).read_encoded(5)[0])
    whole = codec.decode_part(bytes(sample), (0, slice(None), slice(None)))
    sample[(third := len(sample) // 3) : third + 3000] = bytes(3000)
    with pytest.raises(FrameDecodeError):
        codec.decode_part(bytes(sample), (0, slice(None), slice(None)))
    assert np.array_equal(codec.decode_part(bytes(sample), (0, slice(16), slice(64))), whole[:16, :64])


# ---- what is fetched


@pytest.mark.parametrize("cache", [False, True])
def test_a_frame_costs_one_request_for_its_bytes(served_movie, movie_url, movie_path, cache):
    store = MovieStore(movie_url, cache=cache)
    assert served_movie.n_requests == 1
    movie = xr.open_zarr(store, chunks=None)
    assert served_movie.n_requests == 1
    n_bytes = served_movie.n_bytes_sent
    for _ in range(3):
        assert np.array_equal(movie.video[7], MovieReader(movie_path).read(7)[0])
    n_reads = 1 if cache else 3
    assert served_movie.n_requests == 1 + n_reads
    assert served_movie.n_bytes_sent - n_bytes == n_reads * int(movie.encoded_size[7])


def test_a_movie_that_was_cut_off_is_recovered(tmp_path):
    path = tmp_path / "a.mov"
    write_movie(path, n_frames=6, width=256, height=64, layout="no-moov")
    with pytest.raises(MissingMoovError):
        MovieStore(path)
    store = unpickle(pickle.dumps(MovieStore(path, recover=True)))
    expected = MovieReader(path, recover=True).read(slice(None))
    assert len(expected) == 5  # the last one was cut
    assert np.array_equal(xr.open_zarr(store).video.load(), expected)
    write_references(MovieReader(path, recover=True), tmp_path / "a.json")
    movie = xr.open_zarr("reference://", storage_options={"fo": str(tmp_path / "a.json")})
    assert np.array_equal(movie.video.load(), expected)


def test_a_replaced_movie_is_noticed(tmp_path):
    write_movie(tmp_path / "a.mov", n_frames=4, width=256, height=64)
    with serve_folder(tmp_path) as server:
        for urlpath in (tmp_path / "a.mov", server.url + "a.mov"):
            movie = xr.open_zarr(MovieStore(urlpath, cache=False), chunks=None)
            write_movie(tmp_path / "b.mov", n_frames=5, width=256, height=64)
            (tmp_path / "b.mov").replace(tmp_path / "a.mov")
            with pytest.raises(RemoteFileChangedError, match=r"a\.mov"):
                movie.video.load()


def test_a_movie_that_went_away_is_an_error_and_not_black(tmp_path):
    write_movie(tmp_path / "a.mov", n_frames=2, width=256, height=64)
    with serve_folder(tmp_path) as server:
        movies = [
            xr.open_zarr(MovieStore(urlpath, cache=False), chunks=None)
            for urlpath in (tmp_path / "a.mov", server.url + "a.mov")
        ]
        (tmp_path / "a.mov").unlink()
        for movie in movies:
            with pytest.raises(FileNotFoundError, match=r"a\.mov"):
                movie.video.load()


def test_a_damaged_frame_is_named_and_the_others_are_read(movie_path, tmp_path):
    path = tmp_path / "a.mov"
    path.write_bytes(movie_path.read_bytes())
    with path.open("r+b") as file:
        file.seek(int(MovieReader(path).index.offset[17]) + 4000)
        file.write(bytes(3000))
    video = xr.open_zarr(MovieStore(path)).video
    with pytest.raises(FrameDecodeError, match=rf"{path}/video/c/17/0/0/0: "):
        video.load()
    assert np.array_equal(video[18:], open_movie(movie_path)[18:])


# ---- a store among stores


def keys_of(store, method, *args):
    async def collect():
        return [key async for key in getattr(store, method)(*args)]

    return asyncio.run(collect())


def value_of(store, key, wanted=None):
    value = asyncio.run(store.get(key, default_buffer_prototype(), wanted))
    return None if value is None else value.to_bytes()


def test_keys(movie_path):
    store = MovieStore(movie_path, pix_fmt="gray", frames=slice(12))
    coordinates = set(open_movie(movie_path, pix_fmt="gray").coords)
    names = {*coordinates, "video"}
    keys = keys_of(store, "list")
    assert len(keys) == len(set(keys)) == 1 + len(names) + len(coordinates) + 12
    assert set(keys_of(store, "list_dir", "")) == names | {"zarr.json"}
    assert set(keys_of(store, "list_dir", "video")) == {"zarr.json", "c"}
    assert set(keys_of(store, "list_dir", "video/c/")) == {str(i) for i in range(12)}
    assert set(keys_of(store, "list_prefix", "video/c/1")) == {f"video/c/{i}/0/0" for i in (1, 10, 11)}
    assert all(asyncio.run(store.exists(key)) for key in keys)
    for key in (
        "video/c/12/0/0",
        "video/c/01/0/0",
        "video/c/-1/0/0",
        "video/c/1/0",
        "video/c/1/0/0/0",
        "x",
        "",
    ):
        assert not asyncio.run(store.exists(key))
        assert value_of(store, key) is None
    total = asyncio.run(store.getsize_prefix("video/c/"))
    assert total == MovieReader(movie_path).index.size[:12].sum()


def test_parts_of_values(movie_path):
    store = MovieStore(movie_path)
    (sample,) = MovieReader(movie_path).read_encoded(7)
    for key, whole in (("video/c/7/0/0/0", sample), ("zarr.json", value_of(store, "zarr.json"))):
        assert value_of(store, key) == whole
        assert value_of(store, key, RangeByteRequest(8, 20)) == whole[8:20]
        assert value_of(store, key, RangeByteRequest(8, 10**9)) == whole[8:]
        assert value_of(store, key, OffsetByteRequest(99)) == whole[99:]
        assert value_of(store, key, SuffixByteRequest(5)) == whole[-5:]
        assert value_of(store, key, OffsetByteRequest(10**9)) == b""
    wanted = [("video/c/7/0/0/0", SuffixByteRequest(3)), ("no", None)]
    first, none = asyncio.run(store.get_partial_values(default_buffer_prototype(), wanted))
    assert (first.to_bytes(), none) == (sample[-3:], None)


def test_documents_are_those_that_zarr_writes_itself(movie_path):
    """Zarr, given what it has read, writes the same."""
    store = MovieStore(movie_path)
    for name, array in zarr.open_group(store, mode="r").arrays():
        document = array.metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"].to_bytes()
        written, ours = json.loads(document), json.loads(value_of(store, f"{name}/zarr.json"))
        for codec in (*written["codecs"], *ours["codecs"]):
            codec.setdefault("configuration", {})
        assert written == ours


def test_coordinates_of_long_movies_are_cut(movie_path, monkeypatch):
    monkeypatch.setattr(hierarchy, "MAX_VALUES_PER_CHUNK", 7)
    store = MovieStore(movie_path)
    assert len(keys_of(store, "list_prefix", "time/c/")) == 6
    xr.testing.assert_identical(xr.open_zarr(store).video.load(), open_movie(movie_path).load())


def test_without_consolidated_metadata(movie_path):
    dataset = xr.open_zarr(MovieStore(movie_path), consolidated=False)
    assert dataset.identical(xr.open_zarr(MovieStore(movie_path), consolidated=True))


def test_it_is_read_only(movie_path):
    store = MovieStore(movie_path)
    value = default_buffer_prototype().buffer.from_bytes(b"x")
    assert store.read_only
    assert store.with_read_only(True) is store
    for refused in (lambda: store.set("a", value), lambda: store.delete("zarr.json")):
        with pytest.raises(ValueError, match="write_samples"):
            asyncio.run(refused())
    with pytest.raises(ValueError, match="read-only"):
        store.with_read_only()
    with pytest.raises(ValueError, match="read-only"):
        zarr.open_group(store, mode="a")


def test_pixels_are_not_written_as_prores(movie_path):
    dataset = xr.open_zarr(MovieStore(movie_path, pix_fmt="gray", frames=slice(3)))
    with pytest.raises(NotImplementedError, match="write_samples"):
        dataset.to_zarr({}, consolidated=False)
    written = {}
    dataset.drop_encoding().to_zarr(zarr.storage.MemoryStore(written), consolidated=False)
    back = xr.open_zarr(zarr.storage.MemoryStore(written), consolidated=False)
    xr.testing.assert_identical(back.load(), dataset.load())


def test_pickled_it_is_small_and_equal(movie_url):
    store = MovieStore(movie_url, fields=True)
    dataset = xr.open_zarr(store)
    data = pickle.dumps(store)
    assert len(data) < 2500
    copy = unpickle(data)
    assert copy == store
    assert hash(copy) == hash(store)
    assert tokenize(copy) == tokenize(store) != tokenize(MovieStore(movie_url))
    assert store != MovieStore(movie_url)
    assert store != MovieStore(movie_url, fields=True, frames=[1])
    xr.testing.assert_identical(xr.open_zarr(copy).load(), dataset.load())


def test_processes_of_dask_read_it(movie_path, movie_by_libav):
    video = xr.open_zarr(MovieStore(movie_path, pix_fmt="gray10le"), chunks=None).video.chunk(time=20)
    with dask.config.set(scheduler="processes", num_workers=1):
        assert np.array_equal(video.max("time"), movie_by_libav.luma().max(axis=0))


def test_many_threads_at_once(movie_url, movie_by_libav):
    video = xr.open_zarr(MovieStore(movie_url, pix_fmt="gray10le")).video
    with dask.config.set(scheduler="threads", num_workers=8):
        assert np.array_equal(video, movie_by_libav.luma())


def test_it_is_loaded_in_an_event_loop_of_the_user(movie_url, movie_by_libav):
    dataset = xr.open_zarr(MovieStore(movie_url, pix_fmt="gray10le"), chunks=None)
    assert np.array_equal(asyncio.run(dataset.load_async()).video, movie_by_libav.luma())


def test_wrong_arguments_are_told_at_once(movie_path):
    with pytest.raises(FrameIndexError):
        MovieStore(movie_path, frames=[40])
    with pytest.raises(ValueError, match="pix_fmt"):
        MovieStore(movie_path, pix_fmt="yuv420p")
    with pytest.raises(FileNotFoundError):
        MovieStore(movie_path.with_name("b.mov"))


def test_of_no_frames(movie_path):
    assert xr.open_zarr(MovieStore(movie_path, frames=[])).video.load().shape == (0, 192, 320, 3)


# ---- the codec


def test_the_codec_is_found_by_its_name():
    assert zarr.registry.get_codec_class("prores") is ProResCodec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (1, 64, 64)}, "decode to"),
        ({"chunks": (2, 192, 320)}, "chunks are"),
        ({"dtype": "u1"}, "uint16"),
        ({"dtype": "i2"}, "uint16"),
    ],
)
def test_an_array_of_another_kind_is_refused(change, message):
    options = {"shape": (5, 192, 320), "chunks": (1, 192, 320), "dtype": "u2"} | change
    if "shape" in change:
        options["chunks"] = change["shape"]
    with pytest.raises(ValueError, match=message):
        zarr.create_array(
            {}, **options, serializer=ProResCodec((192, 320), "gray10le"), compressors=None, filters=None
        )


def test_codecs_survive_their_description():
    codec = ProResCodec((1080, 1920), "rgb24", color_matrix=1, fields=True)
    assert ProResCodec.from_dict(json.loads(json.dumps(codec.to_dict()))) == codec
    least = {"name": "prores", "configuration": {"frame_size": [1080, 1920], "pix_fmt": "gray"}}
    assert ProResCodec.from_dict(least).chunk_shape == (1, 1080, 1920)
    with pytest.raises(ValueError, match="pix_fmt"):
        ProResCodec((1080, 1920), "gray12")


def test_a_sample_of_another_movie_is_refused(movie_path):
    (sample,) = MovieReader(movie_path).read_encoded(0)
    with pytest.raises(FrameDecodeError, match="320x192"):
        ProResCodec((64, 64), "gray").decode_part(sample, (0, slice(None), slice(None)))


# ---- an extra


def test_zarr_is_imported_only_when_it_is_used():
    program = """
import sys
import camhd_access
assert "zarr" not in sys.modules
assert "MovieStore" in dir(camhd_access)
sys.modules["zarr"] = None  # as if it were not installed
try:
    camhd_access.MovieStore
except ImportError as error:
    assert "pip install 'camhd_access[zarr]'" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)
