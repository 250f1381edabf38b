"""The web server: its overhead over decoding and encoding a frame, and its throughput under load.

`camhd serve` runs as people start it, in a process of its own, over nginx on loopback. Load is made by wrk
(Debian's package `wrk`), from one thread and 16 connections; where wrk is missing, the results say so.
"""

import http.client
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.harness import Budget, Case, Run, Sample, Way, timed
from benchmarks.material import Material
from benchmarks.servers import Origin
from camhd_access import MovieReader
from camhd_access.decoding.threads import n_cores

__all__ = ["cases"]

N_AT_ONCE = 6
"""Frames of a run, none of which was requested before; the quick material has 96, for 16 runs."""
TIME_BEFORE = {640: 0.58, 1920: 0.91}
"""Time of a frame of this width by the server before the compiled decoder, in times of today's, by libav:
medians of 10 rounds in turn, on a quiet machine."""
N_CONNECTIONS = 16
LOAD_SECONDS = 3

Figure = Literal["mean", "p50", "p99"]

SCRIPT = """
local n = 0
function request()
    n = n + 1
    local path = wrk.path:gsub("{frame}", n % 96 + 1):gsub("{quality}", 40 + math.floor(n / 96) % 50)
    return wrk.format("GET", path)
end
function done(summary, latency, requests)
    local errors = summary.errors
    local n_failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format("found %d %f %f %f\\n", n_failed,
        summary.duration / summary.requests, latency:percentile(50), latency:percentile(99)))
end
"""
"""Requests one frame after the other, if the path contains a number; reports failures and microseconds."""


def cases(material: Material, origin: Origin) -> Iterator[Case]:
    with TemporaryDirectory(dir=material.scratch) as folder:
        scratch = Path(folder)
        yield _frame(material, origin, scratch, 640, 0.5)
        yield _frame(material, origin, scratch, 1920, 0.8)
        yield _many_frames(material, origin, scratch)
        for figure in ("p50", "p99"):
            yield _waiting(material, origin, scratch, figure)
        for figure in ("mean", "p50", "p99"):
            yield _one_frame(material, origin, scratch, figure)


def _frame(material: Material, origin: Origin, scratch: Path, width: int, share: float) -> Case:
    asking = partial(_asking, material, origin, scratch, width)
    most = share * TIME_BEFORE[width]
    return Case(
        name=f"server-frame-{width}",
        title=f"One frame as JPEG of {width} px by the server, index known, requested one after the other",
        unit="ms",
        limit="decoding and encoding the same frame in one thread of this process, from a local file",
        ways=[
            Way("camhd_access, bytes from the mirror", asking(is_known=False), 15),
            Way("camhd_access, libav only", asking(is_known=False, CAMHD_DECODER="libav"), 15),
            Way("camhd_access, bytes from its cache", asking(is_known=True), 15),
            *([Way("decode + encode, in one thread", _making(material), 15)] if width == 1920 else []),
        ],
        budget=Budget(
            f"≤ {most:.2g} x libav only: {share} x the time before the compiled decoder", min_speed=1 / most
        ),
        note="Before the compiled decoder (commit 847d1c2, colours by numba), the server took "
        f"{TIME_BEFORE[width]} x as long as it takes today by libav only, with colours and halves by numpy "
        "(measured in turn).",
    )


def _asking(
    material: Material, origin: Origin, scratch: Path, width: int, *, is_known: bool, **settings: str
) -> Callable[[], AbstractContextManager[Run]]:
    """Frames over one connection to a server that has opened the movie, or has its bytes too.

    It has `settings` in its environment.
    """

    @contextmanager
    def opened() -> Iterator[Run]:
        with _serving(origin, scratch, **settings) as url:
            parts = urlsplit(url)
            connection = http.client.HTTPConnection(parts.hostname, parts.port)
            numbers = iter(range(1, material.n_short + 1))

            def ask(path: str) -> None:
                connection.request("GET", f"{parts.path}{material.short.name}{path}")
                answer = connection.getresponse()
                assert answer.read(), answer.status
                assert answer.status == 200

            ask("")
            for number in range(1, material.n_short + 1) if is_known else ():
                ask(f"/sample/{number}")
            yield timed(
                lambda: [ask(f"/frame/{next(numbers)}.jpg?width={width}") for _ in range(N_AT_ONCE)],
                n=N_AT_ONCE,
            )
            connection.close()

    return opened


def _making(material: Material) -> Callable[[], AbstractContextManager[Run]]:
    @contextmanager
    def opened() -> Iterator[Run]:
        reader, indices = MovieReader(material.short), iter(range(material.n_short))
        yield timed(lambda: [make(reader, next(indices)) for _ in range(N_AT_ONCE)], n=N_AT_ONCE)

    return opened


def make(reader: MovieReader, index: int) -> bytes:
    """A frame as the server encodes it, in one thread."""
    return encode(reader.stack([index]).read(parallel=False)[0])


def encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A JPEG of the server's quality."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=75)
    return file.getvalue()


def _many_frames(material: Material, origin: Origin, scratch: Path) -> Case:
    path = f"{material.short.name}/frame/{{frame}}.jpg?quality={{quality}}"
    return Case(
        name="server-distinct-mean",
        title=f"Distinct 1080p frames as JPEG, {N_CONNECTIONS} clients at once",
        unit="ms a frame",
        limit="decoding and encoding them on all cores, which the server shares with wrk and nginx",
        ways=[
            Way("camhd_access", _loading_ours(origin, scratch, path, "mean")),
            Way("lower bound: decode + encode", _making_on_all_cores(material)),
        ],
    )


def _making_on_all_cores(material: Material) -> Callable[[], AbstractContextManager[Run]]:
    @contextmanager
    def opened() -> Iterator[Run]:
        reader = MovieReader(material.short)
        with ThreadPoolExecutor(n_cores()) as pool:
            yield timed(lambda: list(pool.map(lambda index: make(reader, index), range(96))), n=96)

    return opened


def _waiting(material: Material, origin: Origin, scratch: Path, figure: Figure) -> Case:
    path = f"{material.short.name}/frame/{{frame}}.jpg?quality={{quality}}"
    return Case(
        name=f"server-distinct-{figure}",
        title=f"Distinct 1080p frames as JPEG, {N_CONNECTIONS} clients at once, {figure} of a client's wait",
        unit="ms",
        limit=f"{N_CONNECTIONS} times the time that a frame takes on all cores",
        ways=[Way("camhd_access", _loading_ours(origin, scratch, path, figure))],
    )


def _one_frame(material: Material, origin: Origin, scratch: Path, figure: Figure) -> Case:
    path = f"{material.short.name}/frame/7.jpg"
    words = "time of a request" if figure == "mean" else f"{figure} of a client's wait"
    return Case(
        name=f"server-stored-{figure}",
        title=f"One 1080p JPEG that was made before, {N_CONNECTIONS} clients at once, {words}",
        unit="ms",
        limit="nginx sending the same file on one core",
        ways=[
            Way("camhd_access", _loading_ours(origin, scratch, path, figure)),
            Way("nginx", _loading_nginx(material, origin, scratch, figure)),
        ],
    )


def _loading_ours(
    origin: Origin, scratch: Path, path: str, figure: Figure
) -> Callable[[], AbstractContextManager[Run]]:
    def run() -> Sample:
        with _serving(origin, scratch) as url:  # one that has made one picture
            with urlopen(url + path.format(frame=1, quality=1)) as answer:  # noqa: S310 - on loopback
                assert answer.read()
            return Sample(_load(url + path, scratch, figure))

    @contextmanager
    def opened() -> Iterator[Run]:
        yield run

    return opened


def _loading_nginx(
    material: Material, origin: Origin, scratch: Path, figure: Figure
) -> Callable[[], AbstractContextManager[Run]]:
    @contextmanager
    def opened() -> Iterator[Run]:
        stored = scratch / "frame.jpg"
        stored.write_bytes(make(MovieReader(material.short), 6))
        url = f"{origin.http}/{stored.relative_to(material.folder)}"
        yield lambda: Sample(_load(url, scratch, figure))

    return opened


def _load(url: str, scratch: Path, figure: Figure) -> float:
    """Milliseconds between answers (mean), or of an answer, under the load that wrk makes."""
    if not shutil.which("wrk"):
        raise RuntimeError("wrk is not installed (apt-get install wrk)")
    script = scratch / "load.lua"
    script.write_text(SCRIPT)
    command = [
        "wrk",
        "-t1",
        f"-c{N_CONNECTIONS}",
        f"-d{LOAD_SECONDS}s",
        "--timeout",
        "30s",
        "-s",
        script,
        url,
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    n_failed, *microseconds = re.search(r"^found (\S+) (\S+) (\S+) (\S+)$", told, re.MULTILINE).groups()
    assert int(n_failed) == 0, told
    return float(dict(zip(("mean", "p50", "p99"), microseconds, strict=True))[figure]) / 1e3


@contextmanager
def _serving(origin: Origin, scratch: Path, **settings: str) -> Iterator[str]:
    """The URL of the mirror on a server of ours, with an empty cache, and `settings` in its environment."""
    with TemporaryDirectory(dir=scratch) as cache_dir, Path(cache_dir, "log").open("w+") as log:
        mirror = ["--mirror", origin.http, "--port", "0", "--cache-dir", cache_dir]
        command = [sys.executable, "-m", "camhd_access.cli", "serve", *mirror]
        with subprocess.Popen(command, stderr=log, env=os.environ | settings) as process:
            try:
                host = urlsplit(origin.http).netloc
                yield f"{_wait_for_address(log.name)}/v1/{'/'.join(reversed(host.split('.')))}/"
            finally:
                process.terminate()


def _wait_for_address(log: str) -> str:
    for _ in range(600):
        if found := re.search(r"http://[\d.]+:\d+", Path(log).read_text()):
            return found[0]
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {Path(log).read_text()}")
