"""The cache folder: quota, maintenance, and damage of any kind."""

import errno
import logging
import multiprocessing
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from rangecache_target import NAME, SIZE, World

from camhd_access.storage.rangecache import CacheFolder
from camhd_access.storage.rangecache.blocks import BLOCK_BYTES

BLOCK = 40_960  # ten pages: what the quota counts is what the test counts
SPAWN = multiprocessing.get_context("spawn")


def read_block(fs, data, i):
    """Read stretch `i`; whether it came from the cache."""
    before = fs.stats.misses
    assert fs.cat_file(NAME, i * BLOCK, (i + 1) * BLOCK) == data[i * BLOCK : (i + 1) * BLOCK]
    return fs.stats.misses == before


def kept(world):
    """Numbers of the stretches that are kept."""
    return sorted(int(path.name.split("-")[0], 16) // BLOCK for path in world.blocks())


# Quota


def test_what_was_not_used_for_longest_goes_first(world, data):
    fs = world.session(max_bytes=20 * BLOCK + 4096)  # 4096: the description of the file
    for i in range(20):
        read_block(fs, data, i)
    assert kept(world) == list(range(20))
    assert read_block(fs, data, 0)
    assert not read_block(fs, data, 20)
    assert kept(world) == [0, *range(4, 21)]  # room was made for one, and a sixteenth of the quota
    assert CacheFolder(world.cache_dir).info().n_bytes <= 20 * BLOCK + 4096


def test_a_scan_does_not_flush_what_is_used_again_and_again(world, data):
    fs = world.session(max_bytes=20 * BLOCK)
    for _ in range(2):
        for i in range(8):
            read_block(fs, data, i)
    for i in range(8, 70):
        read_block(fs, data, i)
    assert set(range(8)) < set(kept(world))
    assert [read_block(fs, data, i) for i in range(8)] == [True] * 8


def test_descriptions_of_files_are_kept_longest(world, data):
    fs = world.session(max_bytes=10 * BLOCK)
    for i in range(50):
        read_block(fs, data, i)
        read_block(fs, data, i)
    assert world.session(offline=True).info(NAME)["size"] == SIZE


def test_a_new_set_of_frames_finds_room_in_a_cache_full_of_old_favourites(world, data):
    fs = world.session(max_bytes=20 * BLOCK)
    for _ in range(2):
        for i in range(18):
            read_block(fs, data, i)
    for i in range(30, 38):
        read_block(fs, data, i)
    assert [read_block(fs, data, i) for i in range(30, 38)] == [True] * 8


def test_long_ranges_are_kept_in_blocks_and_blocks_above_the_quota_not_at_all(world, data):
    fs = world.session(max_bytes=3 << 20)
    assert fs.cat_file(NAME) == data
    assert [p.stat().st_size for p in world.blocks()] == [BLOCK_BYTES, BLOCK_BYTES, SIZE - 2 * BLOCK_BYTES]
    for max_bytes in (0, 8192, BLOCK_BYTES - 1):
        fs = world.session(max_bytes=max_bytes, cache_dir=world.cache_dir / "small")
        assert fs.cat_file(NAME, 0, BLOCK_BYTES) == data[:BLOCK_BYTES]
        assert CacheFolder(world.cache_dir / "small").info().n_blocks == 0


def test_a_smaller_quota_is_reached_with_the_next_block(world, data):
    fs = world.session()
    for i in range(20):
        read_block(fs, data, i)
    fs = world.session(max_bytes=5 * BLOCK)
    read_block(fs, data, 30)
    assert CacheFolder(world.cache_dir).info().n_bytes <= 5 * BLOCK
    assert 30 in kept(world)


@pytest.mark.parametrize("books", [b"", b"rubbish", b"0" * 20 + b" 00000000", None])
def test_the_quota_holds_when_the_books_are_damaged(world, data, books):
    fs = world.session(max_bytes=10 * BLOCK)
    for i in range(9):
        read_block(fs, data, i)
    path = world.cache_dir / "ranges-1" / "usage"
    if books is None:
        path.unlink()
    else:
        path.write_bytes(books)
    for i in range(9, 30):
        read_block(fs, data, i)
        assert CacheFolder(world.cache_dir).info().n_bytes <= 10 * BLOCK


# Care


def test_info_clear_prune_verify(world, data):
    folder = CacheFolder(world.cache_dir, 10**9)
    nothing = folder.info()
    assert (nothing.n_bytes, nothing.n_files, nothing.n_blocks) == (0, 0, 0)
    folder.clear()
    folder.prune()
    assert folder.verify().n_blocks == 0
    assert not world.cache_dir.exists()
    world.put("other.mov", data)
    fs = world.session()
    for i in range(10):
        read_block(fs, data, i)
    fs.cat_file("other.mov", 0, 10)
    info = folder.info()
    assert (info.path, info.max_bytes) == (world.cache_dir, 10**9)
    assert (info.n_files, info.n_blocks, info.n_bytes) == (2, 11, 10 * BLOCK + 3 * 4096)
    assert folder.verify() == type(folder.verify())(n_blocks=11, n_damaged=0)
    folder.prune(5 * BLOCK)
    assert folder.info().n_bytes <= 5 * BLOCK
    folder.clear()
    assert folder.info().n_bytes == 0
    assert read_block(fs, data, 0) is False
    assert read_block(fs, data, 0) is True


def test_only_our_own_files_are_ever_deleted(world, data):
    world.cache_dir.mkdir()
    mine = world.cache_dir / "thesis.tex"
    mine.write_text("years of work")
    fs = world.session(max_bytes=2 * BLOCK)
    for i in range(10):
        read_block(fs, data, i)
    CacheFolder(world.cache_dir).clear()
    assert mine.read_text() == "years of work"


def test_verify_deletes_what_is_damaged_and_only_that(world, data):
    fs = world.session()
    for i in range(5):
        read_block(fs, data, i)
    one, two, three, *_ = world.blocks()
    flip(one, 0)
    two.chmod(0o644)
    two.write_bytes(b"short")
    (three.parent / "stray").write_bytes(b"no block")
    info = next(world.cache_dir.glob("ranges-1/*/info"))
    info.write_bytes(b"{}")
    report = CacheFolder(world.cache_dir).verify()
    assert (report.n_blocks, report.n_damaged) == (3, 4)
    assert not info.exists()
    assert (CacheFolder(world.cache_dir).verify().n_blocks, len(world.blocks())) == (3, 3)


# Damage


def flip(path, position):
    mode = path.stat().st_mode
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)
    path.chmod(mode)


def lose_the_end(path):
    os.truncate(path, path.stat().st_size // 2)


def grow(path):
    path.chmod(0o644)
    with path.open("ab") as file:
        file.write(b"more")


def become_empty(path):
    os.truncate(path, 0)


def take_a_neighbours_bytes(path):
    neighbour = next(path.parent.glob("0-*"))
    path.unlink()
    path.write_bytes(neighbour.read_bytes())


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: flip(path, 0),
        lambda path: flip(path, 20_000),
        lambda path: flip(path, -1),
        lose_the_end,
        grow,
        become_empty,
        take_a_neighbours_bytes,
    ],
)
def test_damaged_blocks_are_fetched_again_with_one_warning(world, data, caplog, damage):
    fs = world.session()
    for i in range(5):
        read_block(fs, data, i)
    for path in world.blocks()[1:4]:
        damage(path)
    caplog.clear()
    fs = world.session()
    hits = [read_block(fs, data, i) for i in range(5)]
    assert hits == [True, False, False, False, True]
    assert [read_block(fs, data, i) for i in range(5)] == [True] * 5
    assert len(warnings_of(caplog)) == 1


def test_a_folder_in_the_place_of_a_block_does_no_harm(world, data):
    fs = world.session()
    read_block(fs, data, 0)
    (path,) = world.blocks()
    path.unlink()
    path.mkdir()
    assert not read_block(fs, data, 0)


@pytest.mark.parametrize("content", [b"", b"{", b"12345678 {}", b"\xff" * 1000])
def test_a_damaged_description_is_asked_for_again_with_one_warning(world, data, caplog, content):
    world.session().cat_file(NAME, 0, BLOCK)
    world.requests()
    next(world.cache_dir.glob("ranges-1/*/info")).write_bytes(content)
    for _ in range(2):
        assert read_block(world.session(revalidate=None), data, 0)
    assert world.requests() == [("info", NAME)]
    assert len(warnings_of(caplog)) == 1


def test_every_flipped_bit_of_a_description_is_found(world, data):
    world.session().cat_file(NAME, 0, BLOCK)
    path = next(world.cache_dir.glob("ranges-1/*/info"))
    sound = path.read_bytes()
    for position in range(len(sound)):
        flip(path, position)
        assert world.session(revalidate=None).info(NAME)["size"] == SIZE
        assert path.read_bytes() != sound
        path.write_bytes(sound)


def warnings_of(caplog):
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


# Trouble with the folder


def test_a_folder_deleted_under_way_comes_back(world, data):
    fs = world.session()
    for i in range(10):
        read_block(fs, data, i)
        shutil.rmtree(world.cache_dir)
    assert not read_block(fs, data, 3)
    assert read_block(fs, data, 3)


def test_a_folder_that_cannot_be_made_costs_one_warning(world, data, caplog):
    world.cache_dir.write_text("a file where the folder should be")
    fs = world.session()
    for i in (0, 1, 0):
        assert not read_block(fs, data, i)
    assert fs.cat_file(NAME, start=-1000) == data[-1000:]
    assert len(warnings_of(caplog)) == 1
    assert "cache" in warnings_of(caplog)[0].message


def read_as_somebody_else(cache_dir, data, pipe):
    logger = logging.getLogger("camhd_access.storage.rangecache")
    messages = []
    logger.addHandler(
        type("Keep", (logging.Handler,), {"emit": lambda _, r: messages.append(r.getMessage())})()
    )
    if os.getuid() == 0:
        os.setuid(65534)
    world = World.__new__(World)
    world.remote, world.log, world.cache_dir = (
        cache_dir.parent / "remote",
        cache_dir.parent / "log",
        cache_dir,
    )
    fs = world.session()
    hits = [read_block(fs, data, i) for i in (0, 1, 2, 2)]
    pipe.send((hits, messages))


def test_a_read_only_folder_is_read_and_costs_one_warning(data, world):
    fs = world.session()
    for i in (0, 1):
        read_block(fs, data, i)
    world.log.chmod(0o666)
    for folder, _, files in os.walk(world.cache_dir):
        Path(folder).chmod(0o555)
        for file in files:
            (Path(folder) / file).chmod(0o444)
    opened = []
    for parent in world.cache_dir.parents:  # pytest keeps its folders to itself
        mode = parent.stat().st_mode
        if mode & 0o005 != 0o005:
            opened.append((parent, mode))
            parent.chmod(mode | 0o055)
    try:
        here, there = SPAWN.Pipe(duplex=False)
        child = SPAWN.Process(target=read_as_somebody_else, args=(world.cache_dir, data, there))
        child.start()
        there.close()
        hits, messages = here.recv()
        child.join()
    finally:
        for parent, mode in opened:
            parent.chmod(mode)
        for folder, _, _ in os.walk(world.cache_dir):
            Path(folder).chmod(0o755)
    assert hits == [True, True, False, False]
    assert len(messages) == 1
    assert os.strerror(errno.EACCES) in messages[0]


@pytest.fixture
def small_disk():
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("a small disk cannot be mounted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def test_a_full_disk_costs_one_warning(world, data, small_disk, caplog):
    fs = world.session(cache_dir=small_disk)
    for _ in range(2):
        for i in range(20):
            read_block(fs, data, i)
    assert len(warnings_of(caplog)) == 1
    assert os.strerror(errno.ENOSPC) in warnings_of(caplog)[0].message
    assert fs.stats.hits >= 8
    report = CacheFolder(small_disk).verify()
    assert (report.n_blocks, report.n_damaged) == (fs.stats.hits, 0)
    assert list(small_disk.glob("ranges-1/tmp/*")) == []
    books = (small_disk / "ranges-1" / "usage").read_bytes()
    assert int(books.split()[0]) == CacheFolder(small_disk).info().n_bytes


def test_a_disk_that_is_full_from_the_start(world, data, small_disk, caplog):
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (small_disk / "ballast").write_bytes(bytes(1 << 20))
    fs = world.session(cache_dir=small_disk)
    for i in range(5):
        assert not read_block(fs, data, i)
    assert len(warnings_of(caplog)) == 1
