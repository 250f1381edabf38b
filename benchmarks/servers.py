"""Servers of the movies, near and far: nginx on loopback or behind a long link, and replacements for either.

A link is emulated by `relay`, in a network namespace of its own, with the TCP of the kernel, slow start
included. Who may not make namespaces, or has no nginx, gets `proxy`.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Origin", "emulated_link", "serve"]

NGINX_CONF = """
daemon off; master_process off; worker_processes 1; pid {state}/pid; error_log {state}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000;
    client_body_temp_path {state}/body; proxy_temp_path {state}/proxy; fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi; scgi_temp_path {state}/scgi;
    types {{ video/quicktime mov; }}
    ssl_certificate {state}/cert.pem; ssl_certificate_key {state}/key.pem;
    server {{ listen {address}:{port}; listen {address}:{tls_port} ssl; root {root}; }}
}}
"""


@dataclass(frozen=True)
class Origin:
    """Where the movies are served."""

    kind: str
    """Which server, and how its link is made."""
    http: str
    """Root, without a slash at the end."""
    https: str | None
    """The same with TLS and a self-signed certificate."""
    mbit: float | None = None
    """Rate of the link."""
    rtt_ms: float = 0.0
    """Its round trip."""

    @property
    def label(self) -> str:
        """The link in words."""
        if self.mbit is None:
            return "loopback"
        return (
            f"{self.rtt_ms:.0f} ms, {self.mbit / 1000:g} Gbit/s"
            if self.mbit >= 1000
            else (f"{self.rtt_ms:.0f} ms, {self.mbit:g} Mbit/s")
        )


@contextmanager
def serve(root: Path, *, core: int | None = None) -> Iterator[Origin]:
    """`root` on loopback; by nginx, on one core if asked, else by the small server of `synthetic`."""
    if shutil.which("nginx"):
        pin = ["taskset", "-c", str(core)] if core is not None else []
        with _nginx(root, "127.0.0.1", pin) as (port, tls_port):
            yield Origin("nginx", f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls_port}")
        return
    code = (
        "import sys; from camhd_access.synthetic import serve_folder\n"
        "with serve_folder(sys.argv[1]) as server: print(server.server_port, flush=True); sys.stdin.read()"
    )
    with _helper("-c", code, str(root)) as port:
        yield Origin("FolderServer", f"http://127.0.0.1:{port}", None)


@contextmanager
def emulated_link(root: Path, *, mbit: float, rtt_ms: float = 50.0) -> Iterator[Origin]:
    """`root` behind a link of that rate and round trip."""
    if os.geteuid() == 0 and shutil.which("tc") and shutil.which("nginx") and Path("/dev/net/tun").exists():
        with (
            _namespace() as name,
            _helper("-m", "benchmarks.relay", name, str(mbit), str(rtt_ms)) as address,
            _nginx(root, address, ["ip", "netns", "exec", name]) as (port, tls_port),
        ):
            http, https = f"http://{address}:{port}", f"https://{address}:{tls_port}"
            yield Origin("nginx in a network namespace", http, https, mbit, rtt_ms)
        return
    with serve(root) as near:
        ports = [url and url.rpartition(":")[2] for url in (near.http, near.https)]
        with _proxied(ports[0], mbit, rtt_ms) as http, _proxied(ports[1], mbit, rtt_ms) as https:
            yield Origin(
                f"{near.kind} behind a delaying proxy (no slow start)",
                f"http://127.0.0.1:{http}",
                https and f"https://127.0.0.1:{https}",
                mbit,
                rtt_ms,
            )


@contextmanager
def _namespace() -> Iterator[str]:
    """A new network namespace; its name is that of this process, so that several may measure at once."""
    name = f"camhd-bench-{os.getpid()}"
    _run("ip", "netns", "add", name)
    try:
        yield name
    finally:
        _run("ip", "netns", "del", name)


@contextmanager
def _proxied(port: str | None, mbit: float, rtt_ms: float) -> Iterator[str | None]:
    if port is None:
        yield None
        return
    with _helper("-m", "benchmarks.proxy", port, str(mbit), str(rtt_ms)) as own_port:
        yield own_port


@contextmanager
def _helper(*arguments: str) -> Iterator[str]:
    """The first line that a Python process prints; it ends with its standard input."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        line = process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"did not start: {' '.join(arguments)}")
        try:
            yield line
        finally:
            process.stdin.close()


@contextmanager
def _nginx(root: Path, address: str, prefix: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Ports for http and https of an nginx that runs under the command `prefix`."""
    with tempfile.TemporaryDirectory(prefix="camhd-bench-") as state:
        _run(
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"),
            *("-keyout", f"{state}/key.pem", "-out", f"{state}/cert.pem"),
        )
        port, tls_port = _free_ports()
        configuration = Path(state, "nginx.conf")
        configuration.write_text(
            NGINX_CONF.format(state=state, root=root, address=address, port=port, tls_port=tls_port)
        )
        with subprocess.Popen([*prefix, "nginx", "-e", f"{state}/error.log", "-c", configuration]) as nginx:
            try:
                _wait_for(address, port)
                yield port, tls_port
            finally:
                nginx.terminate()


def _free_ports() -> list[int]:
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        return [first.getsockname()[1], second.getsockname()[1]]


def _wait_for(address: str, port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            time.sleep(0.025)
        else:
            return
    raise RuntimeError(f"nothing answers on {address}:{port}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
