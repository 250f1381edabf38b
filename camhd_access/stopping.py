"""Work that can be stopped between its steps: a thread cannot be interrupted.

Whoever starts long work gives it an event. The work looks at the event between its steps, such as the samples
that a frame of H.264 needs; functions in between need not pass it on. It does not reach threads that
the work itself starts, unless they are given a copy of its context.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["StoppedError", "check_stopped", "stopped_by"]

_stop: ContextVar[threading.Event | None] = ContextVar("camhd_stop", default=None)


class StoppedError(Exception):
    """Nobody waits for this work any more."""


@contextmanager
def stopped_by(stop: threading.Event) -> Iterator[None]:
    """Work in the block stops at its next step once `stop` is set."""
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def check_stopped() -> None:
    """Raise `StoppedError` if this work is to stop; called between the steps of long work."""
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise StoppedError
