"""Other users of the machine: permissions to read and write the cache, and ownership of its folder."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from origin import Pattern

from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.rangecache import CacheFolder, RangeCacheFileSystem, default_cache_dir, locks
from camhd_access.storage.rangecache.locks import Patience

SIZE = 50_000
DATA = Pattern(SIZE)[:]
IS_ROOT = os.getuid() == 0


def open_cached(folder, **options):
    filesystem = LazyHTTPFileSystem(skip_instance_cache=True, **options)
    return RangeCacheFileSystem(fs=filesystem, cache_dir=folder, skip_instance_cache=True)


def read(url, folder):
    assert open_cached(folder).cat_file(url, 0, 5000) == DATA[:5000]


def modes(folder):
    """Permissions of the folder and all below it: those of folders, and those of files."""
    paths = [folder, *folder.rglob("*")]
    return [
        {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir() == is_dir}
        for is_dir in (True, False)
    ]


@pytest.fixture(params=[0o022, 0o000, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_what_is_kept_is_its_users_alone(origin, tmp_path, umask):
    read(origin.put("/m.mov", SIZE), tmp_path / "kept")
    assert modes(tmp_path / "kept") == [{0o700}, {0o600}]


def test_a_shared_folder_is_its_groups_whatever_the_umask(origin, tmp_path, umask, monkeypatch):
    monkeypatch.setenv("CAMHD_CACHE_SHARED", "1")
    read(origin.put("/m.mov", SIZE), tmp_path / "kept")
    assert modes(tmp_path / "kept") == [{0o2770}, {0o660}]


def test_a_folder_of_before_is_closed_to_others(origin, tmp_path):
    (tmp_path / "kept" / "ranges-1").mkdir(parents=True, mode=0o755)
    read(origin.put("/m.mov", SIZE), tmp_path / "kept")
    assert stat.S_IMODE((tmp_path / "kept" / "ranges-1").stat().st_mode) == 0o700


USER = """
import os, sys
uid, gid, folder, start = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
from camhd_access.ranges import ByteRange
from camhd_access.storage.rangecache import CacheFolder
from camhd_access.storage.rangecache.blocks import Piece
from camhd_access.storage.rangecache.folder import FileVersion
os.umask(0o077)
if os.getuid() == 0:
    os.setgroups([gid]); os.setgid(gid); os.setuid(uid)
kept, version = CacheFolder(folder), FileVersion("http://h/m.mov", "v1:50000")
found = kept.read(version, [ByteRange(0, 4000)])
kept.save_info("http://h/m.mov", {"validator": "v1:50000", "size": 50000})
kept.write(version, [Piece(start, memoryview(bytes(1000)))])
batch, locks = kept.claim(version, [ByteRange(start, start + 1)])
print(sum(len(piece.data) for piece in found), len(batch), locks is not None)
locks.close()
"""


def test_two_users_of_one_group_add_to_one_folder():
    """As root by two users; else by one, whose umask hides all from the group."""
    gid = 54_321 if IS_ROOT else os.getgid()
    with tempfile.TemporaryDirectory() as shared:
        folder = Path(shared, "kept")
        if IS_ROOT:
            os.chown(shared, 0, gid)
        Path(shared).chmod(0o2770)
        told = []
        for i, uid in enumerate((60_001, 60_002, 60_001)):
            done = subprocess.run(
                [sys.executable, "-c", USER, str(uid), str(gid), str(folder), str(1000 * i)],
                env=os.environ | {"CAMHD_CACHE_SHARED": "1"},
                capture_output=True,
                text=True,
                check=True,
            )
            assert "fails" not in done.stderr
            told.append(done.stdout.split())
        assert told == [[str(1000 * i), "1", "True"] for i in range(3)]
        blocks = [path for path in folder.rglob("*") if path.is_file() and path.name.count("-") == 2]
        assert len(blocks) == CacheFolder(folder).info().n_blocks == 3
        owners = {path.stat().st_uid for path in blocks}
        assert owners == ({60_001, 60_002} if IS_ROOT else {os.getuid()})


# ---- the fallback, among everybody's temporary files


@pytest.fixture
def fallback(tmp_path, monkeypatch):
    """The folder that is used where the user has no home."""
    monkeypatch.delenv("CAMHD_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def homeless():
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    assert default_cache_dir().parent == tmp_path
    return default_cache_dir()


def link(path):
    path.with_name("elsewhere").mkdir(mode=0o700)
    path.symlink_to(path.with_name("elsewhere"))


def of_another_user(path):
    path.mkdir(mode=0o700)
    os.chown(path, 60_001, -1)


STRANGE = {
    "open to all": lambda path: (path.mkdir(), path.chmod(0o777)),
    "open to the group": lambda path: (path.mkdir(), path.chmod(0o750)),
    "a link": link,
    "a file": Path.touch,
} | ({"another user's": of_another_user} if IS_ROOT else {})


@pytest.mark.parametrize("kind", STRANGE)
def test_a_fallback_that_is_not_ours_alone_is_not_used(origin, fallback, kind, caplog):
    STRANGE[kind](fallback)
    read(origin.put("/m.mov", SIZE), None)
    assert "does not belong to you alone; set CAMHD_CACHE_DIR" in caplog.text
    assert not list(fallback.parent.rglob("ranges-1"))


def test_the_fallback_is_made_for_us_alone(origin, fallback, caplog):
    url = origin.put("/m.mov", SIZE)
    for _ in range(2):
        read(url, None)
    assert modes(fallback) == [{0o700}, {0o600}]
    assert "fails" not in caplog.text
    assert len([request for request in origin.requests if request.n_sent]) == 1


# ---- locks that are missing, or held by others


def test_without_flock_everything_is_kept(origin, tmp_path, monkeypatch):
    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    url = origin.put("/m.mov", SIZE)
    for _ in range(3):
        read(url, tmp_path)
    assert len([request for request in origin.requests if request.n_sent]) == 1


def test_a_lock_held_elsewhere_is_waited_for_once(origin, tmp_path, monkeypatch):
    real = Patience.deadline
    monkeypatch.setattr(Patience, "deadline", lambda patience, seconds: real(patience, min(seconds, 0.2)))
    url = origin.put("/m.mov", SIZE)
    cached = open_cached(tmp_path)
    cached.cat_file(url, 0, 10)
    waited = []
    with (tmp_path / "ranges-1" / "usage").open("rb") as books:
        fcntl.flock(books, fcntl.LOCK_EX)
        pause = locks.time.sleep
        monkeypatch.setattr(locks.time, "sleep", lambda seconds: (waited.append(1), pause(seconds)))
        n_waited = []
        for start in range(20, 6020, 1000):
            assert cached.cat_file(url, start, start + 10) == DATA[start : start + 10]
            n_waited.append(len(waited))
    assert n_waited[0] > 0
    assert n_waited == [n_waited[0]] * 6  # then for a minute nobody waits for it
