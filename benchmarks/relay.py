"""A long link from this machine to a network namespace, for kernels without netem.

Packets to the far end pass two TUN devices and this process in between, which hands them over a whole round
trip later. Packets from the far end take a virtual cable, at the rate of the link (`tbf`), and never leave
the kernel. Both ends see the same round trip and slow start as on a link that is as long in both directions,
and processor time goes only into requests and acknowledgements. Run as
`python -m benchmarks.relay NAMESPACE MBIT RTT_MS`; it prints the address of the far end, and works until its
standard input ends. Devices and addresses are named after the process, so that links do not collide.

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
from contextlib import suppress
from ipaddress import IPv4Address

__all__ = []

FIRST_ADDRESS = IPv4Address("198.18.0.0")  # RFC 2544: 131,072 addresses for benchmarks
QUEUE_SECONDS = 0.1
"""What arrives while the queue of the link is longer is dropped."""

BURST_BYTES = 128 * 1024
"""Bytes that may pass faster than the rate of the link: at least the longest packet."""

TICK_SECONDS = 0.0005
"""Packets are taken and handed over together, as by a network card, which saves most of their cost."""

MAX_PACKET_BYTES = 65535 + 10  # a larger buffer would be mapped and unmapped for each packet
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 0x01, 0x02


def open_tun(name: str) -> int:
    """A TUN device of that name, as a file that does not block."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    return device


def link_commands(namespace: str, cable: str, near: str, far: str, mbit: float) -> list[str]:
    """Lay a cable, and give it and the TUN devices `near` and `far` their places and routes.

    `rp_filter=2` accepts packets that come back by another device than that which leads to their sender.
    """
    client, server = (FIRST_ADDRESS + 4 * (os.getpid() % 2**15) + i for i in (1, 2))
    rate = f"rate {mbit}mbit burst {BURST_BYTES} limit {int(mbit * 1e6 / 8 * QUEUE_SECONDS)}"
    inside = f"ip -n {namespace}"
    return [
        f"ip link add {cable} type veth peer name cable netns {namespace}",
        f"ip addr add {client} dev {cable}",
        f"ip link set {cable} up",
        f"sysctl -q net.ipv4.conf.{cable}.rp_filter=2",
        f"ip link set {near} up",
        f"ip route add {server} dev {near} src {client}",
        f"ip link set {far} netns {namespace}",
        f"{inside} addr add {server} dev {far}",
        f"{inside} link set {far} up",
        f"ip netns exec {namespace} sysctl -q net.ipv4.conf.{far}.rp_filter=2",
        f"{inside} addr add {server} peer {client} dev cable",
        f"{inside} link set cable up",
        f"{inside} route add default via {client}",
        f"tc -n {namespace} qdisc add dev cable root tbf {rate}",
        f"echo {server}",
    ]


def delay(source: int, target: int, seconds: float) -> None:
    """Hand each packet over `seconds` after it came, until standard input ends."""
    packets: deque[tuple[float, bytes]] = deque()
    while True:
        waiting, timeout = ([sys.stdin], TICK_SECONDS) if packets else ([sys.stdin, source], None)
        if sys.stdin in select.select(waiting, [], [], timeout)[0]:
            return
        now = time.monotonic()
        with suppress(BlockingIOError):
            while True:
                packets.append((now + seconds, os.read(source, MAX_PACKET_BYTES)))
        while packets and packets[0][0] <= now:
            os.write(target, packets.popleft()[1])


def main(namespace: str, mbit: str, rtt_ms: str) -> None:
    """Make the link, and keep it until standard input ends."""
    cable, near, far = (f"{kind}-{os.getpid()}" for kind in ("cable", "near", "far"))
    source, target = open_tun(near), open_tun(far)
    try:
        for command in link_commands(namespace, cable, near, far, float(mbit)):
            subprocess.run(command.split(), check=True)
        delay(source, target, float(rtt_ms) / 1000)
    finally:
        subprocess.run(["ip", "link", "del", cable], check=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
