"""A real S3 API on loopback, with buckets for tests."""

import gc
import logging
import re
from collections import Counter
from contextlib import contextmanager
from itertools import count

import s3fs
from moto.server import ThreadedMotoServer

_numbers = count()


class S3Server(logging.Handler):
    """A running server that records requests."""

    def __init__(self, host, port):
        super().__init__()
        self.url = f"http://{host}:{port}"
        self.options = {"key": "test", "secret": "test", "endpoint_url": self.url}
        self.requests = []

    def emit(self, record):
        self.requests.append(record.getMessage())

    def assert_asked(self, **expected):
        """Fail unless these numbers of requests, by method, were made since `requests` was cleared."""
        methods = Counter(re.search(r"(GET|HEAD|PUT|POST|DELETE) /", line)[1] for line in self.requests)
        assert methods == Counter(expected), self.requests

    def bucket(self):
        """The name of a new bucket."""
        name = f"bucket{next(_numbers)}"
        s3fs.S3FileSystem(**self.options).mkdir(name)
        self.requests.clear()
        return name


@contextmanager
def running_s3():
    """The server, until the `with` block ends."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    running = S3Server(*server.get_host_and_port())
    log = logging.getLogger("werkzeug")  # its lines are the only count of requests that there is
    log.addHandler(running)
    log.propagate = False
    try:
        yield running
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        gc.collect()  # filesystems close their sessions when they go
        log.removeHandler(running)
        server.stop()
