"""Opening a movie from real servers; wrong responses leave nothing in the cache."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import atoms
import inter_movies
import numpy as np
import pytest
from new_process import forget_everything, forget_open_movies
from origin import Padded, answers, capped, replicas

from camhd_access import CamhdError, FrameDecodeError, InvalidMovieError, MovieReader, RemoteFileChangedError
from camhd_access.caching import LRUCache
from camhd_access.movie import fresh_bytes
from camhd_access.ranges import ByteRange
from camhd_access.storage.rangecache.blocks import Piece
from camhd_access.synthetic import write_movie

PAGE = b"<!DOCTYPE html><html><title>Please log in</title>" + b"<p>Accept our terms.</p>" * 200 + b"</html>"
BOTH = pytest.mark.parametrize("cache", [False, True], ids=["direct", "cached"])


@pytest.fixture(autouse=True)
def _new_process():
    forget_open_movies()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A movie whose index comes first: opening it takes several requests."""
    path = tmp_path_factory.mktemp("opening") / "m.mov"
    write_movie(path, n_frames=48, width=256, height=128, layout="moov-first")
    return path.read_bytes()


@pytest.fixture(scope="module")
def pictures(data):
    import fsspec

    fsspec.filesystem("memory").pipe("/opening/m.mov", data)
    return MovieReader("memory://opening/m.mov").read(slice(None))


@BOTH
@pytest.mark.parametrize(
    "page",
    [answers(200, PAGE), answers(200, PAGE, ETag='"page"'), answers(511, PAGE)],
    ids=["plain", "tagged", "511"],
)
def test_the_page_of_a_portal_leaves_nothing_behind(origin, data, pictures, cache, page):
    url = origin.put("/m.mov", data)
    origin.play("/m.mov", page, always=True)
    options = {"tries": 1}
    with pytest.raises(CamhdError, match=r"m\.mov"):
        MovieReader(url, cache=cache, storage_options=options)
    origin.play("/m.mov")
    reader = MovieReader(url, cache=cache, storage_options=options)
    np.testing.assert_array_equal(reader.read(7), pictures[7:8])


@BOTH
def test_another_file_that_was_answered_once_leaves_nothing_behind(origin, data, pictures, cache):
    url = origin.put("/m.mov", b"maintenance " * 100_000, etag='"wrong"')
    with pytest.raises(CamhdError, match=r"m\.mov: not a QuickTime movie"):
        MovieReader(url, cache=cache)
    origin.put("/m.mov", data)
    np.testing.assert_array_equal(MovieReader(url, cache=cache).read(7), pictures[7:8])


@BOTH
@pytest.mark.parametrize("version", ["auto", "size", None])
def test_replicas_that_take_turns(origin, data, pictures, cache, version):
    url = origin.put("/m.mov", data)
    origin.play("/m.mov", replicas(*({"etag": f'"inode-{i}"'} for i in range(2))), always=True)
    options = {"version": version} if version else {}
    reader = MovieReader(url, cache=cache, storage_options=options)
    for frame in range(0, 48, 9):
        np.testing.assert_array_equal(reader.read(frame), pictures[frame : frame + 1])


@BOTH
def test_a_reader_from_another_process_meets_another_replica(origin, data, pictures, cache):
    url = origin.put("/m.mov", data)
    sent = pickle.dumps(MovieReader(url, cache=cache))
    for _ in range(3):  # whoever gets it knows nothing of the replicas, and meets the other one first
        forget_everything()
        origin.play("/m.mov", replicas({"etag": '"v2"'}, {"etag": '"v1"'}), always=True)
        copy = pickle.loads(sent)  # noqa: S301 - our own
        np.testing.assert_array_equal(copy.read(41), pictures[41:42])


@BOTH
def test_a_reader_from_another_process_finds_the_movie_replaced(origin, data, cache):
    url = origin.put("/m.mov", data)
    sent = pickle.dumps(MovieReader(url, cache=cache))
    forget_everything()
    origin.put("/m.mov", data + bytes(16), etag='"v2"')
    with pytest.raises(RemoteFileChangedError, match=r"m\.mov.*was replaced"):
        pickle.loads(sent).read(41)  # noqa: S301 - our own


def test_a_gateway_that_caps_its_answers(origin, data, pictures):
    url = origin.put("/m.mov", data)
    origin.play("/m.mov", capped(64 << 10), always=True)
    np.testing.assert_array_equal(MovieReader(url, cache=False).read(slice(None)), pictures)
    assert origin.n_sent <= len(data) + (576 << 10)  # the tail and the head where the index is looked for


@BOTH
def test_a_sample_larger_than_a_frame_can_be_is_refused_before_a_byte_of_it_is_fetched(origin, data, cache):
    lying = Padded(atoms.change_size(data, 47, 3 << 30), 4 << 30)
    url = origin.put("/m.mov", lying)
    with pytest.raises(InvalidMovieError, match=r"frame 47 .* 3,221,225,472 bytes.*recover=True"):
        MovieReader(url, cache=cache)
    assert origin.n_sent < 2 << 20


# ---- what is kept on disk, and makes no sense


def spoil(reader, wanted):
    """Store wrong bytes of a part of the file in the cache, as if a proxy had sent them."""
    cache = reader.source.filesystem
    version = cache._knowledge.version(reader.source.path, cache.info(reader.source.path))
    reader.read_encoded(slice(None))
    assert cache.folder.read(version, [wanted])  # once more than when it came
    cache.folder.drop(version, ByteRange(0, reader.file_size))
    assert not cache.folder.read(version, [wanted])
    cache.folder.write(version, [Piece(wanted.start, memoryview(bytes(wanted.n_bytes)))])


def sample_of(reader, frame):
    start = int(reader.index.offset[frame])
    return ByteRange(start, start + int(reader.index.size[frame]))


def asked_for(origin, wanted):
    return sum(f"bytes={wanted.start}-{wanted.stop - 1}" == each for each in origin.ranges)


@pytest.mark.parametrize("how", ["read", "mask", "mean", "interlaced", "pickled"])
def test_a_frame_that_does_not_decode_is_fetched_once_more(origin, data, pictures, how):
    reader = MovieReader(origin.put("/m.mov", data))
    first = sample_of(reader, 0)
    spoil(reader, first)
    origin.requests.clear()
    if how == "read":
        np.testing.assert_array_equal(reader.read([0, 1]), pictures[:2])
    elif how == "mask":
        masked = reader.read([0, 1], errors="mask")
        assert not masked.mask.any()
        np.testing.assert_array_equal(masked.data, pictures[:2])
    elif how == "mean":
        sums = reader.stack([0, 1]).add_up()
        np.testing.assert_array_equal(sums.values, pictures[:2].sum(axis=0))
    elif how == "interlaced":
        assert reader.interlaced
    else:
        copy = pickle.loads(pickle.dumps(reader))  # noqa: S301 - our own
        np.testing.assert_array_equal(copy.read(0), pictures[:1])
    assert 0 < len(origin.requests) <= 2
    np.testing.assert_array_equal(reader.read([0, 1]), pictures[:2])


@pytest.mark.parametrize("errors", ["raise", "mask"])
@pytest.mark.parametrize("how", ["twice", "fields"])
def test_all_images_of_a_sample_are_of_what_is_fetched_once_more(origin, data, pictures, how, errors):
    reader = MovieReader(origin.put("/m.mov", data))
    options = {"fields": True} if how == "fields" else {}
    frames = [5, 5] if how == "twice" else [5]
    expected = reader.read(frames, **options)
    spoil(reader, sample_of(reader, 5))
    origin.requests.clear()
    found = reader.read(frames, errors=errors, **options)
    assert not np.ma.getmaskarray(found).any()
    np.testing.assert_array_equal(np.ma.getdata(found), expected)
    assert asked_for(origin, sample_of(reader, 5)) == 1


def test_threads_that_find_the_same_damage_share_what_is_fetched_once_more(origin, data, pictures):
    reader = MovieReader(origin.put("/m.mov", data))
    spoil(reader, sample_of(reader, 5))
    origin.requests.clear()
    start = threading.Barrier(4)

    def read(_):
        start.wait()
        return reader.read(5)

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(read, range(4)):
            np.testing.assert_array_equal(found, pictures[5:6])
    assert asked_for(origin, sample_of(reader, 5)) == 1


@pytest.mark.parametrize("errors", ["raise", "mask"])
def test_samples_of_a_group_that_do_not_decode_are_fetched_once_more(origin, errors):
    data = inter_movies.encode("closed groups", size=(256, 384))
    url = origin.put("/m.mp4", data)
    expected = MovieReader(url, cache=False).read(slice(None), pix_fmt="gray")
    reader = MovieReader(url)
    coded = reader.index.coded
    spoil(reader, ByteRange(int(coded.offset[24]) + 40, int(coded.offset[24] + coded.size[24])))
    origin.requests.clear()
    for frames in (slice(24, 36), [30], [26, 28]):
        found = reader.read(frames, pix_fmt="gray", errors=errors)
        assert not np.ma.getmaskarray(found).any()
        np.testing.assert_array_equal(np.ma.getdata(found), expected[frames])
    assert len(origin.requests) == 2  # what is not in the cache, and the samples once more


def test_a_frame_that_is_damaged_at_its_origin_is_fetched_once_more_and_no_more(origin, data, monkeypatch):
    damaged = sample_of(MovieReader(origin.put("/intact.mov", data)), 5)
    bad = bytearray(data)
    bad[damaged.start + 8 : damaged.stop] = bytes(damaged.n_bytes - 8)
    reader = MovieReader(origin.put("/m.mov", bytes(bad)))
    origin.requests.clear()
    for n_asked in (1, 2):  # by the process that fetched it, and by another that finds it on disk
        for _ in range(3):
            with pytest.raises(FrameDecodeError, match="frame 5 of"):
                reader.read([5])
            assert asked_for(origin, damaged) == n_asked
        monkeypatch.setattr(fresh_bytes, "_was_cached", LRUCache(fresh_bytes.MAX_SAMPLES_READ_AGAIN))


def test_an_index_that_is_kept_and_does_not_parse_is_fetched_once_more(origin, data, pictures):
    reader = MovieReader(origin.put("/m.mov", data))
    spoil(reader, ByteRange(0, 65_536))
    forget_open_movies()
    np.testing.assert_array_equal(MovieReader(origin.url + "/m.mov").read(7), pictures[7:8])
