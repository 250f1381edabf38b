"""One limit for all workers of a survey on the server of the movies.

A server of permits (`storage.lazyhttp.permits`) runs in the process that started the survey, or on the
scheduler of a cluster, where all workers reach it. The one of a cluster is shared by all surveys on it, and
lives as long as its scheduler.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from numbers import Integral
from typing import Any

from distributed import Client
from distributed.comm.addressing import get_address_host
from distributed.diagnostics.plugin import SchedulerPlugin

from camhd_access.storage.lazyhttp.permits import PermitServer
from camhd_access.storage.lazyhttp.tasks import shared_loop

__all__ = ["check_limits", "limiting"]

NAME = "camhd-permits"
"""Name of the plugin of the scheduler."""

START_SECONDS = 30.0
"""Longest wait for the permit server to start."""


def check_limits(at_once: int | None, per_second: float | None) -> None:
    """Raise `ValueError` unless the limits are positive or None."""
    if at_once is not None and (
        isinstance(at_once, bool) or not isinstance(at_once, Integral) or at_once < 1
    ):
        raise ValueError(f"at_once must be a positive whole number of requests, or None, not {at_once!r:.80}")
    if per_second is not None and not per_second > 0:
        raise ValueError(f"per_second must be a positive number of requests, or None, not {per_second!r:.80}")


@contextmanager
def limiting(client: Any, at_once: int | None, per_second: float | None) -> Iterator[str]:  # noqa: ANN401
    """The address of a permit server for the workers of `client`; empty if there are no limits."""
    if at_once is None and per_second is None:
        yield ""
        return
    limits = (1 << 30 if at_once is None else int(at_once), inf if per_second is None else per_second)
    if isinstance(client, Client):
        yield client.run_on_scheduler(_serve_on_scheduler, *limits)
        return
    server = PermitServer(at_once=limits[0], per_second=limits[1])
    loop = shared_loop()
    port = asyncio.run_coroutine_threadsafe(server.start("127.0.0.1"), loop).result(START_SECONDS)
    try:
        yield f"127.0.0.1:{port}/{server.token}"
    finally:
        asyncio.run_coroutine_threadsafe(server.aclose(), loop).result(START_SECONDS)


async def _serve_on_scheduler(at_once: int, per_second: float, dask_scheduler: Any = None) -> str:  # noqa: ANN401
    """Start a server, or set the limits of the one that runs; its address. Runs on the scheduler."""
    plugin = dask_scheduler.plugins.get(NAME)
    if plugin is None:
        host = get_address_host(dask_scheduler.address)
        host = "127.0.0.1" if dask_scheduler.address.startswith("inproc:") else host
        server = PermitServer(at_once=at_once, per_second=per_second)
        plugin = _Plugin(server, f"{host}:{await server.start(host)}/{server.token}")
        dask_scheduler.add_plugin(plugin, name=NAME)
    plugin.server.at_once, plugin.server.per_second = at_once, per_second
    address: str = plugin.address
    return address


class _Plugin(SchedulerPlugin):
    """Keeps the permit server of a scheduler."""

    def __init__(self, server: PermitServer, address: str) -> None:
        self.server = server
        self.address = address

    async def close(self) -> None:
        """Close the server together with the scheduler."""
        await self.server.aclose()
