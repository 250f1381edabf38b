"""Two programs that write one file: a third one reads the file of one of them, whole, whatever is written."""

import gzip
import os
import signal
import subprocess
import sys
import threading

import fsspec
import pandas as pd
import pytest

from camhd_access import (
    MovieReader,
    open_archive,
    read_catalog,
    write_catalog,
    write_clip,
    write_references,
)
from camhd_access.movie.rescue import read_sidecar, recover_index, write_sidecar
from camhd_access.storage.source import open_source

N_WRITES = 12


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    (root / "2016/11/13").mkdir(parents=True)
    for hour in range(0, 24, 3):
        (root / f"2016/11/13/CAMHDA301-20161113T{hour:02}0000Z.mov").write_bytes(b"x" * 100)
    return open_archive(str(root)).catalog(index=False, progress=False)


@pytest.fixture(scope="module")
def recovery(movie_path):
    return recover_index(open_source(str(movie_path)))


def n_references(path):
    refs = fsspec.filesystem("reference", fo=str(path), skip_instance_cache=True).references
    return sum(key.startswith("video/c/") for key in refs)


@pytest.fixture(params=["c.jsonl", "c.jsonl.gz", "c.parquet", "r.json", "s.npz", "m.mov"])
def kind(request, catalog, recovery, movie_path, tmp_path):
    """A path, a way to write there something of a small or of a large size, and to read that size."""
    name = request.param
    path = tmp_path / "written" / name
    path.parent.mkdir()
    if name.startswith("c."):
        tables = {8: catalog, 800: pd.concat([catalog] * 100)}
        return path, tables, lambda n: write_catalog(tables[n], path), lambda: len(read_catalog(path))
    reader = MovieReader(movie_path)
    sizes = (3, 40)
    if name == "r.json":
        return (
            path,
            sizes,
            lambda n: write_references(reader, path, frames=range(n)),
            lambda: n_references(path),
        )
    if name == "m.mov":
        return path, sizes, lambda n: write_clip(reader, range(n), path), lambda: MovieReader(path).n_frames

    def write(n):
        index = recovery.index
        cut = type(index)(
            **{f: getattr(index, f)[:n] for f in ("offset", "size", "pts", "duration", "is_sync")},
            timescale=index.timescale, codec=index.codec, width=320, height=192, interlaced=True,
        )  # fmt: skip
        write_sidecar(path, type(recovery)(cut, recovery.file_size, None, ()))

    return path, sizes, write, lambda: read_sidecar(path, file_size=recovery.file_size).index.n_frames


def test_a_reader_finds_one_of_them_whole(kind):
    path, sizes, write, read = kind
    write(min(sizes))
    wrong, begin = [], threading.Barrier(len(sizes))

    def go(n):
        begin.wait()
        for _ in range(N_WRITES):
            write(n)

    writers = [threading.Thread(target=lambda n=n: note(wrong, go, n)) for n in sizes]
    for writer in writers:
        writer.start()
    found = set()
    while any(writer.is_alive() for writer in writers):
        found.add(read())
    for writer in writers:
        writer.join()
    assert not wrong
    assert found | {read()} <= set(sizes)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def note(wrong, go, n):
    try:
        go(n)
    except Exception as error:  # noqa: BLE001 - whatever a writer would meet
        wrong.append(error)


WRITER = """
import sys
import pandas as pd
from camhd_access import read_catalog, write_catalog
path, n = sys.argv[1], int(sys.argv[2])
table = pd.concat([read_catalog(path).iloc[:8]] * n)
print("ready", flush=True)
while True:
    write_catalog(table, path)
"""


def test_a_writer_that_is_killed_leaves_the_old_one(catalog, tmp_path):
    path = tmp_path / "c.jsonl"
    write_catalog(catalog, path)
    command = [sys.executable, "-c", WRITER, str(path), "300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "ready\n"
        for _ in range(3):
            assert len(read_catalog(path)) in (8, 2400)
        os.kill(writer.pid, signal.SIGKILL)
    assert len(read_catalog(path)) in (8, 2400)
    assert all(each.name == "c.jsonl" or each.name.startswith(".") for each in tmp_path.iterdir())


def test_what_must_survive_a_power_cut_is_on_the_disk_before_it_has_its_name(kind, monkeypatch):
    path, sizes, write, _ = kind
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, real=real, name=name, **k: (done.append(name), real(*a, **k))[1]
        )
    write(min(sizes))
    assert done == ["fsync", "replace", "fsync"]  # the file, its name, the folder that has the name
    assert path.exists()


def noted(done, name, real):
    def call(*args, **options):
        done.append(name)
        return real(*args, **options)

    return call


def test_gz_is_one_stream(catalog, tmp_path):
    write_catalog(catalog, tmp_path / "c.jsonl.gz")
    assert gzip.decompress((tmp_path / "c.jsonl.gz").read_bytes()).count(b"\n") == 8
