"""A dask cluster on this machine."""

from contextlib import contextmanager

from distributed import Client, LocalCluster


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
