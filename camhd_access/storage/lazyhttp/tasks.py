"""Coroutines as blocking calls, one or several at once, with cancellation of everything they started.

A blocking call waits for an event loop in another thread. That thread does not exist in a forked child,
and stops when the interpreter ends: then a call raises an error instead of waiting indefinitely. It does so
too in the thread of the loop itself, where a garbage collection may run any `__del__`.
"""

import asyncio
import contextlib
import contextvars
import functools
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, Future
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from fsspec import asyn

from camhd_access.ending import is_ending
from camhd_access.errors import RemoteFileError

__all__ = [
    "blocking",
    "gather",
    "in_thread",
    "one_at_a_time",
    "running",
    "settle",
    "shared_loop",
]

_LOOK_SECONDS = 0.5  # how often a waiting thread checks that the loop still runs
_ENDING = "cannot read: the program is ending"
_OWN_LOOP = "a blocking read would wait for the event loop of its own thread: read in another thread"


class _HasLoop(Protocol):
    @property
    def loop(self) -> asyncio.AbstractEventLoop | None: ...


_Self = TypeVar("_Self", bound=_HasLoop)
_P = ParamSpec("_P")
_Result = TypeVar("_Result")

_lock = threading.RLock()


def _start_anew() -> None:
    """Drop the parent's loop and locks after a fork: one of its threads may have held one."""
    global _lock  # noqa: PLW0603 - of this process
    _lock = threading.RLock()
    asyn.reset_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def one_at_a_time() -> threading.RLock:
    """The lock under which threads create objects shared by the process, such as after a fork."""
    return _lock


def shared_loop() -> asyncio.AbstractEventLoop:
    """The event loop of fsspec, started by the first thread of this process that needs it.

    Raises
    ------
    RemoteFileError
        The interpreter is ending, and starts no more threads.
    """
    with one_at_a_time():
        try:
            loop: asyncio.AbstractEventLoop = asyn.get_loop()
        except RuntimeError as error:
            asyn.loop[0] = None  # it would never run
            raise RemoteFileError(_ENDING) from error
        return loop


def running(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    """`loop`; `RemoteFileError` if the interpreter is ending and has stopped its threads."""
    if sys.is_finalizing():
        raise RemoteFileError(_ENDING)
    return loop


async def in_thread(function: Callable[_P, _Result], /, *args: _P.args, **kwargs: _P.kwargs) -> _Result:
    """The result of a blocking `function`, run in a thread, or directly if no thread can start any more."""
    if not is_ending():
        call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        try:
            future = asyncio.get_running_loop().run_in_executor(None, call)
        except RuntimeError:  # the interpreter has ended meanwhile
            pass
        else:
            return await future
    return function(*args, **kwargs)


def settle(future: Future[Any], loop: asyncio.AbstractEventLoop | None) -> None:
    """Wait until `future` is done, by a coroutine on `loop`, or by a thread if that is None.

    Raises
    ------
    RemoteFileError
        The loop has stopped, so the result will never arrive.
    RuntimeError
        This is the thread of the loop.
    """
    if loop is not None and not future.done() and asyncio._get_running_loop() is loop:  # noqa: SLF001 - see `blocking`
        raise RuntimeError(_OWN_LOOP)
    while not future.done():
        with contextlib.suppress(TimeoutError, CancelledError):
            future.exception(None if loop is None else _LOOK_SECONDS)
        if not future.done() and loop is not None and not _runs(loop):
            raise RemoteFileError(_ENDING)


def _runs(loop: asyncio.AbstractEventLoop) -> bool:
    thread = asyn.iothread[0] if asyn.loop[0] is loop else None
    return not sys.is_finalizing() and (loop.is_running() if thread is None else thread.is_alive())


def blocking(
    method: Callable[Concatenate[_Self, _P], Coroutine[Any, Any, _Result]],
) -> Callable[Concatenate[_Self, _P], _Result]:
    """The blocking version of a coroutine method; unlike fsspec's own it cancels the coroutine on Ctrl-C."""

    @functools.wraps(method)
    def call(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _Result:
        loop = self.loop
        if loop is None:
            raise RuntimeError(f"asynchronous=True: await {method.__name__}")
        if asyncio._get_running_loop() is loop:  # noqa: SLF001 - its public twin raises where none runs
            raise RuntimeError(
                f"{method.__name__[1:]} would block its own event loop: await {method.__name__}"
            )
        future = asyncio.run_coroutine_threadsafe(method(self, *args, **kwargs), loop)
        try:
            settle(future, loop)
            return future.result()
        finally:
            future.cancel()  # no effect if it is done

    return call


async def gather(work: Iterable[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """All results, or the first error, after which the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
