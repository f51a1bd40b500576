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

MASQUERADED = int(Flag.MASQUERADED)


class Fate(IntEnum):
    """How a host let a flow's first packet go."""

    FORWARD = 0
    REJECT = 1
    LOST = 2


class Gate:
    """Admits first packets to hosts; `cause` says why the last lost one was lost."""

    __slots__ = ("_full_since", "_picks", "cause", "fabric")

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.cause = ""
        self._picks = Stream(fabric.seed, "network/picks")
        self._full_since: set[int] = set()

    def admit(
        self, connection: Connection, host: Host, source: int, source_port: int, destination: int, destination_port: int,
        hook: Hook, *, near: bool,
    ) -> Fate:
        """Decide a first packet on a host and charge its CPU for it.

        Writes the connection's `departure_ns`, `backend_address`, `backend_port` and its entry on this host (`near`: the host
        that decides where the connection goes).
        """
        now = self.fabric.environment._now
        queues = host.queues
        queue = connection.queue % len(queues)
        start = queues[queue]
        if start < now:
            start = now
        if not host.is_node:
            connection.departure_ns = start
            connection.backend_address = destination
            connection.backend_port = destination_port
            return Fate.FORWARD
        charges = host.charges
        conntrack = host.conntrack
        protocol = connection.protocol
        key = flow_key(protocol, source, source_port, destination, destination_port)
        entry = None
        uniform = connection.pick_uniform
        if connection.syn_attempt or protocol != TCP:
            # Not the first packet of its tuple: a retransmitted SYN, or a datagram.
            entry = conntrack.lookup(key, now)
            if entry is not None and entry.confirmed_ns <= now:
                conntrack.refresh(entry, now)
                queues[queue] = connection.departure_ns = start + charges.nat_packet_ns
                return self._forward(connection, entry, entry.destination, entry.destination_port, near=near)
            if near and connection.decisions:
                uniform = self._picks.uniform(connection.key, connection.decisions)
        if near:
            connection.decisions += 1
        decision: Decision = host.path.decide(
            Packet(protocol, source, source_port, destination, destination_port, hook), uniform, now
        )
        connection.rules += decision.rules
        cost_ns = charges.first_packet_ns(decision, protocol)
        verdict = decision.verdict
        host.proxy_ns += cost_ns - charges.forward_ns
        queues[queue] = departure = connection.departure_ns = start + cost_ns
        if verdict > Verdict.DNAT:
            if verdict is Verdict.REJECT:
                return Fate.REJECT
            self.cause = "dropped by rule"
            return Fate.LOST
        new_destination = decision.destination
        new_port = decision.destination_port
        if decision.masquerade:
            connection.flags |= MASQUERADED
            source = host.address
            source_port = self.fabric.masquerade_port(host, connection, new_destination, new_port)
            if not source_port:
                self.cause = "no port to masquerade"
                return Fate.LOST
        if entry is not None:
            return self._clash(connection, host, entry, decision, near=near)
        fresh = Entry(
            key, State.SYN_SENT if protocol == TCP else State.UDP_UNREPLIED, new_destination, new_port, source, source_port,
            departure,
        )
        if not conntrack.insert(fresh, now):
            self._table_full(host, now)
            self.cause = "conntrack table full"
            return Fate.LOST
        if self._full_since:
            self._full_since.discard(host.index)
        if decision.flow is not None:
            connection.flow = decision.flow
        if near:
            connection.near_entry = fresh
        else:
            connection.far_entry = fresh
        connection.backend_address = new_destination
        connection.backend_port = new_port
        return Fate.FORWARD

    def _forward(
        self, connection: Connection, entry: Entry, destination: int, destination_port: int, *, near: bool
    ) -> Fate:
        if near:
            connection.near_entry = entry
        else:
            connection.far_entry = entry
        connection.backend_address = destination
        connection.backend_port = destination_port
        return Fate.FORWARD

    def _clash(self, connection: Connection, host: Host, winner: Entry, decision: Decision, *, near: bool) -> Fate:
        """Another packet of the same tuple was confirmed first."""
        if connection.protocol != TCP:
            if self.fabric.settings.resolve_clash:
                return self._forward(connection, winner, decision.destination, decision.destination_port, near=near)
            if (winner.destination, winner.destination_port) == (decision.destination, decision.destination_port):
                return self._forward(connection, winner, winner.destination, winner.destination_port, near=near)
        host.conntrack.insert_failed += 1
        self.cause = "insert failed"
        return Fate.LOST

    def _table_full(self, host: Host, now_ns: int) -> None:
        if host.index not in self._full_since:
            self._full_since.add(host.index)
            self.fabric.journal.add(now_ns, Happening.CONNTRACK_FULL, host.name, limit=host.conntrack.limit)
