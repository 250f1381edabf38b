"""The main tasks work without `fcntl`, `resource`, `fork` and `pread` (Windows)."""

import subprocess
import sys

import pytest

HIDE = """
import asyncio, concurrent.futures, logging, multiprocessing, os, pathlib, random, subprocess, sys, tempfile
import threading, uuid, warnings
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("register_at_fork", "fork", "getuid", "geteuid", "pread", "pwrite", "preadv", "fchmod"):
    delattr(os, name)
local, url, folder = sys.argv[1:]
import camhd_access
"""

JOBS = {
    "import": "",
    "local": "assert camhd_access.open_movie(local)[3].compute().shape == (192, 320, 3)",
    "without cache": "assert camhd_access.MovieReader(url, cache=False).read(3)[0].shape == (192, 320, 3)",
    "with cache": """
from camhd_access.storage.rangecache import CacheFolder
for _ in range(2):
    assert camhd_access.MovieReader(url).read(3)[0].shape == (192, 320, 3)
assert CacheFolder().info().n_blocks > 0
assert CacheFolder().verify().n_damaged == 0
CacheFolder().clear()
assert CacheFolder().info().n_blocks == 0
""",
    "archive": "assert len(camhd_access.open_archive(folder).movies()) == 1",
    "command": "from camhd_access.cli import main; sys.argv = ['camhd', 'info', local]; main()",
    "server": "import camhd_access.server.serving as s; s._raise_file_limit()",
}


@pytest.mark.parametrize("job", JOBS)
def test_without_the_calls_of_posix(job, movie_path, served_movie, movie_url, tmp_path):
    command = [sys.executable, "-W", "error", "-c", HIDE + JOBS[job], movie_path, movie_url, served_movie.url]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert "cache" not in run.stderr
