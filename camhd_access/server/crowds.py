"""Crowds of connections: room for them, and a log that they cannot fill.

A connection takes a file descriptor. Systems give a process few of them unless it asks for more, up to a
limit of their own. Where none is left, asyncio tells so with a traceback, for each connection that waits, a
thousand times a second; aiohttp writes a traceback for each request that is no HTTP. Here both become short.
"""

import asyncio
import errno
import logging
import resource
from typing import Any

from aiohttp.http import HttpProcessingError

__all__ = ["allow_crowds", "shorten_log"]

logger = logging.getLogger("camhd_access.server")

MAX_FILES = 65536
"""Open at the same time; an idle connection takes some 6 kB of memory."""
REPEAT_SECONDS = 10.0


def allow_crowds() -> None:
    """Let this process open as many files as the system allows, within reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shorten_log(loop: asyncio.AbstractEventLoop) -> None:
    """Log one line for what strangers can cause as often as they like, in place of tracebacks."""
    logging.getLogger("aiohttp.server").addFilter(_shorten)
    told_at = float("-inf")

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal told_at
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}):
            loop.default_exception_handler(context)
        elif loop.time() - told_at > REPEAT_SECONDS:
            told_at = loop.time()
            logger.warning("connections wait: all file descriptors are taken")

    loop.set_exception_handler(tell)


def _shorten(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info, record.levelno, record.levelname = None, logging.INFO, "INFO"
    return True
