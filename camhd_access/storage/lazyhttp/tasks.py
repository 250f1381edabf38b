"""Coroutines as blocking calls, and several of them at once, so that stopping one stops all that it began."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["blocking", "gather"]


class _HasLoop(Protocol):
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...


_Self = TypeVar("_Self", bound=_HasLoop)
_P = ParamSpec("_P")
_Result = TypeVar("_Result")


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
