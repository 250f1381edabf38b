"""Dask clusters on this machine."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

from distributed import Client, LocalCluster
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


class Machines:
    """A scheduler and workers, each a process that can be killed and started again.

    Each worker has an address and a cache of its own.
    """

    def __init__(self, folder):
        self.folder = folder
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self._processes = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill_all()

    def start_scheduler(self):
        self._start("scheduler", "scheduler", "--host", self.address)

    def start_worker(self, n, *, n_threads):
        """Start a worker with an address of its own."""
        place = (
            self.address,
            "--host",
            f"127.0.0.{n + 2}",
            "--local-directory",
            str(self.folder / f"worker-{n}"),
        )
        self._start(n, "worker", *place, "--no-nanny", "--nthreads", str(n_threads))

    def kill(self, name="scheduler"):
        """Kill the scheduler, or the worker of this number."""
        with self._processes.pop(name) as process:
            process.send_signal(signal.SIGKILL)

    def kill_all(self):
        for name in list(self._processes):
            self.kill(name)

    def cache_of(self, n):
        """The folder of a worker's cache."""
        return self.folder / f"cache-{n}"

    def _start(self, name, kind, *arguments):
        command = [sys.executable, "-m", "dask", kind, *arguments, "--no-dashboard"]
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = os.environ | {"CAMHD_CACHE_DIR": str(self.cache_of(name))}
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
