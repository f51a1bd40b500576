"""How long long answers take in this machine's kernel, and in svcsim, over the same path.

    python -m benchmarks.transfers [--rounds 5] [--only TEXT]

Needs root, network namespaces and /dev/net/tun. Client and server are two namespaces, each with a TUN device whose other end is
a process of this script: it carries packets from one to the other with a delay, a bandwidth, a queue and loss. A client asks for
so many bytes and takes the time until it has them all. The kernel runs CUBIC with Linux's defaults, and keeps no metrics of
earlier connections. A kernel's figure is the median of the rounds; svcsim's is the same for each, except where packets are lost
at random.
"""

from __future__ import annotations

import argparse
import fcntl
import heapq
import os
import random
import select
import signal
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from svcsim.datapath.fabric import FabricSettings  # noqa: E402
from svcsim.linux.congestion import WindowLimits  # noqa: E402
from svcsim.network.links import Link  # noqa: E402
from svcsim.units import MS, S  # noqa: E402
from tests.datapath.small_world import Route, SmallWorld  # noqa: E402
from tests.kernel.namespaces import Namespace, missing  # noqa: E402

CLIENT, SERVER, PORT = "10.200.1.1", "10.200.2.1", 8080
KB, MB = 1000, 1_000_000
_SET_INTERFACE, _TUN, _NO_INFORMATION = 0x400454CA, 0x0001, 0x1000
_ETHERNET_BYTES = 14
DEFAULTS: dict[str, int | str] = {
    "ipv4/tcp_no_metrics_save": 1, "ipv4/tcp_slow_start_after_idle": 1, "ipv4/tcp_rmem": "4096 131072 6291456",
    "ipv4/tcp_wmem": "4096 16384 4194304",
}


@dataclass(frozen=True)
class Wire:
    """A path: round trip, bandwidth in Mbit/s (0: no limit) and queue in bytes of the way back, share of packets lost there."""

    rtt_ms: int = 20
    mbit: int = 0
    queue: int = 1 << 20
    loss: float = 0.0


@dataclass(frozen=True)
class Case:
    """Answers of these sizes one after the other on one connection, after pauses; or `at_once` on as many connections."""

    name: str
    wire: Wire
    sizes: tuple[int, ...]
    pauses_ms: tuple[int, ...] = ()
    at_once: bool = False
    max_window: int = 0


PLAIN, BOUND = Wire(), Wire(mbit=100)
CASES = (
    Case("new connection, 100 kB; again at once; after a second", PLAIN, (100 * KB,) * 3, (0, 1000)),
    Case("new connection, 1 MB; again at once; after a second", PLAIN, (MB,) * 3, (0, 1000)),
    Case("window of at most 64 KiB, 1 MB", PLAIN, (MB,), max_window=1 << 16),
    Case("window of at most 256 KiB, 5 MB", PLAIN, (5 * MB,), max_window=1 << 18),
    Case("100 Mbit/s, 100 kB", BOUND, (100 * KB,)),
    Case("100 Mbit/s, 1 MB; again at once", BOUND, (MB, MB), (0,)),
    Case("100 Mbit/s, 10 MB", BOUND, (10 * MB,)),
    Case("100 Mbit/s, two of 5 MB at once", BOUND, (5 * MB, 5 * MB), at_once=True),
    Case("100 Mbit/s with a queue of 64 KiB, 10 MB", replace(BOUND, queue=1 << 16), (10 * MB,)),
    Case("1% lost, 1 MB", replace(PLAIN, loss=0.01), (MB,)),
)


# ---- the kernel ----------------------------------------------------------------------------------------------------------


def _device(namespace: Namespace, address: str) -> int:
    """A TUN device in a namespace, as the file of its other end."""
    with namespace.inside():
        file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(file, _SET_INTERFACE, struct.pack("16sH22x", b"path0", _TUN | _NO_INFORMATION))
    namespace.ip((f"addr add {address}/32 dev path0", "link set path0 up txqueuelen 10000", "route add default dev path0"))
    return file


def _carry(wire: Wire, client: int, server: int, seed: int) -> None:
    """Carry packets between two devices for ever."""
    draw = random.Random(seed)
    other = {client: server, server: client}
    waiting: list[tuple[float, int, int, bytes]] = []
    count, free, delay = 0, 0.0, wire.rtt_ms / 2000
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # a wire waits for nobody
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, packet = heapq.heappop(waiting)
            with suppress(BlockingIOError):
                os.write(to, packet)
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 1.0
        ready, _, _ = select.select([client, server], [], [], pause)
        for file in ready:
            for _ in range(32):
                try:
                    packet = os.read(file, 2048)
                except BlockingIOError:
                    break
                at = time.monotonic()
                if file == server:
                    if wire.loss and draw.random() < wire.loss:
                        continue
                    if wire.mbit:
                        bits = 8 * (len(packet) + _ETHERNET_BYTES)
                        begin = max(at, free)
                        if (begin - at) * wire.mbit * 1e6 / 8 + len(packet) > wire.queue and begin > at:
                            continue
                        at = free = begin + bits / (wire.mbit * 1e6)
                count += 1
                heapq.heappush(waiting, (at + delay, count, other[file], packet))


def _serve(listener: socket.socket) -> None:
    """Answer requests, each eight bytes that say how many, on every connection in a process of its own."""
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while request := connection.recv(8, socket.MSG_WAITALL):
                connection.sendall(bytes(int.from_bytes(request, "big")))
            os._exit(0)


@contextmanager
def _processes(*works: Callable[[], None]) -> Iterator[None]:
    """Processes of this script, ended afterwards with those that they started."""
    groups = []
    for work in works:
        group = os.fork()
        if group == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            work()
            os._exit(0)
        groups.append(group)
    try:
        yield
    finally:
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            os.waitpid(group, 0)


def _take(connections: Sequence[socket.socket], sizes: Sequence[int]) -> list[float]:
    """How long each connection takes to get so many bytes, asked for at once."""
    begin = time.monotonic()
    left = dict(zip(connections, sizes, strict=True))
    for connection, size in left.items():
        connection.sendall(size.to_bytes(8, "big"))
    took = dict.fromkeys(connections, 0.0)
    while left:
        for connection in select.select(list(left), [], [])[0]:
            left[connection] -= len(connection.recv(1 << 20))
            if not left[connection]:
                took[connection] = time.monotonic() - begin
                del left[connection]
    return list(took.values())


def measured_ms(case: Case, seed: int) -> list[float]:
    """What each answer of a case takes in the kernel."""
    client, server = Namespace(), Namespace()
    for namespace in (client, server):
        namespace.set(DEFAULTS)
    if case.max_window:
        client.set({"ipv4/tcp_rmem": f"4096 {2 * case.max_window} {2 * case.max_window}"})
    client_file, server_file = _device(client, CLIENT), _device(server, SERVER)
    with server.inside():
        listener = socket.create_server((SERVER, PORT), backlog=64)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    works = (lambda: _carry(case.wire, client_file, server_file, seed), lambda: _serve(listener))
    took: list[float] = []
    with _processes(*works):
        connections = []
        for _ in case.sizes if case.at_once else case.sizes[:1]:
            with client.inside():
                connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            connection.connect((SERVER, PORT))
            connections.append(connection)
        time.sleep(0.1)
        if case.at_once:
            took = _take(connections, case.sizes)
        else:
            for size, pause_ms in zip(case.sizes, (*case.pauses_ms, 0), strict=True):
                took += _take(connections, [size])
                time.sleep(pause_ms / 1000)
        for connection in connections:
            connection.close()
    listener.close()
    os.close(client_file)
    os.close(server_file)
    client.close()
    server.close()
    return [1000 * each for each in took]


def lacking() -> str:
    """Why nothing can be measured here; empty if it can."""
    return missing() or ("" if os.access("/dev/net/tun", os.W_OK) else "there is no /dev/net/tun to write to")


# ---- svcsim --------------------------------------------------------------------------------------------------------------


def simulated_ms(case: Case, seed: int) -> list[float]:
    """The same in svcsim: client and server on two nodes."""
    limits = WindowLimits(case.max_window) if case.max_window else WindowLimits()
    world = SmallWorld(settings=FabricSettings(windows=limits), service_ns=0, workers=100)
    world.rules.backends = [world.pods[1].address]
    wire = case.wire
    links = (Link("bottleneck", wire.mbit * 1_000_000, wire.queue),) if wire.mbit else ()
    world.topology.default = Route(wire.rtt_ms * MS // 2)
    world.topology.routes["node-1", "node-0"] = Route(wire.rtt_ms * MS // 2, links=links, loss=wire.loss)
    client = world.client()
    client.keys = seed
    connections = [client.connect() for _ in (case.sizes if case.at_once else case.sizes[:1])]
    world.run(10 * S)
    took: list[int] = []
    if case.at_once:
        begin_ns = world.clock.now
        for connection, size in zip(connections, case.sizes, strict=True):
            client.send(connection, size, 8)
        world.run(begin_ns + 100 * S)
        took = [at_ns - begin_ns for what, at_ns, _ in client.events if what == "answered"]
    else:
        for size, pause_ms in zip(case.sizes, (*case.pauses_ms, 0), strict=True):
            begin_ns = world.clock.now
            client.send(connections[0], size, 8)
            while client.events[-1][0] != "answered" or client.events[-1][1] < begin_ns:
                world.run(world.clock.now + MS // 10)
            took.append(client.events[-1][1] - begin_ns)
            world.run(world.clock.now + max(1, pause_ms * MS))
    return [each / MS for each in took]


def table(cases: Sequence[Case], rounds: int) -> Iterator[str]:
    """A row an answer: median of the kernel's rounds, their range, svcsim's, and the ratio."""
    yield "| answers | kernel, ms | range | svcsim, ms | ratio |"
    yield "|---|---|---|---|---|"
    for case in cases:
        found = [measured_ms(case, seed) for seed in range(rounds)]
        told = [simulated_ms(case, seed) for seed in range(rounds if case.wire.loss else 1)]
        for place in range(len(case.sizes)):
            kernel = [each[place] for each in found]
            median, ours = statistics.median(kernel), statistics.median(each[place] for each in told)
            name = case.name if place == 0 else ""
            yield f"| {name} | {median:.1f} | {min(kernel):.1f}–{max(kernel):.1f} | {ours:.1f} | {ours / median:.2f} |"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="the cases whose name has this text")
    options = parser.parse_args()
    if reason := lacking():
        sys.exit(reason)
    for line in table([case for case in CASES if options.only in case.name], options.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
