"""`survey`: rows of many movies, resumed, on threads, processes and a cluster."""

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import dask
import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from clusters import running_cluster
from surveyed import CUT_SHORT, EMPTY, N_FRAMES, NAMES, write_numbered

from camhd_access import MovieReader, SurveyError, SurveyReport, open_archive, survey
from camhd_access.synthetic import read_frame_number, serve_folder

quiet = {"progress": False, "pix_fmt": "gray"}


def number(pictures, context):
    """The number in each picture."""
    return {"number": [read_frame_number(picture) for picture in pictures]}


def brightness(pictures, context):
    """The mean of all pictures."""
    return pictures.mean()


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


# ---- rows


def test_a_row_for_each_frame_of_each_movie(good, tmp_path):
    table = survey(number, good, frames=[7, 0, 3], out=tmp_path / "out", **quiet)
    assert isinstance(table, pd.DataFrame)
    assert table["movie"].tolist() == [name for name in NAMES[:3] for _ in range(3)]
    assert table["frame"].tolist() == [7, 0, 3] * 3
    assert table["number"].tolist() == [100 * n + f for n in range(3) for f in (7, 0, 3)]
    readers = [MovieReader(path) for path in good]
    assert table["time"].tolist() == [pd.Timestamp(r.times()[f]) for r in readers for f in (7, 0, 3)]
    assert table["elapsed_seconds"].tolist() == [
        round(f * 1001 / 30000, 9) for _ in readers for f in (7, 0, 3)
    ]
    assert table["time_source"].unique().tolist() == ["mvhd"]
    assert table["time_disagreement_seconds"].unique().tolist() == [2.0]
    assert table["time_uncertainty_seconds"].unique().tolist() == [2.0]
    assert table["file_size"].tolist() == [r.file_size for r in readers for _ in range(3)]
    assert table["source"].tolist() == [path for path in good for _ in range(3)]
    assert (table["n_pictures"] == 1).all()
    assert (table["damaged"] == 0).all()
    assert table["error"].isna().all()
    assert "3 movies done" in table.attrs["survey"]


def test_a_number_is_one_row_about_all_pictures(good, tmp_path):
    table = survey(brightness, good, frames=slice(2, 9, 2), out=tmp_path / "out", **quiet)
    means = [MovieReader(path).read(slice(2, 9, 2), pix_fmt="gray").mean() for path in good]
    assert table["value"].tolist() == means
    assert table["frame"].tolist() == [2, 2, 2]
    assert table["n_pictures"].tolist() == [4, 4, 4]


def test_rows_about_some_frames(good, tmp_path):
    def find(pictures, context):
        assert context.movie in NAMES
        assert context.frames.tolist() == [4, 6]
        return pd.DataFrame({"frame": [6, 6, 4], "animal": ["crab", "worm", "crab"], "n": [1, 2, 3]})

    table = survey(find, good[:1], frames=[4, 6], out=tmp_path / "out", **quiet)
    assert table[["frame", "animal", "n"]].to_numpy().tolist() == [
        [6, "crab", 1],
        [6, "worm", 2],
        [4, "crab", 3],
    ]
    assert table["time"].tolist() == [pd.Timestamp(MovieReader(good[0]).times()[f]) for f in (6, 6, 4)]


def test_no_rows(good, tmp_path):
    table = survey(lambda pictures, context: None, good, frames=0, out=tmp_path / "out", **quiet)
    assert len(table) == 0
    assert len(names_in(tmp_path / "out")) == 4
    again = survey(lambda pictures, context: None, good, frames=0, out=tmp_path / "out", **quiet)
    assert "3 skipped" in again.attrs["survey"]


@pytest.mark.parametrize(
    ("choice", "frames"),
    [
        ({"every": 4}, [0, 4, 8]),
        ({"at": 0.2}, [6]),
        ({"at": [0.0, timedelta(seconds=0.1)]}, [0, 3]),
        ({"at": np.array([0, 100_000_000], "timedelta64[ns]")}, [0, 3]),
        ({"at": pd.to_timedelta([0.1], unit="s")}, [3]),
        ({"frames": -1}, [9]),
        ({"frames": np.linspace(0, 9, 3)}, [0, 4, 9]),
        ({"frames": np.arange(10) % 5 == 2}, [2, 7]),
    ],
)
def test_choices_of_frames(good, tmp_path, choice, frames):
    table = survey(number, good[1:2], out=tmp_path / "out", **choice, **quiet)
    assert table["number"].tolist() == [100 + f for f in frames]


def test_groups(good, tmp_path):
    sizes = []

    def count(pictures, context):
        sizes.append((len(pictures), context.frames.tolist()))
        return len(pictures)

    with dask.config.set(scheduler="sync"):
        table = survey(count, good[:1], every=2, group=2, out=tmp_path / "out", **quiet)
    assert table["value"].tolist() == [2, 2, 1]
    assert table["frame"].tolist() == [0, 4, 8]


def test_a_group_larger_than_memory_allows_is_refused(good, tmp_path, monkeypatch):
    monkeypatch.setattr("camhd_access.surveys.study.MAX_GROUP_BYTES", 2 * 320 * 192)
    table = survey(brightness, good[:1], every=2, out=tmp_path / "out", **quiet)
    assert "pass group=" in table["error"][0]
    table = survey(brightness, good[:1], every=2, group=2, out=tmp_path / "out", **quiet)
    assert table["error"].isna().all()


def test_crops_fields_and_previews(good, tmp_path):
    def look(pictures, context):
        assert pictures.shape == (4, 64, 32, 3)
        assert context.y.tolist() == list(np.arange(16, 80) * 2 + 0.5)
        assert context.x.tolist() == list(range(32, 64))
        assert context.field.tolist() == [0, 1, 0, 1]
        return {"mean": [picture.mean() for picture in pictures]}

    options = {"frames": [3, 5], "y": slice(16, 80), "x": slice(32, 64), "fields": True}
    table = survey(look, good[:1], out=tmp_path / "out", progress=False, **options)
    reader = MovieReader(good[0])
    pixels = reader.read([3, 5], y=slice(16, 80), x=slice(32, 64), fields=True)
    assert table["mean"].tolist() == pixels.mean((1, 2, 3)).tolist()
    assert table["field"].tolist() == [0, 1, 0, 1]
    assert table["time"].tolist() == list(map(pd.Timestamp, reader.times(fields=True)[[6, 7, 10, 11]]))
    table = survey(number, good, frames=5, reduce=8, out=tmp_path / "small", **quiet)
    assert table["number"].tolist() == [5, 105, 205]


def test_a_table_of_frames(good, tmp_path):
    frames = pd.DataFrame({"url": [good[1], good[0], good[1]], "frame": [3, 9, 1]})
    table = survey(number, frames, out=tmp_path / "out", **quiet)
    assert table["number"].tolist() == [103, 101, 9]


def test_a_scene(written, tmp_path):
    catalog = open_archive(written).catalog(index=True, progress=False)
    regions = pd.DataFrame(
        {
            "basename": NAMES[:2],
            "start": [2, 4],
            "stop": [5, 9],
            "scene_tag": pd.Series(["d2_p1_z0"] * 2, dtype="string"),
        }
    )
    options = {"scene": "d2_p1_z0", "regions": regions, "out": tmp_path / "out", **quiet}
    table = survey(number, catalog, **options)
    assert table["number"].tolist() == [3, 106]
    assert "2 skipped" in survey(number, catalog, **options).attrs["survey"]
    moved = regions.assign(start=[2, 6])
    again = survey(number, catalog, **options | {"regions": moved})
    assert again["number"].tolist() == [3, 107]
    assert "1 movies done (1: other frames" in again.attrs["survey"]
    with pytest.raises(TypeError, match="needs a catalogue"):
        survey(number, [str(written)], **options)


# ---- arrays


def test_arrays_are_a_lazy_dataset(good, tmp_path):
    def pair(pictures, context):
        return {
            "mean": pictures.mean(0).astype("f4"),
            "histogram": np.bincount(pictures.ravel(), minlength=256),
        }

    dataset = survey(pair, good, frames=[1, 2], y=slice(0, 32), out=tmp_path / "out", **quiet)
    assert isinstance(dataset, xr.Dataset)
    assert dataset["mean"].dims == ("row", "y", "x")
    assert dataset["mean"].chunks[0] == (1, 1, 1)
    assert dataset["movie"].to_numpy().tolist() == NAMES[:3]
    for n, path in enumerate(good):
        pixels = MovieReader(path).read([1, 2], y=slice(0, 32), pix_fmt="gray")
        assert np.array_equal(dataset["mean"][n], pixels.mean(0).astype("f4"))
        assert np.array_equal(dataset["histogram"][n], np.bincount(pixels.ravel(), minlength=256))
    assert dataset["histogram"].dtype == np.int64


def test_arrays_of_movies_with_errors_are_missing(paths, tmp_path):
    def mean(pictures, context):
        return [{"small": picture[:2, :3]} for picture in pictures]

    dataset = survey(mean, paths, frames=[0, 1], out=tmp_path / "out", **quiet)
    assert dataset.sizes["row"] == 3 * 2 + 2
    assert dataset["small"].dtype == np.float32
    assert np.isnan(dataset["small"].to_numpy()).all((1, 2)).tolist() == [False] * 6 + [True] * 2
    assert dataset["error"].to_numpy()[-1].startswith("NotAMovieError")
    assert np.isnan(dataset["frame"].to_numpy()[-1])
    pixels = MovieReader(paths[2]).read(1, pix_fmt="gray")
    assert np.array_equal(dataset["small"][5], pixels[0, :2, :3])


def test_arrays_that_differ_are_an_error(good, tmp_path):
    def grow(pictures, context):
        return np.zeros(1 + NAMES.index(context.movie))

    with pytest.raises(ValueError, match="arrays 'value' of the movies differ"):
        survey(grow, good, frames=0, out=tmp_path / "out", **quiet)


# ---- errors


def test_a_bad_movie_costs_a_row_with_its_error(paths, tmp_path):
    missing = str(tmp_path / "CAMHDA301-20161120T000000Z.mov")
    table = survey(number, [*paths, missing], frames=[1, 2], out=tmp_path / "out", **quiet)
    assert table["number"].tolist()[:6] == [1, 2, 101, 102, 201, 202]
    bad = table[6:].set_index("movie")["error"]
    assert bad[CUT_SHORT].startswith("MissingMoovError: ")
    assert bad[EMPTY].startswith("NotAMovieError: ")
    assert bad["CAMHDA301-20161120T000000Z"].startswith("FileNotFoundError: ")
    assert "3 movies done (3: no result yet), 3 failed, 0 skipped" in table.attrs["survey"]


def test_an_error_of_the_function_costs_its_group(good, tmp_path):
    def fail_at_4(pictures, context):
        return 1 / int(context.frames[0] != 4)

    table = survey(fail_at_4, good[:1], every=2, group=1, out=tmp_path / "out", **quiet)
    assert table["frame"].tolist() == [0, 2, 4, 6, 8]
    assert table["error"].notna().tolist() == [False, False, True, False, False]
    assert table["error"][2].startswith("ZeroDivisionError")
    assert table["time"].notna().all()


@pytest.fixture
def damaged(good, tmp_path):
    """A movie whose frame 2 is damaged."""
    path = tmp_path / f"{NAMES[0]}.mov"
    shutil.copy(good[0], path)
    offset = int(MovieReader(path).index.offset[2])
    with path.open("r+b") as file:
        file.seek(offset + 200)
        file.write(b"\xff" * 60)
    return str(path)


def test_damage(damaged, tmp_path):
    table = survey(brightness, [damaged], frames=[1, 2, 3], group=1, out=tmp_path / "a", **quiet)
    assert table["error"].notna().tolist() == [False, True, False]
    assert "frame 2" in table["error"][1]

    def median(pictures, context):
        assert isinstance(pictures, np.ma.MaskedArray)
        assert np.array_equal(context.damaged, pictures.mask.mean((1, 2)))
        return [np.ma.median(picture) for picture in pictures]

    table = survey(median, [damaged], frames=[1, 2, 3], errors="mask", out=tmp_path / "b", **quiet)
    wanted = MovieReader(damaged).read([1, 2, 3], pix_fmt="gray", errors="mask")
    assert table["damaged"].tolist() == wanted.mask.mean((1, 2)).tolist()
    assert table["damaged"][1] > 0
    assert table["value"].tolist() == [np.ma.median(picture) for picture in wanted]


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ([1, 2, 3], "3 rows for 2 pictures"),
        ({"a": [1, 2, 3]}, "lists of \\[3\\] items for 2 pictures"),
        ([{"frame": 5}], "row of frame 5"),
        ({"error": 1}, "which the survey fills"),
        ({"a": object()}, "returned object"),
        ({1: 2}, "names of columns are text"),
        ([1, "a"], "different types in the column 'value'"),
        ([np.zeros(2), np.zeros(3)], "different arrays"),
        ([np.zeros(2), 1], "different arrays"),
    ],
)
def test_results_that_are_not_rows(good, tmp_path, result, why):
    table = survey(lambda pictures, context: result, good[:1], frames=[0, 1], out=tmp_path / "out", **quiet)
    (error,) = table["error"]
    assert re.search(why, error)


def test_many_failures_in_a_row_end_the_survey(good, tmp_path, monkeypatch):
    monkeypatch.setattr("camhd_access.surveys.survey.MAX_FAILURES_IN_A_ROW", 2)
    calls = []

    def fail(pictures, context):
        calls.append(context.movie)
        raise NameError("brigthness")

    with (
        dask.config.set(scheduler="sync"),
        pytest.raises(SurveyError, match=r"2 movies in a row .*brigthness"),
    ):
        survey(fail, good, frames=0, out=tmp_path / "out", **quiet)
    assert calls == NAMES[:2]


def test_wrong_arguments_read_nothing(good, tmp_path):
    out = tmp_path / "out"
    for wrong, why in [
        ({}, "exactly one of frames"),
        ({"frames": 0, "every": 2}, "not by frames and every"),
        ({"every": 0}, "positive whole number"),
        ({"at": -1}, "not negative"),
        ({"frames": 0, "group": 0}, "group must be"),
        ({"frames": 0, "client": "threads"}, "client must be"),
        ({"frames": 0, "errors": "skip"}, "errors must be"),
        ({"frames": 0, "y": slice(0, 9, 2)}, "slice without step"),
        ({"scene": "d2_p1_z0"}, "needs regions="),
    ]:
        with pytest.raises((ValueError, TypeError), match=why):
            survey(number, good, out=out, **wrong, **quiet)
    with pytest.raises(ValueError, match="given more than once"):
        survey(number, [good[0], good[0]], frames=0, out=out, **quiet)
    with pytest.raises(ValueError, match="no movies"):
        survey(number, [], frames=0, out=out, **quiet)
    with pytest.raises(TypeError, match="list of paths"):
        survey(number, good[0], frames=0, out=out, **quiet)
    with pytest.raises(TypeError, match="callable"):
        survey("number", good, frames=0, out=out, **quiet)
    assert not out.exists()


def test_without_pyarrow_the_error_names_the_extra(good, tmp_path, monkeypatch):
    monkeypatch.setattr("camhd_access.storage.output_files.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"camhd_access\[parquet\]"):
        survey(number, good, frames=0, out=tmp_path / "out", **quiet)


# ---- resuming


def test_a_second_call_does_only_what_is_missing_failed_or_changed(paths, tmp_path):
    folder, out = tmp_path / "movies", tmp_path / "out"
    folder.mkdir()
    copies = [shutil.copy(path, folder) for path in paths]
    seen = []

    def spy(pictures, context):
        seen.append(context.movie)
        return [read_frame_number(picture) for picture in pictures]

    def again(movies=copies, **options):
        seen.clear()
        return survey(spy, movies, **{"frames": [1, 2], "out": out, **quiet} | options)

    first = again(copies[:2])
    before = names_in(out)
    second = again()
    assert sorted(seen) == [NAMES[2]]
    assert first.equals(second[:4])
    assert set(before) <= set(names_in(out))
    assert "2 skipped (2: done: same movie, function, version and parameters)" in second.attrs["survey"]
    assert "2 failed" in again().attrs["survey"]
    assert seen == []
    write_numbered(folder / f"{CUT_SHORT}.mov", 3)  # its transfer has been completed
    write_numbered(folder / f"{NAMES[0]}.mov", 6, n_frames=12)
    third = again()
    assert sorted(seen) == [NAMES[0], CUT_SHORT]
    assert third["value"].tolist()[:8] == [601, 602, 101, 102, 201, 202, 301, 302]
    assert "2 movies done" in third.attrs["survey"]
    assert "1: the movie has changed" in third.attrs["survey"]
    assert "1: failed before" in third.attrs["survey"]
    assert len(names_in(out)) == 5 + 1
    again(version=2)
    assert sorted(seen) == NAMES[:4]
    again(version=2, reduce=8)
    assert sorted(seen) == NAMES[:4]
    again(version=2, reduce=8, cache=False)
    assert seen == []
    assert len(names_in(out)) == 5 + 1
    assert len(pd.read_parquet(out)) == 4 * 2 + 1


def test_another_function_is_refused(good, tmp_path):
    survey(number, good, frames=0, out=tmp_path / "out", **quiet)
    with pytest.raises(ValueError, match="results of the function 'number', not of 'brightness'"):
        survey(brightness, good, frames=0, out=tmp_path / "out", **quiet)
    record = json.loads((tmp_path / "out" / "_survey.json").read_text())
    assert record["function"] == "number"
    assert record["parameters"]["pix_fmt"] == "gray"


def test_partial_functions_have_their_arguments_in_the_key(good, tmp_path):
    def scale(pictures, context, factor):
        return factor * len(pictures)

    for factor, n_done in ((2, 3), (2, 0), (3, 3)):
        table = survey(partial(scale, factor=factor), good, frames=0, out=tmp_path / "out", **quiet)
        assert table["value"].tolist() == [factor] * 3
        assert table.attrs["survey"].startswith(f"{n_done} movies done")


def test_a_catalogue_needs_no_request_for_movies_that_are_done(server, written, tmp_path):
    catalog = open_archive(server.url).catalog(index=True, progress=False)
    catalog = catalog[catalog["quality"] == "good"]
    assert len(catalog) == 3
    options = {"frames": [2], "out": tmp_path / "out", "cache": False, **quiet}
    first = survey(number, catalog, **options)
    before = server.n_requests
    assert survey(number, catalog, **options).equals(first)
    assert server.n_requests == before
    assert survey(number, list(catalog["url"]), **options).equals(first)
    assert server.n_requests == before + 3
    grown = catalog.assign(file_size=catalog["file_size"] + 1)
    assert "3 movies done (3: the movie has changed)" in survey(number, grown, **options).attrs["survey"]


def test_a_movie_that_changed_on_the_server_is_done_again(written, tmp_path):
    folder = tmp_path / "movies"
    folder.mkdir()
    path = Path(shutil.copy(written / f"{NAMES[0]}.mov", folder))
    with serve_folder(folder) as server:
        url = server.url + path.name
        options = {"frames": [2], "out": tmp_path / "out", **quiet}
        assert survey(number, [url], **options)["number"].tolist() == [2]
        write_numbered(path, 5)
        os.utime(path, (1, 1))
        assert survey(number, [url], **options)["number"].tolist() == [502]
        path.unlink()
    again = survey(number, [url], **options, storage_options={"tries": 1})
    assert again["number"].tolist() == [502]
    assert "whether the movie has changed is unknown" in again.attrs["survey"]


def test_leftovers_of_a_crash_are_not_rows(good, tmp_path):
    out = tmp_path / "out"
    first = survey(number, good, frames=[1], out=out, **quiet)
    name = next(name for name in names_in(out) if NAMES[0] in name)
    (out / f".{'0' * 32}.part").write_bytes(b"PAR1")
    shutil.copy(out / name, out / name.replace("done-", "failed-"))  # two surveys wrote at the same time
    assert survey.read(out).equals(first)
    assert survey(number, good, frames=[1], out=out, **quiet).equals(first)


def test_what_is_read_again(good, tmp_path):
    survey(number, good[:2], frames=[1], out=tmp_path / "out", **quiet)
    both = survey(number, good[2:], frames=[1], out=tmp_path / "out", **quiet)
    assert both["number"].tolist() == [201]
    assert survey.read(tmp_path / "out")["number"].tolist() == [1, 101, 201]


def test_any_filesystem(good):
    table = survey(number, good, frames=[4], out="memory://surveyed/a", **quiet)
    assert table["number"].tolist() == [4, 104, 204]
    memory = fsspec.filesystem("memory")
    assert len(memory.ls("/surveyed/a")) == 4
    assert "3 skipped" in survey(number, good, frames=[4], out="memory://surveyed/a", **quiet).attrs["survey"]
    memory.rm("/surveyed", recursive=True)


def test_a_bucket(good, s3):
    given = {"out": f"s3://{s3.bucket()}/floc", "out_options": s3.options, "frames": [4], **quiet}
    assert survey(number, good, **given)["number"].tolist() == [4, 104, 204]
    assert "3 skipped" in survey(number, good, **given).attrs["survey"]


# ---- where it runs


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes."""
    with running_cluster() as client:
        yield client


def rows_of(table):
    return table[["movie", "frame", "time", "value", "error"]]


def who(pictures, context):
    return [{"value": read_frame_number(picture), "pid": os.getpid()} for picture in pictures]


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_on_one_machine(paths, tmp_path, scheduler):
    with dask.config.set(scheduler=scheduler, num_workers=2):
        table = survey(who, paths, frames=[3, 4], out=tmp_path / "out", **quiet)
    assert table["value"].tolist()[:6] == [3, 4, 103, 104, 203, 204]
    assert table["error"].notna().tolist() == [False] * 6 + [True] * 2
    assert (os.getpid() in set(table["pid"].dropna())) == (scheduler != "processes")


def test_on_an_executor(good, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        table = survey(number, good, frames=[3], out=tmp_path / "out", client=pool, **quiet)
    assert table["number"].tolist() == [3, 103, 203]


def test_on_a_cluster(paths, tmp_path, cluster):
    alone = survey(who, paths, frames=[3, 4], out=tmp_path / "a", **quiet)
    table = survey(who, paths, frames=[3, 4], out=tmp_path / "b", client=cluster, **quiet)
    assert rows_of(table).equals(rows_of(alone))
    assert not set(table["pid"].dropna()) & {os.getpid()}
    with pytest.raises(ValueError, match="cannot write to the memory"):
        survey(who, paths, frames=[3, 4], out="memory://b", client=cluster, **quiet)


def kill_once(pictures, context, marker):
    """Ends its worker the first time that it sees the second movie."""
    if context.movie == NAMES[1] and not Path(marker).exists():
        Path(marker).touch()
        os._exit(1)
    return read_frame_number(pictures[0])


def test_a_worker_that_dies_loses_its_movie_at_most(good, tmp_path, cluster):
    function = partial(kill_once, marker=str(tmp_path / "died"))
    table = survey(function, good, frames=[3], out=tmp_path / "out", client=cluster, **quiet)
    assert (tmp_path / "died").exists()
    assert table["value"].tolist() == [3, 103, 203]
    assert len(pd.read_parquet(tmp_path / "out")) == 3


def die(pictures, context):
    if context.movie == NAMES[1]:
        os._exit(1)
    return read_frame_number(pictures[0])


def test_a_movie_that_kills_workers_costs_a_row(good, tmp_path, cluster):
    cluster.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    table = survey(die, good[1:2], frames=[3], out=tmp_path / "out", client=cluster, **quiet)
    assert table["error"][0].startswith("KilledWorker")
    assert table["movie"].tolist() == [NAMES[1]]


# ---- plan, run


def test_the_plan_is_what_is_spent(server, written, tmp_path):
    urls = [f"{server.url}{name}.mov" for name in NAMES[:3]]
    options = {"frames": [1, 5], "out": tmp_path / "out", "cache": False, "progress": False}
    planned = {"out": tmp_path / "out", "frames": [1, 5], "cache": False}
    plan = survey.plan(number, urls, per_second=None, **planned)
    readers = [MovieReader(url, cache=False) for url in urls]
    assert plan.n_movies == 3
    assert plan.n_frames == 6
    assert plan.n_requests == 3 + sum(reader.plan([1, 5]).n_requests for reader in readers)
    assert plan.n_bytes == 3 * 2**19 + sum(reader.plan([1, 5]).n_bytes for reader in readers)
    assert plan.hours == pytest.approx(8e-6 * plan.n_bytes / 100 / 3600)
    assert plan.dollars == pytest.approx(plan.n_bytes * 0.09e-9 + plan.n_requests * 0.4e-6)
    assert not (tmp_path / "out").exists()
    assert survey.plan(number, urls, per_second=2, **planned).hours == pytest.approx(
        plan.n_requests / 2 / 3600
    )
    survey(number, urls[:2], **options)
    plan = survey.plan(number, urls, **planned)
    assert (plan.n_movies, plan.n_skipped) == (1, 2)
    assert "1 movies (2 more are done)" in str(plan)
    assert "MB" not in plan._repr_html_()


def test_run_returns_the_report(paths, tmp_path):
    report = survey.run(number, paths, frames=[1], out=tmp_path / "out", **quiet)
    assert isinstance(report, SurveyReport)
    assert set(report.done) == set(NAMES[:3])
    assert set(report.failed) == {CUT_SHORT, EMPTY}
    assert report.n_bytes == sum(int(MovieReader(path).index.size[1]) for path in paths[:3])
    assert MovieReader(paths[0]).n_frames == N_FRAMES


def test_progress(paths, tmp_path, capsys):
    survey(number, paths, frames=[1], out=tmp_path / "out", pix_fmt="gray")
    told = capsys.readouterr()
    assert "5/5" in told.err
    assert "2 failed" in told.err
    assert "MB/s" in told.err
    assert "survey: 3 movies done (3: no result yet), 2 failed, 0 skipped" in told.out + told.err
