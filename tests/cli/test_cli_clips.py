"""The command `camhd clip`."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from camhd_access.cli import main
from camhd_access.movie.reader import MovieReader
from camhd_access.synthetic import read_frame_number

SECONDS = 1001 / 30000


def run(*arguments):
    return CliRunner().invoke(main, ["clip", *map(str, arguments)])


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        (["--frames", "3:9:2"], [3, 5, 7]),
        (["--frames", "3:9"], range(3, 9)),
        (["--frames", ":3"], range(3)),
        (["--frames", "-2:"], [38, 39]),
        (["--frames", "7"], [7]),
        (["--frames", "3,4,20"], [3, 4, 20]),
        (["--from", "1.001"], range(30, 40)),
        (["--to", 3.01 * SECONDS], range(4)),
        (["--from", 3.01 * SECONDS, "--to", 6.99 * SECONDS], [4, 5, 6]),
        (["--at", 20.4 * SECONDS, "--at", 3.6 * SECONDS, "--at", 4 * SECONDS], [4, 20]),
    ],
    ids=str,
)
def test_frames_are_chosen_by_number_or_time(movie_path, tmp_path, options, frames):
    result = run(*options, "-o", tmp_path / "clip.mov", movie_path)
    assert result.exit_code == 0, result.output
    assert result.output == f"{tmp_path}/clip.mov: {len(frames)} of 40 frames\n"
    clip = MovieReader(tmp_path / "clip.mov")
    assert clip.read_encoded(slice(None)) == MovieReader(movie_path).read_encoded(list(frames))


def test_images_are_numbered_and_told_of(movie_path, tmp_path):
    result = run("--frames", "5,8", "--json", "-o", tmp_path / "f_{frame:04d}.png", movie_path)
    assert json.loads(result.output) == {
        "path": f"{tmp_path}/f_{{frame:04d}}.png",
        "url": str(movie_path),
        "frames": [5, 8],
    }
    assert read_frame_number(np.asarray(Image.open(tmp_path / "f_0008.png"))) == 8


def test_films_take_options(movie_path, tmp_path):
    result = run("--frames", "5:8", "--fps", 4, "--width", 160, "-o", tmp_path / "film.gif", movie_path)
    assert result.exit_code == 0
    with Image.open(tmp_path / "film.gif") as film:
        assert (film.n_frames, film.size, film.info["duration"]) == (3, (160, 96), 250)


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        ([], 2, "choose frames with"),
        (["--frames", "3", "--at", "1"], 2, "choose frames with"),
        (["--at", "1", "--from", "1"], 2, "choose frames with"),
        (["--frames", "1:2:3:4"], 2, "START:STOP"),
        (["--frames", "x"], 2, "START:STOP"),
        (["--frames", "1.5:2"], 2, "START:STOP"),
        (["--at", "77"], 1, "the movie ends after 1.335 s"),
        (["--from", "77"], 2, "lasts 1.335 s"),
        (["--from", "1", "--to", "1"], 2, "the selection contains no frames"),
        (["--frames", "40"], 1, "no frame 40"),
        (["--frames", f"3,{10**25}"], 2, f"{10**25} is not in the range"),
        (["--frames", "9:9"], 1, "the selection contains no frames: the movie has frames 0 to 39"),
        (["--frames", "4", "--fps", "5"], 2, ".mov does not support fps"),
        (["--frames", "4", "--codec", "h265", "--width", "100"], 2, ".mov does not support codec or width"),
        (["--frames", "4", "-o", "clip.avi"], 2, "clip.avi: the name of a clip must end in .mov, .qt, .mp4"),
        (["--frames", "4", "-o", "x{frame}"], 2, "x{frame}: the name of a clip must end in .mov, .qt, .mp4"),
    ],
    ids=str,
)
def test_wrong_use(movie_path, tmp_path, options, exit_code, message):
    result = run("-o", tmp_path / "clip.mov", *options, movie_path)
    assert result.exit_code == exit_code
    assert message in result.output
    assert not list(tmp_path.iterdir())
