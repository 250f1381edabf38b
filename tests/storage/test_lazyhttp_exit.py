"""Reads in other processes, after forks, and while the interpreter exits."""

import asyncio
import os
import subprocess
import sys

import pytest
from origin import Pattern, honest, pauses_in_body

from camhd_access import MovieReader
from camhd_access.storage.lazyhttp.tasks import shared_loop

SIZE = 100_000
DATA = Pattern(SIZE)[:]

READ = """
import atexit, os, sys, threading, time, fsspec
from camhd_access import CamhdError, RemoteFileError
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
url = sys.argv[1]
OPTIONS = {"target_protocol": "http"} if sys.argv[2:] == ["lazy"] else {}
def read(fs=None):
    try:
        fs = fs or fsspec.filesystem(sys.argv[2], **OPTIONS)
        tell(f"{len(fs.cat_file(url, 0, 1000))}\\n")
    except RemoteFileError as error:
        tell(f"RemoteFileError: {error}\\n")
def tell(line):
    os.write(1, line.encode())  # whole, whatever other threads tell
"""

AT_EXIT_FIRST = READ + "atexit.register(read)\n"

AT_EXIT_AGAIN = READ + "atexit.register(read)\nread()\n"

AT_EXIT_BEFORE_ALL_ELSE = "import atexit\natexit.register(lambda: read())\n" + READ + "read()\n"

IN_DEL = (
    READ
    + """
class Late:
    def __init__(self):
        self.fs = fsspec.filesystem(sys.argv[2], **OPTIONS)
        self.read = read
    def __del__(self):
        self.read(self.fs)
read()
late = Late()
late.itself = late                # so that only the end of the interpreter takes it away
import builtins
builtins.late = late
"""
)

IN_A_DAEMON_THREAD = (
    READ
    + """
def read_on():
    while True:
        read()
threading.Thread(target=read_on, daemon=True).start()
read()
"""
)


def run(code, *arguments, seconds=60):
    """Output of a Python process that runs `code`, which must end in time and without error output."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert found.stderr == ""
    return found.stdout.splitlines()


@pytest.fixture
def url(origin):
    return origin.put("/movie.mov", SIZE)


@pytest.mark.parametrize("protocol", ["lazyhttp", "lazy"])
@pytest.mark.parametrize("code", [AT_EXIT_AGAIN, AT_EXIT_BEFORE_ALL_ELSE])
def test_a_read_at_exit_brings_its_bytes(url, protocol, code):
    assert run(code, url, protocol) == ["1000", "1000"]


@pytest.mark.parametrize("protocol", ["lazyhttp", "lazy"])
def test_the_first_read_at_exit_brings_bytes_or_says_why_not(url, protocol):
    (line,) = run(AT_EXIT_FIRST, url, protocol)
    # From 3.12 on Python may refuse to start a thread at its end.
    assert line == "1000" or (sys.version_info >= (3, 12) and line.startswith("RemoteFileError: cannot read"))


@pytest.mark.parametrize("protocol", ["lazyhttp", "lazy"])
def test_a_read_by_what_is_taken_away_last_says_why_not(url, protocol):
    first, last = run(IN_DEL, url, protocol)
    assert first == "1000"
    assert last.startswith("RemoteFileError: cannot read: the program is ending")


@pytest.mark.parametrize("protocol", ["lazyhttp", "lazy"])
def test_a_thread_that_reads_on_does_not_hold_the_program(url, protocol):
    assert set(run(IN_A_DAEMON_THREAD, url, protocol)) == {"1000"}


IN_FLIGHT_AT_EXIT = (
    "import atexit, threading\ndone = threading.Event()\natexit.register(done.wait, 60)  # the last to run\n"
    + READ
    + """
def read_late():
    read()
    done.set()
read()
threading.Thread(target=read_late, daemon=True).start()
time.sleep(0.2)
"""
)


@pytest.mark.parametrize("protocol", ["lazyhttp", "lazy"])
def test_the_end_of_the_program_breaks_no_read_off(origin, url, protocol):
    origin.play("/movie.mov", honest, pauses_in_body, always=True)
    assert run(IN_FLIGHT_AT_EXIT, url, protocol) == ["1000", "1000"]


AFTER_THE_MAIN_THREAD = """
import atexit, os, sys, threading, zarr
from camhd_access import MovieReader, MovieStore, open_movie, open_movies
url, path, when = sys.argv[1:]
expected = MovieReader(path).read(range(12))
def read():
    for place in (url, path):
        same = (MovieReader(place, cache=False).read(range(12)) == expected).all()
        stored = zarr.open(MovieStore(place, cache=False), mode="r")["video"][3]
        n_opened = open_movies([place], cache=False, progress=False).sizes["time"]
        lazy = open_movie(place, cache=False, chunks=None)[3].values
        told = same, (stored == lazy).all(), (lazy == expected[3]).all(), n_opened > 11
        os.write(1, (" ".join(map(str, told)) + "\\n").encode())
def read_late():
    threading.main_thread().join()
    read()
atexit.register(read) if when == "atexit" else threading.Thread(target=read_late).start()
"""


@pytest.mark.parametrize("when", ["atexit", "thread"])
def test_movies_are_read_when_no_thread_can_start_any_more(movie_url, movie_path, when):
    assert run(AFTER_THE_MAIN_THREAD, movie_url, str(movie_path), when) == ["True True True True"] * 2


def test_a_read_in_the_thread_of_its_event_loop_is_refused(movie_url):
    """As by `__del__`, if a garbage collection runs there; it would wait for itself for ever."""
    reader = MovieReader(movie_url, cache=False)

    async def read(frames):
        return reader.read(frames)

    for frames in ([1, 20], 3):
        future = asyncio.run_coroutine_threadsafe(read(frames), shared_loop())
        with pytest.raises(RuntimeError, match="event loop"):
            future.result(timeout=30)
    assert reader.read([1, 20]).shape[0] == 2


FORKS = """
import os, signal, sys, threading
from camhd_access import MovieReader
reader = MovieReader(sys.argv[1], cache=sys.argv[2] == "cache")
expected = [reader.read(i) for i in range(4)]
for _ in range(5):
    if (pid := os.fork()) == 0:
        signal.alarm(60)                          # ends a child that hangs
        start, right = threading.Barrier(4), []
        def read(i):
            start.wait()
            right.append((reader.read(i) == expected[i]).all())
        threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
        [t.start() for t in threads], [t.join() for t in threads]
        os._exit(0 if right == [True] * 4 else 1)
    print(os.waitpid(pid, 0)[1])
"""

POOLS = """
import sys, multiprocessing
from concurrent.futures import ProcessPoolExecutor
import camhd_access
if __name__ == "__main__":
    movie = camhd_access.open_movie(sys.argv[1], chunks={"time": 1}, cache=sys.argv[2] == "cache")
    movie[0].load()
def brightness(i):
    movie = camhd_access.open_movie(sys.argv[1], chunks={"time": 1}, cache=sys.argv[2] == "cache")
    return float(movie[i : i + 8].mean().compute(num_workers=8))
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[3])
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        means = list(pool.map(brightness, range(0, 32, 8)))
    mean, schedulers = movie[:8].mean(), ("threads", "sync", "processes")
    print(means[:1] * 3 == [float(mean.compute(scheduler=each)) for each in schedulers], len(set(means)))
"""

IN_A_RUNNING_LOOP = """
import asyncio, sys
import camhd_access
async def cell():                                 # as in Jupyter, whose cells run within a loop
    movie = camhd_access.open_movie(sys.argv[1], cache=sys.argv[2] == "cache")
    return movie[3].values.shape, float(movie[:8].mean().compute())
shape, mean = asyncio.run(cell())
print(shape, 16 < mean < 240)
"""


@pytest.mark.parametrize("cache", ["cache", "no-cache"])
def test_threads_that_read_first_at_once_after_a_fork(movie_url, cache):
    assert run(FORKS, movie_url, cache, seconds=150) == ["0"] * 5


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools_of_processes_and_dasks_schedulers(movie_url, tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(POOLS)
    found = subprocess.run(
        [sys.executable, script, movie_url, "cache", method],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    assert (found.stdout, found.stderr) == ("True 4\n", "")


@pytest.mark.parametrize("cache", ["cache", "no-cache"])
def test_within_a_loop_that_runs_already(movie_url, cache):
    assert run(IN_A_RUNNING_LOOP, movie_url, cache) == ["(192, 320, 3) True"]
