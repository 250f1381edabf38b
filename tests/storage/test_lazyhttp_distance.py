"""Distant hosts: connections opened in advance, and single ranges fetched in parts."""

import pytest
from yarl import URL

from camhd_access.ranges import ByteRange
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.lazyhttp.connections import _Link
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.storage.source import ByteSource

MIB = 1 << 20


def far(**settings):
    """A filesystem to which every host is distant."""
    return LazyHTTPFileSystem(skip_instance_cache=True, long_link_seconds=0, **settings)


def wait_for_idle(fs, origin, n):
    """Wait until `n` connections are open, and ready to be used."""

    def is_ready(origin):
        connections = list(fs._client.exchanges._connections.values())
        n_idle = sum(len(idle) for each in connections for idle in each._connector._conns.values())
        return origin.n_connections == n_idle == n

    assert origin.wait_until(is_ready)


@pytest.fixture
def url(origin):
    return origin.put("/movie", 2 * MIB)


@pytest.fixture
def rested(monkeypatch):
    """Treat every connection as idle for long."""
    monkeypatch.setattr("camhd_access.storage.lazyhttp.connections.REST_SECONDS", 0)


@pytest.fixture
def in_use(monkeypatch):
    """Treat every connection that has brought something as in use, however long ago it was."""
    monkeypatch.setattr("camhd_access.storage.lazyhttp.connections.REST_SECONDS", float("inf"))


@pytest.fixture
def content(origin, url):
    return origin.files["/movie"].data


def test_connections_are_opened_while_the_first_request_is_under_way(origin, url, content):
    fs = far()
    assert fs.cat_file(url, start=-1000) == bytes(content[2 * MIB - 1000 : 2 * MIB])
    assert origin.wait_until(lambda o: o.n_connections == 4)
    assert len(origin.requests) == 1


def test_a_range_that_is_alone_comes_in_four_parts(origin, url, content, rested):
    fs = far()
    fs.cat_file(url, start=-1000)
    wait_for_idle(fs, origin, 4)
    validator = fs.info(url)["validator"]
    assert fs.cat_file(url, 100, 100 + 600_000, validator=validator) == bytes(content[100 : 100 + 600_000])
    assert sorted(origin.ranges[1:]) == [
        f"bytes={100 + 150_000 * i}-{100 + 150_000 * (i + 1) - 1}" for i in range(4)
    ]
    assert origin.n_connections == 4  # those that were ready


def test_a_connection_that_has_just_brought_something_brings_the_next_alone(origin, url, in_use):
    fs = far()
    fs.cat_file(url, start=-1000)
    fs.cat_file(url, 0, MIB, validator=fs.info(url)["validator"])
    assert origin.ranges[1:] == [f"bytes=0-{MIB - 1}"]


def test_the_connection_used_last_is_used_first(origin, url, in_use):
    """The connection that received the index is used, not one that was opened in advance."""
    fs = far()
    fs.cat_file(url, start=-1000)
    wait_for_idle(fs, origin, 4)
    fs.cat_file(url, 0, MIB, validator=fs.info(url)["validator"])
    (connections,) = fs._client.exchanges._connections.values()
    (idle,) = connections._connector._conns.values()
    assert len(idle) == 4
    used = [protocol for protocol, _ in idle]
    fs.cat_file(url, 0, 1000)
    assert [protocol for protocol, _ in idle] == used
    assert [since for _, since in idle] == sorted((since for _, since in idle), reverse=True)


def test_small_ranges_stay_whole(origin, url, rested):
    fs = far()
    fs.cat_file(url, start=-1000)
    fs.cat_file(url, 0, 128 << 10, validator=fs.info(url)["validator"])
    assert origin.ranges[1:] == ["bytes=0-131071"]


def test_of_many_ranges_at_once_only_the_first_is_split(origin, url, content, rested):
    fs = far(max_gap_bytes=0)
    fs.cat_file(url, start=-1000)
    starts = [i * 300_000 for i in range(6)]
    ends = [start + 200_000 for start in starts]
    validator = fs.info(url)["validator"]
    got = fs.cat_ranges([url] * 6, starts, ends, validator=validator)
    assert got == [bytes(content[a:b]) for a, b in zip(starts, ends, strict=True)]
    assert len(origin.ranges) - 1 <= 6 + 3


def test_no_more_connections_than_allowed(origin, url, rested):
    fs = far(max_concurrency=2)
    fs.cat_file(url, start=-1000)
    fs.cat_file(url, 0, MIB, validator=fs.info(url)["validator"])
    assert origin.n_connections <= 2
    assert origin.most_at_once <= 2


def test_loopback_is_not_distant(origin, url):
    fs = LazyHTTPFileSystem(skip_instance_cache=True)
    fs.cat_file(url, start=-1000)
    fs.cat_file(url, 0, MIB, validator=fs.info(url)["validator"])
    assert origin.ranges[1:] == [f"bytes=0-{MIB - 1}"]
    assert origin.n_connections == 1


def test_a_request_is_worth_what_its_slot_brings_meanwhile(origin, url):
    fs = far()
    assert fs.request_worth_bytes(url) == 0  # nothing was seen yet
    fs.cat_file(url, 0, MIB)
    (connections,) = fs._client.exchanges._connections.values()
    host = URL(url).origin()
    assert 0 <= connections._connector.round_trip_seconds[host] < 1  # as the kernel tells it
    source = ByteSource(RangeCacheFileSystem(fs=fs, skip_instance_cache=True), url)
    many = 1000

    def see(n_bytes, seconds):
        for _ in range(1000):  # what was seen before fades
            connections.weigh(host, n_bytes, seconds)

    connections._connector.round_trip_seconds[host] = 0.05
    see(650_000, 0.05 + 16 * 650_000 / 125e6)  # whole frames over 1 Gbit/s, sixteen at once
    assert fs.request_worth_bytes(url) == pytest.approx(0.05 * 125e6 / 16)
    assert source.request_worth_bytes(many) == pytest.approx(390_625, abs=1)
    assert len(source.plan([ByteRange(0, 1000), ByteRange(390_000, 391_000)], n_times=many)) == 1
    assert len(source.plan([ByteRange(0, 1000), ByteRange(400_000, 401_000)], n_times=many)) == 2
    assert len(source.plan([ByteRange(0, 1000), ByteRange(390_000, 391_000)])) == 2  # both go out at once
    see(50_000, 0.05 + 16 * 50_000 / 12.5e6)  # parts of frames over 100 Mbit/s
    assert source.request_worth_bytes(many) == 64 * 1024
    see(50_000, 0.05 + 0.001)  # the same over a link that does not notice them
    assert source.request_worth_bytes(many) == MIB
    see(50_000, 0.04)  # as fast as can be
    assert source.request_worth_bytes(many) == MIB


def test_what_a_request_is_worth_follows_the_link():
    link = _Link()
    assert link.bytes_in(0.05) == 0
    for rate in (1e6, 100e6, 1e6):
        for _ in range(10 * 64):
            link.weigh(rate / 10, 0.1)
        assert link.bytes_in(0.05) == pytest.approx(rate * 0.05, rel=0.2)
