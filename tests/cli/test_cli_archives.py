"""The commands for an archive: `ls`, `catalog` and `timelapse`."""

import json
import shutil
import signal
from pathlib import Path

import av
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from commands import run, run_on_terminal, start
from origin import stalls
from PIL import Image

from camhd_access import MovieReader, open_archive, read_catalog
from camhd_access.synthetic import read_frame_number, serve_folder, write_movie

NAMES = [f"CAMHDA301-201611{day}T000000Z" for day in (10, 11, 12)]
DAYS = ("--start", "2016-11-10", "--end", "2016-11-20")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three movies of days one after the other: frame f of the n-th shows the number 100 n + f."""
    folder = tmp_path_factory.mktemp("archive")
    for n, name in enumerate(NAMES):
        path = folder / "2016" / "11" / name[16:18] / f"{name}.mov"
        path.parent.mkdir(parents=True)
        time = np.datetime64(f"2016-11-{name[16:18]}T00:00:02")
        write_movie(path, n_frames=4, width=320, height=192, start_time=time, first_frame_number=100 * n)
    return folder


@pytest.fixture
def faulty(folder, tmp_path):
    """The same; of the first movie frame 2 is damaged, and two more movies, one empty and one cut off."""
    copy = tmp_path / "faulty"
    shutil.copytree(folder, copy)
    damaged = copy / "2016" / "11" / "10" / f"{NAMES[0]}.mov"
    offset = int(MovieReader(damaged).index.offset[2])
    with damaged.open("r+b") as file:
        file.seek(offset + 200)
        file.write(b"\xff" * 60)
    last = copy / "2016" / "11" / "12"
    (last / "CAMHDA301-20161112T030000Z.mov").touch()
    write_movie(last / "CAMHDA301-20161112T060000Z.mov", n_frames=2, width=320, height=192, layout="no-moov")
    return copy


# ---- ls


def test_ls_lists_in_order_of_time(folder):
    listed = run("ls", folder).stdout.split()
    assert listed == open_archive(folder).movies()
    assert [Path(path).stem for path in listed] == NAMES
    assert run("ls", folder, "--start", "2016-11-11", "--end", "2016-11-12").stdout.split() == listed[1:2]


def test_ls_as_json(folder):
    listed = json.loads(run("ls", "--json", folder).stdout)
    assert [movie["basename"] for movie in listed] == NAMES
    assert [movie["url"] for movie in listed] == open_archive(folder).movies()
    assert listed[0]["time_from_name"] == "2016-11-10T00:00:00.000000Z"


def test_nothing_to_list_is_no_error(folder):
    assert run("ls", folder, "--end", "2015").stdout == ""
    assert json.loads(run("ls", folder, "--end", "2015", "--json").stdout) == []


@pytest.mark.filterwarnings("default:.*neither folders of years:UserWarning")
def test_a_root_of_no_archive_is_told_in_one_line(folder):
    for command in ("ls", "catalog"):
        result = run(command, folder.parent)
        assert result.exit_code == 0
        assert result.stderr.startswith(
            f"camhd: {folder.parent} holds neither folders of years nor movies, but "
        )
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--start", "soon"), "Error: start='soon' is not a valid time; try '2016-11-13' or "),
        (("--start", "2017", "--end", "2016"), "Error: end='2016' is before start='2017'"),
    ],
    ids=" ".join,
)
def test_wrong_times_are_told(folder, arguments, message):
    for command in (("ls",), ("catalog",), ("timelapse", "--frame", "0", "--start", "2016", "--end", "2016")):
        result = run(*command, folder, *arguments)
        assert result.exit_code == 2
        assert message in result.stderr


def test_progress_is_shown_to_a_terminal_alone(folder):
    output, shown = run_on_terminal("ls", folder)
    assert output.split() == open_archive(folder).movies()
    assert "folders listed" in shown
    assert run("ls", folder).stderr == ""


# ---- catalog


def test_catalog_sums_up(faulty):
    result = run("catalog", "--index", faulty)
    assert result.exit_code == 0
    assert "5 movies\n  start times from 2016-11-10 00:00 to 2016-11-12 06:00 UTC\n" in result.stdout
    assert "12 frames in movies whose index was read" in result.stdout
    for line in ("3 good", "1 empty", "1 unreadable"):
        assert f"  {line}\n" in result.stdout
    assert "5 unknown (use --index)" in run("catalog", faulty).stdout


def test_catalog_as_json(faulty):
    summary = json.loads(run("catalog", "--index", "--json", faulty).stdout)
    assert summary == {
        "n_movies": 5,
        "first_start_time": "2016-11-10T00:00:02.000000Z",
        "last_start_time": "2016-11-12T06:00:00.000000Z",
        "file_size": sum(path.stat().st_size for path in faulty.rglob("*.mov")),
        "n_frames": 12,
        "quality": {"good": 3, "empty": 1, "unreadable": 1},
        "path": None,
    }
    nothing = json.loads(run("catalog", "--json", faulty, "--end", "2015").stdout)
    assert (nothing["n_movies"], nothing["first_start_time"], nothing["quality"]) == (0, None, {})


@pytest.mark.parametrize("name", ["camhd.parquet", "camhd.jsonl", "camhd.jsonl.gz"])
def test_catalog_keeps_what_it_found(folder, tmp_path, name):
    with serve_folder(folder) as server:
        crawl = ("catalog", "--index", "-o", tmp_path / name, server.url)
        assert f"catalogue written to {tmp_path / name}" in run(*crawl).stdout
        kept, n_requests = read_catalog(tmp_path / name), server.n_requests
        assert run(*crawl, "--json").exit_code == 0
        assert server.n_requests - n_requests < n_requests - len(NAMES)  # neither days nor indexes
    assert kept.index.tolist() == NAMES
    assert (kept.quality == "good").all()
    assert isinstance(kept, pd.DataFrame)


@pytest.mark.parametrize("name", ["camhd.csv", "camhd", "parquet", "camhd.parquet.gz", "camhd.jsonl.txt"])
def test_a_catalogue_of_another_kind_is_refused_before_the_crawl(tmp_path, name):
    result = run("catalog", "-o", tmp_path / name, "http://127.0.0.1:9/")
    assert result.exit_code == 2
    assert "the name of a catalogue must end in .parquet, .jsonl or .jsonl.gz" in result.stderr


@pytest.mark.parametrize("name", ["camhd.parquet", "camhd.jsonl"])
def test_a_file_that_is_no_catalogue_is_named_and_kept(folder, tmp_path, name):
    path = tmp_path / name
    path.write_text("something else")
    result = run("catalog", "-o", path, folder)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"camhd: {path} is not a catalogue, or a damaged one: ")
    assert path.read_text() == "something else"


def test_a_table_of_another_kind_is_named(folder, tmp_path):
    pd.DataFrame({"movie": ["a"]}).to_parquet(tmp_path / "other.parquet")
    assert "not a catalogue of a known kind; its columns are ['movie']" in run(
        "catalog", "-o", tmp_path / "other.parquet", folder
    ).stderr  # fmt: skip


def test_an_interrupted_crawl_keeps_what_it_found(folder, origin, tmp_path):
    names = [f"{name}.mov" for name in NAMES]
    for path in folder.rglob("*.mov"):
        origin.put(f"/{path.name}", path.read_bytes())
    page = "".join(f'<a href="{name}">{name}</a>\n' for name in names).encode()
    origin.play("/", lambda x: x.answer(200, {"Content-Type": "text/html"}, page), always=True)
    origin.play(f"/{names[2]}", stalls, always=True)
    with start("catalog", "--index", "-o", tmp_path / "camhd.jsonl", f"{origin.url}/") as crawl:
        origin.wait_until(lambda o: {r.path for r in o.requests} >= {f"/{name}" for name in names})
        origin.wait_until(lambda o: o.n_at_work == 1)
        crawl.send_signal(signal.SIGINT)
        assert crawl.communicate(timeout=100)[1].strip() == "camhd: interrupted"
    assert crawl.returncode == 130
    assert read_catalog(tmp_path / "camhd.jsonl").index.tolist() == NAMES


# ---- timelapse


def read_numbers(path):
    """The numbers that the pictures of a film show."""
    with av.open(path) as film:
        return [read_frame_number(picture.to_ndarray(format="rgb24")) for picture in film.decode(video=0)]


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_a_film_of_one_frame_of_each_movie(folder, tmp_path):
    target = tmp_path / "film.mp4"
    result = run("timelapse", *DAYS, "--frame", "3", "-o", target, folder)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{target}: 3 frames of 3 movies\n"
    assert read_numbers(target) == [3, 103, 203]


def test_a_film_of_one_moment_of_each_movie(folder, tmp_path):
    target = tmp_path / "film.mp4"
    result = run("timelapse", *DAYS, "--at", "0.07", "--fps", "5", "--json", "-o", target, folder)
    assert json.loads(result.stdout) == {
        "path": str(target),
        "n_movies": 3,
        "pictures": [
            {"movie": name, "frame": 2, "time": f"2016-11-{day}T00:00:02.066733Z"}
            for name, day in zip(NAMES, (10, 11, 12), strict=True)
        ],
    }
    with av.open(target) as film:
        assert film.streams.video[0].average_rate == 5


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".gif", "GIF"), (".webp", "WEBP"), (".GIF", "GIF")], ids=lambda value: value
)
def test_the_suffix_tells_the_format(folder, tmp_path, suffix, kind):
    target = tmp_path / f"film{suffix}"
    assert run("timelapse", *DAYS, "--frame", "0", "-o", target, folder).exit_code == 0
    with Image.open(target) as image:
        assert (image.format, image.n_frames, image.size) == (kind, 3, (320, 192))


def test_previews_and_crops_are_in_pixels_of_the_whole_frame(folder, tmp_path):
    whole, part, small = (tmp_path / f"{name}.gif" for name in ("whole", "part", "small"))
    command = ("timelapse", *DAYS, "--frame", "0")
    assert run(*command, "--reduce", "8", "-o", whole, folder).exit_code == 0
    assert run(*command, "--crop", "64,32,160,96", "-o", part, folder).exit_code == 0
    assert run(*command, "--reduce", "8", "--crop", "64,32,160,96", "-o", small, folder).exit_code == 0
    assert list(map(size_of, (whole, part, small))) == [(40, 24), (160, 96), (20, 12)]
    outside = run(*command, "--reduce", "8", "--crop", "0,0,321,8", "-o", small, folder)
    assert outside.exit_code == 2
    assert "exceeds the frame (320x192)" in outside.stderr


def test_a_sheet(folder, tmp_path):
    two, three = tmp_path / "two.png", tmp_path / "three.png"
    for columns, target in ((2, two), (3, three)):
        result = run("timelapse", *DAYS, "--frame", "0", "--columns", columns, "-o", target, folder)
        assert result.exit_code == 0
    heights = [matplotlib.image.imread(path).shape[0] for path in (two, three)]
    assert heights[0] > heights[1] > 100


def test_trouble_stops_it_and_is_told_in_one_line(faulty, tmp_path):
    result = run("timelapse", *DAYS, "--frame", "2", "-o", tmp_path / "film.mp4", faulty)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "camhd: 2 of 5 movies cannot be used (use --on-error skip to leave them out): "
    )
    assert result.stderr.count("\n") == 1
    damaged = run(
        "timelapse", "--start", "2016-11-10", "--end", "2016-11-11", "--frame", "2",
        "-o", tmp_path / "film.mp4", faulty,
    )  # fmt: skip
    assert damaged.exit_code == 1
    assert damaged.stderr.startswith("camhd: frame 2 of ")
    assert list(tmp_path.glob("*.mp4")) == []


@pytest.mark.filterwarnings("default:2 of 5 movies:UserWarning")
def test_trouble_may_be_left_out(faulty, tmp_path):
    target = tmp_path / "film.mp4"
    result = run("timelapse", *DAYS, "--frame", "2", "--on-error", "skip", "-o", target, faulty)
    assert result.exit_code == 0, result.stderr
    first, second = result.stderr.splitlines()
    assert first.startswith("camhd: 2 of 5 movies are left out: ")
    assert second == f"camhd: the frame of {NAMES[0]} is damaged and left out"
    assert result.stdout == f"{target}: 2 frames of 5 movies\n"
    assert read_numbers(target) == [102, 202]


def test_what_was_cut_off_is_found_or_named(faulty, tmp_path):
    only = faulty / "2016" / "11" / "12" / "CAMHDA301-20161112T060000Z.mov"
    for path in faulty.rglob("*.mov"):
        if path != only:
            path.unlink()
    target = tmp_path / "film.mp4"
    options = ("timelapse", *DAYS, "--frame", "0", "--on-error", "skip", "-o", target, faulty)
    refused = run(*options)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("camhd: 1 of 1 movies cannot be used: ")
    assert "unreadable" not in refused.stderr
    assert not target.exists()
    assert run(*options, "--recover").exit_code == 0
    assert target.exists()


def test_no_picture_at_all_is_an_error(folder, faulty, tmp_path):
    none = run("timelapse", "--start", "2015", "--end", "2016", "--frame", "0", folder)
    assert none.exit_code == 1
    assert none.stderr == f"camhd: no movies in {folder} from 2015 to 2016\n"
    damaged = run(
        "timelapse", "--start", "2016-11-10", "--end", "2016-11-11", "--frame", "2", "--on-error", "skip",
        "-o", tmp_path / "film.mp4", faulty,
    )  # fmt: skip
    assert damaged.exit_code == 1
    assert "all frames are damaged" in damaged.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--end", "2017", "--frame", "0"), "Missing option '--start'"),
        (DAYS, "choose a frame: --at SECONDS or --frame INDEX"),
        ((*DAYS, "--frame", "0", "--at", "0"), "choose a frame: --at SECONDS or --frame INDEX"),
        ((*DAYS, "--at", "nan"), "is not a number up to 1,000,000"),
        ((*DAYS, "--at", "-1"), "'--at'"),
        ((*DAYS, "--frame", "0", "--fps", "inf"), "is not a number up to 1,000,000"),
        ((*DAYS, "--frame", "0", "--columns", "3"), "--fps applies to films, --columns to contact sheets"),
        ((*DAYS, "--frame", "0", "--fps", "3", "-o", "sheet.png"), "--fps applies to films"),
        ((*DAYS, "--frame", "0", "-o", "film.avi"), "the file name must end in .mp4, .gif, .webp, .png"),
        ((*DAYS, "--frame", "0", "-o", "nowhere/film.mp4"), "the folder 'nowhere' does not exist"),
        ((*DAYS, "--frame", "0", "--reduce", "3"), "'3' is not one of '1', '2', '4', '8'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_arguments_of_timelapse(folder, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run("timelapse", *arguments, folder)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_timelapse_does_not_wait_for_the_server(folder, origin, tmp_path):
    name = f"{NAMES[0]}.mov"
    origin.put(f"/{name}", b"")
    page = f'<a href="{name}">{name}</a>\n'.encode()
    origin.play("/", lambda x: x.answer(200, {"Content-Type": "text/html"}, page), always=True)
    origin.play(f"/{name}", stalls, always=True)
    with start("timelapse", *DAYS, "--frame", "0", "-o", tmp_path / "a.mp4", f"{origin.url}/") as program:
        assert origin.wait_until(lambda o: any(r.path == f"/{name}" for r in o.requests))
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=100) == ("", "camhd: interrupted\n")
    assert program.returncode == 130
    assert list(tmp_path.iterdir()) == []
