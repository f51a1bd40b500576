"""What a host does with the first packet of a flow: look-up, walk, NAT binding, conntrack entry.

The verdict is taken at the instant at which the packet reaches the host's queue, from that instant's state; the packet leaves
when the CPU has done the work. The entry is confirmed when the packet leaves the host's last hook: until then another packet
of the same tuple finds none, decides anew, and loses the insertion (Linux __nf_conntrack_confirm, nf_ct_resolve_clash).
"""

from __future__ import annotations

from enum import IntEnum

from svcsim.datapath.connection import Connection
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Host
from svcsim.engine.journal import Happening
from svcsim.engine.streams import Stream
from svcsim.linux.conntrack import Entry, State, flow_key
from svcsim.linux.packet import TCP, Decision, Hook, Packet, Verdict
from svcsim.results.records import Flag


class Fate(IntEnum):
    """How a host let a flow's first packet go."""

    FORWARD = 0
    REJECT = 1
    LOST = 2


# A member looked up in its enum costs four times a constant.
FORWARD, REJECT, LOST = Fate
_NO_MATCH, _DNAT, _REJECTED = Verdict.NO_MATCH, Verdict.DNAT, Verdict.REJECT
_SYN_SENT, _UDP_UNREPLIED = State.SYN_SENT, State.UDP_UNREPLIED
_MASQUERADED = int(Flag.MASQUERADED)
_packet = tuple.__new__


def answer_misses_translation(connection: Connection) -> bool:
    """Whether what a client outside sent goes on to another node under the client's own address.

    That node answers the client itself, from the pod's address, which the client knows nothing of: only the node that translated
    could translate back. kube-proxy sends so in IPVS mode with externalTrafficPolicy Local (pkg/proxy/ipvs/proxier.go,
    syncEndpoint).
    """
    return connection.rewritten and connection.source == connection.client_address


class Gate:
    """Admits first packets to hosts; `cause` says why the last lost one was lost."""

    __slots__ = ("_backlog_ns", "_environment", "_full_since", "_picks", "cause", "fabric")

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.cause = ""
        self._environment = fabric.environment
        self._backlog_ns = fabric.settings.backlog_ns
        self._picks = Stream(fabric.seed, "network/picks")
        self._full_since: set[int] = set()

    def admit(self, connection: Connection, host: Host, hook: Hook) -> Fate:
        """Decide a first packet on a host, and charge its CPU for it.

        On the connection's `entry_host` the packet has the addresses that the client wrote, on another host what became of
        them. Writes the connection's `departure_ns`, `backend_address`, `backend_port`, `source`, `source_port` and its entry
        on this host.
        """
        now = self._environment._now
        queues = host.queues
        queue = connection.queue % len(queues)
        start = queues[queue]
        if start < now:
            start = now
        elif start - now > self._backlog_ns:
            self.cause = "softirq backlog"
            return LOST
        uniform = connection.pick_uniform
        near = host is connection.entry_host
        if near:
            source = connection.source = connection.client_address
            source_port = connection.source_port = connection.client_port
            destination = connection.destination
            destination_port = connection.destination_port
            connection.decisions += 1
        else:
            source = connection.source
            source_port = connection.source_port
            destination = connection.backend_address
            destination_port = connection.backend_port
        if not host.is_node:
            connection.departure_ns = start
            connection.backend_address = destination
            connection.backend_port = destination_port
            return FORWARD
        charges = host.charges
        protocol = connection.protocol
        key = flow_key(protocol, source, source_port, destination, destination_port)
        entry = None
        if connection.syn_attempt or protocol != TCP:
            # Not the first packet of its tuple: a retransmitted SYN, or a datagram.
            conntrack = host.conntrack
            entry = conntrack.lookup(key, now)
            if entry is not None and entry.confirmed_ns <= start:
                # Confirmed by now, or by a packet that this CPU works on before this one.
                if near and connection.flow is not None:
                    self._follow_flow(connection, host, entry, hook)
                    if not entry.expires_ns:
                        entry = None
                if entry is not None:
                    conntrack.refresh(entry, now)
                    queues[queue] = connection.departure_ns = start + charges.nat_packet_ns
                    return self._follow(connection, entry, near=near)
            if near and connection.decisions > 1:
                uniform = self.pick(connection)
        # A named tuple's own constructor takes twice as long.
        packet = _packet(Packet, (protocol, source, source_port, destination, destination_port, hook))
        decision = host.path.decide(packet, uniform, now)
        connection.rules += decision.rules
        cost_ns = decision.cost_ns
        if cost_ns < 0:
            cost_ns = decision.cost_ns = charges.first_packet_ns(decision, protocol)
        host.proxy_ns += cost_ns - charges.forward_ns
        queues[queue] = departure = connection.departure_ns = start + cost_ns
        verdict = decision.verdict
        if verdict is not _DNAT and verdict is not _NO_MATCH:
            if near:
                connection.backend_address = 0
            if verdict is _REJECTED:
                return REJECT
            self.cause = "dropped by rule"
            return LOST
        new_destination = decision.destination
        new_port = decision.destination_port
        if decision.masquerade:
            connection.flags |= _MASQUERADED
            source = host.namespace.towards(new_destination)
            source_port = self.fabric.masquerade_port(source, host, connection, new_destination, new_port)
            if not source_port:
                self.cause = "no port to masquerade"
                return LOST
        if entry is not None:
            return self._clash(connection, host, entry, decision, near=near)
        entry = Entry(
            key, _SYN_SENT if protocol == TCP else _UDP_UNREPLIED, new_destination, new_port, source, source_port, departure
        )
        if not host.conntrack.insert(entry, now):
            self.table_full(host, now)
            self.cause = "conntrack table full"
            return LOST
        if self._full_since:
            self._full_since.discard(host.index)
        if near:
            if decision.flow is not None:
                connection.flow = decision.flow
            connection.near_entry = entry
            connection.source = source
            connection.source_port = source_port
        else:
            connection.far_entry = entry
        connection.backend_address = new_destination
        connection.backend_port = new_port
        return FORWARD

    def pick(self, connection: Connection) -> float:
        """The uniform by which a connection's first packet is decided again, drawn by how often it has been."""
        return self._picks.uniform(connection.key, connection.decisions - 1)

    def _follow(self, connection: Connection, entry: Entry, *, near: bool) -> Fate:
        """The packet belongs to a flow that is known here."""
        if near:
            connection.near_entry = entry
            connection.source = entry.source
            connection.source_port = entry.source_port
        else:
            connection.far_entry = entry
        connection.backend_address = entry.destination
        connection.backend_port = entry.destination_port
        return FORWARD

    def _follow_flow(self, connection: Connection, host: Host, entry: Entry, hook: Hook) -> None:
        """IPVS looks at a packet of a tracked flow too: if it sends it elsewhere now, the entry goes with the old one's flow."""
        now = self._environment._now
        packet = Packet(
            connection.protocol, connection.source, connection.source_port, connection.destination,
            connection.destination_port, hook,
        )
        decision = host.path.decide(packet, connection.pick_uniform, now)
        connection.flow = decision.flow
        if (decision.destination, decision.destination_port) != (entry.destination, entry.destination_port):
            host.conntrack.delete(entry)

    def _clash(self, connection: Connection, host: Host, winner: Entry, decision: Decision, *, near: bool) -> Fate:
        """Another packet of the same tuple was confirmed first."""
        if connection.protocol != TCP:
            same = (winner.destination, winner.destination_port) == (decision.destination, decision.destination_port)
            if same or self.fabric.settings.resolve_clash:
                self._follow(connection, winner, near=near)
                connection.backend_address = decision.destination
                connection.backend_port = decision.destination_port
                return FORWARD
        host.conntrack.insert_failed += 1
        self.cause = "insert failed"
        return LOST

    def table_full(self, host: Host, now_ns: int) -> None:
        """Note the first drop of an episode."""
        if host.index not in self._full_since:
            self._full_since.add(host.index)
            self.fabric.journal.add(now_ns, Happening.CONNTRACK_FULL, host.name, limit=host.conntrack.limit)
