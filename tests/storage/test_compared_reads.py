"""Versions on filesystems that neither compare them nor tell ETags, and remember listings."""

import pytest
from fsspec.asyn import AsyncFileSystem

from camhd_access import RemoteFileChangedError
from camhd_access.ranges import ByteRange
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.storage.source import MAX_SPAN_BYTES, ByteSource

SIZE = 4 * MAX_SPAN_BYTES
ONE, APART = [ByteRange(5, 9)], [ByteRange(0, 4), ByteRange(SIZE - 4, SIZE)]


class ForgetfulFileSystem(AsyncFileSystem):
    """One file in memory, whose `info` is that of a listing until that is invalidated."""

    protocol = "forgetful"
    cachable = False

    def __init__(self, fact="mtime", **options):
        super().__init__(**options)
        self.fact = fact
        self.put(b"a")

    def put(self, letter, size=SIZE):
        self.data, self.mtime, self.requests = letter * size, ord(letter), []

    def invalidate_cache(self, path=None):
        self.dircache.clear()

    async def _info(self, path, **_):
        if path not in self.dircache:
            self.requests.append("info")
            self.dircache[path] = {
                "name": path,
                "size": len(self.data),
                "type": "file",
                self.fact: self.mtime,
            }
        return self.dircache[path]

    async def _cat_file(self, path, start=None, end=None, **_):
        self.requests.append("bytes")
        return self.data[start:end]


@pytest.fixture
def fact():
    """What the filesystem tells besides the size."""
    return "mtime"


@pytest.fixture
def forgetful(fact):
    return ForgetfulFileSystem(fact)


@pytest.fixture(params=["direct", "cached"])
def source(request, forgetful, tmp_path):
    if request.param == "direct":
        return ByteSource(forgetful, "a.mov").pinned()
    return ByteSource(RangeCacheFileSystem(fs=forgetful, cache_dir=tmp_path), "a.mov").pinned()


FACTS = ["mtime", "modified", "modify", "last_write_time", "created", "sha", "blob_id", "CRC"]


@pytest.mark.parametrize("fact", [*FACTS, "ino", "mode"])
@pytest.mark.parametrize("ranges", [ONE, APART], ids=["one", "apart"])
def test_a_file_is_read_whatever_is_told_of_its_version(source, forgetful, fact, ranges):
    for _ in range(2):
        assert [bytes(data) for _, data in source.fetch(ranges)] == [b"aaaa"] * len(ranges)
    if isinstance(source.filesystem, RangeCacheFileSystem):
        n_reads = forgetful.requests.count("bytes")
        assert n_reads == len(ranges) * (1 if fact in FACTS else 2)  # others do not tell versions apart
    forgetful.put(b"b", SIZE + (fact == "mode"))
    for _ in range(2):
        with pytest.raises(RemoteFileChangedError):
            source.read(ByteRange(100, 104))


@pytest.mark.parametrize("ranges", [ONE, APART], ids=["one", "apart"])
def test_another_version_is_never_mixed_in(source, forgetful, ranges):
    assert source.read(ByteRange(100, 104)) == b"aaaa"
    forgetful.put(b"b")
    with pytest.raises(RemoteFileChangedError, match=r"a\.mov was replaced since it was opened"):
        list(source.fetch(ranges))
    anew = source.pinned()
    assert [bytes(data) for _, data in anew.fetch(ranges)] == [b"bbbb"] * len(ranges)


@pytest.mark.parametrize("ranges", [ONE, APART], ids=["one", "apart"])
def test_each_read_costs_one_more_request(source, forgetful, ranges):
    forgetful.requests.clear()
    list(source.fetch(ranges))
    assert sorted(forgetful.requests) == ["bytes"] * len(ranges) + ["info"] * len(ranges)
    if isinstance(source.filesystem, RangeCacheFileSystem):
        assert source.filesystem.stats.requests == 1 + 2 * len(ranges)
        list(source.fetch(ranges))
        assert len(forgetful.requests) == 2 * len(ranges)


def test_a_version_from_a_listing_is_not_taken_for_the_current_one(forgetful):
    address = ByteSource(forgetful, "a.mov")
    pinned = address.pinned()
    forgetful.mtime += 1
    assert address.pinned() != pinned
