"""Tasks on threads, processes or a cluster: the outcome of each movie, as it completes.

The function is pickled once, so that functions of notebooks work everywhere. Only names of movies and
outcomes travel: rows are written by the task itself. Tasks are submitted as earlier ones complete, a few for
each worker, so that an interrupt loses little, and the client never holds more than those.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from functools import lru_cache, partial
from multiprocessing import get_context
from typing import Any, TypeAlias

import cloudpickle
import dask
from distributed import Client, as_completed, default_client

from camhd_access.decoding.threads import n_cores
from camhd_access.surveys.choices import Job
from camhd_access.surveys.dataset import ResultFile
from camhd_access.surveys.study import Outcome, Study, study_movie, write_failure

__all__ = ["Task", "find_client", "run_tasks"]

Task: TypeAlias = tuple[Job, tuple[ResultFile, ...]]
"""A movie, and its earlier files, which are replaced."""

TASKS_PER_WORKER = 2
"""Tasks submitted ahead, for each worker."""


def run_tasks(study: Study, tasks: Iterable[Task], client: Any) -> Generator[Outcome]:  # noqa: ANN401
    """The outcomes, in the order in which tasks complete.

    Parameters
    ----------
    client
        A client of `distributed`, an executor, or None: the scheduler that dask is configured for (threads by
        default).

    Raises
    ------
    OSError
        Results cannot be written, or the cluster is gone.
    ValueError
        The results would be in the memory of other processes.
    """
    if isinstance(client, Client):
        _refuse_memory(study)
        yield from _run_on_cluster(study, cloudpickle.dumps(study), tasks, client)
        return
    with _executor(client) as (executor, n_workers):
        if executor is None:
            yield from (study_movie(study, *task) for task in tasks)
            return
        run = partial(study_movie, study)
        if not isinstance(executor, ThreadPoolExecutor):
            _refuse_memory(study)
            run = partial(_run_packed, cloudpickle.dumps(study))
        yield from _run_by(executor, run, tasks, n_at_once=TASKS_PER_WORKER * n_workers)


def find_client(client: Any) -> Any:  # noqa: ANN401
    """The client given, else the active one of `distributed`, if any; `TypeError` if it runs no tasks."""
    if client is not None and not isinstance(client, Client | Executor):
        raise TypeError(
            "client must be a distributed.Client, a concurrent.futures.Executor or None (dask's configured "
            f"scheduler), not {client!r:.80}"
        )
    if client is not None:
        return client
    try:
        return default_client()
    except ValueError:
        return None


def _refuse_memory(study: Study) -> None:
    if study.folder.is_in_memory:
        raise ValueError(f"out={study.folder.name}: other processes cannot write to the memory of this one")


@contextmanager
def _executor(given: Executor | None) -> Iterator[tuple[Executor | None, int]]:
    """An executor for dask's configured scheduler, and its number of workers; None runs tasks one by one."""
    if given is not None:
        yield given, getattr(given, "_max_workers", n_cores())
        return
    scheduler = dask.config.get("scheduler", "threads")
    n_workers = int(dask.config.get("num_workers", n_cores()))
    if isinstance(scheduler, Executor):
        yield scheduler, getattr(scheduler, "_max_workers", n_workers)
    elif scheduler in ("sync", "synchronous", "single-threaded"):
        yield None, 1
    elif scheduler in ("threads", "threading"):
        with ThreadPoolExecutor(n_workers, thread_name_prefix="camhd-survey") as pool:
            yield pool, n_workers
    elif scheduler in ("processes", "multiprocessing"):
        context = get_context(dask.config.get("multiprocessing.context", "spawn"))
        with ProcessPoolExecutor(n_workers, mp_context=context) as processes:
            yield processes, n_workers
    else:
        raise ValueError(
            f"dask's scheduler {scheduler!r:.80} cannot run surveys: use threads, processes, or client="
        )


@lru_cache(maxsize=4)
def _unpack(packed: bytes) -> Study:
    study: Study = cloudpickle.loads(packed)
    return study


def _run_packed(packed: bytes, job: Job, replaced: tuple[ResultFile, ...]) -> Outcome:
    """A task: runs in a thread, a process or on a worker of a cluster."""
    return study_movie(_unpack(packed), job, replaced)


def _run_by(
    executor: Executor, run: Callable[..., Outcome], tasks: Iterable[Task], *, n_at_once: int
) -> Generator[Outcome]:
    queue = deque(tasks)
    running: set[Future[Outcome]] = set()
    try:
        while queue or running:
            while queue and len(running) < n_at_once:
                running.add(executor.submit(run, *queue.popleft()))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        for future in running:
            future.cancel()


def _run_on_cluster(study: Study, packed: bytes, tasks: Iterable[Task], client: Client) -> Generator[Outcome]:
    """On workers; a task whose workers die again and again becomes a row with an error."""
    queue = deque(tasks)
    running: dict[Any, Task] = {}
    completed = as_completed(loop=client.loop)
    try:
        while queue or running:
            n_at_once = TASKS_PER_WORKER * max(_n_threads(client), 1)
            while queue and len(running) < n_at_once:
                future = client.submit(_run_packed, packed, *queue[0], pure=False)
                running[future] = queue.popleft()
                completed.add(future)
            future = next(completed)
            task = running.pop(future)
            yield _settle(future, study, task)
    finally:
        if running:
            client.cancel(list(running))


def _n_threads(client: Client) -> int:
    """Threads of all workers, now: clusters grow and shrink."""
    return sum(client.nthreads().values())


def _settle(future: Any, study: Study, task: Task) -> Outcome:  # noqa: ANN401
    """The outcome of a finished task; tasks that did not end are written as failed."""
    from distributed.scheduler import KilledWorker  # noqa: PLC0415 - the scheduler is not needed elsewhere

    try:
        outcome: Outcome = future.result()
    except KilledWorker as error:
        return write_failure(study, task[0], error, task[1])
    return outcome
