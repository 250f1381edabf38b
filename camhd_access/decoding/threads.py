"""Threads that decode for direct reads; a dask task decodes in its own thread.

Frames are decoded in parallel: each thread takes the next frame, and reuses its codec contexts. If there is
only one frame, threads share it (`share`).
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from camhd_access.ending import submit

__all__ = ["decode_pool", "n_cores", "share", "spreading"]

Job = TypeVar("Job")
Result = TypeVar("Result")


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def decode_pool() -> ThreadPoolExecutor:
    """Threads that decode for direct reads. They are kept, because each has its codec contexts."""
    return ThreadPoolExecutor(n_cores(), thread_name_prefix="camhd-decode")


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=decode_pool.cache_clear)


@contextmanager
def spreading(*, parallel: bool, works: bool = False) -> Iterator[Callable[..., None]]:
    """A function that runs others on the threads; at the end of the block, all have finished.

    The first error is raised, at the end or instead of starting more.

    Parameters
    ----------
    parallel
        False: they run in the caller's thread.
    works
        The caller's thread is busy too, and keeps a core for itself; it takes over what the others are too
        late for.
    """
    if not parallel:
        yield lambda function, *args: function(*args)
        return
    running: deque[Future[None]] = deque()
    max_waiting = 2 * n_cores()  # bounds the samples in memory
    gate = threading.Semaphore(max(1, n_cores() - works))

    def wait_for_first() -> None:
        running[0].result()  # may be interrupted while it is still running
        running.popleft()

    def run(function: Callable[..., None], *args: object) -> None:
        with gate:
            function(*args)

    def start(function: Callable[..., None], *args: object) -> None:
        while running and running[0].done():
            wait_for_first()
        if works and len(running) == max_waiting:
            function(*args)
            return
        running.append(submit(decode_pool(), run, function, *args))
        if len(running) > max_waiting:
            wait_for_first()

    try:
        yield start
        while running:
            wait_for_first()
    finally:
        for future in running:
            future.cancel()
        for future in running:
            if not future.cancelled():
                future.exception()  # wait: it writes into the caller's array


def share(
    function: Callable[[Iterator[Job]], Result], jobs: Sequence[Job], *, n_threads: int
) -> list[Result]:
    """The results of `function`, once in each thread that took jobs from the iterator over them all.

    The calling thread is one of them, and does everything if the others are busy. If an error is raised, all
    jobs that were begun have ended.
    """
    waiting = deque(jobs)

    def work() -> list[Result]:
        return [function(_take_each(waiting))] if waiting else []

    helpers = [submit(decode_pool(), work) for _ in range(min(n_threads, len(jobs)) - 1)]
    try:
        results = work()
        for helper in helpers:
            if not helper.cancel():
                results += helper.result()
        return results
    finally:
        waiting.clear()
        for helper in helpers:
            if not helper.cancel():
                helper.exception()  # wait: it writes into the caller's array


def _take_each(waiting: deque[Job]) -> Iterator[Job]:
    while True:
        try:
            job = waiting.popleft()
        except IndexError:  # another thread took the last
            return
        yield job
