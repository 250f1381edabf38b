"""Tables that are not crawled: catalogues of others, deployments, anomalies, runs, scenes."""

import json

import numpy as np
import pandas as pd
import pytest
from shared_data import shared_data

from camhd_access import (
    find_deployment,
    find_runs,
    find_scene_frames,
    known_anomalies,
    open_archive,
    open_timelapse,
    read_catalog,
    read_regions,
    write_catalog,
)
from camhd_access.archive.rate_limit import RateLimiter
from camhd_access.formats.names import find_movie_name
from camhd_access.synthetic import read_frame_number

GOOD = "CAMHDA301-20170920T181500"
OOI = "https://rawdata.oceanobservatories.org/files/RS03ASHS/PN03B/06-CAMHDA301/2017/09/20"
AZURE = "https://ooiopendata.blob.core.windows.net/camhd"
SCHEMAS = {  # one row each, as they were published
    "rte-camhd": {
        "deployment": 4,
        "filename": f"{OOI}/{GOOD}.mov",
        "filesize": 15250813073,
        "frame_count": 26953,
        "index": None,
        "moov": True,
        "timestamp": 1505930402,
    },
    "pangeo": {
        "blob_url": f"{AZURE}/{GOOD}.mov",
        "blob_size": 15250813073,
        "timestamp": 1505930402,
        "frame_count": 26953,
        "deployment": 4,
    },
    "azure": {
        "name": f"{GOOD}.mov",
        "url": f"{AZURE}/{GOOD}.mov",
        "filesize": 15250813073,
        "md5": "eaadcc47",
        "moov": True,
        "timestamp": 1505930402,
        "deployment": 4,
        "frame_count": 26953,
    },
}


@pytest.fixture(scope="module")
def real():
    return read_catalog(str(shared_data("camhd_catalog_2018.jsonl")))


def published(tmp_path, *rows):
    path = tmp_path / "dbcamhd.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


# ---- catalogues of others


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_known_schemas(tmp_path, schema):
    catalog = read_catalog(published(tmp_path, SCHEMAS[schema]))
    row = catalog.loc[GOOD]
    assert row.url.endswith(f"/{GOOD}.mov")
    assert (row.file_size, row.n_frames, row.quality) == (15250813073, 26953, "good")
    assert row.start_time == pd.Timestamp("2017-09-20T18:00:02")
    assert row.start_source == "mvhd"
    assert row.deployment == 4
    assert row.duration == pytest.approx(899.33, abs=0.01)


@pytest.mark.parametrize(
    ("changed", "n_frames", "quality", "start"),
    [
        ({"frame_count": 6382956, "timestamp": 64639362}, None, None, "2017-09-20T18:00:00"),
        ({"frame_count": 0, "timestamp": 0}, None, None, "2017-09-20T18:00:00"),
        ({"filesize": 0, "frame_count": 0, "timestamp": 0}, None, "empty", "2017-09-20T18:00:00"),
        ({"filesize": 584000000}, 26953, "blank", "2017-09-20T18:00:02"),
        ({"timestamp": 1505930402 - 86400 * 3}, 26953, "odd", "2017-09-20T18:00:00.668233333"),
        ({"timestamp": 1505930402 - 7200}, 26953, "odd", "2017-09-20T16:00:02"),
    ],
)
def test_false_rows_are_mended_or_marked(tmp_path, changed, n_frames, quality, start):
    row = read_catalog(published(tmp_path, SCHEMAS["rte-camhd"] | changed)).loc[GOOD]
    assert row.n_frames is pd.NA if n_frames is None else row.n_frames == n_frames
    assert row.quality is pd.NA if quality is None else row.quality == quality
    assert row.start_time == pd.Timestamp(start)
    assert row.reason


def test_the_real_catalogue_of_2018(real):
    assert len(real) == 9441
    assert real.index.is_unique
    assert real.file_size.sum() / 1e12 == pytest.approx(114.16, abs=0.01)
    assert real.n_frames.sum() == pytest.approx(229.52e6, rel=1e-4)  # without the four false counts
    assert real.n_frames.max() == 306_206
    assert (real.start_time.diff().dropna() > pd.Timedelta(-1, "D")).all()
    counts = real.quality.value_counts(dropna=False)
    assert [int(counts[kind]) for kind in ("good", "blank", "odd", "empty", "unreadable")] == [
        7844,
        1407,
        8,
        6,
        14,
    ]
    month = real.time_from_name.dt.strftime("%Y-%m")
    assert (real.quality[month.between("2017-12", "2018-06")].dropna() == "blank").all()
    assert (real.deployment.dropna().unique() == [2, 3, 4, 5]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n', "not a catalogue of a known kind"),
        ("[1]\n", "not JSON objects"),
        ("nonsense\n", "not JSON lines"),
        (json.dumps(SCHEMAS["pangeo"] | {"blob_url": "x.mov"}), "not the address of a CamHD movie"),
        (json.dumps(SCHEMAS["pangeo"]) + '\n{"blob_url": "x"}', "not a row"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_catalog(str(path))


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz", "c.parquet"])
def test_a_catalogue_survives_its_file(real, tmp_path, name):
    write_catalog(real, str(tmp_path / name))
    pd.testing.assert_frame_equal(read_catalog(str(tmp_path / name)), real, check_exact=True)
    write_catalog(real.iloc[:0], str(tmp_path / name))
    pd.testing.assert_frame_equal(read_catalog(str(tmp_path / name)), real.iloc[:0])


@pytest.mark.parametrize("name", ["c.jsonl", "c.parquet"])
def test_a_write_that_fails_leaves_the_old_file(real, tmp_path, name):
    write_catalog(real.iloc[:5], tmp_path / name)
    bad = real.iloc[:9].assign(reason=pd.Series([object()] * 9, index=real.index[:9]))
    with pytest.raises((TypeError, ValueError)):
        write_catalog(bad, tmp_path / name)
    pd.testing.assert_frame_equal(read_catalog(tmp_path / name), real.iloc[:5])


def test_others_can_read_our_files(real, tmp_path):
    write_catalog(real.iloc[-3:], str(tmp_path / "c.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert rows[0]["basename"] == real.index[-3]
    assert pd.Timestamp(rows[0]["start_time"]) == real.start_time.iloc[-3]
    assert rows[0]["codec"] is None
    write_catalog(real, str(tmp_path / "c.parquet"))
    assert (pd.read_parquet(tmp_path / "c.parquet")["n_frames"].to_numpy() == real.n_frames.to_numpy()).any()


# ---- deployments, anomalies


@pytest.mark.parametrize(
    ("time", "number"),
    [
        ("2015-07-09T13:27:59", None),
        ("2015-07-09T13:28", 2),
        ("2016-07-26T21:17:59", 2),
        ("2016-07-27T00:00", None),
        ("2016-07-27T05:49", 3),
        ("2018-07-03", 4),
        ("2018-07-04T09:00", 5),
        ("2023-08-26T13:30+02:00", 9),
        (np.datetime64("2030-01-01"), 9),
        ("2010-01-01", None),
    ],
)
def test_deployment_of_a_time(time, number):
    assert find_deployment(time) == number


def test_anomalies_are_a_table(real):
    table = known_anomalies()
    movies = table[table.basename.notna()]
    assert all(find_movie_name(name).basename == name for name in movies.basename)
    assert movies.basename.is_unique
    assert dict(table.kind.value_counts()).items() >= {"cut short": 15, "empty": 11, "gap": 6}.items()
    assert (table.source.str.len() > 0).all()
    assert (table.start.notna() == table.basename.isna()).all()
    inside = movies.basename[movies.basename.map(lambda name: name < "CAMHDA301-20180831")]
    assert set(inside) <= set(real.index)
    cut_short = movies.basename[movies.kind == "cut short"]
    assert set(real.index[real.quality == "unreadable"]) <= set(cut_short)
    assert set(real.index[real.file_size == 0]) <= set(movies.basename[movies.kind == "empty"])


def test_gaps_of_the_table_hold_no_movies(real):
    table = known_anomalies()
    for gap in table[table.kind == "gap"].itertuples():
        assert not real.time_from_name.between(gap.start, gap.end, inclusive="left").any()


# ---- runs


def test_a_routine_in_two_movies_is_one_run(real):
    day = real[real.time_from_name.between("2016-12-04T00:05", "2016-12-05", inclusive="left")]
    runs = find_runs(day)
    assert list(runs.n_movies) == [1] + [2] * 7
    assert runs.basenames[1] == ("CAMHDA301-20161204T030300", "CAMHDA301-20161204T031400")
    assert runs.start_time[1] == pd.Timestamp("2016-12-04T03:00:12")
    assert runs.end_time[1] == pd.Timestamp("2016-12-04T03:14:01.066766667")
    assert runs.n_frames[1] == 5855 + 19003
    assert runs.urls[1][0].endswith("/CAMHDA301-20161204T030300.mov")


def test_a_day_without_a_break_is_one_run(real):
    day = real[real.time_from_name.between("2016-12-03T00:10", "2016-12-04T00:10")]
    assert list(find_runs(day).n_movies) == [96]


def test_a_movie_of_unknown_length_is_a_run_of_its_own(real):
    runs = find_runs(real[real.n_frames.isna()])
    assert set(runs.n_movies) == {1}
    assert runs.n_frames.isna().all()
    assert runs.end_time.isna().all()
    assert find_runs(real).n_movies.sum() == len(real)
    assert len(find_runs(real.iloc[:0])) == 0


def test_a_movie_within_another_does_not_end_its_run():
    """The gap begins where the last of all earlier movies ends."""
    start = ["2017-10-20T21:59", "2017-10-20T22:15", "2017-10-21T00:49:20", "2017-10-21T01:10"]
    catalog = pd.DataFrame(
        {
            "basename": list("ABCD"),
            "url": list("abcd"),
            "start_time": pd.to_datetime(start, format="ISO8601"),
            "duration": [10_217.0, 900.0, 900.0, 900.0],
            "n_frames": pd.array([1] * 4, "Int64"),
        }
    )
    runs = find_runs(catalog)
    assert list(runs.basenames) == [("A", "B", "C"), ("D",)]
    assert runs.end_time[0] == pd.Timestamp("2017-10-21T01:04:20")
    assert find_runs(catalog.iloc[:2]).end_time[0] == pd.Timestamp("2017-10-21T00:49:17")


# ---- scenes

MOVIES = ["CAMHDA301-20160810T000000Z", "CAMHDA301-20160810T030000Z", "CAMHDA301-20160810T060000Z"]
REGIONS = f"""mov_basename,date_time,start_frame,end_frame,scene_tag
{MOVIES[1]},2016-08-10 03:00:00,1,100,d3_p0_z0
{MOVIES[0]},2016-08-10 00:00:00,581,1051,d3_p1_z0
{MOVIES[0]},2016-08-10 00:00:00,1100,1200,d3_p1_z2
{MOVIES[0]},2016-08-10 00:00:00,2001,2011,d3_p1_z0
{MOVIES[0]},2016-08-10 00:00:00,3000,3100,d3_p1_z0
{MOVIES[1]},2016-08-10 03:00:00,601,1000,d3_p1_z0
{MOVIES[1]},2016-08-10 03:00:00,1001,1010,unknown
{MOVIES[1]},2016-08-10 03:00:00,1011,1020,
CAMHDA301-20200101T000000,2020-01-01 00:00:00,1,10,d3_p1_z0
"""


@pytest.fixture
def regions(tmp_path):
    (tmp_path / "regions.csv").write_text(REGIONS)
    return read_regions(str(tmp_path / "regions.csv"))


def test_regions_count_from_zero_and_are_half_open(regions):
    assert len(regions) == 9
    assert list(regions.loc[1, ["basename", "start", "stop", "scene_tag"]]) == [
        MOVIES[0],
        580,
        1051,
        "d3_p1_z0",
    ]
    assert list(regions.loc[2, ["deployment", "position", "zoom"]]) == [3, 1, 2]
    assert regions.scene_tag.isna().sum() == 2


def test_the_old_form_is_read_alike(regions, tmp_path):
    lines = [line.split(",") for line in REGIONS.splitlines()[1:]]
    old = tmp_path / "old.csv"
    old.write_text("".join(",".join([name, *rest]) + "\n" for name, _, *rest in lines))
    pd.testing.assert_frame_equal(read_regions(str(old)), regions)
    old.write_text("\n".join(REGIONS.splitlines()[1:]))  # no header, but times
    pd.testing.assert_frame_equal(read_regions(str(old)), regions)


def test_a_table_saved_by_a_spreadsheet_begins_with_a_byte_order_mark(regions, tmp_path):
    (tmp_path / "saved.csv").write_text(REGIONS, encoding="utf-8-sig")
    pd.testing.assert_frame_equal(read_regions(tmp_path / "saved.csv"), regions)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{MOVIES[0]},t,0,100,d3_p1_z0", "counts frames from 0"),
        (f"{MOVIES[0]},t,100,99,d3_p1_z0", "ends before it begins"),
        ("movie,t,1,99,d3_p1_z0", "not of a CamHD movie"),
        ("a,b", "not a table of regions"),
        (f"{MOVIES[0]},t,one,99,d3_p1_z0", "frames that are not numbers"),
    ],
)
def test_false_regions_are_refused(tmp_path, line, message):
    path = tmp_path / "regions.csv"
    path.write_text(f"{REGIONS}{line}\n")
    with pytest.raises(ValueError, match=message):
        read_regions(str(path))


def test_frames_of_a_scene(real, regions):
    frames = find_scene_frames("d3_p1_z0", regions, real, start="2016-08", end="2017-08")
    assert list(frames.basename) == MOVIES[:2]
    assert list(frames.url) == list(real.url[MOVIES[:2]])
    assert list(frames.frame) == [2005, 799]  # the middle of 2000 ≤ i < 2011, and of 600 ≤ i < 1000
    start = real.start_time[MOVIES[0]]
    assert frames.time[0] == start + pd.Timedelta(round(2005 * 1001 / 30_000 * 1e9), "ns")
    assert list(frames.stop) == [2011, 1000]


def test_frames_of_a_scene_open_as_a_timelapse(movie_path, tmp_path):
    regions = tmp_path / "regions.csv"
    regions.write_text(f"{movie_path.stem},5,9,d3_p1_z0\n")
    catalog = open_archive(movie_path.parent).catalog(index=True, progress=False)
    frames = find_scene_frames("d3_p1_z0", read_regions(regions), catalog)
    video = open_timelapse(frames["url"], frame=frames["frame"], pix_fmt="gray10le", progress=False)
    assert list(video.time.to_numpy()) == list(frames["time"])
    assert read_frame_number(video[0].to_numpy()) == 6  # number 7 in the table


def test_scenes_are_bounded_by_time_and_quality(real, regions):
    assert list(find_scene_frames("d3_p1_z0", regions, real, start="2016-08-10T01:00").frame) == [799]
    assert find_scene_frames("d3_p1_z0", regions, real, start="2018").empty
    dark = real.assign(quality=real.quality.where(real.index != MOVIES[0], "blank"))
    assert list(find_scene_frames("d3_p1_z0", regions, dark).frame) == [799]


def test_a_scene_that_is_not_there(real, regions):
    with pytest.raises(LookupError, match=r"d3_p9_z9.*d3_p0_z0, d3_p1_z0, d3_p1_z2"):
        find_scene_frames("d3_p9_z9", regions, real)


def test_regions_of_another_movie_are_noticed(real, regions):
    short = real.assign(n_frames=real.n_frames.where(real.index != MOVIES[0], 2010))
    with pytest.raises(ValueError, match="beyond the end"):
        find_scene_frames("d3_p1_z0", regions, short)


# ---- manners


def test_turns_come_at_equal_distances():
    pace = RateLimiter(50)
    assert [pace.reserve(10.0) for _ in range(3)] == pytest.approx([0, 0.02, 0.04])
    assert pace.reserve(10.05) == pytest.approx(0.01)
    assert pace.reserve(20.0) == 0  # time that was not used is not saved up
    assert pace.reserve(20.0) == pytest.approx(0.02)
    free = RateLimiter(float("inf"))
    assert [free.reserve(1.0) for _ in range(3)] == [0, 0, 0]
