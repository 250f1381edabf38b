"""Sidecars that are damaged or malicious: `InvalidMovieError`, in bounded memory."""

import json
import random
import tracemalloc
import zipfile
from io import BytesIO

import numpy as np
import pytest

from camhd_access import InvalidMovieError
from camhd_access.movie.rescue import read_sidecar, recover_index, write_sidecar
from camhd_access.storage.source import open_source


@pytest.fixture(scope="module")
def recovery(movie_path):
    return recover_index(open_source(str(movie_path)))


@pytest.mark.parametrize("name", ["s.mov", "S.MP4", "file:///tmp/s.mov"])
def test_a_sidecar_does_not_replace_a_movie(recovery, name):
    with pytest.raises(ValueError, match="an index is not a movie"):
        write_sidecar(name, recovery)


@pytest.fixture
def sidecar(recovery, tmp_path):
    write_sidecar(tmp_path / "s.npz", recovery)
    return tmp_path / "s.npz"


def read_or_refuse(sidecar, recovery):
    """Whether it was read; if so, it equals what was written."""
    try:
        found = read_sidecar(sidecar, file_size=recovery.file_size)
    except InvalidMovieError:
        return False
    np.testing.assert_array_equal(found.index.offset, recovery.index.offset)
    np.testing.assert_array_equal(found.index.size, recovery.index.size)
    return True


def test_every_truncation(sidecar, recovery):
    data = sidecar.read_bytes()
    for stop in range(len(data)):
        sidecar.write_bytes(data[:stop])
        assert not read_or_refuse(sidecar, recovery)
    sidecar.write_bytes(data)
    assert read_or_refuse(sidecar, recovery)


def test_flipped_bits(sidecar, recovery):
    data = sidecar.read_bytes()
    rng = random.Random(12)
    for _ in range(500):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        sidecar.write_bytes(damaged)
        read_or_refuse(sidecar, recovery)


ABOUT = {
    "format": 1, "version": None, "file_size": 1000, "cut": None, "holes": [], "width": 64, "height": 48,
    "codec": "apcn", "interlaced": False,
}  # fmt: skip


def pack(about, offset, size):
    file = BytesIO()
    about = about if isinstance(about, str) else json.dumps(about)
    np.savez_compressed(file, about=np.array(about), offset=np.asarray(offset), size=np.asarray(size))
    return file.getvalue()


LIES = {
    "an unknown format": pack(ABOUT | {"format": 2}, [0], [9]),
    "no JSON": pack("{", [0], [9]),
    "deep JSON": pack("[" * 100_000, [0], [9]),
    "long JSON": pack(json.dumps(ABOUT) + " " * (5 << 20), [0], [9]),
    "huge numbers": pack(json.dumps(ABOUT).replace("1000", "9" * 5000), [0], [9]),
    "infinite numbers": pack(json.dumps(ABOUT).replace("64", "1e999"), [0], [9]),
    "no frames": pack(ABOUT, np.zeros(0, np.int64), np.zeros(0, np.int64)),
    "frames outside the file": pack(ABOUT, [0, 995], [9, 9]),
    "negative places": pack(ABOUT, [-1], [9]),
    "places that overflow": pack(ABOUT, [(1 << 63) - 1], [9]),
    "negative sizes": pack(ABOUT, [10], [-9]),
    "large sizes": pack(ABOUT | {"file_size": 1 << 40}, [0], [3 << 30]),
    "more offsets than sizes": pack(ABOUT, [0, 9], [9]),
    "numbers with a fraction": pack(ABOUT, [0.5], [9]),
    "objects": pack(ABOUT, np.array([0], object), [9]),
    "a table of two dimensions": pack(ABOUT, [[0]], [[9]]),
    "another codec": pack(ABOUT | {"codec": "avc1"}, [0], [9]),
    "a codec that is none": pack(ABOUT | {"codec": []}, [0], [9]),
    "a huge picture": pack(ABOUT | {"width": 1 << 20}, [0], [9]),
    "no picture": pack(ABOUT | {"width": 0}, [0], [9]),
    "a list": pack([], [0], [9]),
    "holes that are none": pack(ABOUT | {"holes": [[1]]}, [0], [9]),
    "too many frames": pack(ABOUT, np.zeros(4_000_000, np.int64), np.ones(4_000_000, np.int64)),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_sidecars_that_lie(tmp_path, name):
    path = tmp_path / "s.npz"
    path.write_bytes(LIES[name])
    tracemalloc.start()
    try:
        with pytest.raises(InvalidMovieError, match=r"s\.npz is not an index written by `camhd recover`: "):
            read_sidecar(path, file_size=1000)
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


def test_one_that_does_not_lie(tmp_path):
    path = tmp_path / "s.npz"
    path.write_bytes(pack(ABOUT, [0, 9], [9, 9]))
    assert read_sidecar(path, file_size=1000).index.n_frames == 2


@pytest.mark.parametrize("n_bytes", [1 << 30, 4 << 30])
def test_bombs(tmp_path, n_bytes):
    path = tmp_path / "s.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts:
        for name in ("about", "offset", "size"):
            with parts.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array_header_1_0(
                    part, {"descr": "<i8", "fortran_order": False, "shape": (n_bytes // 8,)}
                )
                for _ in range(80):
                    part.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidMovieError, match=r"its part about has 8\d,\d{3},\d{3} bytes"):
            read_sidecar(path, file_size=1000)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_large_file_is_not_read(tmp_path):
    with (tmp_path / "s.npz").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidMovieError, match=r"s\.npz has 1,099,511,627,776 bytes"):
        read_sidecar(tmp_path / "s.npz", file_size=1000)
