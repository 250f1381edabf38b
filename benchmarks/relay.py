"""A long link between this machine and a network namespace of its own, for kernels without netem.

Two TUN devices, and this process in between, which forwards packets from one to the other: each direction
lets them out one after the other at the rate of the link, and hands them over half a round trip later; what
does not fit into the queue is dropped. The TCP at both ends is the kernel's own, with its slow start. Run as
`python -m benchmarks.relay NAMESPACE MBIT RTT_MS`; it says `ready`, and works until its standard input ends.

Source: Linux, Documentation/networking/tuntap.rst; the offload header is that of virtio-net, so that packets
of up to 64 KB pass as one.
"""

import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque

__all__ = ["CLIENT_ADDRESS", "SERVER_ADDRESS", "namespace_commands"]

CLIENT_ADDRESS, SERVER_ADDRESS = "198.18.0.1", "198.18.0.2"  # RFC 2544: for benchmarks
SEGMENT_BYTES, OVERHEAD_BYTES = 1448, 78  # of TCP; headers, frame and gap of Ethernet for each
OFFLOAD_HEADER_BYTES = 10
QUEUE_SECONDS = 0.1
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 0x01, 0x02


class Direction:
    """Packets on their way from one device to the other."""

    def __init__(self, source: int, target: int, *, mbit: float, delay_seconds: float) -> None:
        self.source, self.target = source, target
        self._bytes_per_second = mbit * 1e6 / 8
        self._delay = delay_seconds
        self._free_at = 0.0
        self._packets: deque[tuple[float, bytes]] = deque()

    def take(self) -> None:
        """Move packets from the source into the queue."""
        while True:
            try:
                packet = os.read(self.source, 1 << 17)
            except BlockingIOError:
                return
            now = time.monotonic()
            start = max(now, self._free_at)
            if start - now > QUEUE_SECONDS:
                continue  # the queue is full
            n_bytes = len(packet) - OFFLOAD_HEADER_BYTES
            n_bytes += OVERHEAD_BYTES * -(-n_bytes // SEGMENT_BYTES)
            self._free_at = start + n_bytes / self._bytes_per_second
            self._packets.append((self._free_at + self._delay, packet))

    def give(self) -> float:
        """Hand over what has arrived; seconds until the next packet does."""
        now = time.monotonic()
        while self._packets and self._packets[0][0] <= now:
            os.write(self.target, self._packets.popleft()[1])
        return self._packets[0][0] - now if self._packets else 60.0


def open_tun(name: str) -> int:
    """A TUN device of that name, as a file that does not block."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    return device


def namespace_commands(namespace: str, near: str, far: str) -> list[str]:
    """Put the device `far` into a namespace, and give both ends their addresses."""
    inside = f"ip -n {namespace}"
    return [
        f"ip link set {far} netns {namespace}",
        f"ip addr add {CLIENT_ADDRESS} peer {SERVER_ADDRESS} dev {near}",
        f"ip link set {near} up",
        f"{inside} addr add {SERVER_ADDRESS} peer {CLIENT_ADDRESS} dev {far}",
        f"{inside} link set {far} up",
        f"{inside} link set lo up",
    ]


def main(namespace: str, mbit: str, rtt_ms: str) -> None:
    """Forward until standard input ends."""
    near, far = open_tun("camhd-near"), open_tun("camhd-far")
    for command in namespace_commands(namespace, "camhd-near", "camhd-far"):
        subprocess.run(command.split(), check=True)
    print("ready", flush=True)
    delay = float(rtt_ms) / 2000
    both = [Direction(a, b, mbit=float(mbit), delay_seconds=delay) for a, b in ((near, far), (far, near))]
    wait = 0.0
    while True:
        readable, _, _ = select.select([near, far, sys.stdin], [], [], wait)
        if sys.stdin in readable:
            return
        for direction in both:
            if direction.source in readable:
                direction.take()
        wait = max(0.0, min(direction.give() for direction in both))


if __name__ == "__main__":
    main(*sys.argv[1:])
