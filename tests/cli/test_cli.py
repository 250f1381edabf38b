"""The command `camhd`: help, errors, and the commands for one movie and the cache."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import matplotlib.image
import numpy as np
import pytest
from commands import PROGRAM, run, start
from origin import stalls
from PIL import Image

from camhd_access.cli import COMMANDS, main
from camhd_access.movie.reader import MovieReader
from camhd_access.synthetic import serve_folder, write_movie


@pytest.fixture(scope="module")
def movie_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    start = np.datetime64("2016-11-13T00:00:02")
    write_movie(
        folder / "CAMHDA301-20161113T000000Z.mov", n_frames=5, width=320, height=192, start_time=start
    )
    write_movie(folder / "cut.mov", n_frames=2, width=320, height=192, layout="no-moov")
    (folder / "empty.mov").touch()
    (folder / "text.mov").write_text("<html>no movie</html>")
    return folder


@pytest.fixture
def movie(movie_folder):
    return movie_folder / "CAMHDA301-20161113T000000Z.mov"


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """The folder for output of commands without `--output`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- every command


def test_the_table_names_the_commands_and_what_they_do():
    shown = run("--help").stdout
    for name, (_, line) in COMMANDS.items():
        assert line.endswith(".")
        assert f"  {name}" in shown
        assert line in shown


def test_commands_tell_what_they_do_with_examples():
    for name in COMMANDS:
        shown = run(name, "--help")
        assert shown.exit_code == 0
        assert f"\n    camhd {name} " in shown.stdout, f"camhd {name} --help has no example"


def check_arguments(line):
    """Parse a shell command line with the command that it calls."""
    _, *arguments = shlex.split(re.split(r" [|>]", line)[0], comments=True)
    group = main
    while isinstance(group, click.Group):
        name, *arguments = arguments
        group = group.get_command(click.Context(group), name)
    group.make_context(name, arguments)


def test_the_examples_are_valid():
    for name in COMMANDS:
        shown = run(name, "--help").stdout.splitlines()
        for line in shown:
            if line.startswith(f"    camhd {name} "):
                check_arguments(line)


def test_the_examples_of_the_documentation_are_valid():
    page = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text()
    examples = re.findall(r"^\s*(camhd .*)$", page, re.MULTILINE)
    assert len(examples) > 10
    for line in examples:
        check_arguments(line)


def test_help_shows_examples_on_lines_of_their_own():
    assert "\n  Examples:\n    camhd info https://" in run("info", "--help").output


def test_exit_codes(movie_folder, movie, origin):
    assert run("info", movie).exit_code == 0
    assert run("info", movie_folder / "cut.mov").exit_code == 1
    for arguments in ((), ("info",), ("information",), ("info", "--no-such-option", movie)):
        assert run(*arguments).exit_code == 2
    url = origin.put("/slow.mov", b"")
    origin.play("/slow.mov", stalls, always=True)
    with start("info", url) as program:
        assert origin.wait_until(lambda o: o.n_at_work)
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=100) == ("", "camhd: interrupted\n")
    assert program.returncode == 130


@pytest.mark.parametrize("module", ["camhd_access", "camhd_access.cli"])
def test_modules_run_as_the_command(module):
    shown = subprocess.check_output([sys.executable, "-m", module, "--version"], text=True)
    assert shown == run("--version").stdout


def test_a_reader_that_has_enough_is_no_error(movie):
    with start("info", movie) as program:
        program.stdout.close()
        assert program.stderr.read() == ""


# ---- errors


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut.mov", "camhd: {path}: "),
        ("empty.mov", "camhd: {path}: "),
        ("text.mov", "camhd: {path}: "),
        ("nothing.mov", "camhd: No such file or directory: '{path}'\n"),
        ("", "camhd: {path}: it is a folder, not a movie; open one of the files in it\n"),
    ],
    ids=lambda value: value.partition(" ")[0],
)
@pytest.mark.parametrize(
    "command", [("info",), ("plan",), ("sheet",), ("frame", "--frame", "0")], ids=" ".join
)
def test_errors_end_in_one_line(movie_folder, empty_folder, command, name, message):
    path = movie_folder / name
    result = run(*command, path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(message.format(path=path))
    assert result.stderr.count("\n") == 1
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nobody://knows/it.mov", "camhd: Protocol not known: nobody\n"),
        ("http://127.0.0.1:9/it.mov", "camhd: http://127.0.0.1:9/it.mov, "),
        ("memory://it.mov", "camhd: no such file: /it.mov\n"),
    ],
)
def test_addresses_that_lead_nowhere_end_in_one_line(url, message):
    result = run("info", url)
    assert result.exit_code == 1
    assert result.stderr.startswith(message)
    assert "ssl" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_server_that_has_no_such_movie_ends_in_one_line(movie_folder):
    with serve_folder(movie_folder) as server:
        missing, folder = run("info", f"{server.url}no.mov"), run("info", server.url)
    assert (missing.exit_code, folder.exit_code) == (1, 1)
    assert missing.stderr == f"camhd: not found on the server (HTTP 404): {server.url}no.mov\n"
    assert folder.stderr.startswith(f"camhd: {server.url}: it is a folder, ")
    assert missing.stderr.count("\n") == folder.stderr.count("\n") == 1


# ---- info and plan


def test_info_tells_the_facts(movie):
    result = run("info", movie)
    assert result.exit_code == 0
    assert "Apple ProRes 422 (apcn)" in result.output
    assert "320x192, interlaced" in result.output
    assert "5 at 29.97 per second" in result.output
    assert "2016-11-13T00:00:02.000 UTC (from the header of the movie)" in result.output
    assert f"{movie.stat().st_size:,} bytes" in result.output


def test_stats_tell_what_it_cost(movie_folder):
    with serve_folder(movie_folder) as server:
        url = f"{server.url}CAMHDA301-20161113T000000Z.mov"
        fetch = [*PROGRAM, "info", "--stats", url]
        first = subprocess.run(fetch, capture_output=True, text=True, check=True)
        n_requests, n_bytes = server.n_requests, server.n_bytes_sent
        again = subprocess.run(fetch, capture_output=True, text=True, check=True)
        n_more = server.n_requests - n_requests
    assert f"network: {n_requests} requests, 0 retries, {n_bytes:,} bytes" in first.stderr
    assert f"network: {n_more} requests, 0 retries, 0 bytes" in again.stderr
    assert n_more == 1  # whether the file is still the same


def test_info_as_json(movie):
    reader = MovieReader(movie)
    assert json.loads(run("info", "--json", movie).stdout) == {
        "url": str(movie),
        "start_time": "2016-11-13T00:00:02.000000Z",
        "start_source": "mvhd",
        "start_disagreement": 2.0,
        "timecode": "00:00:02:00",
        "timecode_disagreement": 0.0,
        "timecode_agrees_with": "its clock and its name",
        "file_size": movie.stat().st_size,
        "n_frames": 5,
        "n_hidden_frames": 0,
        "delay": 0.0,
        "frames_per_second": pytest.approx(30000 / 1001),
        "duration": pytest.approx(5 * 1001 / 30000),
        "codec": "apcn",
        "width": 320,
        "height": 192,
        "interlaced": True,
        "bytes_per_frame": reader.index.size.mean(),
        "smallest_frame": reader.index.size.min(),
        "largest_frame": reader.index.size.max(),
    }


def test_info_asks_the_timecode_about_the_start(tmp_path):
    path = tmp_path / "CAMHDA301-20160320T120000Z.mov"
    start = np.datetime64("2016-03-20T12:05:38")
    write_movie(path, n_frames=1, width=320, height=192, start_time=start)
    assert "timecode:       12:05:38:00 (as the start; agrees with its clock)\n" in run("info", path).stdout
    data = path.read_bytes()
    number = (30 * (12 * 3600 + 5 * 60 + 38)).to_bytes(4, "big")
    path.write_bytes(data.replace(number, (30 * 12 * 3600 + 7).to_bytes(4, "big"), 1))
    assert "timecode:       12:00:00:07 (338 s earlier; agrees with its name)\n" in run("info", path).stdout
    write_movie(path, n_frames=1, width=320, height=192, start_time=start, timecode=False)
    assert "timecode:" not in run("info", path).stdout


def test_info_of_a_movie_that_does_not_tell_when_it_began(tmp_path):
    write_movie(tmp_path / "vent.mov", n_frames=1, width=320, height=192)
    assert (
        "start:          unknown (neither in the file name nor in the header)"
        in run("info", tmp_path / "vent.mov").stdout
    )
    assert json.loads(run("info", "--json", tmp_path / "vent.mov").stdout)["start_time"] is None
    taken = run("frame", "--frame", "0", "--json", "-o", tmp_path / "a.png", tmp_path / "vent.mov")
    assert json.loads(taken.stdout)["time"] is None


@pytest.mark.parametrize("command", [("frame", "--frame", "0"), ("sheet",)], ids=" ".join)
def test_an_image_does_not_replace_its_movie(tmp_path, movie_path, command):
    path = tmp_path / "movie.mov"
    path.write_bytes(movie_path.read_bytes())
    (tmp_path / "image.png").symlink_to(path)
    assert "is the movie itself" in run(*command, "-o", tmp_path / "image.png", path).stderr
    assert path.read_bytes() == movie_path.read_bytes()


def test_plan_tells_what_the_reader_plans(movie):
    sizes = MovieReader(movie).index.size
    assert "3 frames: " in run("plan", "--every", "2", movie).stdout
    whole = json.loads(run("plan", "--json", movie).stdout)
    assert (whole["n_frames"], whole["n_bytes"]) == (5, sizes.sum())
    assert whole["seconds"] > 0
    fields = json.loads(run("plan", "--json", "--fields", movie).stdout)
    assert (fields["n_frames"], fields["n_bytes"]) == (10, sizes.sum())


def test_a_crop_of_a_distant_movie_costs_less(sparse_path):
    with serve_folder(sparse_path.parent) as server:
        plan = ("plan", "--every", "1000", "--json", server.url + sparse_path.name)
        whole = json.loads(run(*plan).stdout)
        rows = json.loads(run(*plan, "--crop", "0,0,1920,64").stdout)
        slow = json.loads(run(*plan, "--megabits", "1").stdout)
    assert whole["n_frames"] == rows["n_frames"] == 25
    assert rows["n_bytes"] < whole["n_bytes"] / 4
    assert slow["seconds"] == pytest.approx(8 * whole["n_bytes"] / 1e6)


# ---- frame and sheet


def test_frame_writes_the_pixels(movie, tmp_path):
    result = run("frame", "--at", "0.1", "-o", tmp_path / "frame.png", movie)
    assert "frame 3 of 5" in result.output
    pixels = (matplotlib.image.imread(tmp_path / "frame.png")[..., :3] * 255).round()
    assert np.array_equal(pixels, MovieReader(movie).read([3])[0])
    assert "frame 4 of 5" in run("frame", "--frame", "-1", "-o", tmp_path / "last.png", movie).stdout
    assert "no frame 5" in run("frame", "--frame", "5", "-o", tmp_path / "none.png", movie).stderr
    for choice in ((), ("--at", "0.1", "--frame", "3")):
        refused = run("frame", *choice, "-o", tmp_path / "none.png", movie).stderr
        assert "choose a frame: --at SECONDS or --frame INDEX" in refused


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.tif", "TIFF")]
)
def test_the_suffix_tells_the_format(movie, tmp_path, name, kind):
    assert run("frame", "--frame", "2", "-o", tmp_path / name, movie).exit_code == 0
    with Image.open(tmp_path / name) as image:
        shown = np.asarray(image).astype(int)
        assert image.format == kind
    error = np.abs(shown - MovieReader(movie).read(2)[0])
    assert error.mean() < 4 if kind == "JPEG" else not error.any()


@pytest.mark.parametrize("pix_fmt", ["gray", "gray16le", "gray10le"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_luma_is_written_bit_by_bit(movie, tmp_path, pix_fmt, suffix):
    target = tmp_path / f"luma{suffix}"
    assert run("frame", "--frame", "1", "--pix-fmt", pix_fmt, "-o", target, movie).exit_code == 0
    with Image.open(target) as image:
        assert np.array_equal(np.asarray(image), MovieReader(movie).read(1, pix_fmt=pix_fmt)[0])


def test_crops_are_in_pixels_of_the_whole_frame(movie, tmp_path):
    target, crop = tmp_path / "part.png", ("--crop", "60,36,100,50")
    reader = MovieReader(movie)
    assert run("frame", "--frame", "1", *crop, "-o", target, movie).exit_code == 0
    with Image.open(target) as image:
        assert np.array_equal(np.asarray(image), reader.read(1)[0, 36:86, 60:160])
    taken = run("frame", "--frame", "1", *crop, "--reduce", "8", "--json", "-o", target, movie)
    with Image.open(target) as image:  # all previews of pixels that have some of the part
        assert np.array_equal(np.asarray(image), reader.read(1, reduce=8)[0, 4:11, 7:20])
    assert json.loads(taken.stdout) == {
        "path": str(target),
        "url": str(movie),
        "frame": 1,
        "time": "2016-11-13T00:00:02.033366Z",
        "width": 13,
        "height": 7,
    }


def test_sheet(movie, tmp_path):
    target = tmp_path / "sheet.png"
    sheet = ("sheet", "--every", "0.05", "-o", target)
    assert run(*sheet, "--columns", "3", movie).exit_code == 0
    wide = matplotlib.image.imread(target).shape
    assert wide[1] > 300
    taken = run(*sheet, "--columns", "3", "--crop", "0,0,160,192", "--json", movie)
    assert json.loads(taken.stdout) == {"path": str(target), "url": str(movie), "n_frames": 3}
    assert matplotlib.image.imread(target).shape[0] > wide[0]  # as wide, and so higher
    jpeg = tmp_path / "sheet.jpg"
    assert run("sheet", "-o", jpeg, movie).exit_code == 0
    with Image.open(jpeg) as image:
        assert image.format == "JPEG"


@pytest.mark.parametrize(
    "arguments",
    [
        ("frame", "--at", "nan"),
        ("frame", "--at=-1"),
        ("sheet", "--columns", "0"),
        ("sheet", "--every", "0"),
        ("plan", "--every", "0"),
        ("plan", "--megabits", "0"),
        ("plan", "--megabits", "inf"),
        ("sheet", "--every", "1e300"),
        ("frame", "--frame", "99999999999999999999"),
        ("plan", "--crop", "0,0,64"),
        ("plan", "--crop", "0,0,64,0"),
        ("plan", "--crop=-1,0,64,64"),
        ("plan", "--crop", "256,0,65,64"),
        ("sheet", "--crop", "0,128,64,65"),
        ("frame", "--frame", "0", "--crop", "0,0,a,b"),
        ("frame", "--frame", "0", "--reduce", "3"),
        ("frame", "--frame", "0", "--pix-fmt", "yuv"),
        ("frame", "--frame", "0", "-o", "frame.bmp"),
        ("frame", "--frame", "0", "-o", "frame"),
        ("frame", "--frame", "0", "-o", "nowhere/frame.png"),
    ],
    ids=" ".join,
)
def test_options_out_of_range_are_told(movie, empty_folder, arguments):
    refused = run(*arguments, movie)
    assert refused.exit_code == 2
    assert "Error: Invalid value" in refused.stderr
    assert list(empty_folder.iterdir()) == []


def test_a_frame_that_the_movie_does_not_have_ends_in_one_line(movie, empty_folder):
    for choice in (["--at", "99"], ["--frame", "99"]):
        refused = run("frame", *choice, movie)
        assert refused.exit_code == 1
        assert refused.stderr.startswith("camhd: ")
        assert refused.stderr.count("\n") == 1
        assert list(empty_folder.iterdir()) == []


def test_jpeg_has_8_bits(movie, tmp_path):
    refused = run("frame", "--frame", "0", "--pix-fmt", "gray16le", "-o", tmp_path / "a.jpg", movie)
    assert refused.exit_code == 2
    assert "JPEG cannot store gray16le, only 8 bits per channel: write PNG or TIFF" in refused.stderr


# ---- cache


def test_cache_commands(movie_folder):
    with serve_folder(movie_folder) as server:
        assert run("info", f"{server.url}CAMHDA301-20161113T000000Z.mov").exit_code == 0
    assert os.environ["CAMHD_CACHE_DIR"] in run("cache", "info").output
    assert "of 1 files" in run("cache", "info").output
    held = json.loads(run("cache", "info", "--json").stdout)
    assert held["path"] == os.environ["CAMHD_CACHE_DIR"]
    assert (held["n_files"], held["max_bytes"]) == (1, 10 << 30)
    assert held["n_bytes"] > 0
    checked = json.loads(run("cache", "verify", "--json").stdout)
    assert checked == {"n_blocks": held["n_blocks"], "n_damaged": 0}
    verified = run("cache", "verify")
    assert verified.exit_code == 0
    assert "0 damaged blocks" in verified.output
    assert run("cache", "prune", "1 GiB").exit_code == 0
    assert "of 1 files" in run("cache", "info").output
    refused = run("cache", "prune", "much")
    assert refused.exit_code == 2
    assert "'much' is not a valid size" in refused.stderr
    assert "must not be negative, but is -5 bytes" in run("cache", "prune", "--", "-5").stderr
    assert "of 1 files" in run("cache", "info").output
    assert run("cache", "clear").exit_code == 0
    assert "of 0 files" in run("cache", "info").output


def test_a_setting_that_is_wrong_is_named(monkeypatch):
    monkeypatch.setenv("CAMHD_CACHE_SIZE", "much")
    assert run("cache", "info").stderr == (
        "camhd: CAMHD_CACHE_SIZE: 'much' is not a valid size; try '2 GiB'\n"
    )


def test_damage_in_the_cache_is_told_by_the_exit_code(movie_folder):
    with serve_folder(movie_folder) as server:
        run("info", f"{server.url}CAMHDA301-20161113T000000Z.mov")
    kept = Path(os.environ["CAMHD_CACHE_DIR"]).rglob("*")
    block = max((path for path in kept if path.is_file()), key=lambda path: path.stat().st_size)
    block.chmod(0o644)
    block.write_bytes(block.read_bytes()[:-1] + b"?")
    assert run("cache", "verify").exit_code == 1
    assert run("cache", "verify").exit_code == 0


# ---- completion


COMPLETE_IN_BASH = """
camhd() { %s "$@"; }
env() { local -x "${@:1:$#-1}"; "${@: -1}"; }  # the real one does not know that camhd is a function
complete_words() {
    COMPREPLY=() COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _camhd_completion camhd
    echo "${COMPREPLY[@]}"
}
eval "$(camhd completion bash)"
complete_words camhd ca
complete_words camhd cache v
complete_words camhd frame --pix-fmt gray1
"""


def test_bash_completes_commands_and_values():
    script = COMPLETE_IN_BASH % shlex.join(PROGRAM)
    shell = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stderr == ""
    assert shell.stdout.splitlines() == ["catalog cache", "verify", "gray16le gray10le"]


@pytest.mark.parametrize(
    ("shell", "line"), [("zsh", "#compdef camhd"), ("fish", "complete --no-files --command camhd")]
)
def test_other_shells_have_scripts_of_their_own(shell, line):
    script = run("completion", shell)
    assert script.exit_code == 0
    assert line in script.stdout
    assert "_CAMHD_COMPLETE" in script.stdout
