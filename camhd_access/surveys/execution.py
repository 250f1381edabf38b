"""Tasks on threads, processes or a cluster: the outcome of each movie, as it completes.

The function is pickled once, so that functions of notebooks work everywhere. Only names of movies and
outcomes travel: rows are written by the task itself. Tasks are submitted as earlier ones complete, a few for
each worker, so that an interrupt loses little, and the client never holds more than those. On a cluster there
are some more, because adaptive clusters grow with the tasks that wait; and each movie is read on the host
that may have it in its cache, unless that is busy while others have nothing to do.
"""

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from multiprocessing import get_context
from typing import Any, TypeAlias

import cloudpickle
import dask
from distributed import Client, as_completed, default_client
from distributed.client import FutureCancelledError
from distributed.comm.addressing import get_address_host
from distributed.comm.core import CommClosedError

from camhd_access.decoding.threads import n_cores
from camhd_access.storage.lazyhttp.permits import PermitsLostError
from camhd_access.surveys.choices import Job
from camhd_access.surveys.dataset import ResultFile
from camhd_access.surveys.placement import choose_host
from camhd_access.surveys.study import Outcome, Study, study_movie, write_failure

__all__ = ["Task", "find_client", "make_processes", "run_tasks"]

Task: TypeAlias = tuple[Job, tuple[ResultFile, ...]]
"""A movie, and its earlier files, which are replaced."""

TASKS_PER_WORKER = 2
"""Tasks submitted ahead, for each worker."""

TASKS_PER_CLUSTER = 100
"""Further tasks submitted to a cluster, so that an adaptive one sees work for many workers."""

MAX_LOST_IN_A_ROW = 10
"""After this number of consecutive tasks that could not reach the permit server, the survey ends."""

ASK_SECONDS = 2.0
"""The scheduler is asked for its workers once in this time."""


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
        _refuse_memory(study, client)
        yield from _run_on_cluster(study, _pack(study), tasks, client)
        return
    with _executor(client) as (executor, n_workers):
        if executor is None:
            yield from (study_movie(study, *task) for task in tasks)
            return
        run = partial(study_movie, study)
        if not isinstance(executor, ThreadPoolExecutor):
            _refuse_memory(study)
            run = partial(_run_packed, _pack(study))
        yield from _run_by(executor, run, tasks, n_at_once=TASKS_PER_WORKER * n_workers)


def find_client(client: Any) -> Any:  # noqa: ANN401
    """The client given, else the active one of `distributed`, if any; `TypeError` if it runs no tasks."""
    if client is not None and not isinstance(client, Client | Executor):
        raise TypeError(
            "client must be a distributed.Client, a concurrent.futures.Executor or None (dask's configured "
            f"scheduler), not {client!r:.80}"
        )
    if isinstance(client, Client) and client.status != "running":
        raise ValueError(f"client is not connected to a cluster, it is {client.status}: open a new one")
    if client is not None:
        return client
    try:
        return default_client()
    except ValueError:
        return None


def make_processes(n_workers: int) -> ProcessPoolExecutor:
    """Worker processes, which finish their movie if the survey is interrupted from the keyboard."""
    context = get_context(dask.config.get("multiprocessing.context", "spawn"))
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    return ProcessPoolExecutor(n_workers, mp_context=context, initializer=ignore)


def _refuse_memory(study: Study, client: Client | None = None) -> None:
    if not study.folder.is_in_memory:
        return
    if client is None or not str(client.scheduler_info()["address"]).startswith("inproc://"):
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
        with make_processes(n_workers) as processes:
            yield processes, n_workers
    else:
        raise ValueError(
            f"dask's scheduler {scheduler!r:.80} cannot run surveys: use threads, processes, or client="
        )


def _pack(study: Study) -> bytes:
    """The study for other processes; `TypeError` if its function has what cannot be sent."""
    try:
        packed: bytes = cloudpickle.dumps(study)
    except Exception as error:  # of the classes of what the function refers to
        raise TypeError(
            f"the function {study.name} cannot be sent to other processes ({error}): open files, make locks "
            "and the like within it, or use threads"
        ) from error
    return packed


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
    except BrokenExecutor as error:
        raise ChildProcessError(
            "a worker process died or was killed, perhaps for lack of memory; the same call goes on with the "
            "movies that are missing"
        ) from error
    finally:
        for future in running:
            future.cancel()


def _run_on_cluster(study: Study, packed: bytes, tasks: Iterable[Task], client: Client) -> Generator[Outcome]:
    """On workers; a task whose workers die again and again becomes a row with an error."""
    queue = deque(tasks)
    running: dict[Any, Task] = {}
    completed = as_completed(loop=client.loop)
    workers = _Workers(client)
    n_lost = 0
    try:
        while queue or running:
            workers.ask()
            n_at_once = TASKS_PER_WORKER * workers.n_threads + TASKS_PER_CLUSTER
            while queue and len(running) < n_at_once:
                place = workers.near(queue[0][0].movie) if study.opening["cache"] else {}
                future = client.submit(_run_packed, packed, *queue[0], pure=False, **place)
                running[future] = queue.popleft()
                completed.add(future)
            future = next(completed)
            task = running.pop(future)
            try:
                yield _settle(future, study, task)
            except PermitsLostError:  # its worker was cut off for a while
                queue.append(task)
                n_lost += 1
                if n_lost > MAX_LOST_IN_A_ROW:
                    raise
            else:
                n_lost = 0
    finally:
        if running and client.status == "running":
            with suppress(OSError):  # the connection is lost: that is told already
                client.cancel(list(running))


class _Workers:
    """The workers of a cluster, which grows and shrinks."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked_at = float("-inf")
        self._threads: dict[str, int] = {}
        self._hosts: Counter[str] = Counter()

    def ask(self) -> None:
        """Ask the scheduler which workers there are, if that has been some time ago."""
        if time.monotonic() < self._asked_at + ASK_SECONDS:
            return
        with _telling_of_loss(OSError):
            self._threads = dict(self._client.nthreads())
        self._hosts = Counter()
        for address, n_threads in self._threads.items():
            self._hosts[get_address_host(address)] += n_threads
        self._asked_at = time.monotonic()

    @property
    def n_threads(self) -> int:
        """Threads of all workers."""
        return sum(self._threads.values())

    def near(self, movie: str) -> dict[str, Any]:
        """Options of `submit` that prefer the workers where bytes of a movie may be cached."""
        if len(self._hosts) < 2:
            return {}
        host = choose_host(movie, self._hosts)
        workers = [address for address in self._threads if get_address_host(address) == host]
        return {"workers": workers, "allow_other_workers": True}


def _settle(future: Any, study: Study, task: Task) -> Outcome:  # noqa: ANN401
    """The outcome of a finished task; tasks that did not end are written as failed."""
    from distributed.scheduler import KilledWorker  # noqa: PLC0415 - the scheduler is not needed elsewhere

    try:
        with _telling_of_loss(FutureCancelledError, CommClosedError):
            outcome: Outcome = future.result()
    except KilledWorker as error:
        return write_failure(study, task[0], error, task[1])
    return outcome


@contextmanager
def _telling_of_loss(*errors: type[Exception]) -> Iterator[None]:
    """Raise these errors, which mean that the scheduler is gone, as one that says how to go on."""
    try:
        yield
    except errors as error:
        raise ConnectionAbortedError(
            "the connection to the scheduler is lost; the same call goes on with the movies that are missing"
        ) from error
