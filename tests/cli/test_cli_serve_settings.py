"""Settings from flags, environment, a file and go-lazycache's variables; errors that name the place."""

import dataclasses
import re
from pathlib import Path

import pytest
from server_settings import OPTIONS, read_settings

from camhd_access.decoding.threads import n_cores
from camhd_access.server.settings import OOI_MIRROR, ServerSettings, list_settings

SETTINGS = list_settings()
DOCS = Path(__file__).parents[2] / "docs" / "server.md"


def flags_of(values):
    """These values as command line arguments."""
    for name, value in values.items():
        flag, others = OPTIONS[name].opts[0], OPTIONS[name].secondary_opts
        if isinstance(value, bool):
            yield flag if value else others[0]
        else:
            for each in value if isinstance(value, list) else [value]:
                yield from (flag, str(each))


@pytest.fixture
def config(tmp_path):
    """A function that writes a file of settings."""

    def write(text):
        path = tmp_path / "camhd.toml"
        path.write_text(text)
        return path

    return write


def test_defaults_are_safe():
    settings = read_settings()
    assert settings == ServerSettings(cache_dir=settings.cache_dir)
    assert settings.mirrors == (OOI_MIRROR,)
    assert (settings.bind, settings.port) == ("127.0.0.1", 8080)
    assert (settings.raw, settings.public) == (True, False)
    assert settings.image_store is settings.file_overlay is None
    assert settings.max_concurrency == n_cores()


def test_a_flag_wins_over_the_environment_over_the_ancestors_over_the_file(config):
    file, old, new = config("port = 1"), {"LAZYCACHE_PORT": "2"}, {"CAMHD_PORT": "3"}
    assert read_settings(config=file).port == 1
    assert read_settings(config=file, **old).port == 2
    assert read_settings(config=file, **old, **new).port == 3
    assert read_settings("--port", "4", config=file, **old, **new).port == 4
    assert read_settings(config=file, CAMHD_PORT="").port == 1
    assert read_settings(CAMHD_CONFIG=str(file)).port == 1
    switch = config("raw = false")
    assert not read_settings(config=switch).raw
    assert read_settings(config=switch, CAMHD_RAW="yes").raw
    assert not read_settings("--no-raw", config=switch, CAMHD_RAW="yes").raw


def test_all_can_be_set_everywhere(config, tmp_path):
    values = {
        "mirrors": ["http://a:9000/x", "https://b/"],
        "bind": "::",
        "port": 0,
        "unix_socket": str(tmp_path / "camhd.sock"),
        "root_path": "/camhd",
        "trust_forwarded": True,
        "workers": 4,
        "metrics_bind": "::1",
        "metrics_port": 9000,
        "access_log": "json",
        "log_level": "warning",
        "cors": False,
        "public": True,
        "raw": False,
        "file_overlay": str(tmp_path),
        "file_overlay_flatten": True,
        "image_store": "s3://bucket/images",
        "image_store_url": "https://images.example",
        "image_store_size": "2 GiB",
        "cache_dir": str(tmp_path / "cache"),
        "cache_size": 1000,
        "max_concurrency": 3,
        "max_queue": 0,
        "max_pixels": 100,
        "max_frames": 10,
        "memory": "512 MiB",
        "request_seconds": 1.5,
    }
    assert list(SETTINGS) == list(OPTIONS)
    assert list(values) == [name for name in SETTINGS if name != "image_store_sign"]  # excluded by another
    expected = ServerSettings(**values)
    assert expected.mirrors == ("http://a:9000/x/", "https://b/")
    assert expected.image_store_url == "https://images.example/"
    assert expected.image_store_size == 2 << 30
    assert expected.file_overlay == tmp_path

    texts = {name: " ".join(v) if isinstance(v, list) else str(v) for name, v in values.items()}
    assert read_settings(*flags_of(values)) == expected
    assert read_settings(**{OPTIONS[name].envvar[0]: text for name, text in texts.items()}) == expected
    lines = [f"{n} = {str(v).lower() if isinstance(v, bool) else repr(v)}" for n, v in values.items()]
    assert read_settings(config=config("\n".join(lines))) == expected


def test_signed_urls_exclude_public_ones(config):
    store = ("--image-store", "s3://bucket")
    assert read_settings(*store).image_store_sign is None
    assert read_settings(*store, "--image-store-sign", "900").image_store_sign == 900
    assert read_settings(*store, CAMHD_IMAGE_STORE_SIGN="900").image_store_sign == 900
    assert read_settings(*store, config=config("image_store_sign = 900")).image_store_sign == 900
    for wrong, words in (
        (("--image-store-sign", "59"), "whole number from 60 to 604800"),
        (("--image-store-sign", "900", "--image-store-url", "http://x/"), "exclude each other"),
    ):
        with pytest.raises(ValueError, match=words):
            read_settings(*store, *wrong)
    with pytest.raises(ValueError, match="image_store_sign needs image_store"):
        read_settings("--image-store-sign", "900")


@pytest.mark.parametrize(("port", "fit"), [(65534, 2), (65535, 1)])
def test_each_worker_has_a_port_for_its_metrics(port, fit):
    metrics = ("--metrics-port", str(port))
    assert read_settings(*metrics, "--workers", str(fit)).metrics_port == port
    message = f"^metrics_port: {fit + 1} workers need as many ports from {port} on"
    with pytest.raises(ValueError, match=message):
        read_settings(*metrics, CAMHD_WORKERS=str(fit + 1))
    assert read_settings("--metrics-port", "0", "--workers", "256").metrics_port == 0


def test_go_lazycaches_variables_are_understood(tmp_path):
    settings = read_settings(
        LAZYCACHE_PORT="5000",
        LAZYCACHE_BIND="0.0.0.0",  # noqa: S104 - its default
        LAZYCACHE_FILEOVERLAY=str(tmp_path),
        LAZYCACHE_FILEOVERLAY_FLATTEN="true",
        LAZYCACHE_ALLOW_RAW_OUTPUT="false",
        LAZYCACHE_PUBLIC="1",
        LAZYCACHE_REDISHOST="redis:6379",
    )
    assert (settings.port, settings.bind) == (5000, "0.0.0.0")  # noqa: S104
    assert (settings.file_overlay, settings.file_overlay_flatten) == (tmp_path, True)
    assert (settings.raw, settings.public) == (False, True)


@pytest.mark.parametrize(
    ("kind", "others", "store", "url"),
    [
        ("none", {"ROOT": "/x", "URL": "http://x/"}, None, None),
        ("", {}, None, None),
        ("local", {"ROOT": "/srv/image_store"}, "/srv/image_store", None),
        ("local", {"ROOT": "/x", "URL": "http://images:81"}, "/x", "http://images:81/"),
        ("google", {}, "gs://camhd-image-cache", None),
        ("google", {"BUCKET": "mine"}, "gs://mine", None),
    ],
)
def test_go_lazycaches_image_store_becomes_a_url(kind, others, store, url):
    environment = {"LAZYCACHE_IMAGESTORE": kind}
    environment |= {f"LAZYCACHE_IMAGESTORE_{name}": value for name, value in others.items()}
    settings = read_settings(**environment)
    assert (settings.image_store, settings.image_store_url) == (store, url)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"CAMHD_PORT": "eighty"}, r"^CAMHD_PORT: 'eighty' is not a whole number from 0 to 65535$"),
        ({"LAZYCACHE_PORT": "-1"}, r"^LAZYCACHE_PORT: '-1'"),
        ({"LAZYCACHE_IMAGESTORE": "redis"}, r"^LAZYCACHE_IMAGESTORE: 'redis' is not one of"),
        ({"LAZYCACHE_IMAGESTORE": "local"}, r"^LAZYCACHE_IMAGESTORE_ROOT: '' is not a text"),
        ({"CAMHD_RAW": "perhaps"}, r"^CAMHD_RAW: 'perhaps' is neither true nor false"),
        ({"CAMHD_MIRRORS": "http://a/ b"}, r"^CAMHD_MIRRORS: 'b' is not the URL"),
        ({"CAMHD_FILE_OVERLAY_FLATTEN": "1"}, r"file_overlay_flatten needs file_overlay"),
        ({"CAMHD_IMAGE_STORE_URL": "http://x/"}, r"image_store_url needs image_store"),
    ],
)
def test_errors_of_the_environment_name_the_variable(environment, message):
    with pytest.raises(ValueError, match=message):
        read_settings(**environment)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 80", "camhd.toml: there is no setting 'prot'"),
        ("port = true", "camhd.toml: port: True is not a whole number"),
        ("port = 80.5", "camhd.toml: port: 80.5 is not a whole number"),
        ("port =", "camhd.toml: "),
        ("mirrors = [1]", "camhd.toml: mirrors: 1 is not a text"),
        ("mirrors = 7", "camhd.toml: mirrors: "),
        ("mirrors = []", "camhd.toml: mirrors: [] is not a list of URLs"),
        ("bind = 7", "camhd.toml: bind: 7 is not a text"),
        ("image_store = 7", "camhd.toml: image_store: 7 is not a text"),
        ("cache_size = 1.5", "camhd.toml: cache_size: 1.5 is not a valid size"),
        ("request_seconds = true", "camhd.toml: request_seconds: True is not a positive number"),
        ("request_seconds = nan", "camhd.toml: request_seconds: nan is not a positive number"),
        ("request_seconds = [1]", "camhd.toml: request_seconds: "),
        ("[raw]", "camhd.toml: raw: {} is neither"),
    ],
)
def test_errors_of_the_file_name_it_and_the_setting(config, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_settings(config=config(text))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.toml"):
        read_settings(config=tmp_path / "nothing.toml")
    (tmp_path / "latin.toml").write_bytes(b"bind = '\xe9'")
    with pytest.raises(ValueError, match=r"latin\.toml"):
        read_settings(config=tmp_path / "latin.toml")


NO_MIRRORS = ["", "ftp://host/", "host/path", "http://", "http:///x", "file:///etc", "http://host:0/"]
NO_MIRRORS += ["http://host:99999/", "http://user:word@host/", "http://host/?a=b", "http://host/#a"]
NO_MIRRORS += ["http://host\\@evil/", "http://host/\n"]


@pytest.mark.parametrize("url", NO_MIRRORS)
def test_mirrors_are_folders_of_web_servers(url):
    with pytest.raises(ValueError, match="mirrors: "):
        ServerSettings(mirrors=(url,))


def test_a_mirror_given_twice_counts_once():
    assert read_settings("--mirror", "http://a/x", "--mirror", "http://a/x/").mirrors == ("http://a/x/",)


@pytest.mark.parametrize(
    ("field", "value"), [("max_concurrency", 0), ("port", 65536), ("request_seconds", 0)]
)
def test_numbers_are_bounded_when_made_by_hand_too(field, value):
    with pytest.raises(ValueError, match=f"^{field}: "):
        ServerSettings(**{field: value})


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ServerSettings().port = 1


def test_the_documentation_tells_of_all_of_them():
    rows = []
    for name, option in OPTIONS.items():
        default = re.search(r"\[default: (.*?); ", option.help)
        meaning = list_settings()[name].text
        rows.append(
            f"| `{option.opts[0]}` | `{option.envvar[0]}` | {default[1] if default else ''} | {meaning} |"
        )
    assert "\n".join(rows) in DOCS.read_text()
