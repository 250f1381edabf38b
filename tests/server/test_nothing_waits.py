"""While the compiler runs, and never ends, everything is decoded: no reader, command or route waits."""

import threading

import numpy as np
import pytest
from commands import run
from lazycache import serving

from camhd_access import MovieReader, open_archive, open_movie, open_timelapse
from camhd_access.decoding import machine_code
from camhd_access.synthetic import write_movie

NAME = "CAMHDA301-20161113T000000Z.mov"
DAY = "2016/11/13"
REDUCTIONS = (1, 2, 4, 8)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    (root / DAY).mkdir(parents=True)
    write_movie(root / DAY / NAME, n_frames=4, width=640, height=384, audio=False)
    return root


@pytest.fixture
def movie(archive, compiling):
    return archive / DAY / NAME


@pytest.fixture
def compiling(monkeypatch):
    """A compiler that has begun, and does not end during the test."""
    may_end, kernels = threading.Event(), machine_code._Kernels()

    def compile_for_ever():
        may_end.wait()

    def wait(_self):
        raise AssertionError("this waits for the compiler")

    monkeypatch.delenv("CAMHD_DECODER", raising=False)
    monkeypatch.setattr(machine_code, "_kernels", kernels)
    monkeypatch.setattr(machine_code, "can_compile", lambda: True)
    monkeypatch.setattr(machine_code, "read_cached", lambda: None)
    monkeypatch.setattr(machine_code, "compile_elsewhere", compile_for_ever)
    monkeypatch.setattr(machine_code._Kernels, "wait", wait)
    machine_code.announce(machine_code.N_FRAMES_WORTH_COMPILING)
    try:
        yield
        assert kernels.worker.is_alive()
        assert kernels.kernel is None
    finally:
        may_end.set()
        kernels.worker.join()


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_readers(movie, reduce):
    reader = MovieReader(movie)
    frames = reader.read(slice(None), reduce=reduce)
    assert frames.shape == (4, 384 // reduce, 640 // reduce, 3)
    assert frames.std() > 1
    part = {"y": slice(7, 40), "x": slice(3, 70)}
    for options in (
        {"pix_fmt": "gray10le"},
        {"fields": True},
        {"fields": "first"},
        {"deinterlace": "linear"},
        {"errors": "mask"},
    ):
        whole = reader.read([1, 3], reduce=reduce, **options)
        cut = reader.read([1, 3], reduce=reduce, **part, **options)
        assert np.array_equal(cut, whole[:, part["y"], part["x"]])
    assert reader[2].shape == (384, 640, 3)
    assert len(list(reader)) == 4


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_arrays(movie, tmp_path, reduce):
    array = open_movie(movie, reduce=reduce, chunks=2)
    pixels = array.values
    assert np.array_equal(array.mean("time"), pixels.mean(axis=0))
    assert np.array_equal(array.sum("time"), pixels.sum(axis=0))
    assert np.allclose(array.std("time"), pixels.std(axis=0))
    assert array.camhd.contact_sheet(columns=2) is not None
    array.camhd.animate(tmp_path / "film.mp4", width=64, progress=False)
    assert open_timelapse([movie], frame=1, reduce=reduce).values.any()


def test_the_viewer(movie):
    pytest.importorskip("ipywidgets")
    box = open_movie(movie).camhd.viewer(width=160)
    assert next(each.value for each in box.children if type(each).__name__ == "Image")


@pytest.mark.parametrize(
    "command",
    [
        "frame --frame 1 -o {out}/frame.png {movie}",
        "frame --frame 1 --crop 10,20,60,40 -o {out}/frame.jpg {movie}",
        *(f"frame --frame 1 --reduce {n} -o {{out}}/frame.png {{movie}}" for n in REDUCTIONS[1:]),
        "sheet --every 0.01 --columns 4 -o {out}/sheet.png {movie}",
        "timelapse --start 2016-11-13 --end 2016-11-14 --frame 2 --reduce 4 -o {out}/film.mp4 {root}",
        "timelapse --start 2016-11-13 --end 2016-11-14 --frame 2 -o {out}/sheet.png {root}",
        "clip --frames 0:3 -o {out}/clip.mp4 {movie}",
        "clip --frames 0:3 --width 300 -o {out}/clip.gif {movie}",
    ],
)
def test_commands(movie, archive, tmp_path, command):
    done = run(*command.format(movie=movie, root=archive, out=tmp_path).split())
    assert done.exit_code == 0, done.stderr
    assert any(file.stat().st_size for file in tmp_path.iterdir())


ROUTES = [
    "",
    "/info.json",
    "/activity",
    *(f"/frame/2.jpg?width={width}" for width in (640, 320, 160, 80, 50)),
    *(f"/frame/2.png?reduce={n}&crop=5,6,30,20" for n in REDUCTIONS),
    "/frame/2.png?field=1&width=160",
    "/frame/2.png?deinterlace=linear&width=160",
    "/sample/2",
    "/clip/1-2.mov",
    "/sheet.png?every=60&width=160",
    "/animation.mp4?step=1&width=160",
    "/hls/index.m3u8?width=160",
    "/hls/init.mp4?width=160",
    "/hls/1.m4s?width=160",
    "/iiif/1/full/160,/0/default.jpg",
    "/iiif/1/32,32,160,160/80,/0/default.png",
    "/iiif/1/info.json",
    "/iiif/manifest.json",
]


def test_routes(archive, compiling, tmp_path):
    with serving(archive, tmp_path) as client:
        for route in ROUTES:
            answer = client.get(f"{DAY}/{NAME}{route}")
            assert answer.status == 200, (route, answer.content[:300])
        assert client.get(f"{DAY}/").status == 200
        assert client.get(f"{DAY}/iiif/manifest.json").status == 200


def test_the_fixture_notices_what_waits(compiling, monkeypatch):
    monkeypatch.setenv("CAMHD_DECODER", "numba")
    with pytest.raises(AssertionError, match="waits for the compiler"):
        machine_code.find_kernel()


def test_archives(archive, compiling):
    (url,) = open_archive(archive).movies()
    assert open_movie(url, reduce=4)[0].values.any()
