"""Crawls: catalogues of the archive, resumed and updated, with the requests that they cost."""

import json
import os
import signal
import sys
import threading
from dataclasses import replace

import fsspec
import numpy as np
import pandas as pd
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem
from origin import answers, refuses, running_origin
from shared_data import shared_data
from sparse_archive import ROOT, day_path, write_sparse

from camhd_access import Archive, MovieReader, open_archive, read_catalog, write_catalog
from camhd_access.archive.rate_limit import MAX_AT_ONCE, MAX_PER_SECOND
from camhd_access.errors import MissingMoovError, RemoteFileError
from camhd_access.synthetic import serve_folder

MB = 1_000_000
MOVIES = {  # file size, frames, creation time → quality, start, its source
    "20160126T090000Z": (0, 0, None, "empty", "2016-01-26T09:00:00", "name"),
    "20161113T000000Z": (560 * MB, 1000, "2016-11-13T00:00:02", "good", "2016-11-13T00:00:02", "mvhd"),
    "20161113T030000Z": (560 * MB, 1000, None, "good", "2016-11-13T03:00:00", "name"),
    "20161201T155900": (7_323_369_472, 0, None, "unreadable", "2016-12-01T15:44:00", "name"),
    "20170820T001500": (14_000 * MB, 26_955, "2017-08-20T00:00:02", "good", "2017-08-20T00:00:02", "mvhd"),
    # A part that has no clock: nothing tells how long after part one it began.
    "20170820T001500_01": (60 * MB, 100, "1972-01-19T00:00:00", "good", None, "unknown"),
    "20171120T031500": (60 * MB, 100, "2017-11-20T01:00:00", "odd", "2017-11-20T01:00:00", "mvhd"),
    "20171121T001500": (56_000 * MB, 100_001, "2017-11-20T23:00:00", "odd", "2017-11-20T23:00:00", "mvhd"),
    "20180301T001500": (580 * MB, 26_955, "2018-03-01T00:00:01", "blank", "2018-03-01T00:00:01", "mvhd"),
}
N_FOLDERS = 1 + 3 + 6 + 7  # root, years, months, days


def basename(name):
    return f"CAMHDA301-{name}"


def write_movies(folder, names=tuple(MOVIES)):
    for name in names:
        file_size, n_frames, created, *_ = MOVIES[name]
        per_chunk = 600 if n_frames > 100_000 else 6
        write_sparse(
            folder / day_path(basename(name)),
            file_size=file_size,
            n_frames=n_frames,
            created=created,
            frames_per_chunk=per_chunk,
        )
    return folder


def write_small(folder, *names):
    for name in names:
        path = folder / ROOT / f"{name[:4]}/{name[4:6]}/{name[6:8]}" / f"{basename(name)}.mov"
        write_sparse(path, file_size=6 * MB, n_frames=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_movies(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def server(folder):
    with serve_folder(folder) as running:
        yield running


def crawl(server, **options):
    archive = replace(open_archive(server.url + ROOT), per_second=float("inf"))
    return archive.catalog(index=True, progress=False, **options)


def is_same_time(found, expected):
    return pd.isna(found) if expected is None else found == pd.Timestamp(expected)


def check(catalog):
    assert list(catalog.index) == [basename(name) for name in MOVIES]
    for name, (file_size, n_frames, _, quality, start, source) in MOVIES.items():
        row = catalog.loc[basename(name)]
        assert (row.file_size, row.quality, row.start_source) == (file_size, quality, source)
        assert is_same_time(row.start_time, start)
        assert (quality == "good") == pd.isna(row.reason)
        if n_frames:
            assert (row.n_frames, row.codec, row.width, row.height) == (n_frames, "apcn", 1920, 1080)
            assert row.duration == n_frames * 1001 / 30_000
            assert 0 <= file_size / n_frames - row.bytes_per_frame < 60_000 / n_frames + 210
        else:
            assert row[["n_frames", "duration", "codec", "width", "height", "bytes_per_frame"]].isna().all()


def test_each_movie_is_told_apart(server):
    catalog = crawl(server)
    check(catalog)
    reason = catalog.reason
    assert "recording interrupted" in reason[basename("20161201T155900")]
    assert "interrupted" not in reason[basename("20160126T090000Z")]
    assert reason[basename("20171120T031500")] == "its clock is -8,097 s off its name"
    assert "100,001 frames" in reason[basename("20171121T001500")]
    assert "no picture" in reason[basename("20180301T001500")]
    assert list(catalog.deployment) == [2, 3, 3, 3, 4, 4, 4, 4, 4]
    assert "cut short" in catalog.note[basename("20161201T155900")]
    assert catalog.start_disagreement[basename("20161113T000000Z")] == 2


def test_a_row_says_what_a_reader_says(folder):
    for row in open_archive(folder / ROOT).catalog("2016-11-13", index=True, progress=False).itertuples():
        if row.quality in {"good", "odd", "blank"}:
            reader = MovieReader(row.url)
            index = reader.index
            assert (row.n_frames, row.height, row.width) == reader.shape
            assert (row.file_size, row.duration, row.codec) == (
                reader.file_size,
                reader.duration,
                index.codec,
            )
            assert row.start_source == reader.start.source
            assert (
                pd.isna(row.start_time) if reader.start_time is None else row.start_time == reader.start_time
            )
            assert row.bytes_per_frame == index.size.mean()
        elif row.quality == "unreadable":
            with pytest.raises(MissingMoovError):
                MovieReader(row.url)


def test_an_index_costs_one_request(folder, server):
    crawl(server)
    assert server.n_requests == N_FOLDERS + len(MOVIES) + 1  # one more to be sure that there is no moov
    assert server.n_bytes_sent < 10 * MB


def test_names_alone_cost_no_request(server):
    catalog = open_archive(server.url + ROOT).catalog("2017-08-20", "2017-11-21", progress=False)
    assert server.n_requests == 1 + 1 + 2 + 2
    assert list(catalog.index) == [basename(name) for name in list(MOVIES)[4:7]]
    assert catalog[["file_size", "n_frames", "quality", "codec"]].isna().all(axis=None)
    assert list(catalog.start_time.dropna()) == [
        pd.Timestamp("2017-08-20T00:00"),
        pd.Timestamp("2017-11-20T03:00"),
    ]
    assert list(catalog.start_source) == ["name", "unknown", "name"]
    assert list(catalog.url) == [f"{server.url}{day_path(basename(name))}" for name in list(MOVIES)[4:7]]


@pytest.mark.parametrize("file", ["catalog.jsonl", "catalog.jsonl.gz", "new/folder/catalog.parquet"])
def test_what_was_found_is_not_asked_again(server, tmp_path, file):
    first = crawl(server, file=str(tmp_path / file))
    before = server.n_requests
    second = crawl(server, file=str(tmp_path / file))
    assert server.n_requests - before == 1 + 3 + 6  # root, years, months: days are settled
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(first, read_catalog(str(tmp_path / file)))
    assert [path.name for path in (tmp_path / file).parent.iterdir()] == [file.rpartition("/")[2]]


def test_the_file_may_be_anywhere(server):
    first = crawl(server, file="memory://crawl/catalog.parquet")
    pd.testing.assert_frame_equal(first, read_catalog("memory://crawl/catalog.parquet"))
    fsspec.filesystem("memory").rm("/crawl", recursive=True)


def test_only_what_is_new_is_asked(tmp_path):
    names = list(MOVIES)
    file = str(tmp_path / "catalog.jsonl")
    archive = tmp_path / "archive"
    with serve_folder(write_movies(archive, names[1:4])) as server:
        crawl(server, file=file)
        before = server.n_requests
        write_movies(archive, names[4:6])
        catalog = crawl(server, file=file)
        assert len(catalog) == 5
        assert server.n_requests - before == (1 + 1 + 2) + 3 + 2  # folders known, new ones, new indexes


def test_a_part_of_a_day_does_not_hide_the_rest(server, tmp_path):
    file = str(tmp_path / "catalog.jsonl")
    assert len(crawl(server, start="2016-11-13T02:00", end="2016-11-13T04:00", file=file)) == 1
    assert len(read_catalog(file)) == 2
    check(crawl(server, file=file))


def test_movies_that_were_taken_away_go(tmp_path):
    archive, file = write_movies(tmp_path / "archive", list(MOVIES)[1:4]), str(tmp_path / "catalog.jsonl")
    with serve_folder(archive) as server:
        catalog = crawl(server, file=file)
        catalog["seen"] = catalog["time_from_name"]  # as if they had been new then
        write_catalog(catalog, file)
        (archive / day_path(basename("20161113T030000Z"))).unlink()
        assert [name[-7:] for name in crawl(server, file=file).index] == ["000000Z", "T155900"]


def test_a_young_movie_that_was_not_finished_is_tried_again(tmp_path):
    now = np.datetime64("now", "s")
    name = basename(str(now).replace("-", "").replace(":", ""))
    path, file = tmp_path / "archive" / day_path(name), str(tmp_path / "catalog.jsonl")
    write_sparse(path, file_size=10 * MB, n_frames=0)
    with serve_folder(tmp_path / "archive") as server:
        assert list(crawl(server, file=file).quality) == ["unreadable"]
        write_sparse(path, file_size=60 * MB, n_frames=100, created=now)
        assert list(crawl(server, file=file).quality) == ["good"]
        before = server.n_requests
        assert list(crawl(server, file=file).quality) == ["good"]
        assert server.n_requests - before == 4  # today is listed again


def test_a_movie_of_another_size_is_read_again(tmp_path):
    path, file = write_movies(tmp_path / "archive", ["20161113T000000Z"]), str(tmp_path / "catalog.jsonl")
    archive = open_archive(str(path / ROOT))
    first = archive.catalog(index=True, progress=False, file=file)
    assert list(first.n_frames) == [1000]
    first["seen"] = first["time_from_name"]
    write_catalog(first, file)
    write_sparse(path / day_path(first.index[0]), file_size=600 * MB, n_frames=999)
    assert list(archive.catalog(index=True, progress=False, file=file).n_frames) == [999]


class FaultyFileSystem(LocalFileSystem):
    """A disk on which some files cannot be read."""

    cachable = False

    def __init__(self, is_bad):
        super().__init__()
        self.is_bad = is_bad
        self.n_reads = 0
        self.lock = threading.Lock()

    def cat_file(self, path, start=None, end=None, **kwargs):
        with self.lock:
            self.n_reads += 1
            bad = self.is_bad(path, self.n_reads)
        if bad:
            raise OSError(5, "bad sector", path)
        return super().cat_file(path, start, end, **kwargs)


def test_a_movie_out_of_reach_stops_nothing_and_is_asked_again(folder, tmp_path):
    file = str(tmp_path / "catalog.jsonl")
    disk = FaultyFileSystem(lambda path, _: "20180301" in path)
    catalog = Archive(disk, str(folder / ROOT)).catalog(index=True, progress=False, file=file)
    (unknown,) = catalog.index[catalog.quality.isna()]
    assert unknown == basename("20180301T001500")
    assert "not reached" in catalog.reason[unknown]
    assert "bad sector" in catalog.reason[unknown]
    whole = FaultyFileSystem(lambda *_: False)
    check(Archive(whole, str(folder / ROOT)).catalog(index=True, progress=False, file=file))
    assert whole.n_reads == 1


def test_a_movie_that_shrinks_while_it_is_read_is_asked_again(folder):
    class ShrinkingFileSystem(FaultyFileSystem):
        def cat_file(self, path, start=None, end=None, **kwargs):
            data = super().cat_file(path, start, end, **kwargs)
            return data if start < 0 else data[:-1]

    disk = ShrinkingFileSystem(lambda *_: False)
    row = Archive(disk, str(folder / ROOT)).catalog("2016-12", "2017", index=True, progress=False).iloc[0]
    assert row.quality is pd.NA
    assert "was replaced while it was read" in row.reason


def test_listings_are_not_taken_from_memory(tmp_path):
    class RememberingFileSystem(AsyncFileSystem):
        """Like filesystems of object storage: listings are cached unless they are told otherwise."""

        cachable = False
        disk = LocalFileSystem()

        async def _ls(self, path, detail=True, **kwargs):
            path = path.rstrip("/")
            if path not in self.dircache:
                self.dircache[path] = self.disk.ls(path, detail=detail)
            return self.dircache[path]

        def invalidate_cache(self, path=None):
            self.dircache.pop(path, None)

    archive = Archive(RememberingFileSystem(), str(write_movies(tmp_path, ["20161113T000000Z"]) / ROOT))
    assert len(archive.movies()) == 1
    write_movies(tmp_path, ["20161113T030000Z", "20170820T001500"])
    assert len(archive.movies()) == 3


def test_a_catalogue_moves_to_another_mirror(server, folder, tmp_path):
    crawl(server, file=tmp_path / "catalog.jsonl")
    with serve_folder(folder) as mirror:
        catalog = crawl(mirror, file=tmp_path / "catalog.jsonl")
        assert mirror.n_requests == N_FOLDERS  # no index is read again
        assert all(url.startswith(mirror.url) for url in catalog.url)
        check(catalog)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """128 small movies."""
    root = tmp_path_factory.mktemp("many")
    for day in range(1, 17):
        for hour in range(0, 24, 3):
            path = root / day_path(basename(f"201608{day:02}T{hour:02}0000Z"))
            write_sparse(path, file_size=6 * MB, n_frames=10, created=f"2016-08-{day:02}T{hour:02}")
    return str(root / ROOT)


def check_resumed(many, file, n_found):
    whole = FaultyFileSystem(lambda *_: False)
    catalog = Archive(whole, many).catalog(index=True, progress=False, file=file)
    assert list(catalog.quality) == ["good"] * 128
    assert whole.n_reads == 128 - n_found


def test_a_crawl_goes_on_where_it_was_broken_off(many, tmp_path):
    file = tmp_path / "catalog.jsonl"
    disk = FaultyFileSystem(lambda _, n_reads: n_reads > 30)
    with pytest.raises(OSError, match="bad sector"):
        Archive(disk, many).catalog(index=True, progress=False, file=file)
    assert disk.n_reads < 30 + 2 * 25 + MAX_AT_ONCE  # a disk that is gone is left alone
    n_found = int((read_catalog(file).quality == "good").sum())
    assert 30 - MAX_AT_ONCE <= n_found <= 30
    check_resumed(many, file, n_found)


def test_a_crawl_goes_on_where_somebody_stopped_it(many, tmp_path):
    file = tmp_path / "catalog.parquet"

    def press_ctrl_c(_, n_reads):
        if n_reads == 60:
            os.kill(os.getpid(), signal.SIGINT)
        return False

    disk = FaultyFileSystem(press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        Archive(disk, many).catalog(index=True, progress=False, file=file)
    n_found = int((read_catalog(file).quality == "good").sum())
    assert 60 - 2 * MAX_AT_ONCE <= n_found < 128
    check_resumed(many, file, n_found)


def test_a_listing_that_fails_stops_the_crawl_and_loses_nothing(folder, tmp_path):
    file = str(tmp_path / "catalog.jsonl")
    with serve_folder(folder) as server:
        before = crawl(server, file=file)
    with pytest.raises(RemoteFileError):
        open_archive(server.url + ROOT, storage_options={"tries": 1}).catalog(progress=False, file=file)
    pd.testing.assert_frame_equal(before, read_catalog(file))


def test_a_published_catalogue_is_a_start(server, folder, tmp_path):
    file, published = str(tmp_path / "catalog.jsonl"), tmp_path / "dbcamhd.json"
    row = {"filename": "https://elsewhere/CAMHDA301-20161113T000000Z.mov", "filesize": 560 * MB}
    published.write_text(json.dumps(row | {"frame_count": 1000, "timestamp": 1478995203}))
    write_catalog(read_catalog(str(published)), file)
    catalog = crawl(server, start="2016-11-13", end="2016-11-14", file=file)
    assert server.n_requests == 4 + 1  # the folders, and the movie that is not in it
    first, second = catalog.itertuples()
    assert first.url == f"{server.url}{day_path(first.Index)}"
    assert (str(first.start_time), first.quality) == ("2016-11-13 00:00:03", "good")
    assert (str(second.start_time), second.quality) == ("2016-11-13 03:00:00", "good")


def test_a_movie_in_two_folders_is_one_movie(tmp_path):
    write_movies(tmp_path, ["20161113T000000Z"])
    name = basename("20161113T000000Z.mov")
    write_sparse(tmp_path / ROOT / name, file_size=6 * MB, n_frames=10)
    archive = open_archive(str(tmp_path / ROOT))
    own, other = str(tmp_path / ROOT / "2016/11/13" / name), str(tmp_path / ROOT / name)
    assert archive.movies() == [own]
    (row,) = archive.catalog(index=True, progress=False).itertuples()
    assert (row.url, row.other_urls) == (own, other)
    assert row.note.endswith(f"folders: it is also at {other}")


def test_a_movie_in_the_folders_of_two_days_is_told_and_not_lost(tmp_path):
    write_small(tmp_path, "20161113T000000Z", "20161114T000000Z")
    root, name = tmp_path / ROOT, "CAMHDA301-20161113T000000Z.mov"
    copy = root / "2016/11/14" / name
    write_sparse(copy, file_size=6 * MB, n_frames=10)
    archive = open_archive(str(root))
    told = (
        r"folders of other days than those in their names: .*/2016/11/14/CAMHDA301-20161113T000000Z\.mov\. "
    )
    file = tmp_path / "catalog.parquet"
    with pytest.warns(UserWarning, match=told):
        catalog = archive.catalog(progress=False, file=file)
    first, second = catalog.itertuples()
    assert (first.url, first.other_urls) == (str(root / "2016/11/13" / name), str(copy))
    assert (second.other_urls is pd.NA, len(catalog)) == (True, 2)
    pd.testing.assert_frame_equal(read_catalog(file), catalog)
    with pytest.warns(UserWarning, match=told):
        assert archive.movies("2016-11-14") == [second.url]
    (root / "2016/11/13" / name).unlink()
    with pytest.warns(UserWarning, match=told):
        assert archive.movies() == [str(copy), second.url]


def test_a_name_whose_second_is_60_is_in_the_folder_of_its_day(tmp_path):
    write_small(tmp_path, "20161113T235960Z", "20161114T000000Z")
    archive = open_archive(str(tmp_path / ROOT))
    path = str(tmp_path / ROOT / "2016/11/13/CAMHDA301-20161113T235960Z.mov")
    assert archive.movies("2016-11-13", "2016-11-14") == [path]
    assert archive.movies("2016-11-14") == [path.replace("13", "14").replace("235960", "000000")]
    assert archive.url("CAMHDA301-20161113T235960Z") == path
    catalog = archive.catalog("2016-11-13", "2016-11-14", progress=False)
    (row,) = catalog.itertuples()
    assert (row.url, str(row.time_from_name)) == (path, "2016-11-14 00:00:00")
    assert "its second is 60, which is read as the next minute" in row.note


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_a_catalogue_without_the_newest_column_is_read(folder, tmp_path, suffix):
    catalog = open_archive(str(folder / ROOT)).catalog(progress=False)
    write_catalog(catalog.drop(columns="other_urls"), tmp_path / f"old{suffix}")
    pd.testing.assert_frame_equal(read_catalog(tmp_path / f"old{suffix}"), catalog)


def test_a_flat_mirror_in_object_storage(tmp_path):
    memory = fsspec.filesystem("memory")
    write_sparse(tmp_path / "movie.mov", file_size=6 * MB, n_frames=10, created="2016-11-13T00:00:02")
    for name in ("20161113T000000Z", "20170820T001500"):
        memory.pipe_file(f"/camhd/{basename(name)}.mov", (tmp_path / "movie.mov").read_bytes())
    archive = open_archive("memory://camhd")
    catalog = archive.catalog(index=True, progress=False)
    assert list(catalog.url) == archive.movies()
    with fsspec.open(catalog.url.iloc[0]) as file:  # openable as it is
        assert len(file.read()) == 6 * MB
    assert list(catalog.n_frames) == [10, 10]
    assert archive.url("CAMHDA301-20170820T001500") == catalog.url.iloc[1]
    memory.rm("/camhd", recursive=True)


def test_real_servers(folder, webserver, web_root):
    target = web_root / "crawled"
    if not target.exists():
        target.symlink_to(folder)
    check(open_archive(f"{webserver.url}/crawled/{ROOT}").catalog(index=True, progress=False))


def test_a_catalogue_that_cannot_be_kept_is_refused_before_the_crawl(folder, tmp_path, monkeypatch):
    with serve_folder(folder) as server:
        archive = open_archive(server.url + ROOT)
        with pytest.raises(ValueError, match=r"c\.csv': .* must end in \.parquet, \.jsonl or \.jsonl\.gz"):
            archive.catalog(file=tmp_path / "c.csv")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ImportError, match=r"pip install 'camhd_access\[parquet\]'"):
            archive.catalog(index=True, file=tmp_path / "c.parquet")
        assert server.n_requests == 0


def test_progress_is_shown_where_it_is_wanted(folder, capfd):
    archive = open_archive(str(folder / ROOT))
    archive.catalog(index=True, progress=False)
    assert capfd.readouterr() == ("", "")
    archive.catalog(index=True)
    shown = capfd.readouterr().err
    assert f"{N_FOLDERS}/{N_FOLDERS}" in shown
    assert f"{len(MOVIES)}/{len(MOVIES)}" in shown


def test_manners(tmp_path):
    """A crawl keeps the limits of concurrent requests and of requests per second."""
    assert (MAX_AT_ONCE, MAX_PER_SECOND) == (8, 50)
    write_sparse(tmp_path / "movie.mov", file_size=600_000, n_frames=10)
    movie = (tmp_path / "movie.mov").read_bytes()
    names = [f"{basename(f'201608{day:02}T000000Z')}.mov" for day in range(1, 31)]
    listing = "".join(f'<a href="{name}">{name}</a>' for name in names)
    page = answers(200, f"<title>Index of /</title>{listing}".encode(), Content_Type="text/html")
    with running_origin() as origin:
        origin.play("/camhd/", page, always=True)
        for name in names:
            origin.put(f"/camhd/{name}", movie)
        archive = replace(open_archive(f"{origin.url}/camhd"), at_once=3, per_second=100)
        begin = pd.Timestamp.now()
        catalog = archive.catalog(index=True, progress=False)
        seconds = (pd.Timestamp.now() - begin).total_seconds()
        assert list(catalog.quality) == ["good"] * 30
        assert len(origin.requests) == 31
        assert origin.most_at_once <= 3
        assert seconds >= 30 / 100  # at least: a busy machine takes longer


def test_servers_without_ranges_from_the_end(tmp_path):
    """Like Azure: each movie takes a HEAD and a GET; refused suffix ranges are not requested again."""
    write_sparse(tmp_path / "movie.mov", file_size=600_000, n_frames=10)
    names = [f"{basename(f'201608{day:02}T000000Z')}.mov" for day in range(1, 11)]
    listing = "".join(f'<a href="{name}">{name}</a>' for name in names)
    with running_origin() as origin:
        page = answers(200, f"<title>Index of /</title>{listing}".encode(), Content_Type="text/html")
        origin.play("/camhd/", page, always=True)
        for name in names:
            origin.put(f"/camhd/{name}", (tmp_path / "movie.mov").read_bytes())
            origin.play(f"/camhd/{name}", refuses(suffix=True, status=400), always=True)
        archive = replace(open_archive(f"{origin.url}/camhd"), at_once=1, per_second=float("inf"))
        assert list(archive.catalog(index=True, progress=False).quality) == ["good"] * 10
        assert len(origin.requests) == 1 + 1 + 10 * 2


def test_the_real_archive_reduced(tmp_path):
    """Every 30th movie of the real archive, of its true size: one request each, and those for folders."""
    known = read_catalog(str(shared_data("camhd_catalog_2018.jsonl"))).iloc[::30]
    for row in known.itertuples():
        write_sparse(
            tmp_path / day_path(row.Index),
            file_size=row.file_size,
            n_frames=0 if pd.isna(row.n_frames) else row.n_frames,
            created=row.start_time,
            frames_per_chunk=60,
        )
    folders = {path.parent for path in (tmp_path / ROOT).rglob("*.mov")}
    n_folders = 1 + len({p for f in folders for p in (f, f.parent, f.parent.parent)})
    with serve_folder(tmp_path) as server:
        archive = replace(open_archive(server.url + ROOT), per_second=float("inf"))
        found = archive.catalog(index=True, progress=False, file=tmp_path / "catalog.parquet")
        n_lacking = int((known.n_frames.isna()).sum())
        n_whole = len(known) - n_lacking
        assert server.n_requests <= n_folders + n_whole + 3 * n_lacking
        before = server.n_requests
        again = archive.catalog(index=True, progress=False, file=str(tmp_path / "catalog.parquet"))
        n_days = len(folders)
        assert server.n_requests - before == n_folders - n_days
    pd.testing.assert_frame_equal(found, again)
    assert list(found.index) == list(known.index)
    assert list(found.file_size) == list(known.file_size)
    sure = known.index[known.quality.isin(["good", "blank"])]
    assert list(found.quality[sure]) == list(known.quality[sure])
    assert (found.start_time[sure] == known.start_time[sure].dt.floor("s")).all()
    assert found.start_source[sure].equals(known.start_source[sure])
