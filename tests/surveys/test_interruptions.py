"""Surveys that are killed: started again, they end with the rows of an undisturbed one, none twice."""

import os
import signal
import time
from contextlib import ExitStack
from threading import Timer

import pandas as pd
import pytest
from clusters import running_cluster
from commands import start
from running_server import wait_until
from surveyed import NAMES

from camhd_access import RemoteFileError, survey
from camhd_access.synthetic import read_frame_number, serve_folder

N_MOVIES = 12

FUNCTION = """
import time
from camhd_access.synthetic import read_frame_number


def number(pictures, context):
    time.sleep(0.3)
    return {"number": [read_frame_number(picture) for picture in pictures]}
"""


@pytest.fixture
def folder(written, tmp_path):
    """Copies of a movie, by other names, and two that cannot be read."""
    movies = tmp_path / "movies"
    movies.mkdir()
    for hour in range(N_MOVIES):
        os.link(written / f"{NAMES[hour % 5]}.mov", movies / f"CAMHDA301-20161101T{hour:02}0000Z.mov")
    (tmp_path / "slow.py").write_text(FUNCTION)
    return movies


def done_in(out):
    return sorted(path.name for path in out.glob("*.parquet"))


def number(pictures, context):
    time.sleep(0.1)
    return {"number": [read_frame_number(picture) for picture in pictures]}


@pytest.fixture
def undisturbed(folder, tmp_path):
    """The rows and files of a survey that nothing interrupted."""
    movies = [str(path) for path in sorted(folder.iterdir())]
    table = survey(number, movies, frames=[3, 5], out=tmp_path / "undisturbed", progress=False)
    return movies, table, done_in(tmp_path / "undisturbed")


def test_a_survey_that_was_killed_goes_on(folder, undisturbed, tmp_path):
    movies, wanted, files = undisturbed
    out = tmp_path / "out"
    command = ("survey", tmp_path / "slow.py:number", folder, "--frame", "3", "--frame", "5", "-o", out)
    with start(*command) as program:
        wait_until(lambda: len(list(out.glob("done-*"))) >= 2 or program.poll() is not None)
        program.send_signal(signal.SIGKILL)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("done-*")}
    assert len(kept) >= 2
    table = survey(number, movies, frames=[3, 5], out=out, progress=False)
    assert f"{len(kept)} skipped" in table.attrs["survey"]
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("done-*")}.items()
    assert done_in(out) == files
    pd.testing.assert_frame_equal(table, wanted)
    assert not table.duplicated(["movie", "frame"]).any()
    assert len(pd.read_parquet(out)) == len(table)


def test_the_row_of_a_machine_that_was_cut_off_is_deleted(undisturbed, tmp_path):
    """It could not read a movie, and said so after another machine had read it."""
    movies, wanted, files = undisturbed
    out = tmp_path / "undisturbed"
    name = next(name for name in files if name.startswith("done-")).replace("done-", "failed-")
    movie, key, _, version, _ = name.split(".")
    pd.DataFrame({"movie": [movie[7:]], "error": ["OSError: no route to host"]}).to_parquet(
        out / f"{movie}.{key}.0.{version}.parquet"
    )
    table = survey(number, movies, frames=[3, 5], out=out, progress=False)
    pd.testing.assert_frame_equal(table, wanted)
    assert done_in(out) == files
    assert len(pd.read_parquet(out)) == len(wanted)


@pytest.mark.parametrize("place", ["threads", "cluster"])
def test_who_cannot_ask_for_permits_writes_nothing(folder, tmp_path, place):
    """The survey has ended, or the machine is cut off: that is no error of the movie."""
    options = {"frames": [3], "out": tmp_path / "out", "progress": False, "at_once": None, "per_second": None}
    nobody = {"storage_options": {"permits": "127.0.0.1:9/x"}}
    with serve_folder(folder) as server, ExitStack() as stack:
        client = stack.enter_context(running_cluster(n_workers=1)) if place == "cluster" else None
        movies = [f"{server.url}{path.name}" for path in sorted(folder.iterdir())]
        with pytest.raises(RemoteFileError, match="the job that limits the requests has ended"):
            survey(number, movies, client=client, **options, **nobody)
    assert done_in(tmp_path / "out") == []


def test_a_cluster_that_loses_a_worker_and_then_everything(undisturbed, tmp_path):
    movies, wanted, files = undisturbed
    options = {"frames": [3, 5], "out": tmp_path / "out", "progress": False}
    with running_cluster() as client:
        victim, *_ = client.run(os.getpid).values()
        killer = Timer(0.3, os.kill, (victim, signal.SIGKILL))
        killer.start()
        survey(number, movies[:8], client=client, **options)
        killer.join()
    table = survey(number, movies, **options)
    pd.testing.assert_frame_equal(table, wanted)
    assert done_in(tmp_path / "out") == files
