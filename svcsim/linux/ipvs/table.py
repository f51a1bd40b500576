"""The IPVS of one node: virtual services, real servers, and the table of connections through them.

Packets come in as method calls, each with its time: `connect` for a SYN or a datagram, `on_packet`, `on_fin`, `on_rst` for what
follows. Commands are `add_service`, `add_server` and so on, as `ipvsadm` gives them. Whatever was due before `now_ns` has
happened before a call decides anything, so counters are exact at each decision.

What a SYN meets on the way, in the kernel's order: an entry of the same five-tuple (port reuse), the server's availability, the
persistence template, the scheduler. Left out: connection thresholds, one-packet scheduling, defence strategies, the sync daemon,
SCTP, and forwarding other than masquerading.

Source: Linux net/netfilter/ipvs/ip_vs_core.c.
"""

from __future__ import annotations

from svcsim.linux.address import is_ipv6
from svcsim.linux.ipvs.connections import IpvsConnection, Template
from svcsim.linux.ipvs.fates import Dropped, PacketFate
from svcsim.linux.ipvs.keys import TEMPLATE_SHIFT, service_key
from svcsim.linux.ipvs.service_table import ServiceTable
from svcsim.linux.ipvs.services import VirtualService
from svcsim.linux.ipvs.states import (
    CLIENT_ACK,
    CLIENT_FIN,
    CLIENT_RST,
    CLIENT_SYN,
    SERVER_ACK,
    SERVER_FIN,
    SERVER_RST,
    State,
)
from svcsim.linux.packet import TCP, UDP

_SYN_RECV = State.SYN_RECV
_ESTABLISHED = State.ESTABLISHED
_UDP = State.UDP


class IpvsTable(ServiceTable):
    """All of it, as packets meet it."""

    __slots__ = ()

    def connect(
        self, service: VirtualService, client: int, client_port: int, now_ns: int, *, protocol: int = TCP,
        destination: int = 0, destination_port: int = 0,
    ) -> IpvsConnection | Dropped | None:
        """A SYN, or a datagram, to the service: its entry. None if no server may take it: ICMP port unreachable.

        A service by firewall mark, or with port 0, needs the packet's own `protocol`, `destination` and `destination_port`.
        """
        if now_ns >= self._next_ns:
            self.advance(now_ns)
        if destination:
            key = service_key(protocol, destination, destination_port) | client << 16 | client_port
        else:
            key = service.key | client << 16 | client_port
            destination = service.address
            protocol = service.protocol
        found = self.connections.get(key)
        if found is not None:
            existing = self._meet(found, now_ns)
            if existing is not None:
                return existing
            del self.connections[key]
            self._leaving[found] = None
        if service.persistence_ns:
            template = self._template(service, client, client_port, destination, now_ns)
            if template is None:
                return None
            server = template.server
            template.held += 1
        else:
            template = None
            chosen = service.choose(client, client_port, destination, now_ns)
            if chosen is None:
                return None
            server = chosen
        if protocol == UDP:
            state = _UDP
            server.inactive += 1
        else:
            state = _SYN_RECV
            server.active += 1
        server.connections += 1
        service.connections += 1
        connection = IpvsConnection(key, server, state, template)
        self.connections[key] = connection
        life_ns = self._life_ns[state]
        connection.expires_ns = due_ns = now_ns + life_ns
        self._queue.put(connection, life_ns, due_ns)
        if due_ns < self._next_ns:
            self._next_ns = due_ns
        return connection

    def _meet(self, connection: IpvsConnection, now_ns: int) -> IpvsConnection | Dropped | None:
        """A SYN or datagram of a flow that has an entry: the entry if it serves again, None to schedule anew."""
        sysctls = self.sysctls
        kernel = self.kernel
        server = connection.server
        state = connection.state
        reuses = sysctls.conn_reuse_mode != 0
        if state is not _UDP:
            if sysctls.expire_nodest_conn and server.weight == 0 and (reuses or kernel.drains_without_reuse_mode):
                reschedule = True
            else:
                reschedule = (
                    reuses and connection.template is None and (state is State.TIME_WAIT or state is State.CLOSE)
                )
            if reschedule:
                self._expire_at_tick(connection, now_ns)
                return Dropped.SILENTLY if kernel.drops_syn_of_tracked_flow and sysctls.conntrack else None
        if not server.available:
            if sysctls.expire_nodest_conn:
                self._expire_at_tick(connection, now_ns)
                if kernel.flushes_deleted_servers:
                    return None
            return Dropped.SILENTLY
        self._move(connection, CLIENT_SYN[state], now_ns)
        return connection

    def _template(
        self, service: VirtualService, client: int, client_port: int, destination: int, now_ns: int
    ) -> Template | None:
        """The template that says where the client goes, made by the scheduler if there is none that holds."""
        width = 128 if is_ipv6(client) else 32
        spare = max(0, width - service.prefix_length)
        key = service.key << TEMPLATE_SHIFT | client >> spare << spare
        template = self._templates.get(key)
        if template is not None:
            server = template.server
            if not server.available or (self.sysctls.expire_quiescent_template and server.weight == 0):
                del self._templates[key]
                template.displaced = True
                self._displaced[template] = None
                template = None
        if template is None:
            chosen = service.choose(client, client_port, destination, now_ns)
            if chosen is None:
                return None
            template = self._templates[key] = Template(key, chosen, service.persistence_ns)
            chosen.templates += 1
        self._renew(template, template.timeout_ns, now_ns)
        return template

    def on_packet(self, connection: IpvsConnection, now_ns: int, *, from_client: bool = True) -> PacketFate:
        """A segment without SYN, FIN or RST, or a datagram, of an entry: its time starts anew."""
        if now_ns >= self._next_ns:
            self.advance(now_ns)
        if not connection.expires_ns:
            return PacketFate.GONE
        if from_client and not connection.server.available:
            return self._astray(connection, now_ns)
        state = connection.state
        if state is _SYN_RECV:
            self._move(connection, _ESTABLISHED, now_ns)
        elif state is _ESTABLISHED or state is _UDP:
            connection.expires_ns = now_ns + self._life_ns[state]
            if state is _UDP and not from_client and connection.template is not None:
                connection.template.assured = True
        else:
            self._move(connection, (CLIENT_ACK if from_client else SERVER_ACK)[state], now_ns)
        return PacketFate.FORWARDED

    def on_fin(self, connection: IpvsConnection, from_client: bool, now_ns: int) -> PacketFate:
        """A FIN: the first one makes the entry inactive, the second one takes it to TIME_WAIT."""
        return self._on_segment(connection, from_client, CLIENT_FIN if from_client else SERVER_FIN, now_ns)

    def on_rst(self, connection: IpvsConnection, from_client: bool, now_ns: int) -> PacketFate:
        """A RST: the entry is CLOSE for ten seconds."""
        return self._on_segment(connection, from_client, CLIENT_RST if from_client else SERVER_RST, now_ns)

    def _on_segment(
        self, connection: IpvsConnection, from_client: bool, row: tuple[State, ...], now_ns: int
    ) -> PacketFate:
        if now_ns >= self._next_ns:
            self.advance(now_ns)
        if not connection.expires_ns:
            return PacketFate.GONE
        if from_client and not connection.server.available:
            return self._astray(connection, now_ns)
        self._move(connection, row[connection.state], now_ns)
        return PacketFate.FORWARDED

    def _astray(self, connection: IpvsConnection, now_ns: int) -> PacketFate:
        """The client's packet meets an entry whose server was deleted."""
        if not self.sysctls.expire_nodest_conn:
            return PacketFate.DROPPED
        self._expire_at_tick(connection, now_ns)
        return PacketFate.GONE if self.kernel.flushes_deleted_servers else PacketFate.DROPPED
