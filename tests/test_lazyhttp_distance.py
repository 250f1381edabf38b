"""Distant hosts: connections opened ahead, and a lone range in parts over them if they have rested."""

import pytest
from yarl import URL

from camhd_access.lazyhttp import LazyHTTPFileSystem
from camhd_access.lazyhttp.connections import _Meter
from camhd_access.rangecache import RangeCacheFileSystem
from camhd_access.ranges import ByteRange
from camhd_access.source import ByteSource

MIB = 1 << 20


def far(**settings):
    """A filesystem to which every host is distant."""
    return LazyHTTPFileSystem(skip_instance_cache=True, long_link_seconds=0, **settings)


@pytest.fixture
def url(origin):
    return origin.put("/movie", 2 * MIB)


@pytest.fixture
def rested(monkeypatch):
    """Every connection counts as one that has rested."""
    monkeypatch.setattr("camhd_access.lazyhttp.connections.REST_SECONDS", 0)


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
    assert origin.wait_until(lambda o: o.n_connections == 4)
    validator = fs.info(url)["validator"]
    assert fs.cat_file(url, 100, 100 + 600_000, validator=validator) == bytes(content[100 : 100 + 600_000])
    assert sorted(origin.ranges[1:]) == [
        f"bytes={100 + 150_000 * i}-{100 + 150_000 * (i + 1) - 1}" for i in range(4)
    ]
    assert origin.n_connections == 4  # those that were ready


def test_a_connection_that_has_just_brought_something_brings_the_next_alone(origin, url):
    fs = far()
    fs.cat_file(url, start=-1000)
    fs.cat_file(url, 0, MIB, validator=fs.info(url)["validator"])
    assert origin.ranges[1:] == [f"bytes=0-{MIB - 1}"]


def test_the_connection_used_last_is_used_first(origin, url):
    """The one that brought the index, rather than one of those that were opened ahead."""
    fs = far()
    fs.cat_file(url, start=-1000)
    assert origin.wait_until(lambda o: o.n_connections == 4)
    fs.cat_file(url, 0, MIB, validator=fs.info(url)["validator"])
    (connections,) = fs._client._connections.values()
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


def test_a_request_is_worth_what_the_link_brings_meanwhile(origin, url):
    fs = far()
    assert fs.request_worth_bytes(url) == 0  # nothing was seen yet
    fs.cat_file(url, 0, MIB)
    (connections,) = fs._client._connections.values()
    host = URL(url).origin()
    assert 0 <= connections._connector.round_trip_seconds[host] < 1  # as the kernel tells it
    connections._connector.round_trip_seconds[host] = 0.05
    connections._meters[host].bytes_per_second = 125e6
    assert fs.request_worth_bytes(url) == pytest.approx(0.05 * 125e6 / 16)
    behind = RangeCacheFileSystem(fs=fs, skip_instance_cache=True)
    source = ByteSource(behind, url)
    assert source.request_worth_bytes == 390_625
    assert len(source.plan([ByteRange(0, 1000), ByteRange(390_000, 391_000)])) == 1
    assert len(source.plan([ByteRange(0, 1000), ByteRange(400_000, 401_000)])) == 2
    connections._meters[host].bytes_per_second = 0
    assert source.request_worth_bytes == 64 * 1024
    connections._meters[host].bytes_per_second = 1e12
    assert source.request_worth_bytes == MIB


def test_rates_are_taken_over_a_while(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("camhd_access.lazyhttp.connections.time.monotonic", lambda: now[0])
    meter = _Meter()
    for _ in range(50):  # 1 MiB in bursts every 20 ms, then a pause
        meter.add(MIB)
        now[0] += 0.02
    now[0] += 60
    meter.add(MIB)
    assert meter.bytes_per_second == pytest.approx(50 * MIB, rel=0.25)
