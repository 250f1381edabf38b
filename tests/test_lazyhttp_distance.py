"""Distant hosts: connections opened ahead, and a range that is alone in parts over them."""

import pytest

from camhd_access.lazyhttp import LazyHTTPFileSystem

MIB = 1 << 20


def far(**settings):
    """A filesystem to which every host is distant."""
    return LazyHTTPFileSystem(skip_instance_cache=True, long_link_seconds=0, **settings)


@pytest.fixture
def url(origin):
    return origin.put("/movie", 2 * MIB)


@pytest.fixture
def content(origin, url):
    return origin.files["/movie"].data


def test_connections_are_opened_while_the_first_request_is_under_way(origin, url, content):
    fs = far()
    assert fs.cat_file(url, start=-1000) == bytes(content[2 * MIB - 1000 : 2 * MIB])
    assert origin.wait_until(lambda o: o.n_connections == 4)
    assert len(origin.requests) == 1


def test_a_range_that_is_alone_comes_in_four_parts(origin, url, content):
    fs = far()
    fs.cat_file(url, start=-1000)
    assert origin.wait_until(lambda o: o.n_connections == 4)
    validator = fs.info(url)["validator"]
    assert fs.cat_file(url, 100, 100 + 600_000, validator=validator) == bytes(content[100 : 100 + 600_000])
    assert sorted(origin.ranges[1:]) == [
        f"bytes={100 + 150_000 * i}-{100 + 150_000 * (i + 1) - 1}" for i in range(4)
    ]
    assert origin.n_connections == 4  # those that were ready


def test_small_ranges_stay_whole(origin, url):
    fs = far()
    fs.cat_file(url, start=-1000)
    fs.cat_file(url, 0, 128 << 10, validator=fs.info(url)["validator"])
    assert origin.ranges[1:] == ["bytes=0-131071"]


def test_of_many_ranges_at_once_only_the_first_is_split(origin, url, content):
    fs = far(max_gap_bytes=0)
    fs.cat_file(url, start=-1000)
    starts = [i * 300_000 for i in range(6)]
    ends = [start + 200_000 for start in starts]
    validator = fs.info(url)["validator"]
    got = fs.cat_ranges([url] * 6, starts, ends, validator=validator)
    assert got == [bytes(content[a:b]) for a, b in zip(starts, ends, strict=True)]
    assert len(origin.ranges) - 1 <= 6 + 3


def test_no_more_connections_than_allowed(origin, url):
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
