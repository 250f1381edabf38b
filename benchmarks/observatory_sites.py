"""The machines of the simulated observatory: network namespaces around a router.

The archive (nginx) is at the other end of a long link, which is made by `relay`. The scheduler, the client
and each worker have an address of their own, and each worker its own cache. Programs that are killed are
started again, as a service manager would. Needs root, `ip` and nginx; sees no other network.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

__all__ = ["SCHEDULER", "Sites", "open_sites"]

REPOSITORY = Path(__file__).parents[1]
PREFIX = "observatory"
PORT = 8786
MBIT, RTT_MS = 1000, 20

NGINX_CONF = """
daemon off; worker_processes 1; pid {state}/nginx.pid; error_log {state}/error.log;
events {{ worker_connections 512; }}
http {{
    log_format times '$msec $request_time $remote_addr $request_method $status $body_bytes_sent $uri';
    access_log {state}/access.log times;
    client_body_temp_path {state}/body; proxy_temp_path {state}/proxy; fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi; scgi_temp_path {state}/scgi;
    sendfile on; tcp_nodelay on; keepalive_requests 100000;
    server {{ listen {address}:80; root {root}; }}
}}
"""

RESPAWN = 'while :; do "$@"; sleep 1; done'


def _address(node: int) -> str:
    return f"10.77.{node}.2"


SCHEDULER = f"tcp://{_address(100)}:{PORT}"


class Sites:
    """The running programs. Nodes are workers, from 1; 100 is the scheduler and 101 the client."""

    def __init__(self, state: Path, stack: ExitStack) -> None:
        self.state = state
        self._stack = stack
        self._archive = ""
        """Address of the archive, once the link to it is there."""

    def start_archive(self, root: Path) -> str:
        """Serve a folder at the other end of the link; its URL."""
        configuration = self.state / "nginx.conf"
        configuration.write_text(NGINX_CONF.format(state=self.state, root=root, address=self._archive))
        self._start("archive", "nginx", "-e", f"{self.state}/error.log", "-c", str(configuration))
        return f"http://{self._archive}/"

    def start_scheduler(self) -> None:
        """The scheduler, which is started again if it ends."""
        place = ("--host", _address(100), "--port", str(PORT), "--no-dashboard")
        self._start_service(100, "scheduler", *place)

    def start_worker(self, node: int, n_threads: int) -> None:
        """A worker with a cache of its own, which is started again if it ends."""
        place = ("--host", _address(node), "--name", f"worker-{node}", "--no-dashboard", "--no-nanny")
        own = self.state / f"node-{node}"
        size = ("--nthreads", str(n_threads), "--memory-limit", "1GiB", "--local-directory", str(own))
        self._start_service(node, "worker", SCHEDULER, *place, *size, "--death-timeout", "60")

    def run_client(self, *arguments: str) -> subprocess.Popen[str]:
        """A Python program on the client's node."""
        command = [*_inside(_name(101)), sys.executable, *arguments]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)

    def kill(self, node: int) -> None:
        """Kill the dask program of a node."""
        for pid in _pids(_name(node)):
            if b"dask" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1]:
                os.kill(pid, signal.SIGKILL)

    def cut(self, node: int) -> None:
        """Pull the cable of a node."""
        _run(f"ip -n {_name(0)} link set to-{node} down")

    def mend(self, node: int) -> None:
        """Put it back."""
        _run(f"ip -n {_name(0)} link set to-{node} up")

    def add_node(self, node: int) -> None:
        """A namespace with a cable to the router."""
        self._add_namespace(_name(node))
        _run(f"ip link add to-{node} netns {_name(0)} type veth peer name eth0 netns {_name(node)}")
        _run(f"ip -n {_name(0)} addr add 10.77.{node}.1/24 dev to-{node}")
        _run(f"ip -n {_name(0)} link set to-{node} up")
        _run(f"ip -n {_name(node)} addr add {_address(node)}/24 dev eth0")
        _run(f"ip -n {_name(node)} link set eth0 up")
        _run(f"ip -n {_name(node)} route add default via 10.77.{node}.1")

    def add_router(self) -> None:
        """The router, and the long link from it to the archive."""
        self._add_namespace(_name(0))
        self._add_namespace(_name("archive"))
        _run(f"ip netns exec {_name(0)} sh -c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        command = [*_inside(_name(0)), sys.executable, "-m", "benchmarks.relay"]
        link = self._stack.enter_context(
            subprocess.Popen(
                [*command, _name("archive"), str(MBIT), str(RTT_MS)],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
        self._stack.callback(link.stdin.close)
        self._archive = link.stdout.readline().decode().strip()
        if not self._archive:
            raise RuntimeError("the relay did not start")

    def _add_namespace(self, name: str) -> None:
        _run(f"ip netns add {name}")
        self._stack.callback(_delete_namespace, name)
        _run(f"ip -n {name} link set lo up")

    def _start_service(self, node: int, kind: str, *arguments: str) -> None:
        dask = str(Path(sys.executable).with_name("dask"))
        environment = {"CAMHD_CACHE_DIR": str(self.state / f"cache-{node}"), "OMP_NUM_THREADS": "1"}
        command = ("sh", "-c", RESPAWN, "sh", sys.executable, dask, kind, *arguments)
        self._start(node, *command, environment=environment)

    def _start(self, node: int | str, *command: str, environment: dict[str, str] | None = None) -> None:
        with (self.state / f"{node}.log").open("wb") as log:
            subprocess.Popen(
                [*_inside(_name(node)), *command],
                cwd=REPOSITORY,
                env=os.environ | (environment or {}),
                stdout=log,
                stderr=log,
            )


@contextmanager
def open_sites(state: Path, n_workers: int) -> Iterator[Sites]:
    """The namespaces, without programs; all that runs there is killed at the end."""
    with ExitStack() as stack:
        sites = Sites(state, stack)
        sites.add_router()
        for node in (*range(1, n_workers + 1), 100, 101):
            sites.add_node(node)
        yield sites


def _name(node: int | str) -> str:
    return f"{PREFIX}-{node}"


def _inside(namespace: str) -> list[str]:
    return ["ip", "netns", "exec", namespace]


def _pids(namespace: str) -> list[int]:
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, check=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def _delete_namespace(name: str) -> None:
    for _ in range(20):  # the loop that restarts a program may be at it
        pids = _pids(name)
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    _run(f"ip netns del {name}")


def _run(command: str, *last: str) -> None:
    subprocess.run([*command.split(), *last], check=True)
