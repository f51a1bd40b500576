"""Real connections and datagrams through the node, and what became of each.

Servers listen in every namespace on all ports of a list; each tells whoever comes the address on which it was reached and the
address that it sees. So a packet that is neither refused nor lost says itself how it was rewritten. That an ICMP error came, and
not a RST, stands in the socket's error queue (ip(7), IP_RECVERR).
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from svcsim.linux.address import parse_address
from svcsim.linux.packet import TCP, UDP, Hook, Packet
from tests.kernel.network import Network

REFUSED = "refused"
SILENCE = "silence"
IN_FLIGHT = 100
PATIENCE_S = 4.0
"""For an answer that is expected: longer than a lost SYN takes to be sent again."""
BRIEFLY_S = 0.1
"""For silence that is expected: packets pass within the system call that sends them."""

_FIRST_PORT, _LAST_PORT = 40000, 64999
_TRANSPARENT = {socket.AF_INET: (socket.SOL_IP, 19), socket.AF_INET6: (socket.IPPROTO_IPV6, 75)}
_ERRORS = {socket.AF_INET: (socket.SOL_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
_INFO = {socket.AF_INET: (socket.SOL_IP, 8), socket.AF_INET6: (socket.IPPROTO_IPV6, 49)}
_UNREACHABLE = {(2, 3, 3), (3, 1, 4)}
"""Origin, type and code of a port unreachable, ICMP and ICMPv6 (linux/errqueue.h)."""
_TYPES = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM}


class Flow(NamedTuple):
    """A first packet: the namespace where it starts (`node` is the node itself), its source, and where it goes."""

    origin: str
    source: str
    destination: str
    port: int
    protocol: int = TCP

    def packet(self) -> Packet:
        """The packet as svcsim decides on it."""
        hook = Hook.OUTPUT if self.origin == "node" else Hook.PREROUTING
        source, destination = parse_address(self.source), parse_address(self.destination)
        return Packet(self.protocol, source, 40000, destination, self.port, hook)

    def __str__(self) -> str:
        name = "tcp" if self.protocol == TCP else "udp"
        return f"{name} from {self.origin} {self.source} to {self.destination} port {self.port}"


def reached(server: str, port: int, client: str) -> str:
    """The outcome of a packet that arrived: where, and from whom as seen there."""
    return f"{server} port {port} from {client}"


@dataclass
class _Client:
    """A socket on its way."""

    number: int
    socket: socket.socket
    is_stream: bool


class Traffic:
    """Servers in all namespaces of a network, and the sending of flows."""

    def __init__(self, network: Network, ports: Sequence[int]) -> None:
        self.network = network
        self._poll = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, int]] = {}
        self._next_port = _FIRST_PORT
        for namespace in network.namespaces.values():
            with namespace.inside():
                for family in (socket.AF_INET, socket.AF_INET6):
                    for port in ports:
                        for protocol in (TCP, UDP):
                            self._listen(family, protocol, port)

    def _listen(self, family: socket.AddressFamily, protocol: int, port: int) -> None:
        server = socket.socket(family, _TYPES[protocol] | socket.SOCK_NONBLOCK)
        server.setsockopt(*_TRANSPARENT[family], 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == UDP:
            server.setsockopt(*_INFO[family], 1)
        server.bind(("", port))
        if protocol == TCP:
            server.listen(2 * IN_FLIGHT)
        self._listeners[server.fileno()] = (server, protocol)
        self._poll.register(server.fileno(), select.EPOLLIN)

    def send(self, flows: Sequence[Flow], patience_s: float = PATIENCE_S) -> list[str]:
        """What becomes of each flow: `reached(…)`, REFUSED or SILENCE; any other error by its name. Each has a fresh port."""
        outcomes: list[str] = []
        for start in range(0, len(flows), IN_FLIGHT):
            outcomes += self._batch(flows[start : start + IN_FLIGHT], patience_s)
        return outcomes

    def _batch(self, flows: Sequence[Flow], patience_s: float) -> list[str]:
        outcomes = [SILENCE] * len(flows)
        clients: dict[int, _Client] = {}
        by_origin: dict[str, list[int]] = {}
        for number, flow in enumerate(flows):
            by_origin.setdefault(flow.origin, []).append(number)
        for origin, numbers in by_origin.items():
            with self.network.namespaces[origin].inside():
                for number in numbers:
                    client = self._start(number, flows[number])
                    clients[client.socket.fileno()] = client
        deadline = time.monotonic() + patience_s
        while clients and (left := deadline - time.monotonic()) > 0:
            for file, _ in self._poll.poll(left):
                if file in self._listeners:
                    self._serve(*self._listeners[file])
                elif (outcome := self._outcome(clients[file])) is not None:
                    client = clients.pop(file)
                    outcomes[client.number] = outcome
                    self._end(client)
        for client in clients.values():
            self._end(client)
        return outcomes

    def _start(self, number: int, flow: Flow) -> _Client:
        family = socket.AF_INET6 if ":" in flow.destination else socket.AF_INET
        client = socket.socket(family, _TYPES[flow.protocol] | socket.SOCK_NONBLOCK)
        client.setsockopt(*_TRANSPARENT[family], 1)
        client.setsockopt(*_ERRORS[family], 1)
        self._next_port = self._next_port + 1 if self._next_port < _LAST_PORT else _FIRST_PORT
        client.bind((flow.source, self._next_port))
        code = client.connect_ex((flow.destination, flow.port))
        assert code in (0, errno.EINPROGRESS), f"{flow}: {errno.errorcode[code]}"
        if flow.protocol == UDP:
            with suppress(PermissionError, ConnectionRefusedError):  # a rule of OUTPUT; which, the error queue tells
                client.send(b"who")
        self._poll.register(client.fileno(), select.EPOLLIN)
        return _Client(number, client, flow.protocol == TCP)

    def _outcome(self, client: _Client) -> str | None:
        try:
            _, notes, _, _ = client.socket.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            pass
        else:
            for _, _, note in notes:
                _, origin, kind, code = struct.unpack("IBBB", note[:7])
                return REFUSED if (origin, kind, code) in _UNREACHABLE else f"ICMP {kind} {code}"
        try:
            return client.socket.recv(200).decode() or "closed"
        except BlockingIOError:
            return None
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    def _end(self, client: _Client) -> None:
        self._poll.unregister(client.socket.fileno())
        if client.is_stream:  # by a RST: no TIME_WAIT is left
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()

    def _serve(self, server: socket.socket, protocol: int) -> None:
        try:
            while True:
                if protocol == TCP:
                    connection, peer = server.accept()
                    with connection:
                        own = connection.getsockname()
                        connection.send(reached(own[0], own[1], peer[0]).encode())
                else:
                    self._answer(server)
        except BlockingIOError:
            pass

    def _answer(self, server: socket.socket) -> None:
        _, notes, _, peer = server.recvmsg(16, 256)
        level, kind = _INFO[server.family]
        note = next(data for at, _, data in notes if at == level)
        if server.family == socket.AF_INET:
            address = socket.inet_ntop(server.family, note[8:12])
            own = struct.pack("I4s4s", 0, note[8:12], b"\0" * 4)
        else:
            address = socket.inet_ntop(server.family, note[:16])
            kind, own = 50, note[:16] + struct.pack("I", 0)
        told = reached(address, server.getsockname()[1], peer[0])
        server.sendmsg([told.encode()], [(level, kind, own)], 0, peer)

    def close(self) -> None:
        """Close all servers."""
        for server, _ in self._listeners.values():
            server.close()
        self._poll.close()
