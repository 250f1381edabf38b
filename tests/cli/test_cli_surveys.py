"""The command `survey`."""

import json
from pathlib import Path

import pandas as pd
import pytest
from clusters import running_cluster
from commands import run, start
from surveyed import CUT_SHORT, NAMES, write_numbered

from camhd_access import open_archive, survey, write_catalog
from camhd_access.storage.rangecache import CacheFolder
from camhd_access.synthetic import serve_folder

FUNCTION = """
from camhd_access.synthetic import read_frame_number


def number(pictures, context):
    return {"number": [read_frame_number(picture) for picture in pictures]}


def shape(pictures, context):
    return [{"height": len(picture)} for picture in pictures]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of two movies, a third that was cut short, and a Python file."""
    for n, name in enumerate(NAMES[:2]):
        write_numbered(tmp_path / f"{name}.mov", n)
    write_numbered(tmp_path / f"{CUT_SHORT}.mov", 3, layout="no-moov")
    (tmp_path / "counting.py").write_text(FUNCTION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_survey_and_the_next_one(folder):
    command = ("survey", "counting.py:number", folder, "--frame", "3", "--frame", "7", "-o", folder / "out")
    done = run(*command)
    assert done.exit_code == 0, done.output
    assert "2 movies done (2: no result yet), 1 failed, 0 skipped" in done.stdout
    assert CUT_SHORT in done.stdout
    table = survey.read(folder / "out")
    assert table["number"].dropna().tolist() == [3, 7, 103, 107]
    told = json.loads(run(*command, "--json").stdout)
    assert sorted(told["skipped"]) == NAMES[:2]
    assert list(told["failed"]) == [CUT_SHORT]
    assert told["path"] == str(folder / "out")


def test_a_catalogue_and_a_crop(folder):
    write_catalog(open_archive(folder).catalog(index=True, progress=False), "movies.jsonl")
    options = ("--catalog", "movies.jsonl", "--start", "2016-11-11", "--at", "0.1", "--crop", "0,0,256,96")
    done = run("survey", "counting:number", *options, "--reduce", "2", "--quality", "good", "-o", "out")
    assert "1 movies done" in done.stdout, done.output
    assert survey.read("out")["number"].tolist() == [103]
    record = json.loads(Path("out/_survey.json").read_text())
    assert record["parameters"]["y"] == [0, 48]


def test_fields(folder):
    options = ("--frame", "3", "--fields", "--crop", "0,64,128,64", "--quality", "good", "-o", "out")
    write_catalog(open_archive(folder).catalog(index=True, progress=False), "movies.jsonl")
    done = run("survey", "counting:shape", "--catalog", "movies.jsonl", *options)
    assert done.exit_code == 0, done.output
    table = survey.read("out")
    assert table["field"].tolist() == [0, 1] * 2
    assert table["height"].tolist() == [32] * 4


def test_without_the_cache(folder):
    write = ("survey", "counting:number", "--frame", "3", "-o")
    with serve_folder(folder) as server:
        for more, is_empty in (("--no-cache",), True), ((), False):
            done = run(*write, "with" if more else "without", server.url, *more)
            assert "2 movies done" in done.stdout, done.output
            assert (CacheFolder().info().n_blocks == 0) == is_empty


def test_a_plan_writes_nothing(folder):
    told = json.loads(
        run("survey", "counting:number", folder, "--every", "5", "--plan", "--json", "-o", "out").stdout
    )
    assert (told["n_movies"], told["n_sampled"], told["n_frames"]) == (3, 2, 6)
    assert told["n_bytes"] > 3 * 2**19
    assert not Path("out").exists()
    assert (
        "3 movies" in run("survey", "counting:number", folder, "--every", "5", "--plan", "-o", "out").stdout
    )


def test_on_processes_and_on_a_cluster(folder):
    with start(
        "survey", "counting.py:number", folder, "--every", "9", "--processes", "1", "-o", "a"
    ) as program:
        out, err = program.communicate(timeout=120)
    assert "2 movies done" in out, err
    (folder / "jobs").mkdir()
    (folder / "counting.py").rename(folder / "jobs" / "counting.py")  # not where the worker looks
    with running_cluster(n_workers=1) as cluster:
        where = ("--scheduler", cluster.scheduler.address, "-o", "b")
        command = ("survey", "jobs/counting.py:number", folder, "--every", "9", *where)
        with start(*command) as program:
            out, err = program.communicate(timeout=120)
    assert "2 movies done" in out, err
    pd.testing.assert_frame_equal(survey.read("a"), survey.read("b"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("counting",), "write MODULE:FUNCTION"),
        (("counting:nothing",), "has no function 'nothing'"),
        (("nowhere:number",), "No module named 'nowhere'"),
        (("nowhere.py:number",), "no such file"),
        (("counting:number", "."), "exactly one of frames"),
        (("counting:number", ".", "--every", "2", "--quality", "good"), "--quality needs --catalog"),
        (("counting:number", ".", "--every", "2", "--catalog", "c.jsonl"), "either ROOT or --catalog"),
        (("counting:number", ".", "--every", "2", "--scheduler", "x", "--processes", "2"), "either --sched"),
    ],
)
def test_wrong_arguments(folder, arguments, why):
    done = run("survey", *arguments, "-o", "out")
    assert done.exit_code == 2
    assert why in done.stderr.replace("\n", " ")
    assert not Path("out").exists()
