"""What a rule of the linear Service list costs in this machine's kernel, beside what the calibration profile says.

    python -m benchmarks.kernel_slope [--rounds 40] [--rules 0 2000 10000] [--cold]

Needs root, network namespaces and iptables. For each back end and length of the list there are three namespaces, client, node and
server, all at once; rounds visit them in random order. One process, pinned to a core, owns both sockets, so that `connect()` and
`send()` return when the packet has been through: there is no wake-up in a figure. Each timed packet is the first of its flow. The
figure of a list is the least of its rounds' medians, which is what the machine can do when nobody disturbs it; a slope is the
difference of two, divided by the rules between them. Python's own time is in both and so in neither. With `--cold` each visit
also times one datagram after 64 MiB of other memory have been read; medians of these, for which the profile has no entry.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import statistics
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from svcsim.calibration.costs import costs_of  # noqa: E402
from svcsim.calibration.profile import load_profile  # noqa: E402
from svcsim.linux.address import Prefix, format_address, parse_address  # noqa: E402
from svcsim.linux.netfilter.rules import (  # noqa: E402
    Comment,
    Destination,
    DestinationPort,
    Dnat,
    Jump,
    Protocol,
    Rule,
    Table,
)
from svcsim.linux.netfilter.text import render  # noqa: E402
from svcsim.linux.packet import TCP, UDP  # noqa: E402
from tests.kernel.namespaces import Namespace, missing  # noqa: E402

BACKENDS = {"iptables-legacy": None, "iptables-nft": "nft"}
LENGTHS = (0, 2000, 10000)
BATCH = 12
OTHER_MEMORY = 64 << 20
VIP, CLIENT, SERVER, PORT = "10.96.0.1", "10.200.1.1", "10.200.2.1", 8080
_FIRST_OTHER = int(parse_address("10.97.0.0"))


def rules(length: int) -> str:
    """A Service list with so many Services of one port before the one that is asked for, as iptables-restore takes it."""

    def service(address: int, name: str, protocol: int, target: str) -> Rule:
        block = Prefix.parse(format_address(address))
        matches = (Comment(f"{name} cluster IP"), Protocol(protocol), Destination(block), DestinationPort(80))
        return Rule(matches, Jump(target))

    listed = [service(_FIRST_OTHER + number, f"default/service-{number}:http", TCP, "KUBE-SVC-OTHER") for number in range(length)]
    listed += [service(int(parse_address(VIP)), "default/asked:port", protocol, "KUBE-SEP-ASKED") for protocol in (TCP, UDP)]
    to_server = tuple(Rule((Protocol(protocol),), Dnat(parse_address(SERVER), PORT)) for protocol in (TCP, UDP))
    chains = {
        "PREROUTING": (Rule((Comment("kubernetes service portals"),), Jump("KUBE-SERVICES")),),
        "KUBE-SERVICES": tuple(listed),
        "KUBE-SVC-OTHER": (),
        "KUBE-SEP-ASKED": to_server,
    }
    return render({"nat": Table(chains, {"PREROUTING": "ACCEPT"})})


@dataclass
class Path:
    """Client, node and server, with a list of some length on the node."""

    backend: str
    length: int
    medians: dict[int, list[int]] = field(default_factory=lambda: {TCP: [], UDP: []})
    cold: list[int] = field(default_factory=list)
    port: int = 20000

    def __post_init__(self) -> None:
        self.client, self.node, self.server = self.namespaces = [Namespace() for _ in range(3)]
        ends = ((self.client, "near", CLIENT, "02:00:00:00:00:01"), (self.server, "far", SERVER, "02:00:00:00:00:02"))
        for end, name, address, hardware in ends:
            peer = f"name eth0 address {hardware} netns {end.path}"
            self.node.ip(
                (
                    f"link add {name} address {hardware} type veth peer {peer}", f"link set {name} arp off up",
                    f"route add {address}/32 dev {name}",
                )
            )  # fmt: skip
            end.ip((f"addr add {address}/32 dev eth0", "link set eth0 arp off up", "route add default dev eth0"))
        self.node.set({"ipv4/ip_forward": 1, "ipv4/conf/all/rp_filter": 0, "ipv4/conf/default/rp_filter": 0})
        self.node.run(f"{self.backend}-restore", given=rules(self.length))
        with self.server.inside():
            self.listener = socket.create_server((SERVER, PORT), backlog=2 * BATCH)
            self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.datagrams.bind((SERVER, PORT))
        self.listener.settimeout(2)
        self.datagrams.settimeout(2)

    def measure(self) -> None:
        """One batch of each protocol."""
        for protocol in (TCP, UDP):
            with self.client.inside():
                taken = [self.first_packet(protocol) for _ in range(BATCH)]
            self.medians[protocol].append(int(statistics.median(taken[2:])))

    def measure_cold(self, other: bytes) -> None:
        """One datagram when caches hold something else."""
        bytes(memoryview(other)[::64])
        with self.client.inside():
            self.cold.append(self.first_packet(UDP))

    def first_packet(self, protocol: int) -> int:
        """Nanoseconds of a connect(), or of the first send() of a flow."""
        self.port += 1
        kind = socket.SOCK_STREAM if protocol == TCP else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, kind) as sender:
            sender.bind((CLIENT, self.port))
            if protocol == TCP:
                start = time.perf_counter_ns()
                sender.connect((VIP, 80))
                taken = time.perf_counter_ns() - start
                self.listener.accept()[0].close()
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return taken
            sender.connect((VIP, 80))
            start = time.perf_counter_ns()
            sender.send(b"first")
            taken = time.perf_counter_ns() - start
            self.datagrams.recv(16)
            return taken

    def least(self, protocol: int) -> int:
        """The least of the medians, ns."""
        return min(self.medians[protocol])

    def close(self) -> None:
        """Let sockets and namespaces go."""
        self.listener.close()
        self.datagrams.close()
        for each in self.namespaces:
            each.close()


@dataclass(frozen=True)
class Slope:
    """Nanoseconds a rule between two lengths of the list: here, and in the profile."""

    backend: str
    protocol: str
    shorter: int
    longer: int
    first_packet_us: float
    measured_ns: float
    profile_ns: float | None


def slopes(lengths: Sequence[int] = LENGTHS, rounds: int = 40, seed: int = 1, *, cold: bool = False) -> list[Slope]:
    """Measure; AssertionError if the kernel refuses the rules, TimeoutError if packets do not arrive."""
    profile, order = load_profile(), random.Random(seed)
    affinity = os.sched_getaffinity(0)
    paths = [Path(backend, length) for backend in BACKENDS for length in lengths]
    other = b"\1" * OTHER_MEMORY if cold else b""
    try:
        os.sched_setaffinity(0, {max(affinity)})
        for _ in range(rounds):
            for path in order.sample(paths, len(paths)):
                if cold:
                    path.measure_cold(other)
                path.measure()
    finally:
        os.sched_setaffinity(0, affinity)
        for path in paths:
            path.close()
    found = []
    for backend, name in BACKENDS.items():
        costs = costs_of(profile, "iptables", name)
        by_length = {path.length: path for path in paths if path.backend == backend}
        for protocol, word in ((TCP, "TCP connect"), (UDP, "UDP send")):
            for shorter, longer in pairwise(lengths):
                more = longer - shorter
                taken = by_length[longer].least(protocol) - by_length[shorter].least(protocol)
                expected = costs.service_rules_ns(longer, protocol) - costs.service_rules_ns(shorter, protocol)
                first_us = by_length[longer].least(protocol) / 1000
                found.append(Slope(backend, word, shorter, longer, first_us, taken / more, expected / more))
        for shorter, longer in pairwise(lengths) if cold else ():
            medians = [statistics.median(by_length[length].cold) for length in (shorter, longer)]
            slope = (medians[1] - medians[0]) / (longer - shorter)
            found.append(Slope(backend, "UDP, cold", shorter, longer, medians[1] / 1000, slope, None))
    return found


def table(found: Sequence[Slope]) -> str:
    """The slopes as text."""
    lines = [
        f"Nanoseconds a rule of the Service list: this machine (Linux {os.uname().release}) and {load_profile().name}",
        f"  {'':17}{'':13}{'rules':>16}{'first packet':>15}{'here':>9}{'profile':>10}{'ratio':>8}",
    ]
    for each in found:
        between = f"{each.shorter:,} to {each.longer:,}"
        line = f"  {each.backend:17}{each.protocol:13}{between:>16}{each.first_packet_us:>12.1f} us{each.measured_ns:>6.1f} ns"
        if each.profile_ns is not None:
            line += f"{each.profile_ns:>7.1f} ns{each.measured_ns / each.profile_ns:>8.2f}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="visits to each list")
    parser.add_argument("--rules", type=int, nargs="+", default=LENGTHS, help="lengths of the list, ascending")
    parser.add_argument("--cold", action="store_true", help="also with caches that hold something else")
    options = parser.parse_args()
    if reason := missing():
        raise SystemExit(f"cannot measure here: {reason}")
    print(table(slopes(sorted(set(options.rules)), options.rounds, cold=options.cold)))


if __name__ == "__main__":
    main()
