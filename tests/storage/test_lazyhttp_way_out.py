"""Proxies, logins, certificates and cookies; URLs byte for byte; signed URLs in the cache."""

import base64
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest
from origin import Pattern, answers, honest, redirects, running_origin

from camhd_access import errors
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.lazyhttp.environment import find_proxy, make_ssl_context
from camhd_access.storage.lazyhttp.exchanges import parse_url
from camhd_access.storage.rangecache import RangeCacheFileSystem

SIZE = 10_000
DATA = Pattern(SIZE)[:]
NOWHERE = "http://archive.invalid/movie.mov"


def lazy(**settings):
    return LazyHTTPFileSystem(skip_instance_cache=True, **{"tries": 1, **settings})


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def url(origin):
    return origin.put("/movie.mov", SIZE)


@pytest.fixture
def proxy(origin):
    """A proxy is asked for whole URLs."""
    origin.put(NOWHERE, SIZE)
    return origin.url


# ---- proxies


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_environments_proxy_is_used_also_when_it_is_set_later(
    origin, proxy, monkeypatch, variable, scheme
):
    fs = lazy()
    with pytest.raises(errors.RemoteFileError, match="Cannot connect"):
        fs.cat_file(NOWHERE, 0, 10)
    monkeypatch.setenv(variable, scheme + proxy.removeprefix("http://"))
    assert fs.cat_file(NOWHERE, 0, 10) == DATA[:10]
    assert [request.path for request in origin.requests] == [NOWHERE]
    with pytest.raises(errors.RemoteFileError, match="Cannot connect"):
        lazy(trust_env=False).cat_file(NOWHERE, 0, 10)


def test_a_proxy_by_option_with_a_login(origin, proxy):
    named = proxy.replace("//", "//me:hu%40sh@")
    assert lazy(proxy=named, trust_env=False).cat_file(NOWHERE, 0, 10) == DATA[:10]
    assert origin.requests[0].headers["proxy-authorization"] == basic("me", "hu@sh")
    assert "authorization" not in origin.requests[0].headers


def test_a_login_goes_to_the_proxy_with_connect(origin):
    origin.play("h.invalid:443", answers(403), always=True)
    with pytest.raises(errors.RemoteFileError, match="the proxy responds: HTTP 403"):
        lazy(proxy=origin.url.replace("//", "//me:hush@")).cat_file("https://h.invalid/m", 0, 10)
    assert origin.requests[0].method == "CONNECT"
    assert origin.requests[0].headers["proxy-authorization"] == basic("me", "hush")


def test_a_dead_proxy_is_named_without_its_login():
    with pytest.raises(errors.RemoteFileError, match=r"through the proxy http://127\.0\.0\.1:1") as caught:
        lazy(proxy="http://me:hush@127.0.0.1:1").cat_file(NOWHERE, 0, 10)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("target", ["http://127.0.0.1:9/m", "https://h.invalid/m"])
def test_what_a_proxy_refuses(origin, target):
    for path in (target, "h.invalid:443"):
        origin.play(path, answers(407), always=True)
    with pytest.raises(errors.RemoteFileError, match=r"407.*`proxy` .*HTTP\(S\)_PROXY"):
        lazy(proxy=origin.url).cat_file(target, 0, 10)


@pytest.mark.parametrize(
    ("no_proxy", "url", "used"),
    [
        ("", "http://a.org/x", True),
        ("*", "http://a.org/x", False),
        ("a.org", "http://www.a.org/x", False),
        (".a.org", "http://a.org:8080/x", False),
        ("a.org:81", "http://a.org/x", True),
        ("a.org:81", "http://a.org:81/x", False),
        ("b.org, 10.0.0.0/8", "http://10.2.3.4/x", False),
        ("10.0.0.0/8", "http://11.2.3.4/x", True),
        ("127.0.0.1,::1", "http://[::1]:80/x", False),
        ("", "https://a.org/x", False),
    ],
)
def test_no_proxy(monkeypatch, no_proxy, url, used):
    monkeypatch.setenv("HTTP_PROXY", "proxy:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert find_proxy(parse_url(url)) == ("http://proxy:3128" if used else None)


def test_proxies_of_other_kinds_are_refused_by_name(monkeypatch, url):
    monkeypatch.setenv("all_proxy", "socks5://me:hush@p:1")
    with pytest.raises(errors.RemoteFileError, match="socks5://p:1: only http and https proxies") as caught:
        lazy().cat_file(url, 0, 10)
    assert "hush" not in str(caught.value)
    with pytest.raises(ValueError, match="socks5"):
        lazy(proxy="socks5://p:1")


# ---- logins


@pytest.fixture
def netrc(monkeypatch, tmp_path):
    path = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(path))
    return path


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"auth": ("me", "se:cret")}, basic("me", "se:cret")),
        ({"auth": ["me", "secret"]}, basic("me", "secret")),
        ({"headers": {"authorization": "Bearer x"}, "auth": ("me", "secret")}, "Bearer x"),
        ({}, basic("net", "rc")),
        ({"trust_env": False}, None),
    ],
)
def test_logins_go_to_their_host_alone(origin, url, netrc, options, sent):
    netrc.write_text("machine 127.0.0.1 login net password rc\n")
    with running_origin() as first:
        first.play("/m", redirects(url.replace("127.0.0.1", "localhost")), always=True)
        options |= {"cookies": {"seen": "1"}}
        assert lazy(**options).cat_file(f"{first.url}/m", 0, 10) == DATA[:10]
        assert first.requests[0].headers.get("authorization") == sent
        assert first.requests[0].headers["cookie"] == "seen=1"
    assert not {"authorization", "cookie"} & origin.requests[0].headers.keys()


def test_the_guess_of_netrc_is_for_the_host_that_was_named(origin, url, netrc):
    netrc.write_text("default login any password body\n")
    with running_origin() as first:
        first.play("/m", redirects(url.replace("127.0.0.1", "localhost")))
        lazy().cat_file(f"{first.url}/m", 0, 10)
        assert first.requests[0].headers["authorization"] == basic("any", "body")
    assert "authorization" not in origin.requests[0].headers


def test_the_login_of_a_url(origin, url):
    lazy().cat_file(url.replace("//", "//me:p%3Aw@"), 0, 10)
    assert origin.requests[0].headers["authorization"] == basic("me", "p:w")
    assert origin.requests[0].path == "/movie.mov"


def test_a_login_that_sets_a_cookie_while_redirecting(origin, url):
    def guarded(x):
        return honest(x) if x.request.headers.get("cookie") == "ticket=a/b==" else redirects("/login")(x)

    def login(x):
        x.answer(302, {"Location": "/movie.mov", "Set-Cookie": "ticket=a/b==; Path=/"})

    origin.play("/movie.mov", guarded, always=True)
    origin.play("/login", login, always=True)
    fs = lazy()
    assert fs.cat_file(url, 0, 10) + fs.cat_file(url, 10, 20) == DATA[:20]
    assert [request.path for request in origin.requests] == [
        "/movie.mov",
        "/login",
        "/movie.mov",
        "/movie.mov",
    ]


@pytest.mark.parametrize(("status", "option"), [(401, "`auth`"), (403, "`auth`"), (407, "`proxy`")])
def test_refusals_name_the_option(origin, url, status, option):
    origin.play("/movie.mov", answers(status), always=True)
    for bounds in [(0, 10), (-10, None)]:
        with pytest.raises(errors.RemoteFileError, match=f"HTTP {status}.*{option}"):
            lazy().cat_file(url, *bounds)


# ---- certificates


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of localhost."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        path,
        "-out",
        f"{path}.crt",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture
def secure_url(certificate):
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-9/{SIZE}")
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(DATA[:10])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificate}.crt", certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}/m"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_of_the_environment(secure_url, certificate, monkeypatch, variable):
    fs = lazy()
    with pytest.raises(errors.RemoteFileError, match=r"no trusted connection.*`ssl` or SSL_CERT_FILE"):
        fs.cat_file(secure_url, 0, 10)
    monkeypatch.setenv(variable, f"{certificate}.crt")
    assert fs.cat_file(secure_url, 0, 10) == DATA[:10]
    with pytest.raises(errors.RemoteFileError, match="no trusted connection"):
        lazy(trust_env=False).cat_file(secure_url, 0, 10)


def test_certificates_by_option(secure_url, certificate):
    for trust in (f"{certificate}.crt", False, ssl.create_default_context(cafile=f"{certificate}.crt")):
        assert lazy(ssl=trust).cat_file(secure_url, 0, 10) == DATA[:10]
    with pytest.raises(errors.RemoteFileError, match=r"ssl=/none\.pem: no certificates"):
        lazy(ssl="/none.pem").cat_file(secure_url, 0, 10)


def test_contexts_are_made_once():
    assert make_ssl_context(True, trust_env=True) is make_ssl_context(True, trust_env=True)


# ---- byte for byte


@pytest.mark.parametrize(
    "path",
    [
        "/a%2Fb%3A%7Ec%22.mov?k=%2f+%3a&l=a%2Cb~*",
        "/%7euser/m.mov?sig=abc/",
        "/a//b/../c.mov?x=y?z",
        "/a;b=1'(2)!.mov",
    ],
)
def test_urls_and_locations_go_out_as_they_were_given(origin, path):
    origin.put(path, SIZE)
    origin.play("/portal", redirects("{path}".replace("{path}", path.replace("{", "{{"))), always=True)
    for address in (path, "/portal"):
        assert lazy().cat_file(origin.url + address, 0, 10) == DATA[:10]
    assert [request.path for request in origin.requests] == [path, "/portal", path]


def test_what_no_request_line_may_hold_is_escaped(origin):
    origin.put("/a%20%C3%A9.mov", SIZE)
    assert lazy().cat_file(f"{origin.url}/a é.mov", 0, 10) == DATA[:10]


# ---- signed URLs, and who may read what is kept


def test_signed_urls_of_one_object_share_what_is_kept(origin, tmp_path):
    signed = [f"/m.mov?X-Amz-Date={i}&X-Amz-Signature=hush{i}&v=1" for i in range(2)]
    for path in signed:
        origin.put(path, SIZE)
    cached = RangeCacheFileSystem(fs=lazy(), cache_dir=tmp_path, skip_instance_cache=True)
    assert [cached.cat_file(origin.url + path, 0, 5000) for path in signed] == [DATA[:5000]] * 2
    assert [(r.method, r.path) for r in origin.requests if r.n_sent] == [("GET", signed[0])]
    assert cached.info(origin.url + signed[1])["name"] == origin.url + signed[1]
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"hush" not in file.read_bytes()


@pytest.mark.parametrize("has_expired", [True, False])
def test_signatures_of_one_object_share_bytes_in_flight_but_no_refusal(origin, tmp_path, has_expired):
    paths = [f"/m.mov?X-Amz-Signature={name}" for name in ("first", "second")]
    first, second = (origin.put(path, SIZE) for path in paths)
    cached = RangeCacheFileSystem(fs=lazy(), cache_dir=tmp_path, skip_instance_cache=True)
    for url in (first, second):
        cached.info(url)
    may_answer = threading.Event()

    def is_slow(x):
        assert may_answer.wait(60)
        return (answers(403) if has_expired else honest)(x)

    origin.play(paths[0], is_slow)
    origin.requests.clear()
    with ThreadPoolExecutor(2) as pool:
        by_first = pool.submit(cached.cat_file, first, 0, 5000)
        assert origin.wait_until(lambda o: o.requests)
        by_second = pool.submit(cached.cat_file, second, 0, 5000)
        time.sleep(0.2)  # it waits for the same bytes
        may_answer.set()
        assert by_second.result() == DATA[:5000]
        if has_expired:
            with pytest.raises(errors.RemoteFileError, match="403"):
                by_first.result()
        else:
            assert by_first.result() == DATA[:5000]
            assert [r.path for r in origin.requests] == paths[:1]


def test_what_came_with_credentials_is_for_the_same_credentials(origin, url, tmp_path):
    options = [
        {"auth": ("me", "x")},
        {"auth": ("you", "x")},
        {},
        {"auth": ("me", "x")},
        {"cookies": {"a": "b"}},
    ]
    for i, each in enumerate(options):
        cached = RangeCacheFileSystem(fs=lazy(**each), cache_dir=tmp_path, skip_instance_cache=True)
        sent = origin.n_sent
        assert cached.cat_file(url, 0, 5000) == DATA[:5000]
        assert origin.n_sent - sent == (0 if i == 3 else 5000)


def test_options_pass_through_the_chain(origin, url, tmp_path):
    import fsspec

    options = {"lazy": {"cache_dir": tmp_path}, "http": {"auth": ("me", "x")}}
    fs, path = fsspec.core.url_to_fs(f"lazy::{url}", **options)
    assert fs.cat_file(path, 0, 10) == DATA[:10]
    assert origin.requests[0].headers["authorization"] == aiohttp.encode_basic_auth("me", "x")
