"""UDP: no handshake, no retransmission; each datagram looks its flow up, and the flow sticks for as long as conntrack keeps it.

A flow whose entries are alive takes the same stations as an established connection. Without them, or when nobody is known to
listen at its end, the datagram goes the long way: decided on the client's node and again on the server's. Only the original
direction keeps a stale entry alive, so a busy client keeps feeding a dead pod (facts: a flow moves when kube-proxy deletes its
entry, or after an idle time longer than the time-out).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcsim.datapath.admission import FORWARD, LOST, REJECT, Gate, answer_misses_translation
from svcsim.datapath.connection import REQUEST, Connection, Request
from svcsim.datapath.exchange import Exchanges
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Host
from svcsim.engine.hop import Step
from svcsim.engine.streams import Stream
from svcsim.linux.conntrack import State
from svcsim.linux.packet import Hook
from svcsim.results.records import Outcome

if TYPE_CHECKING:
    from svcsim.network.topology import Route


class Datagrams:
    """All steps of UDP requests."""

    __slots__ = ("_at_entry", "_at_server_host", "_at_socket", "_cpus", "exchanges", "fabric", "gate")

    def __init__(self, fabric: Fabric, exchanges: Exchanges, gate: Gate) -> None:
        self.fabric = fabric
        self.exchanges = exchanges
        self.gate = gate
        self._cpus = Stream(fabric.seed, "network/cpus")
        self._at_entry: Step = (self._on_entry_host,)
        self._at_server_host: Step = (self._on_server_host,)
        self._at_socket: Step = (self._on_socket,)

    def send(self, request: Request) -> None:
        """The client writes the request to its UDP socket, now; `request.connection` is the socket's flow."""
        connection = request.connection
        now = self.fabric.clock.now
        if connection.open and self._is_bound(connection, now):
            if connection.near_entry is not None:
                connection.entry_host.conntrack.refresh(connection.near_entry, now)
            if connection.far_entry is not None:
                connection.server_host.conntrack.refresh(connection.far_entry, now)
            self.exchanges.send(request)
            return
        connection.open = False
        connection.endpoint = -1
        request.phase = REQUEST
        request.position = request.transmission = request.extra_ns = request.tail_ns = 0
        connection.request = request
        if not connection.client_address:  # ENETUNREACH: it has no address of the destination's family
            self.fabric.later(0, lambda: self._fail(request, Outcome.NO_ROUTE))
            return
        self.fabric.counts.sent += 1
        connection.queue = 0xFFFF & hash(
            (connection.client_address, connection.client_port, connection.destination, connection.destination_port)
        ) >> 24
        migration = self.fabric.settings.datagram_migration
        if migration and connection.decisions and self._cpus.uniform(connection.key, connection.decisions) < migration:
            connection.queue += 1
        host = connection.namespace.host
        if host.is_node:
            connection.entry_host = host
            self._enter(request, host, Hook.OUTPUT if connection.namespace.is_host else Hook.PREROUTING)
            return
        entry = self.fabric.entry_host(
            connection.client_address, connection.protocol, connection.destination, connection.destination_port,
            connection.key,
        )
        route = self.fabric.route(host, entry) if entry is not None else None
        if entry is None or route is None:
            self.fabric.drop("no route")
            return
        connection.entry_host = entry
        connection.departure_ns = now
        self._travel(request, route, self._at_entry)

    def _travel(self, request: Request, route: Route, step: Step) -> None:
        """The datagram leaves a host at the connection's `departure_ns` for the next one."""
        connection = request.connection
        delay_ns = connection.departure_ns - self.fabric.clock.now + route.delay_ns
        if route.is_rough:
            rough = self.exchanges.rough
            extra_ns = rough.cross(connection, route, request.request_bytes)
            if extra_ns is None:
                self.fabric.drop(rough.cause)
                return
            delay_ns += extra_ns
        request.callbacks = step
        self.fabric.schedule(request, delay_ns)

    def answered(self, connection: Connection) -> None:
        """An answer passed: the flow is a stream now, with the longer time-out."""
        connection.backward = connection.paths.backward
        now = self.fabric.clock.now
        if connection.near_entry is not None:
            connection.entry_host.conntrack.move(connection.near_entry, State.UDP_STREAM, now)
        if connection.far_entry is not None:
            connection.server_host.conntrack.move(connection.far_entry, State.UDP_STREAM, now)

    def _is_bound(self, connection: Connection, now_ns: int) -> bool:
        if connection.flow is not None and not connection.flow.on_packet(now_ns):
            if connection.near_entry is not None:
                connection.entry_host.conntrack.delete(connection.near_entry)
            connection.flow = None
            return False
        near, far = connection.near_entry, connection.far_entry
        return near is not None and near.expires_ns > now_ns and (far is None or far.expires_ns > now_ns)

    def _on_entry_host(self, request: Request) -> None:
        host = request.connection.entry_host
        if host.up:
            self._enter(request, host, Hook.PREROUTING)
        else:
            self.fabric.drop("node down")

    def _enter(self, request: Request, host: Host, hook: Hook) -> None:
        connection = request.connection
        fabric = self.fabric
        now = fabric.clock.now
        connection.far_entry = None
        fate = self.gate.admit(connection, host, hook)
        if fate is LOST:
            fabric.drop(self.gate.cause)
            return
        if fate is REJECT:
            fabric.drop("rejected")
            client = connection.namespace.host.charges
            sent_ns = client.udp_send_ns + client.fresh_udp_send_ns
            self._icmp_error(request, host, connection.departure_ns + sent_ns, Outcome.REFUSED)
            return
        connection.rewritten = connection.backend_address != connection.destination
        target = fabric.homes.get(connection.backend_address)
        if target is None:
            fabric.drop("no such address")
            return
        connection.server_host = target
        if target is host:
            if connection.backend_address == connection.client_address and not fabric.settings.hairpin:
                fabric.drop("no hairpin")
                return
            request.callbacks = self._at_socket
            fabric.schedule(request, connection.departure_ns - now + self._sockets_ns(connection))
            return
        if not connection.namespace.host.is_node and answer_misses_translation(connection):
            fabric.drop("answer bypasses the node")
            return
        route = fabric.route(host, target)
        if route is None or not target.up:
            fabric.drop("node unreachable")
            if fabric.settings.segment == "l2":
                fails_at_ns = host.neighbours.fails_at(
                    target.namespace.towards(connection.backend_address), connection.departure_ns
                )
                self._unresolved(request, host, fails_at_ns)
            return
        self._travel(request, route, self._at_server_host)

    def _on_server_host(self, request: Request) -> None:
        connection = request.connection
        host = connection.server_host
        if not host.up:
            self.fabric.drop("node down")
            return
        fate = self.gate.admit(connection, host, Hook.PREROUTING)
        if fate is not FORWARD:
            self.fabric.drop("rejected" if fate is REJECT else self.gate.cause)
            return
        request.callbacks = self._at_socket
        self.fabric.schedule(request, connection.departure_ns - self.fabric.clock.now + self._sockets_ns(connection))

    @staticmethod
    def _sockets_ns(connection: Connection) -> int:
        """What the first datagram of a flow takes at the sockets of both ends."""
        client = connection.namespace.host.charges
        return client.udp_send_ns + client.fresh_udp_send_ns + connection.server_host.charges.udp_receive_ns

    def _on_socket(self, request: Request) -> None:
        connection = request.connection
        fabric = self.fabric
        host = connection.server_host
        now = fabric.clock.now
        if not host.up:
            fabric.drop("node down")
            return
        namespace = fabric.namespaces.get(connection.backend_address)
        if namespace is None:
            fabric.drop("no such pod")
            if fabric.settings.cni == "routed":
                self._icmp_error(request, host, now, Outcome.NO_ROUTE)
            else:
                self._unresolved(request, host, host.neighbours.fails_at(connection.backend_address, now))
            return
        fabric.counts.delivered += 1
        connection.server_namespace = namespace
        listener = namespace.listeners.get((connection.protocol, connection.backend_port))
        if not self.exchanges.build_paths(connection):
            return
        connection.backward = connection.paths.first_backward
        if listener is None:
            self._icmp_error(request, host, now, Outcome.REFUSED)
            return
        if connection.server is not listener:
            if connection.server is not None:
                connection.server.disconnected(connection)
            connection.server = listener
            listener.connected(connection)
        connection.endpoint = listener.endpoint
        connection.open = True
        request.close_part(now)
        listener.arrive(request, now)

    def _unresolved(self, request: Request, host: Host, fails_at_ns: int) -> None:
        self.fabric.later(
            max(0, fails_at_ns - self.fabric.clock.now),
            lambda: self._icmp_error(request, host, fails_at_ns, Outcome.NO_ROUTE) if host.up else None,
        )

    def _icmp_error(self, request: Request, host: Host, at_ns: int, outcome: Outcome) -> None:
        """An ICMP error to the client's connected socket, if the host's limit allows one."""
        fabric = self.fabric
        connection = request.connection
        client_host = connection.namespace.host
        now = fabric.clock.now
        if not host.icmp.allow(connection.client_address, now):
            return
        delay_ns = max(0, at_ns - now) + client_host.charges.udp_receive_ns
        if client_host is not host:
            route = fabric.route(host, client_host)
            if route is None:
                return
            delay_ns += route.delay_ns
        self._send_icmp_error(request, host, delay_ns, outcome)

    def _send_icmp_error(self, request: Request, host: Host, delay_ns: int, outcome: Outcome) -> None:
        """The error leaves a host, and is with the client after the delay."""
        self.fabric.later(delay_ns, lambda: self._fail(request, outcome))

    def _fail(self, request: Request, outcome: Outcome) -> None:
        if request.live:
            request.live = False
            request.deadline_ns = 0
            request.connection.request = None
            request.client.failed(request, outcome, self.fabric.clock.now)

    def close(self, connection: Connection) -> None:
        """The client closes its socket; conntrack forgets the flow by time-out only."""
        server = connection.server
        connection.open = False
        connection.client = None
        connection.request = None
        connection.server = None
        if server is not None:
            server.disconnected(connection)
        pool = connection.port_pool
        if pool is not None:
            connection.port_pool = None
            pool.give(connection.client_port, self.fabric.clock.now)
