"""The command `camhd demo`: its report, its figure and its requests."""

import matplotlib.image
import pytest

from camhd_access.cli import demo
from camhd_access.cli.demo import run_demo
from camhd_access.synthetic import serve_folder, write_movie


@pytest.fixture
def lines():
    return []


def test_the_main_job_on_the_archive(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(demo, "FRAMES_PER_MOVIE", 12)
    run_demo(None, output=tmp_path / "demo.png", echo=lines.append)
    report = "\n".join(lines)
    assert report.count("CAMHDA301-") >= 9
    assert "empty file" in report
    assert "no index (moov atom)" in report
    assert "the camera was off" in report
    assert matplotlib.image.imread(tmp_path / "demo.png").shape[2] == 4
    costs = {
        line[:42].strip(): line.split()[-3:]
        for line in report.split("Requests, bytes and time:\n")[1].splitlines()
    }
    assert costs["open one movie as a lazy array"][0] == "0"  # its index was read for the list
    assert costs["slice one frame by its time"][0] == "1"


def test_the_same_job_on_any_movie(tmp_path, lines):
    write_movie(tmp_path / "any.mov", n_frames=6, width=320, height=192)
    with serve_folder(tmp_path) as server:
        run_demo(f"{server.url}any.mov", output=tmp_path / "demo.png", echo=lines.append)
        assert server.n_requests == 3  # index, frame, mean
    assert (tmp_path / "demo.png").stat().st_size > 10_000
