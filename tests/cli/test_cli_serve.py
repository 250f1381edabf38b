"""The command `camhd serve`, run as a process: started, requested and stopped."""

import io
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from long_archive import write_long_archive
from running_server import COMMAND, fetch, serving
from sparse_archive import ROOT

from camhd_access.cli import main
from camhd_access.cli.serve import serve
from camhd_access.synthetic import serve_folder


def run(*arguments):
    return CliRunner().invoke(main, ["serve", *map(str, arguments)])


def test_help_tells_every_setting_and_where_else_to_set_it():
    result = run("--help")
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    for option in serve.params:
        assert re.search(rf"{option.opts[0]}( / --no-| [A-Z])", text), option.name
        variable = option.envvar if isinstance(option.envvar, str) else option.envvar[0]
        assert variable in result.output
    assert "--config FILE" in text
    assert text.count("camhd serve --") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "http"], "--port: 'http' is not a whole number"),
        (["--mirror", "movies"], "--mirror: 'movies' is not the URL"),
        (["--image-store-size", "big"], "--image-store-size: 'big' is not a valid size"),
        (["--config", "nothing.toml"], "nothing.toml"),
        (["--file-overlay-flatten"], "file_overlay_flatten needs file_overlay"),
        (["--prot", "80"], "--prot"),
    ],
)
def test_wrong_settings_are_told_before_anything_starts(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_overlay_that_is_not_there_is_told_in_one_line():
    result = run("--file-overlay", "/nowhere", "--port", "0")
    assert result.exit_code == 1
    assert result.stderr == "camhd: file_overlay: there is no folder '/nowhere'\n"


def test_an_image_store_whose_filesystem_is_missing_is_told_in_one_line():
    result = subprocess.run(
        [*COMMAND, "--port", "0", "--image-store", "nosuch://bucket"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("camhd: Protocol not known: nosuch")
    assert "Traceback" not in result.stderr


def test_without_prometheus_client_one_line_says_what_to_install():
    program = "import sys; sys.modules['prometheus_client'] = None; from camhd_access.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "serve", "--help"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr == (
        "camhd: the server needs an optional package: pip install 'camhd_access[server]'\n"
    )


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(served_movie, movie_path, tmp_path, stop):
    config = tmp_path / "camhd.toml"
    config.write_text(f'mirrors = ["{served_movie.url}"]\nport = 0\nimage_store = "{tmp_path / "images"}"\n')
    with serving(CAMHD_CONFIG=str(config)) as (process, address):
        assert fetch(f"{address}/healthz").body == b"ok"
        mount = re.search(rb"/v1/[^\"]+", fetch(address).body)[0].decode()
        picture = fetch(f"{address}{mount}{movie_path.name}/frame/7.png")
        assert picture.headers["Content-Type"] == "image/png"
        process.send_signal(stop)
        assert process.wait(60) == 0
    (stored,) = (path for path in (tmp_path / "images" / "camhd-pictures").rglob("*") if path.is_file())
    assert stored.read_bytes() == picture.body


CONTENT_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4", "": "application/json"}


def documented_questions():
    """The curl requests of the guide: path below the root of the archive, and name of the output file."""
    text = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
    (script,) = re.findall(r"^```sh\n(root=.*?)^```$", text, re.DOTALL | re.MULTILINE)
    words = [shlex.split(line, comments=True) for line in script.splitlines() if line]
    names = dict(word.split("=", 1) for (word,) in words[:2])
    for _, *options, url in words[2:]:
        path = url.replace("$movie", names["movie"]).removeprefix("$root/")
        yield path, Path(options[1]).suffix if options else ""


def test_the_documented_questions_have_answers(tmp_path):
    write_long_archive(tmp_path)
    with serve_folder(tmp_path) as origin, serving("--mirror", origin.url, "--port", 0) as (_, address):
        mount = json.loads(fetch(address).body)[origin.url]["APIPath"]["V1"]
        for path, suffix in documented_questions():
            answer = fetch(f"{address}{mount}{ROOT}/{path}")
            if suffix == ".npy":
                assert np.load(io.BytesIO(answer.body)).shape == (96, 128)
            else:
                assert answer.headers.get_content_type() == CONTENT_TYPES[suffix], path
