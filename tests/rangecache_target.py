"""The filesystem behind the cache in tests: real files, delays, and a log of requests.

The log is a file that all processes append to, so that requests can be counted across processes, killed ones
included.
"""

import asyncio
import os
import random
from pathlib import Path

from fsspec.asyn import AsyncFileSystem

from camhd_access.errors import RemoteFileChangedError
from camhd_access.storage.rangecache import RangeCacheFileSystem

NAME, SIZE = "movie.mov", 3_000_000


def make_bytes(n_bytes, seed=0):
    return random.Random(seed).randbytes(n_bytes)


class LoggedFileSystem(AsyncFileSystem):
    """Files below `root`; like HTTP it learns size and version from any answer, and checks the version."""

    protocol = "logged"
    checks_validator = True

    def __init__(self, root, log, delay_seconds=0.0, **kwargs):
        super().__init__(**kwargs)
        self.root = Path(root)
        self.log = Path(log)
        self.delay_seconds = delay_seconds
        self.known = {}

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("logged://")

    def _note(self, *words):
        fd = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, (" ".join(map(str, words)) + "\n").encode())
        os.close(fd)

    def _describe(self, path):
        status = (self.root / path).stat()
        etag = f"{status.st_mtime_ns:x}"
        return {
            "name": path,
            "size": status.st_size,
            "type": "file",
            "etag": etag,
            "validator": f"{etag}:{status.st_size}",
        }

    def invalidate_cache(self, path=None):
        self.known.clear()

    def _check_loop(self):
        """Most filesystems are bound to one event loop, and to the process that made them."""
        assert self.asynchronous or self.loop is asyncio.get_running_loop()

    async def _info(self, path):
        self._check_loop()
        if path not in self.known:
            self._note("info", path)
            await asyncio.sleep(self.delay_seconds)
            self.known[path] = self._describe(path)
        return self.known[path]

    async def _cat_file(self, path, start=None, end=None, *, validator=None):
        self._check_loop()
        info = self._describe(path)
        start, stop, _ = slice(start, end).indices(info["size"])
        self._note("bytes", path, start, stop)
        await asyncio.sleep(self.delay_seconds)
        if validator not in (None, info["validator"]):
            raise RemoteFileChangedError(f"{path} changed")
        self.known[path] = info
        with (self.root / path).open("rb") as file:
            return os.pread(file.fileno(), stop - start, start)

    async def _cat_ranges(self, paths, starts, ends, max_gap=None, on_error="return", *, validator=None):
        ranges = zip(paths, starts, ends, strict=True)
        one_by_one = (self._cat_file(path, a, b, validator=validator) for path, a, b in ranges)
        return await asyncio.gather(*one_by_one, return_exceptions=on_error == "return")

    async def _ls(self, path, detail=True, **kwargs):
        names = [str(item.relative_to(self.root)) for item in (self.root / path).iterdir()]
        return [self._describe(name) for name in names] if detail else names


class World:
    """A folder of remote files, their log, and a cache; `session` opens it as a new process would."""

    def __init__(self, folder):
        self.remote = folder / "remote"
        self.remote.mkdir()
        self.log = folder / "log"
        self.cache_dir = folder / "cache"

    def put(self, name, data):
        (self.remote / name).write_bytes(data)
        return data

    def session(self, *, delay_seconds=0.0, **options):
        target = LoggedFileSystem(self.remote, self.log, delay_seconds, skip_instance_cache=True)
        options = {"cache_dir": self.cache_dir} | options
        return RangeCacheFileSystem(fs=target, skip_instance_cache=True, **options)

    def requests(self):
        """Requests since the last call: `("info", name)` and `("bytes", name, start, stop)`."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [tuple(int(w) if w.isdigit() else w for w in line.split()) for line in lines]

    def blocks(self):
        """The files of the cache that hold bytes."""
        files = (p for p in self.cache_dir.glob("ranges-1/*/*/*/*") if p.is_file())
        return sorted(files, key=lambda path: int(path.name.split("-")[0], 16))

    def kept_bytes(self):
        """Bytes on disk of all files in the cache folder, whatever they are."""
        n_bytes = 0
        for folder, _, names in os.walk(self.cache_dir):
            for name in names:
                try:
                    n_bytes += Path(folder, name).stat().st_size
                except FileNotFoundError:
                    continue
        return n_bytes
