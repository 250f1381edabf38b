"""Azure's own emulator of Blob Storage on loopback, with containers to use up."""

import gc
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from webservers import answers_at, free_port

_numbers = count()
_HERE = Path(__file__).parent.parent / ".azurite"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The public key of the emulator's only account."""


class AzureServer:
    """A running server."""

    def __init__(self, port):
        account = f"AccountName=devstoreaccount1;AccountKey={_KEY}"
        endpoint = f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1"
        self.options = {"connection_string": f"DefaultEndpointsProtocol=http;{account};{endpoint};"}

    def container(self):
        """The name of a new container."""
        import adlfs

        name = f"container{next(_numbers)}"
        adlfs.AzureBlobFileSystem(**self.options).mkdir(name)
        return name


@contextmanager
def running_azurite(folder):
    """The server until the end of the `with` block; skips the test if it is not installed."""
    pytest.importorskip("adlfs")
    import adlfs

    program = shutil.which("azurite-blob", path=f"{_HERE / 'node_modules/.bin'}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("not installed: azurite (npm install --prefix .azurite azurite)")
    port = free_port()
    where = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    server = subprocess.Popen(
        [program, *where, "--silent", "--skipApiVersionCheck", "--disableTelemetry"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert answers_at(server, port)
        yield AzureServer(port)
    finally:
        adlfs.AzureBlobFileSystem.clear_instance_cache()
        gc.collect()  # filesystems close their sessions when they go
        server.send_signal(signal.SIGTERM)
        server.wait(60)
