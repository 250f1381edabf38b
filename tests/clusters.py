"""Dask clusters on this machine."""

import asyncio
import logging
import os
import sys
from contextlib import contextmanager
from multiprocessing import get_context

import pytest
from distributed import Client, LocalCluster, Scheduler, Worker
from webservers import free_port


@contextmanager
def running_cluster(*, n_workers=2, n_threads=1, set_as_default=False):
    """A client of worker processes with so many threads each."""
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=n_threads, dashboard_address=":0", silence_logs=True
        ) as cluster,
        Client(cluster, set_as_default=set_as_default) as client,
    ):
        yield client


def require_addresses():
    """Skip the test unless this machine has the addresses 127.0.0.1, 127.0.0.2, and so on."""
    if sys.platform == "darwin":
        pytest.skip("macOS has a single loopback address")


class Machines:
    """A scheduler and workers, each a process that can be killed and started again.

    Each worker has an address and a cache of its own.
    """

    def __init__(self, folder):
        self.folder = folder
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self._processes = {}
        require_addresses()
        if sys.platform == "win32":
            pytest.skip("Windows cannot fork")
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(["camhd_access.surveys.survey", "distributed"])  # takes seconds

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill_all()

    def start_scheduler(self):
        self._start("scheduler", Scheduler, host=self.address)

    def start_worker(self, n, *, n_threads):
        """Start a worker with an address of its own."""
        place = {"host": f"127.0.0.{n + 2}", "local_directory": str(self.folder / f"worker-{n}")}
        self._start(n, Worker, self.address, nthreads=n_threads, **place)

    def kill(self, name="scheduler"):
        """Kill the scheduler, or the worker of this number."""
        process = self._processes.pop(name)
        process.kill()
        process.join()

    def kill_all(self):
        for name in list(self._processes):
            self.kill(name)

    def cache_of(self, n):
        """The folder of a worker's cache."""
        return self.folder / f"cache-{n}"

    def _start(self, name, *server, **options):
        arguments = (str(self.cache_of(name)), *server)
        self._processes[name] = self._context.Process(target=_serve, args=arguments, kwargs=options)
        self._processes[name].start()


def _serve(cache, server, *arguments, **options):
    """The program of a machine."""
    os.environ["CAMHD_CACHE_DIR"] = cache
    logging.getLogger("distributed").setLevel(logging.CRITICAL)

    async def run():
        async with server(*arguments, dashboard=False, **options) as running:
            await running.finished()

    asyncio.run(run())
