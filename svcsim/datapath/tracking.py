"""TCP connections that may be idle for longer than conntrack remembers them, and what their next segment meets then.

Where the life of an established entry is shorter than the run, each connection that stands carries a `Tracked` in the place of
its flow, and every request looks at the entries that it passes; elsewhere nothing of this is there. A segment without an entry is
picked up in the middle of its flow (nf_conntrack_tcp_loose) and is new to the nat table: where it goes is decided again. The same
endpoint takes it as if nothing had been. Another one, or the same from another masqueraded port, knows no such connection and
answers with a RST; where the rules reject it or nobody is, it is lost, since an established socket passes over ICMP errors. With
IPVS its own entry still leads to the server. An entry's time starts anew with each request, not with what comes back.

Source: Linux net/netfilter/nf_conntrack_proto_tcp.c (tcp_new), nf_nat_core.c (nf_nat_inet_fn), net/ipv4/tcp_ipv4.c (tcp_v4_err).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcsim.datapath.admission import Gate
from svcsim.datapath.fabric import Fabric
from svcsim.linux.conntrack import Entry, State, flow_key
from svcsim.linux.packet import TCP, Decision, Flow, Hook, Packet, Verdict
from svcsim.results.records import Flag

if TYPE_CHECKING:
    from svcsim.datapath.connection import Connection, Request
    from svcsim.datapath.exchange import Exchanges
    from svcsim.datapath.host import Host

_RETRANSMITTED = int(Flag.RETRANSMITTED)


class Tracking:
    """Looks entries up for connections that stand; one object a world."""

    __slots__ = ("_exchanges", "_fabric", "_gate")

    def __init__(self, fabric: Fabric, gate: Gate, exchanges: Exchanges) -> None:
        self._fabric = fabric
        self._gate = gate
        self._exchanges = exchanges

    def passes(self, connection: Connection, tracked: Tracked, now_ns: int) -> bool:
        """Whether a segment that its client sends now gets to the server that the connection is with."""
        if tracked.astray:
            self._fabric.drop("no such connection")  # behind the one that is answered with a RST already
            return False
        near, far = connection.near_entry, connection.far_entry
        if near is not None:
            if near.expires_ns > now_ns:
                connection.entry_host.conntrack.refresh(near, now_ns)
            elif not self._picked_up(connection, tracked, now_ns):
                return False
            if not _leads_to_server(connection):
                return self._strange(connection, tracked)
        if far is not None:
            if far.expires_ns > now_ns:
                connection.server_host.conntrack.refresh(far, now_ns)
            elif not self._picked_up_there(connection, tracked, now_ns):
                return False
        tracked.tries = 0
        return True

    def _picked_up(self, connection: Connection, tracked: Tracked, now_ns: int) -> bool:
        """The node that decides where the connection goes has forgotten it: the segment opens a flow, if it is let through."""
        host, namespace = connection.entry_host, connection.namespace
        hook = Hook.OUTPUT if namespace.is_host and namespace.host is host else Hook.PREROUTING
        packet = Packet(
            TCP, connection.client_address, connection.client_port, connection.destination, connection.destination_port, hook
        )
        if tracked.flow is None:
            connection.decisions += 1
            decision = host.path.decide(packet, self._gate.pick(connection), now_ns)
            connection.rules += decision.rules
        else:
            decision = Decision(Verdict.DNAT, connection.backend_address, connection.backend_port)
        self._charge(connection, host, decision, now_ns)
        if decision.verdict is not Verdict.DNAT and decision.verdict is not Verdict.NO_MATCH:
            return self._lost(connection, tracked, "rejected" if decision.verdict is Verdict.REJECT else "dropped by rule")
        masqueraded = decision.masquerade or (tracked.flow is not None and connection.source != connection.client_address)
        if masqueraded:
            source = host.namespace.towards(decision.destination)
            port = self._fabric.masquerade_port(source, host, connection, decision.destination, decision.destination_port)
            if not port:
                return self._lost(connection, tracked, "no port to masquerade")
        else:
            source, port = connection.client_address, connection.client_port
        entry = self._enter(host, packet, (source, port), (decision.destination, decision.destination_port), now_ns)
        if entry is None:
            return self._lost(connection, tracked, "conntrack table full")
        connection.near_entry = entry
        return True

    def _picked_up_there(self, connection: Connection, tracked: Tracked, now_ns: int) -> bool:
        """The server's node has forgotten it too; nothing is translated there."""
        host, place = connection.server_host, (connection.backend_address, connection.backend_port)
        packet = Packet(TCP, connection.source, connection.source_port, *place, Hook.PREROUTING)
        decision = host.path.decide(packet, connection.pick_uniform, now_ns)
        connection.rules += decision.rules
        self._charge(connection, host, decision, now_ns)
        connection.far_entry = self._enter(host, packet, (connection.source, connection.source_port), place, now_ns)
        return connection.far_entry is not None or self._lost(connection, tracked, "conntrack table full")

    def _charge(self, connection: Connection, host: Host, decision: Decision, now_ns: int) -> None:
        """What a first packet costs more than one of a flow that is known, on the queue that it will pass."""
        cost_ns = max(0, host.charges.first_packet_ns(decision, TCP) - host.charges.nat_packet_ns)
        queue = connection.queue % len(host.queues)
        host.queues[queue] = max(now_ns, host.queues[queue]) + cost_ns
        host.proxy_ns += cost_ns

    def _enter(
        self, host: Host, packet: Packet, source: tuple[int, int], destination: tuple[int, int], now_ns: int
    ) -> Entry | None:
        key = flow_key(TCP, packet.source, packet.source_port, packet.destination, packet.destination_port)
        entry = Entry(key, State.ESTABLISHED, *destination, *source, 0)
        if host.conntrack.insert(entry, now_ns):
            return entry
        self._gate.table_full(host, now_ns)
        return None

    def _strange(self, connection: Connection, tracked: Tracked) -> bool:
        """The segment goes where nobody knows the connection; who lives there answers with a RST."""
        fabric, entry = self._fabric, connection.entry_host
        address = connection.near_entry.destination if connection.near_entry is not None else 0
        target = fabric.homes.get(address)
        if target is None or not target.up or address not in fabric.namespaces:
            return self._lost(connection, tracked, "no such pod")
        delay_ns = 0
        if target is not entry:
            there, back = fabric.route(entry, target), fabric.route(target, entry)
            if there is None or back is None:
                return self._lost(connection, tracked, "node unreachable")
            delay_ns = there.delay_ns + back.delay_ns
        tracked.astray = True
        fabric.counts.delivered += 1
        fabric.later(delay_ns, lambda: self._reset(connection))
        return False

    def _reset(self, connection: Connection) -> None:
        if connection.open:
            self._exchanges.send_reset(connection, by_entry_host=True)

    def _lost(self, connection: Connection, tracked: Tracked, cause: str) -> bool:
        """The segment gets nowhere; its sender's TCP sends it again, and each time its way is looked for anew."""
        fabric, request = self._fabric, connection.request
        fabric.drop(cause)
        timers = fabric.settings.timers
        if request is not None and request.live and tracked.tries < timers.data_retries:
            fabric.later(timers.data_wait_ns(tracked.tries), lambda: self._send_again(request))
            tracked.tries += 1
        return False

    def _send_again(self, request: Request) -> None:
        if request.live and request in request.connection.under_way:
            request.flags |= _RETRANSMITTED
            self._exchanges.send(request)


def _leads_to_server(connection: Connection) -> bool:
    """Whether the entry of the deciding node translates as the server knows it."""
    entry = connection.near_entry
    return entry is not None and (entry.source, entry.source_port, entry.destination, entry.destination_port) == (
        connection.source, connection.source_port, connection.backend_address, connection.backend_port
    )


class Tracked:
    """Stands where a connection keeps its `Flow`, in front of IPVS's if there is one, so that every request looks.

    To `on_packet` it says that the segment does not simply pass: `passes` knows.
    """

    __slots__ = ("_tracking", "astray", "flow", "tries")

    def __init__(self, tracking: Tracking, flow: Flow | None) -> None:
        self._tracking = tracking
        self.flow = flow
        self.astray = False
        self.tries = 0

    def on_packet(self, now_ns: int) -> bool:
        """Never by itself."""
        return False

    def has_balancer_entry(self, now_ns: int) -> bool:
        """Whether IPVS, where it has a part in the connection, still has its entry."""
        return self.flow is None or self.flow.on_packet(now_ns)

    def passes(self, connection: Connection, now_ns: int) -> bool:
        """See `Tracking.passes`."""
        return self._tracking.passes(connection, self, now_ns)

    def on_close(self, now_ns: int, *, by_client: bool) -> None:
        """FINs passed."""
        if self.flow is not None:
            self.flow.on_close(now_ns, by_client=by_client)

    def on_reset(self, now_ns: int) -> None:
        """A RST passed."""
        if self.flow is not None:
            self.flow.on_reset(now_ns)
