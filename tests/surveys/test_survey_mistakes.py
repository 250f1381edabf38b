"""Surveys used wrongly: errors say what was wrong, and results are never those of another survey."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from surveyed import NAMES

from camhd_access import SurveyError, survey

quiet = {"progress": False, "pix_fmt": "gray", "frames": [1]}


def one(pictures, context):
    return 1


@dataclass
class Threshold:
    level: int

    def __call__(self, pictures, context):
        return self.level


def total(pictures, context, weights):
    return float(weights.sum())


def peak(n):
    """Weights of which `repr` does not show the largest."""
    return np.where(np.arange(5000) == 2500, n, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: partial(total, weights=peak(n)),
        lambda n: partial(total, weights=pd.Series(peak(n))),
        lambda n: partial(lambda _, __, weights: float(weights["a"][0].sum()), weights={"a": [peak(n)]}),
        Threshold,
    ],
)
def test_arguments_are_compared_in_full(good, tmp_path, make):
    for n, n_done in ((1, 3), (1, 0), (2, 3)):
        table = survey(make(n), good, out=tmp_path / "out", **quiet)
        assert table["value"].tolist() == [n] * 3
        assert table.attrs["survey"].startswith(f"{n_done} movies done")


def test_two_surveys_of_one_folder_at_once(good, tmp_path):
    """With equal parameters they share it; else each says so, and neither returns rows of the other."""
    out, together = tmp_path / "out", threading.Barrier(2)

    def run(version):
        def meet(pictures, context):
            together.wait(60)
            return version

        with dask.config.set(scheduler="sync"):
            return survey(meet, good, version=version, out=out, **quiet)

    with ThreadPoolExecutor(2) as pool:
        for table in pool.map(run, [1, 1]):
            assert table["value"].tolist() == [1] * 3
        assert len(pd.read_parquet(out)) == 3
        running = [pool.submit(run, version) for version in (2, 3)]
        outcomes = [each.exception(60) for each in running]
    assert any(isinstance(each, SurveyError) for each in outcomes)
    told = str(next(filter(None, outcomes)))
    assert "another survey, with other parameters" in told
    assert NAMES[0] in told
    together.abort()

    def meet(pictures, context):
        return 2

    assert survey(meet, good, version=2, out=out, **quiet)["value"].tolist() == [2] * 3
    assert len(pd.read_parquet(out)) == 3


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"pix_fmt": "rgb"}, "unknown pix_fmt 'rgb'"),
        ({"reduce": 3}, "reduce must be 1, 2, 4 or 8, not 3"),
        ({"redcue": 2}, "redcue"),
        ({"out": ""}, "'.' is the current one"),
        ({"movies": None}, "movies must be a list of paths or URLs, or a table, not None"),
        ({"movies": pd.DataFrame({"url": ["a", None]})}, "1 rows without a url"),
        ({"function": lambda pictures: 1}, r"called as function\(pictures, context\): too many positional"),
    ],
)
def test_wrong_arguments_are_found_before_a_movie_is_read(good, tmp_path, wrong, why):
    options = {"function": one, "movies": good, "out": tmp_path / "out", **quiet} | wrong
    for call in (survey, survey.run):
        with pytest.raises((ValueError, TypeError), match=why):
            call(**options)
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy(good, tmp_path):
    options = quiet | {"frames": [1, 2], "group": np.int64(1), "reduce": np.int64(2), "at_once": np.int64(3)}
    assert survey(one, good, out=tmp_path / "out", **options)["frame"].tolist() == [1, 2] * 3


@pytest.mark.parametrize("name", ["a b%20c #?", "ü ☃"])
@pytest.mark.parametrize("place", ["{}", "file://{}", "memory:/{}"])
def test_any_name_of_a_folder(good, tmp_path, name, place):
    out = place.format(tmp_path / name / "out")
    first = survey(one, good, out=out, **quiet)
    assert first["value"].tolist() == [1] * 3
    assert (
        survey(one, good, out=out, **quiet).attrs["survey"].startswith("0 movies done, 0 failed, 3 skipped")
    )
    pd.testing.assert_frame_equal(survey.read(out), first)


def test_nothing_to_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no results of a survey"):
        survey.read(tmp_path / "nowhere")


# ---- where it runs


def test_a_worker_process_that_dies(good, tmp_path):
    def die(pictures, context):
        os._exit(1)

    with (
        dask.config.set(scheduler="processes", num_workers=1),
        pytest.raises(ChildProcessError, match="a worker process died"),
    ):
        survey(die, good, out=tmp_path / "out", **quiet)
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_a_function_that_cannot_be_sent(good, tmp_path):
    lock = threading.Lock()

    def ask(pictures, context):
        return lock.locked()

    with (
        dask.config.set(scheduler="processes", num_workers=1),
        pytest.raises(TypeError, match="the function ask cannot be sent to other processes"),
    ):
        survey(ask, good, out=tmp_path / "out", **quiet)
    assert survey(ask, good, out=tmp_path / "out", **quiet)["value"].tolist() == [False] * 3


def test_a_cluster_in_this_process(good):
    """It shares the memory of this one; and a client that is closed says so."""
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        table = survey(one, good, out="memory://mistakes", client=client, **quiet)
        assert table["value"].tolist() == [1] * 3
    with pytest.raises(ValueError, match="client is not connected to a cluster, it is closed"):
        survey(one, good, out="memory://mistakes", client=client, **quiet)


SLOW = """
import time
from pathlib import Path


def slow(pictures, context):
    Path(__file__).with_name("begun").touch()
    time.sleep(0.3)
    return 1
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no groups of processes to interrupt")
def test_an_interrupt_from_the_keyboard(good, written, tmp_path):
    """It reaches all processes; movies that were begun are finished, and nobody prints a traceback."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "camhd_access.cli", "survey", tmp_path / "slow.py:slow", written]
    options = ["--frame", "1", "--processes", "1", "-o", tmp_path / "out"]
    with subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, text=True, process_group=0
    ) as program:
        end = time.monotonic() + 100
        while not (tmp_path / "begun").exists() and program.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        os.killpg(program.pid, signal.SIGINT)
        _, said = program.communicate(timeout=100)
    assert said.splitlines()[-1] == "camhd: interrupted"
    assert "Traceback" not in said
    done = [path.name for path in Path(tmp_path / "out").glob("done-*")]
    assert done
    assert len(pd.read_parquet(tmp_path / "out")) == len(done)
