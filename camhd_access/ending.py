"""Work for other threads at the end of the program, when Python starts no more threads."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

__all__ = ["is_ending", "submit"]

_P = ParamSpec("_P")
_Result = TypeVar("_Result")


def is_ending() -> bool:
    """Whether the main thread has ended: Python starts no more threads then."""
    return not threading.main_thread().is_alive()


def submit(
    pool: Executor, function: Callable[_P, _Result], /, *args: _P.args, **kwargs: _P.kwargs
) -> Future[_Result]:
    """The future result of `function` in a thread of `pool`; run directly if no thread can start any more."""
    if not is_ending():
        try:
            return pool.submit(function, *args, **kwargs)
        except RuntimeError:
            if not is_ending():
                raise
    future: Future[_Result] = Future()
    try:
        future.set_result(function(*args, **kwargs))
    except Exception as error:  # noqa: BLE001 - raised by `result`
        future.set_exception(error)
    return future
