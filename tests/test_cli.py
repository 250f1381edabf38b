import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from click.testing import CliRunner

from camhd_access.cli import main
from camhd_access.rangecache import RangeCacheFileSystem
from camhd_access.reader import MovieReader
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
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAMHD_CACHE_DIR", str(tmp_path / "cache"))
    RangeCacheFileSystem.clear_instance_cache()  # those made before look into another folder
    yield
    RangeCacheFileSystem.clear_instance_cache()


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_info_tells_the_facts(movie_folder):
    path = movie_folder / "CAMHDA301-20161113T000000Z.mov"
    result = run("info", path)
    assert result.exit_code == 0
    assert "Apple ProRes 422 (apcn)" in result.output
    assert "320x192, interlaced" in result.output
    assert "5 at 29.97 a second" in result.output
    assert "2016-11-13T00:00:02.000 UTC (by the movie's own header)" in result.output
    assert f"{path.stat().st_size:,} bytes" in result.output


def test_stats_tell_what_it_cost(movie_folder):
    with serve_folder(movie_folder) as server:
        url = f"{server.url}CAMHDA301-20161113T000000Z.mov"
        fetch = [sys.executable, "-m", "camhd_access.cli", "info", "--stats", url]
        first = subprocess.run(fetch, capture_output=True, text=True, check=True)
        n_requests, n_bytes = server.n_requests, server.n_bytes_sent
        again = subprocess.run(fetch, capture_output=True, text=True, check=True)
        n_more = server.n_requests - n_requests
    assert f"network: {n_requests} requests, 0 retries, {n_bytes:,} bytes" in first.stderr
    assert f"network: {n_more} requests, 0 retries, 0 bytes" in again.stderr
    assert n_more == 1  # whether the file is still the same


@pytest.mark.parametrize(
    ("name", "message"),
    [("cut.mov", "MissingMoovError"), ("empty.mov", "empty file"), ("nothing.mov", "FileNotFoundError")],
)
def test_errors_end_in_one_line(movie_folder, name, message):
    result = run("info", movie_folder / name)
    assert result.exit_code == 1
    assert result.stderr.startswith("camhd: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_ls_lists_in_order_of_time(tmp_path):
    for day in ("14", "13"):
        path = tmp_path / "archive" / "2016" / "11" / day / f"CAMHDA301-201611{day}T000000Z.mov"
        path.parent.mkdir(parents=True)
        path.touch()
    listed = run("ls", tmp_path / "archive").output.split()
    assert [Path(path).stem for path in listed] == [
        "CAMHDA301-20161113T000000Z",
        "CAMHDA301-20161114T000000Z",
    ]
    assert run("ls", tmp_path / "archive", "--end", "2016-11-14").output.split() == listed[:1]


def test_frame_writes_the_pixels(movie_folder, tmp_path):
    path = movie_folder / "CAMHDA301-20161113T000000Z.mov"
    result = run("frame", "--at", "0.1", "-o", tmp_path / "frame.png", path)
    assert "frame 3 of 5" in result.output
    pixels = (matplotlib.image.imread(tmp_path / "frame.png")[..., :3] * 255).round()
    assert np.array_equal(pixels, MovieReader(path).read([3])[0])
    assert run("frame", "--frame", "-1", "-o", tmp_path / "last.png", path).exit_code == 0
    assert "no frame 5" in run("frame", "--frame", "5", path).stderr
    assert "--at or by --frame" in run("frame", path).stderr


def test_sheet_and_plan(movie_folder, tmp_path):
    path = movie_folder / "CAMHDA301-20161113T000000Z.mov"
    assert (
        run("sheet", "--every", "0.05", "--columns", "3", "-o", tmp_path / "sheet.png", path).exit_code == 0
    )
    assert matplotlib.image.imread(tmp_path / "sheet.png").shape[1] > 300
    assert "frames" in run("plan", "--every", "2", path).output


def test_a_protocol_that_nobody_knows_ends_in_one_line():
    result = run("info", "nobody://knows/it.mov")
    assert result.exit_code == 1
    assert result.stderr == "camhd: ValueError: Protocol not known: nobody\n"


def test_help_shows_examples_on_lines_of_their_own():
    assert "\n  Examples:\n    camhd info https://" in run("info", "--help").output


@pytest.mark.parametrize(
    "arguments",
    [
        ("frame", "--at", "99"),
        ("frame", "--at", "nan"),
        ("frame", "--at=-1"),
        ("sheet", "--columns", "0"),
        ("sheet", "--every", "0"),
        ("plan", "--every", "0"),
        ("plan", "--megabits", "0"),
    ],
    ids=" ".join,
)
def test_options_out_of_range_are_told(movie_folder, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    refused = run(*arguments, movie_folder / "CAMHDA301-20161113T000000Z.mov")
    assert refused.exit_code == 2
    assert "Error: Invalid value" in refused.stderr
    assert not list(tmp_path.glob("*.png"))


def test_cache_commands(movie_folder, tmp_path):
    with serve_folder(movie_folder) as server:
        assert run("info", f"{server.url}CAMHDA301-20161113T000000Z.mov").exit_code == 0
    assert str(tmp_path / "cache") in run("cache", "info").output
    assert "of 1 files" in run("cache", "info").output
    verified = run("cache", "verify")
    assert verified.exit_code == 0
    assert "0 were damaged" in verified.output
    assert run("cache", "prune", "1 GiB").exit_code == 0
    assert "of 1 files" in run("cache", "info").output
    refused = run("cache", "prune", "much")
    assert refused.exit_code == 2
    assert "'much' is no size" in refused.stderr
    assert "cannot have -5 bytes" in run("cache", "prune", "--", "-5").stderr
    assert "of 1 files" in run("cache", "info").output
    assert run("cache", "clear").exit_code == 0
    assert "of 0 files" in run("cache", "info").output


def test_a_setting_that_is_wrong_is_named(monkeypatch):
    monkeypatch.setenv("CAMHD_CACHE_SIZE", "much")
    assert run("cache", "info").stderr == (
        "camhd: ValueError: CAMHD_CACHE_SIZE: 'much' is no size; try '2 GiB'\n"
    )


def test_damage_in_the_cache_is_told_by_the_exit_code(movie_folder, tmp_path):
    with serve_folder(movie_folder) as server:
        run("info", f"{server.url}CAMHDA301-20161113T000000Z.mov")
    block = max((p for p in (tmp_path / "cache").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    block.chmod(0o644)
    block.write_bytes(block.read_bytes()[:-1] + b"?")
    assert run("cache", "verify").exit_code == 1
    assert run("cache", "verify").exit_code == 0
