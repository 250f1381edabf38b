"""Whom the server takes for the same client."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from camhd_access.server.requests import find_client


def client_of(remote, *forwarded, trust_forwarded=True):
    headers = [("X-Forwarded-For", each) for each in forwarded]
    request = make_mocked_request("GET", "/", headers=CIMultiDict(headers)).clone(remote=remote)
    return find_client(request, trust_forwarded=trust_forwarded)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:1111", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8::1:0:0:1", "2001:db8::"),
        ("2001:db8::2:0:0:1", "2001:db8::"),
        ("2001:db8:0:0:3::1", "2001:db8::"),
        ("2001:0DB8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("[2001:db8:1:2::5]:443", "2001:db8:1:2::"),
        ("[2001:db8:1:2::5]", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_a_client_is_an_address_or_a_site(address, client):
    assert client_of(address, trust_forwarded=False) == client
    assert client_of("10.0.0.1", "198.51.100.1, " + address) == (client or "10.0.0.1")


def test_the_last_address_that_was_forwarded_counts_where_the_proxy_is_trusted():
    forwarded = "198.51.100.1", "198.51.100.2, 203.0.113.9"
    assert client_of("10.0.0.1", *forwarded) == "203.0.113.9"
    assert client_of("10.0.0.1", *forwarded, trust_forwarded=False) == "10.0.0.1"
    assert client_of("10.0.0.1") == "10.0.0.1"
