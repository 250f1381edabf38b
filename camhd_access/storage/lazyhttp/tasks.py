"""Coroutines as blocking calls, and several of them at once, so that stopping one stops all that it began.

A blocking call waits for an event loop that runs in another thread. That thread is gone in a forked child,
and stands still once the interpreter ends: then a call raises an error, and does not wait for ever.
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

from camhd_access.errors import RemoteFileError

__all__ = [
    "blocking",
    "gather",
    "in_thread",
    "is_ending",
    "one_at_a_time",
    "running",
    "settle",
    "shared_loop",
]

_LOOK_SECONDS = 0.5  # how often a waiting thread looks whether it waits in vain
_ENDING = "nothing can be read any more: the program is ending"


class _HasLoop(Protocol):
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...


_Self = TypeVar("_Self", bound=_HasLoop)
_P = ParamSpec("_P")
_Result = TypeVar("_Result")

_lock = threading.RLock()


def _start_anew() -> None:
    """Leave the parent's loop and locks to it: a thread of its own may have held one of them just then."""
    global _lock  # noqa: PLW0603 - of this process
    _lock = threading.RLock()
    asyn.reset_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def one_at_a_time() -> threading.RLock:
    """What the threads of this process hold while they make what all of them use, such as after a fork."""
    return _lock


def shared_loop() -> asyncio.AbstractEventLoop:
    """Fsspec's event loop, started by the first thread of this process that needs it, and by no other.

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
    """`loop`, unless the interpreter has stopped all threads, and that of the loop too: `RemoteFileError`."""
    if sys.is_finalizing():
        raise RemoteFileError(_ENDING)
    return loop


def is_ending() -> bool:
    """Whether the main thread has come to its end: from then on Python starts no threads."""
    return not threading.main_thread().is_alive()


async def in_thread(function: Callable[_P, _Result], /, *args: _P.args, **kwargs: _P.kwargs) -> _Result:
    """What `function` returns, which may block: run in a thread, or here where no thread starts any more."""
    if not is_ending():
        call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        try:
            future = asyncio.get_running_loop().run_in_executor(None, call)
        except RuntimeError:  # the end has come meanwhile
            pass
        else:
            return await future
    return function(*args, **kwargs)


def settle(future: Future[Any], loop: asyncio.AbstractEventLoop | None) -> None:
    """Wait until `future` is done, by a coroutine that runs on `loop`, or by a thread where that is None.

    Raises
    ------
    RemoteFileError
        The loop has stopped, and will never bring it.
    """
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
    """The blocking twin of a coroutine method; unlike fsspec's own it stops the coroutine on Ctrl-C."""

    @functools.wraps(method)
    def call(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _Result:
        loop = self.loop
        if asyncio._get_running_loop() is loop:  # noqa: SLF001 - its public twin raises where none runs
            raise RuntimeError(f"{method.__name__[1:]} would wait for itself: await {method.__name__} here")
        future = asyncio.run_coroutine_threadsafe(method(self, *args, **kwargs), loop)
        try:
            settle(future, loop)
            return future.result()
        finally:
            future.cancel()  # does nothing to one that is done

    return call


async def gather(work: Iterable[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """All results, or the first error; what is still under way is stopped then."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
