"""The IPVS of one node: virtual services, real servers, and the table of connections through them.

Packets come in as method calls, each with its time: `connect` for a SYN or a datagram, `on_packet`, `on_fin`, `on_rst` for what
follows. Commands are `add_service`, `add_server` and so on, as `ipvsadm` gives them. Whatever was due before `now_ns` has
happened before a call decides anything, so counters are exact at each decision.

A deleted server with live entries waits in a trash, and adding it again brings it back with its counters. What a SYN meets
on the way, in the kernel's order: an entry of the same five-tuple (port reuse), the server's availability, the persistence
template, the scheduler. Left out: connection thresholds, one-packet scheduling, defence strategies, the sync daemon, SCTP, and
forwarding other than masquerading.

Sources: Linux net/netfilter/ipvs/ip_vs_core.c, ip_vs_conn.c, ip_vs_ctl.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, IntEnum
from typing import NamedTuple

from svcsim.linux.address import is_ipv6
from svcsim.linux.ipvs.connections import NEVER_NS, Entry, ExpiryQueue, IpvsConnection, Template
from svcsim.linux.ipvs.schedulers import make_scheduler
from svcsim.linux.ipvs.services import RealServer, VirtualService
from svcsim.linux.ipvs.settings import HELD_TEMPLATE_NS, TRASH_NS, IpvsSysctls, IpvsTimeouts
from svcsim.linux.ipvs.states import (
    ACTIVE,
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

_IPV4_SHIFT = 48
_IPV6_SHIFT = 145
_IPV6_MASK = (1 << 129) - 1
_FWMARK_BIT = 1 << 400
_TEMPLATE_SHIFT = 160
_SYN_RECV = State.SYN_RECV
_ESTABLISHED = State.ESTABLISHED
_UDP = State.UDP


class Dropped(Enum):
    """The answer of `connect` when the packet vanishes without a word: it met an entry whose server was deleted."""

    SILENTLY = "silently"


class PacketFate(IntEnum):
    """What IPVS does with a packet of an existing flow. GONE: there is no entry; TCP gets a RST, UDP starts anew."""

    GONE = 0
    DROPPED = 1
    FORWARDED = 2


class IpvsError(Exception):
    """A command that the kernel refuses: the service or server exists already, or does not exist."""


class FlowKey(NamedTuple):
    """The five-tuple of an entry, from the client's side."""

    protocol: int
    client: int
    client_port: int
    address: int
    port: int


def service_key(protocol: int, address: int, port: int) -> int:
    """The part of an entry's key that a virtual service decides, shifted to its place."""
    if is_ipv6(address):
        return ((protocol << 16 | port) << 129 | address) << _IPV6_SHIFT
    return ((protocol << 16 | port) << 32 | address) << _IPV4_SHIFT


def split_key(key: int) -> FlowKey:
    """The five-tuple that a key stands for."""
    if key >> 104:
        rest = key >> _IPV6_SHIFT
        head = rest >> 129
        return FlowKey(head >> 16, key >> 16 & _IPV6_MASK, key & 0xFFFF, rest & _IPV6_MASK, head & 0xFFFF)
    head = key >> 80
    return FlowKey(head >> 16, key >> 16 & 0xFFFFFFFF, key & 0xFFFF, key >> 48 & 0xFFFFFFFF, head & 0xFFFF)


class IpvsTable:
    """All of it. `services` and `fwmark_services` are in order of creation."""

    __slots__ = (
        "_displaced", "_flush_ns", "_leaving", "_life_ns", "_next_ns", "_queue", "_templates", "_trash", "_unflushed",
        "connections", "fwmark_services", "services", "sysctls", "timeouts",
    )

    def __init__(self, sysctls: IpvsSysctls | None = None, timeouts: IpvsTimeouts | None = None) -> None:
        self.sysctls = sysctls or IpvsSysctls()
        self.timeouts = timeouts or IpvsTimeouts()
        self._life_ns = self.timeouts.by_state()
        self.services: dict[int, VirtualService] = {}
        self.fwmark_services: dict[int, VirtualService] = {}
        self.connections: dict[int, IpvsConnection] = {}
        self._templates: dict[int, Template] = {}
        self._displaced: dict[Template, None] = {}
        self._leaving: dict[IpvsConnection, None] = {}
        self._trash: dict[tuple[int, int, int], RealServer] = {}
        self._unflushed: list[RealServer] = []
        self._flush_ns = NEVER_NS
        self._queue = ExpiryQueue()
        self._next_ns = NEVER_NS

    # ---- commands ----------------------------------------------------------------------------------------------------

    def add_service(
        self, protocol: int, address: int, port: int, scheduler: str = "wlc", *, fwmark: int = 0, flags: Sequence[str] = (),
        persistence_ns: int = 0, prefix_length: int | None = None,
    ) -> VirtualService:
        """`ipvsadm -A`. Raises IpvsError if it exists, UsageError for an unknown scheduler or flag."""
        key = _FWMARK_BIT | fwmark if fwmark else service_key(protocol, address, port)
        services = self.fwmark_services if fwmark else self.services
        place = fwmark or key
        if place in services:
            raise IpvsError("service already exists")
        service = VirtualService(self, protocol, address, port, fwmark, key)
        self._configure(service, scheduler, tuple(flags), persistence_ns, prefix_length)
        services[place] = service
        return service

    def edit_service(
        self, service: VirtualService, scheduler: str, *, flags: Sequence[str] = (), persistence_ns: int = 0,
        prefix_length: int | None = None,
    ) -> None:
        """`ipvsadm -E`: the same scheduler keeps its state, another one starts afresh."""
        self._configure(service, scheduler, tuple(flags), persistence_ns, prefix_length)

    @staticmethod
    def _configure(
        service: VirtualService, scheduler: str, flags: tuple[str, ...], persistence_ns: int, prefix_length: int | None
    ) -> None:
        if service.scheduler_name != scheduler or service.flags != flags:
            service.scheduler = make_scheduler(scheduler, service.servers, flags)
            service.choose = service.scheduler.choose
            service.scheduler_name = scheduler
            service.flags = flags
        service.persistence_ns = persistence_ns
        width = 128 if is_ipv6(service.address) else 32
        service.prefix_length = width if prefix_length is None else prefix_length

    def delete_service(self, service: VirtualService, now_ns: int) -> None:
        """`ipvsadm -D`: all its servers are deleted with it; entries stay as for `delete_server`."""
        place = service.fwmark or service.key
        services = self.fwmark_services if service.fwmark else self.services
        if services.get(place) is not service:
            raise IpvsError("no such service")
        for server in list(service.servers):
            self.delete_server(server, now_ns)
        del services[place]

    def add_server(self, service: VirtualService, address: int, port: int, weight: int, now_ns: int) -> RealServer:
        """`ipvsadm -a`: the server goes to the head of the list; a deleted one comes back with its entries and counters."""
        if now_ns >= self._next_ns:
            self.advance(now_ns)
        if service.server(address, port) is not None:
            raise IpvsError("destination already exists")
        server = self._trash.pop((service.key, address, port), None)
        if server is None:
            server = RealServer(service, address, port, weight)
        else:
            server.service = service
            server.weight = server.last_weight = weight
            server.connections = 0
            server.available = True
        service.servers.insert(0, server)
        service.scheduler.added(0)
        return server

    def edit_server(self, server: RealServer, weight: int) -> None:
        """`ipvsadm -e`: set the weight."""
        server.weight = weight
        if weight:
            server.last_weight = weight
        if server.available:
            server.service.scheduler.updated()

    def delete_server(self, server: RealServer, now_ns: int) -> None:
        """`ipvsadm -d`: no new connections; its entries drop packets, or are flushed at the next tick (expire_nodest_conn)."""
        if now_ns >= self._next_ns:
            self.advance(now_ns)
        servers = server.service.servers
        if not server.available or server not in servers:
            raise IpvsError("no such destination")
        index = servers.index(server)
        del servers[index]
        server.available = False
        server.deleted_ns = now_ns
        server.service.scheduler.removed(index)
        self._empty_trash(now_ns)
        self._trash[server.service.key, server.address, server.port] = server
        if self.sysctls.expire_nodest_conn and server.in_use():
            self._unflushed.append(server)
            if self._flush_ns == NEVER_NS:
                self._flush_ns = now_ns + self.sysctls.tick_ns
                self._next_ns = min(self._next_ns, self._flush_ns)

    def _empty_trash(self, now_ns: int) -> None:
        while self._trash:
            oldest = next(iter(self._trash))
            server = self._trash[oldest]
            if server.in_use() or now_ns < server.deleted_ns + 2 * TRASH_NS:
                return
            del self._trash[oldest]

    def lookup(self, protocol: int, address: int, port: int) -> VirtualService | None:
        """The service of a destination; one with port 0 takes what no other does, if it is persistent."""
        services = self.services
        if is_ipv6(address):
            service = services.get(((protocol << 16 | port) << 129 | address) << _IPV6_SHIFT)
        else:
            service = services.get(((protocol << 16 | port) << 32 | address) << _IPV4_SHIFT)
        if service is None:
            service = services.get(service_key(protocol, address, 0))
            if service is not None and not service.persistence_ns:
                return None
        return service

    # ---- packets -----------------------------------------------------------------------------------------------------

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
        server = connection.server
        state = connection.state
        if state is not _UDP:
            if sysctls.expire_nodest_conn and server.weight == 0:
                reschedule = True
            else:
                reschedule = (
                    sysctls.conn_reuse_mode != 0
                    and connection.template is None
                    and (state is State.TIME_WAIT or state is State.CLOSE)
                )
            if reschedule:
                self._expire_at_tick(connection, now_ns)
                return Dropped.SILENTLY if sysctls.drops_syn_of_tracked_flow and sysctls.conntrack else None
        if not server.available:
            if not sysctls.expire_nodest_conn:
                return Dropped.SILENTLY
            self._expire_at_tick(connection, now_ns)
            return None
        self._move(connection, CLIENT_SYN[state], now_ns)
        return connection

    def _template(
        self, service: VirtualService, client: int, client_port: int, destination: int, now_ns: int
    ) -> Template | None:
        """The template that says where the client goes, made by the scheduler if there is none that holds."""
        width = 128 if is_ipv6(client) else 32
        spare = max(0, width - service.prefix_length)
        key = service.key << _TEMPLATE_SHIFT | client >> spare << spare
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
        return PacketFate.GONE

    # ---- time --------------------------------------------------------------------------------------------------------

    def _move(self, connection: IpvsConnection, state: State, now_ns: int) -> None:
        """Take the entry to a state and start that state's time."""
        old = connection.state
        if state is not old:
            connection.state = state
            if ACTIVE[old]:
                if not ACTIVE[state]:
                    connection.server.active -= 1
                    connection.server.inactive += 1
            elif ACTIVE[state]:
                connection.server.inactive -= 1
                connection.server.active += 1
            if state is _ESTABLISHED and connection.template is not None:
                connection.template.assured = True
        self._renew(connection, self._life_ns[state], now_ns)

    def _renew(self, entry: Entry, life_ns: int, now_ns: int) -> None:
        entry.expires_ns = expires_ns = now_ns + life_ns
        if expires_ns < entry.due_ns:
            self._queue.put(entry, life_ns, expires_ns)
            if expires_ns < self._next_ns:
                self._next_ns = expires_ns

    def _expire_at_tick(self, connection: IpvsConnection, now_ns: int) -> None:
        """The entry goes at the next timer tick, unless a packet renews it before."""
        tick_ns = now_ns + self.sysctls.tick_ns
        if tick_ns < connection.expires_ns:
            connection.expires_ns = tick_ns
            self._queue.put(connection, 0, tick_ns)
            self._next_ns = min(self._next_ns, tick_ns)

    def advance(self, now_ns: int) -> None:
        """Let happen, in order, what was due up to and including `now_ns`."""
        queue = self._queue
        while self._next_ns <= now_ns:
            if self._flush_ns <= queue.next_ns:
                if self._flush_ns > now_ns:
                    break
                self._flush()
            else:
                entry = queue.pop()
                if entry is not None:
                    if entry.expires_ns > entry.due_ns:
                        queue.put(entry, self._lane(entry), entry.expires_ns)
                    else:
                        self._expire(entry)
            self._next_ns = min(queue.next_ns, self._flush_ns)

    def _lane(self, entry: Entry) -> int:
        if entry.__class__ is IpvsConnection:
            return self._life_ns[entry.state]
        return entry.timeout_ns  # type: ignore[union-attr]

    def _expire(self, entry: Entry) -> None:
        """The time of an entry is up; a template that controls entries gets a minute more."""
        if isinstance(entry, IpvsConnection):
            self._remove(entry)
        elif entry.held:
            entry.timeout_ns = HELD_TEMPLATE_NS
            due_ns = entry.due_ns
            entry.due_ns = NEVER_NS
            self._renew(entry, HELD_TEMPLATE_NS, due_ns)
        else:
            self._remove_template(entry)

    def _remove(self, connection: IpvsConnection) -> None:
        if connection in self._leaving:
            del self._leaving[connection]
        else:
            del self.connections[connection.key]
        if ACTIVE[connection.state]:
            connection.server.active -= 1
        else:
            connection.server.inactive -= 1
        if connection.template is not None:
            connection.template.held -= 1
        connection.expires_ns = 0
        connection.due_ns = NEVER_NS

    def _remove_template(self, template: Template) -> None:
        if template.displaced:
            del self._displaced[template]
        else:
            del self._templates[template.key]
        template.server.templates -= 1
        template.expires_ns = 0
        template.due_ns = NEVER_NS

    def _flush(self) -> None:
        """expire_nodest_conn: the entries and templates of deleted servers go, without any traffic (Linux 5.9 and later)."""
        self._flush_ns = NEVER_NS
        gone = {id(server) for server in self._unflushed if not server.available and server.in_use()}
        self._unflushed.clear()
        if not gone:
            return
        for connection in [one for one in self.entries() if id(one.server) in gone]:
            self._remove(connection)
        for templates in (list(self._templates.values()), list(self._displaced)):
            for template in templates:
                if id(template.server) in gone and not template.held:
                    self._remove_template(template)

    def flush(self) -> None:
        """Forget everything, as when the node loses power: services, servers and entries."""
        for connection in self.entries():
            connection.expires_ns = 0
        self.connections.clear()
        self._leaving.clear()
        self._templates.clear()
        self._displaced.clear()
        self.services.clear()
        self.fwmark_services.clear()
        self._trash.clear()
        self._unflushed.clear()
        self._flush_ns = NEVER_NS
        self._queue.clear()
        self._next_ns = NEVER_NS

    # ---- sight -------------------------------------------------------------------------------------------------------

    def next_change_ns(self) -> int:
        """When, at the earliest, something here changes by itself."""
        return self._next_ns

    def entries(self) -> Iterator[IpvsConnection]:
        """All entries, last those that another entry of the same five-tuple replaces until they go at the next tick."""
        yield from self.connections.values()
        yield from self._leaving

    def templates(self) -> Iterator[Template]:
        """All persistence templates, the displaced ones last."""
        yield from self._templates.values()
        yield from self._displaced
