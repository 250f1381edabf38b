"""Files that have the same path in several places are different files of the cache."""

from pathlib import Path
from zipfile import ZipFile

import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem

from camhd_access.storage.rangecache import RangeCacheFileSystem


class HostFileSystem(AbstractFileSystem):
    """A file of one size and time on each host; its bytes tell the host."""

    protocol = "hosted"

    def __init__(self, host, **options):
        super().__init__(host, **options)
        self.host, self.n_reads = host, 0

    def info(self, path, **_):
        return {"name": path, "size": 100, "type": "file", "mtime": 1}

    def cat_file(self, path, start=None, end=None, **_):
        self.n_reads += 1
        return (self.host[-1:].encode() * 100)[start:end]


def through_cache(filesystem, folder):
    return RangeCacheFileSystem(fs=filesystem, cache_dir=folder, skip_instance_cache=True)


def host(name, **options):
    return HostFileSystem(name, skip_instance_cache=True, **options)


PLACES = {
    "by position": HostFileSystem,
    "by name": lambda name: HostFileSystem(host=name),
    "within another filesystem": lambda name: DirFileSystem("/folder", fs=HostFileSystem(name)),
    "as a path": lambda name: HostFileSystem("x", root=Path(name)),
    "as a URL": lambda name: HostFileSystem("x", base_url=f"https://{name}/"),
    "with a login": lambda name: HostFileSystem("x", fo=f"https://{name}:pass@host/"),
}


@pytest.mark.parametrize("place", PLACES)
def test_hosts_have_different_keys_that_are_the_same_in_each_session(place, tmp_path):
    make = PLACES[place]
    keys = [through_cache(make(name), tmp_path).key("/x.mov") for name in "aba"]
    assert keys[0] == keys[2] != keys[1]
    assert "pass" not in str(keys)


def test_an_argument_is_the_same_by_position_and_by_name(tmp_path):
    keys = {through_cache(make("a"), tmp_path).key("/x.mov") for make in (host, PLACES["by name"])}
    assert len(keys) == 1


def test_bytes_of_another_host_are_never_returned(tmp_path):
    for name in "abab":
        assert through_cache(host(name), tmp_path).cat_file("/x.mov", 10, 14) == name.encode() * 4


@pytest.mark.parametrize(
    "option", [{}, {"timeout": 5}, {"default_block_size": 9}, {"use_listings_cache": True}]
)
def test_options_that_change_nothing_share_an_entry(tmp_path, option):
    through_cache(host("a"), tmp_path).cat_file("/x.mov", 10, 14)
    again = host("a", **option)
    assert through_cache(again, tmp_path).cat_file("/x.mov", 10, 14) == b"aaaa"
    assert again.n_reads == 0


def test_signatures_of_an_archive_file_do_not_count(tmp_path):
    signed = [f"https://h/a.zip?X-Amz-Signature={each}&X-Amz-Date=1" for each in "pq"]
    keys = {through_cache(host("a", fo=url), tmp_path).key("/x.mov") for url in signed}
    assert len(keys) == 1


def test_zip_files_with_equal_entries(tmp_path):
    for name in "ab":
        with ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("x.mov", name * 100)
    for name in "abab":
        behind, path = fsspec.core.url_to_fs(f"zip://x.mov::{tmp_path}/{name}.zip")
        assert through_cache(behind, tmp_path / "cache").cat_file(path, 10, 14) == name.encode() * 4
