"""The command `camhd serve`: started as people start it, asked, and stopped."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from camhd_access.cli import main
from camhd_access.server.settings import flag_of, list_settings, variable_of

COMMAND = [sys.executable, "-m", "camhd_access.cli", "serve"]


def run(*arguments):
    return CliRunner().invoke(main, ["serve", *map(str, arguments)])


@contextmanager
def serving(*arguments, **environment):
    """A server in a process of its own: the process, and the address that it printed."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    try:
        yield process, read_address(process)
    finally:
        process.kill()
        process.communicate()


def read_address(process):
    """The address from what the process says, within 60 s."""
    said, end = "", time.monotonic() + 60
    while time.monotonic() < end and select.select([process.stderr], [], [], 60)[0]:
        line = process.stderr.readline()
        said += line
        if found := re.search(r"http://[\d.:]+\d", line):
            return found[0]
        if not line:
            break
    raise AssertionError(said)


def fetch(url):
    with urlopen(url, timeout=30) as answer:  # noqa: S310 - the server on loopback
        return answer.read(), answer.headers


def test_help_tells_every_setting_and_where_else_to_set_it():
    result = run("--help")
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    for name, setting in list_settings().items():
        assert re.search(rf"{flag_of(name)}( / --no-| {setting.metavar})", text), name
        assert variable_of(name) in result.output
    assert "--config FILE" in text
    assert text.count("camhd serve --") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "http"], "--port: 'http' is no whole number"),
        (["--mirror", "movies"], "--mirror: 'movies' is no URL"),
        (["--image-store-size", "big"], "--image-store-size: 'big' is no size"),
        (["--config", "nothing.toml"], "nothing.toml"),
        (["--file-overlay-flatten"], "file_overlay_flatten means nothing without file_overlay"),
        (["--prot", "80"], "--prot"),
    ],
)
def test_wrong_settings_are_told_before_anything_starts(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_image_store_whose_filesystem_is_missing_is_told_in_one_line():
    result = subprocess.run(
        [*COMMAND, "--port", "0", "--image-store", "nosuch://bucket"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("camhd: ValueError: Protocol not known: nosuch")
    assert "Traceback" not in result.stderr


def test_without_prometheus_client_one_line_says_what_to_install():
    program = "import sys; sys.modules['prometheus_client'] = None; from camhd_access.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "serve", "--help"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr == (
        "camhd: ImportError: the server needs one more package: pip install 'camhd_access[server]'\n"
    )


def test_it_serves_until_it_is_told_to_stop(served_movie, movie_path, tmp_path):
    config = tmp_path / "camhd.toml"
    config.write_text(f'mirrors = ["{served_movie.url}"]\nport = 0\nimage_store = "{tmp_path / "images"}"\n')
    with serving(CAMHD_CONFIG=str(config)) as (process, address):
        assert fetch(f"{address}/healthz")[0] == b"ok"
        mount = re.search(rb"/v1/[^\"]+", fetch(address)[0])[0].decode()
        picture, headers = fetch(f"{address}{mount}{movie_path.name}/frame/7.png")
        assert headers["Content-Type"] == "image/png"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    (stored,) = (path for path in (tmp_path / "images").rglob("*") if path.is_file())
    assert stored.read_bytes() == picture
