"""New processes: the first frame, the first 60, and the command on a machine that has never compiled."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness import Budget, Case, Run, Sample, Way, in_child, timed
from benchmarks.material import FRAMES, Material
from benchmarks.peers import Ours, Peer, PyAV

__all__ = ["cases"]

N_AT_ONCE = 12


def cases(material: Material) -> Iterator[Case]:
    path = str(material.long)
    for pix_fmt in ("gray10le", "rgb24"):
        yield Case(
            name=f"fresh-first-{pix_fmt}",
            title=f"First frame of a new process, local, movie open, {pix_fmt}",
            unit="ms",
            limit="one random frame of a process that has read others",
            ways=[Way(kind.name, _in_new_process(kind, path, pix_fmt, 1)) for kind in (Ours, PyAV)],
            budget=Budget("within 30 ms of PyAV", max_excess=30),
        )
    yield Case(
        name="fresh-random-rgb24",
        title=f"{len(FRAMES)} random frames of a new process, in reads of {N_AT_ONCE}, local, rgb24",
        unit="ms/frame",
        limit="one random frame of a process that has read others",
        ways=[Way(kind.name, _in_new_process(kind, path, "rgb24", len(FRAMES))) for kind in (Ours, PyAV)],
        budget=Budget("≥ 1.5 x PyAV with slice threads", min_speed=1.5),
        note="The machine code is in the cache on disk. Neither way keeps the frames.",
    )
    yield Case(
        name="fresh-command",
        title="`camhd frame` to a JPEG file, local, on a machine that has never compiled the decoder",
        unit="ms",
        limit="the time before the compiled decoder, for which CAMHD_DECODER=libav stands",
        ways=[
            Way("camhd_access", _running_command(material)),
            Way("camhd_access, libav only", _running_command(material, CAMHD_DECODER="libav")),
        ],
        budget=Budget("not slower than by libav only (≥ 0.95 x)", min_speed=0.95),
    )


def _in_new_process(kind: type[Peer], path: str, pix_fmt: str, n: int) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        yield lambda: Sample(in_child(read_first, kind, path, pix_fmt, n) / n)

    return opened


def read_first(kind: type[Peer], path: str, pix_fmt: str, n: int) -> float:
    """Milliseconds that a process takes for its first n frames, after it has opened the movie."""
    with ExitStack() as stack:
        peer = kind(path, pix_fmt, stack)
        start = time.perf_counter()
        for first in range(0, n, N_AT_ONCE):
            for _ in peer.pick(FRAMES[first : min(n, first + N_AT_ONCE)]):
                pass
        return 1e3 * (time.perf_counter() - start)


def _running_command(material: Material, **settings: str) -> Callable[[], Any]:
    """The command with an empty folder for machine code."""

    @contextmanager
    def opened() -> Iterator[Run]:
        with TemporaryDirectory(dir=material.scratch) as folder:
            environment = os.environ | {"NUMBA_CACHE_DIR": folder} | settings
            command = [sys.executable, "-m", "camhd_access.cli", "frame", "--frame", "7", str(material.short)]
            command += ["-o", f"{folder}/frame.jpg"]
            yield timed(lambda: subprocess.run(command, env=environment, check=True, capture_output=True))

    return opened
