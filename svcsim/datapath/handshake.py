"""TCP connections: the SYN's way through each node that it crosses, the answer, and the end.

A SYN is decided on the client's node, where the Service's rules rewrite it, and again on the pod's node, where it is a new
flow to an address that no Service has. A SYN that gets no answer is sent again on the client's schedule, and stays bound to
the endpoint that the first one chose for as long as the conntrack entry lives.
"""

from __future__ import annotations

from svcsim.datapath.admission import FORWARD, LOST, REJECT, Gate, answer_misses_translation
from svcsim.datapath.connection import Connection
from svcsim.datapath.dead import DeadAddresses
from svcsim.datapath.exchange import Exchanges
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Host, SynAnswer
from svcsim.datapath.tracking import Tracked, Tracking
from svcsim.engine.hop import Step
from svcsim.linux.conntrack import State
from svcsim.linux.packet import Hook
from svcsim.linux.ports import TIME_WAIT_NS
from svcsim.results.records import Flag, Outcome

_PREROUTING, _OUTPUT = Hook.PREROUTING, Hook.OUTPUT
_REFUSE, _IGNORE = SynAnswer.REFUSE, SynAnswer.IGNORE
_ESTABLISHED, _TIME_WAIT, _CLOSE = State.ESTABLISHED, State.TIME_WAIT, State.CLOSE
_RETRANSMITTED = int(Flag.RETRANSMITTED)


class Handshakes:
    """All steps of opening and closing TCP connections."""

    __slots__ = (
        "_at_client", "_at_entry", "_at_listener", "_at_server_host", "_back_station", "_backlog_ns", "_counts", "_environment",
        "_retry", "_rough", "_tracking", "dead", "exchanges", "fabric", "gate",
    )

    def __init__(self, fabric: Fabric, exchanges: Exchanges, gate: Gate, dead: DeadAddresses) -> None:
        self.fabric = fabric
        self.exchanges = exchanges
        self.gate = gate
        self.dead = dead
        self._rough = exchanges.rough
        self._environment = fabric.environment
        self._counts = fabric.counts
        self._backlog_ns = fabric.settings.backlog_ns
        self._at_entry: Step = (self._on_entry_host,)
        self._at_server_host: Step = (self._on_server_host,)
        self._at_listener: Step = (self._on_listener,)
        self._at_client: Step = (self._on_syn_ack if fabric.settings.remembers else self._on_tracked_syn_ack,)
        self._tracking = Tracking(fabric, gate, exchanges)
        self._back_station: Step = (self._on_back_station,)
        self._retry: Step = (self._send_syn_again,)

    # ---- the SYN -----------------------------------------------------------------------------------------------------

    def open(self, connection: Connection) -> None:
        """The client calls connect(), now."""
        connection.queue = 0xFFFF & hash(
            (connection.client_address, connection.client_port, connection.destination, connection.destination_port)
        ) >> 24
        if connection.client_address:
            self._send_syn(connection)
        else:  # ENETUNREACH: it has no address of the destination's family
            self.fabric.later(0, lambda: self.fail(connection, Outcome.NO_ROUTE))

    def _send_syn(self, connection: Connection) -> None:
        fabric = self.fabric
        self._counts.sent += 1
        connection.syn_sent_ns = self._environment._now
        namespace = connection.namespace
        host = namespace.host
        if host.is_node:
            self._enter(connection, host, _OUTPUT if namespace.is_host else _PREROUTING)
            return
        entry = fabric.entry_host(
            connection.client_address, connection.protocol, connection.destination, connection.destination_port, connection.key
        )
        route = fabric.route(host, entry) if entry is not None else None
        if entry is None or route is None:
            self._lost(connection, "no route")
            return
        connection.entry_host = entry
        delay_ns = route.delay_ns
        if route.is_rough:
            connection.departure_ns = connection.syn_sent_ns
            extra_ns = self._rough.cross(connection, route)
            if extra_ns is None:
                self._lost(connection, self._rough.cause)
                return
            delay_ns += extra_ns
        connection.callbacks = self._at_entry
        self._environment.at(connection, connection.syn_sent_ns + delay_ns)

    def _on_entry_host(self, connection: Connection) -> None:
        host = connection.entry_host
        if host.up:
            self._enter(connection, host, _PREROUTING)
        else:
            self._lost(connection, "node down")

    def _enter(self, connection: Connection, host: Host, hook: Hook) -> None:
        """The SYN reaches the host that decides where it goes."""
        fabric = self.fabric
        fate = self.gate.admit(connection, host, hook)
        if fate is not FORWARD:
            if fate is LOST:
                self._lost(connection, self.gate.cause)
                return
            fabric.drop("rejected")
            sent_ns = connection.namespace.host.charges.syn_send_ns
            self.icmp_error(connection, host, connection.departure_ns + sent_ns, Outcome.REFUSED)
            return
        address = connection.backend_address
        connection.rewritten = address != connection.destination
        departure_ns = connection.departure_ns
        target = fabric.homes.get(address)
        if target is None:
            self._lost(connection, "no such address")
            return
        connection.server_host = target
        if target is host:
            if address == connection.client_address and not fabric.settings.hairpin:
                self._lost(connection, "no hairpin")
                return
            connection.callbacks = self._at_listener
            self._environment.at(connection, departure_ns + host.charges.server_accept_ns)
            return
        if not connection.namespace.host.is_node and answer_misses_translation(connection):
            self._lost(connection, "answer bypasses the node")
            return
        route = fabric.route(host, target)
        if route is None or not target.up:
            self.dead.host_is_silent(connection, host, target, departure_ns, self)
            return
        arrival_ns = departure_ns + route.delay_ns
        if route.is_rough:
            extra_ns = self._rough.cross(connection, route)
            if extra_ns is None:
                self._lost(connection, self._rough.cause)
                return
            arrival_ns += extra_ns
        connection.callbacks = self._at_server_host
        self._environment.at(connection, arrival_ns)

    def _on_server_host(self, connection: Connection) -> None:
        """The rewritten SYN reaches the host of its destination, and is new there."""
        host = connection.server_host
        if not host.up:
            self._lost(connection, "node down")
            return
        fate = self.gate.admit(connection, host, _PREROUTING)
        if fate is not FORWARD:
            self._lost(connection, "rejected" if fate is REJECT else self.gate.cause)
            return
        connection.callbacks = self._at_listener
        self._environment.at(connection, connection.departure_ns + host.charges.server_accept_ns)

    def _on_listener(self, connection: Connection) -> None:
        """The SYN is at the socket of its destination, if there is one."""
        fabric = self.fabric
        host = connection.server_host
        if not host.up:
            self._lost(connection, "node down")
            return
        namespace = fabric.namespaces.get(connection.backend_address)
        if namespace is None:
            self.dead.address_is_silent(connection, host, self)
            return
        counts = self._counts
        counts.delivered += 1
        connection.server_namespace = namespace
        if not self.exchanges.build_paths(connection):
            self.await_retransmission(connection)
            return
        listener = namespace.listeners.get((connection.protocol, connection.backend_port))
        answer = _REFUSE if listener is None else listener.syn(connection, self._environment._now)
        if answer is _IGNORE:
            self.await_retransmission(connection)
            return
        counts.sent += 1
        connection.server = None if answer is _REFUSE else listener
        connection.position = 0
        self._on_back_station(connection)

    # ---- the answer --------------------------------------------------------------------------------------------------

    def _on_back_station(self, connection: Connection) -> None:
        """The SYN-ACK (or RST) reaches a host's CPU queue on its way to the client."""
        now = self._environment._now
        backward = connection.backward
        free, queue, cost_ns, delay_ns, _ = backward[connection.position]
        start = free[queue]
        if start < now:
            start = now
        elif start - now > self._backlog_ns:
            self._lost(connection, "softirq backlog")
            return
        free[queue] = departure = start + cost_ns
        connection.position += 1
        if connection.position < len(backward):
            if connection.lossy:
                route = self.fabric.route(*self.exchanges.link_back(connection))
                connection.departure_ns = departure
                extra_ns = None if route is None else self._rough.cross(connection, route)
                if extra_ns is None:
                    self._lost(connection, self._rough.cause if route is not None else "no path")
                    return
                delay_ns += extra_ns
            connection.callbacks = self._back_station
        else:
            connection.callbacks = self._at_client
        self._environment.at(connection, departure + delay_ns)

    def _on_syn_ack(self, connection: Connection) -> None:
        """The SYN-ACK is with the client, and the connection stands; or the RST, and it never will."""
        counts = self._counts
        now = self._environment._now
        server = connection.server
        client = connection.client
        if client is None or server is None or not connection.server_namespace.alive:
            counts.delivered += 1
            connection.close_entries(_CLOSE, now)
            if connection.flow is not None:
                connection.flow.on_reset(now)
            if client is not None:
                self.fail(connection, Outcome.REFUSED if server is None else Outcome.RESET)
            return
        connection.open = True
        connection.endpoint = server.endpoint
        counts.delivered += 2  # this one and the client's ACK, which nobody waits for
        counts.sent += 1
        for free, queue, cost_ns, _, _ in connection.forward:
            busy_until = free[queue]
            free[queue] = (busy_until if busy_until > now else now) + cost_ns
        if connection.flow is not None:
            connection.flow.on_packet(now)
        entry = connection.near_entry
        if entry is not None:
            connection.entry_host.conntrack.move(entry, _ESTABLISHED, now)
        entry = connection.far_entry
        if entry is not None:
            connection.server_host.conntrack.move(entry, _ESTABLISHED, now)
        server.connected(connection)
        client.connected(connection, now)

    def _on_tracked_syn_ack(self, connection: Connection) -> None:
        """The same where conntrack may forget a connection that stands."""
        self._on_syn_ack(connection)
        if connection.open and connection.near_entry is not None:
            connection.flow = Tracked(self._tracking, connection.flow)

    def fail(self, connection: Connection, outcome: Outcome) -> None:
        """Connecting has failed for good, and the client learns of it now."""
        client = connection.client
        if client is None or connection.open:
            return
        connection.client = None
        now = self._environment._now
        connection.return_port(now)
        client.connect_failed(connection, outcome, now)

    # ---- what is lost ------------------------------------------------------------------------------------------------

    def _lost(self, connection: Connection, cause: str) -> None:
        self.fabric.drop(cause)
        self.await_retransmission(connection)

    def await_retransmission(self, connection: Connection) -> None:
        """No answer will come: the client sends its next SYN when its timer says so."""
        timers = self.fabric.settings.timers
        due_ns = connection.syn_sent_ns + timers.syn_wait_ns(connection.syn_attempt)
        connection.callbacks = self._retry
        self.fabric.schedule(connection, max(0, due_ns - self._environment._now))

    def _send_syn_again(self, connection: Connection) -> None:
        if connection.client is None:
            return
        if connection.syn_attempt >= self.fabric.settings.timers.last_syn():
            self.fail(connection, Outcome.CONNECT_TIMEOUT)
            return
        connection.syn_attempt += 1
        if connection.request is not None:
            connection.request.flags |= _RETRANSMITTED
        self._send_syn(connection)

    def icmp_error(self, connection: Connection, host: Host, at_ns: int, outcome: Outcome) -> None:
        """An ICMP error to the client, if the host's limit for this client allows one; else silence."""
        now = self._environment._now
        if not host.icmp.allow(connection.client_address, now):
            self.await_retransmission(connection)
            return
        delay_ns = at_ns - now + connection.namespace.host.charges.client_receive_ns
        if connection.namespace.host is not host:
            route = self.fabric.route(host, connection.namespace.host)
            if route is None:
                self.await_retransmission(connection)
                return
            delay_ns += route.delay_ns
        self._send_icmp_error(connection, host, delay_ns, outcome)

    def _send_icmp_error(self, connection: Connection, host: Host, delay_ns: int, outcome: Outcome) -> None:
        """The error leaves a host, and is with the client after the delay."""
        self.fabric.later(delay_ns, lambda: self.fail(connection, outcome))

    # ---- the end -----------------------------------------------------------------------------------------------------

    def close(self, connection: Connection, *, by_client: bool = True) -> None:
        """Both sides close, the named one first: FINs charge their CPU, entries linger, the port waits in TIME_WAIT."""
        if not connection.open:
            self.abandon(connection)
            return
        connection.open = False
        connection.client = None
        connection.request = None
        now = self._environment._now
        counts = self._counts
        counts.sent += 3
        counts.delivered += 3
        for free, queue, cost_ns, _, _ in connection.forward:
            busy_until = free[queue]
            free[queue] = (busy_until if busy_until > now else now) + 2 * cost_ns
        connection.close_entries(_TIME_WAIT, now)
        if connection.flow is not None:
            connection.flow.on_close(now, by_client=by_client)
        connection.return_port(now + TIME_WAIT_NS if by_client else now)
        server = connection.server
        if server is not None:
            connection.server = None
            server.disconnected(connection)

    def abandon(self, connection: Connection) -> None:
        """The client gives up while it still connects: its SYNs stop; what is tracked runs into its time-out."""
        connection.client = None
        connection.request = None
        connection.return_port(self._environment._now)

    def reset(self, connection: Connection) -> None:
        """The server's kernel resets a connection that stands (or closes it): the client learns of it when the RST is there."""
        if connection.open:
            self.exchanges.send_reset(connection)
