"""The server as a separate process, started by its command, and requests to it."""

import os
import re
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from urllib.request import urlopen

COMMAND = [sys.executable, "-m", "camhd_access.cli", "serve"]
MAX_SECONDS = 300
"""What has not happened by then does not happen; a busy machine takes a minute for some."""


@contextmanager
def serving(*arguments, **environment):
    """A server in a process of its own: the process, and the address that it printed."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    try:
        yield process, read_address(process)
    finally:
        process.kill()
        process.communicate()


def read_address(process):
    """The address printed by the process within `MAX_SECONDS`."""
    said, end = "", time.monotonic() + MAX_SECONDS
    while time.monotonic() < end and select.select([process.stderr], [], [], MAX_SECONDS)[0]:
        line = process.stderr.readline()
        said += line
        if found := re.search(r"http://[\d.:]+\d", line):
            return found[0]
        if not line:
            break
    raise AssertionError(said)


@dataclass(frozen=True)
class Answer:
    """An answer, after all redirects."""

    body: bytes
    url: str
    headers: Message


def fetch(url):
    with urlopen(url, timeout=100) as answer:  # noqa: S310 - servers on loopback
        return Answer(answer.read(), answer.url, answer.headers)


def wait_until(is_true):
    end = time.monotonic() + MAX_SECONDS
    while not is_true():
        assert time.monotonic() < end, f"{MAX_SECONDS} s have passed"
        time.sleep(0.025)
