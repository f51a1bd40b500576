"""Name resolution as traffic: a client's resolver sends real queries through the same Services and proxies as all traffic.

A look-up is a state machine (`svcsim.kube.dns.lookup`); here its queries become UDP requests (TCP where an answer was truncated),
its answers come back from the pods behind the cluster's DNS Service, and its time-outs are timers. The questions for A and AAAA
leave one socket at the same time, as they do from glibc and musl.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.host import Namespace
from svcsim.datapath.network import Network
from svcsim.engine.streams import Stream, splitmix64
from svcsim.engine.timers import TimerFifo
from svcsim.kube.dns.lookup import Family, Lookup, Query
from svcsim.kube.dns.records import Answer, RecordType, fit, question_bytes
from svcsim.kube.dns.resolver import Resolver
from svcsim.linux.packet import TCP, UDP
from svcsim.linux.ports import PortAllocator
from svcsim.results.records import Outcome

if TYPE_CHECKING:
    from svcsim.workload.node_cache import NodeCaches

DNS_PORT = 53

OnResolved = Callable[[tuple[int, ...], int], None]
"""Called once with the addresses (none: the look-up failed) and the number of queries that it took."""


@dataclass(slots=True)
class Exchange:
    """One question of a look-up that is watched: when it was sent and on which flow, and what came of it."""

    query: Query
    sent_ns: int
    connection: Connection | None
    ended_ns: int | None = None
    answer: Answer | None = None
    failure: str = ""
    cached: bool = False


@dataclass(slots=True)
class DnsMessage:
    """What a DNS request carries: the question, and the answer once a server has given it."""

    query: Query
    answer: Answer | None = None
    exchange: Exchange | None = None


@dataclass(slots=True, eq=False)
class _LookupInProgress:
    """One getaddrinfo call, its sockets by (server, transport), and its timer."""

    lookup: Lookup
    resolver: Resolver
    namespace: Namespace
    on_resolved: OnResolved
    key: int
    alarm: _Alarm | None = None
    sockets: dict[tuple[int, str], Connection] = field(default_factory=dict)
    unsent: list[Query] = field(default_factory=list)
    sent: int = 0
    ended: bool = False
    watched: list[Exchange] | None = None


@dataclass(slots=True, eq=False)
class _Alarm:
    """One setting of a look-up's timer: a new one is set for each, since a place in a FIFO of timers cannot be moved."""

    call: _LookupInProgress
    deadline_ns: int = 0


class Resolvers:
    """All look-ups of a world; the client (`Client`) of their sockets."""

    __slots__ = ("_key", "node_caches", "_network", "_pick", "_pools", "_timers")

    def __init__(self, network: Network, seed: int) -> None:
        self._network = network
        self._pools: dict[tuple[int, int, int], PortAllocator] = {}
        self._timers: dict[int, TimerFifo[_Alarm]] = {}
        self._pick = Stream(seed, "dns/lookups")
        self._key = 0
        self.node_caches: NodeCaches | None = None

    def resolve(
        self, resolver: Resolver, namespace: Namespace, name: str, key: int, on_resolved: OnResolved, *,
        family: Family = "any", rtype: RecordType | None = None, watched: list[Exchange] | None = None,
    ) -> Lookup:
        """Look a name up from a pod or a node, now; `key` names the look-up for its draws.

        `family` is that of the addresses; `rtype` asks for records of one type in place of addresses; `watched` is filled with
        each question sent.
        """
        now = self._network.fabric.clock.now
        lookup = resolver.start(name, now, family, rtype)
        self._go_on(_LookupInProgress(lookup, resolver, namespace, on_resolved, key, watched=watched))
        return lookup

    def _go_on(self, call: _LookupInProgress) -> None:
        """Do what the look-up wants next; its end is told once."""
        lookup = call.lookup
        if call.ended:
            return
        if lookup.result is not None:
            call.ended = True
            if call.alarm is not None:
                call.alarm.deadline_ns = 0
                call.alarm = None
            call.resolver.learn(lookup)
            for connection in call.sockets.values():
                self._close(connection)
            call.sockets.clear()
            result = lookup.result
            call.on_resolved(result.addresses, result.queries_sent)
            return
        for query in lookup.next_queries():
            if self.node_caches is not None and call.resolver.servers[query.server] == self.node_caches.address:
                self._ask_node(self.node_caches, call, query)
            else:
                self._send(call, query)
        now = self._network.fabric.clock.now
        if call.alarm is None or lookup.deadline_ns != call.alarm.deadline_ns:
            wait_ns = max(0, lookup.deadline_ns - now)
            timers = self._timers.get(wait_ns)
            if timers is None:
                timers = self._timers[wait_ns] = TimerFifo(self._network.fabric.clock, wait_ns, self._time_out)
            if call.alarm is not None:
                call.alarm.deadline_ns = 0
            call.alarm = _Alarm(call)
            timers.set(call.alarm)

    def _time_out(self, alarm: _Alarm) -> None:
        call = alarm.call
        if call.lookup.result is None:
            call.lookup.on_timeout(self._network.fabric.clock.now)
            self._go_on(call)

    def _ask_node(self, node_caches: NodeCaches, call: _LookupInProgress, query: Query) -> None:
        """Ask the node's own server: no conntrack entry, no translation, nothing that a packet could race for."""
        exchange = Exchange(query, self._network.fabric.clock.now, None)
        if call.watched is not None:
            call.watched.append(exchange)

        def heard(answer: Answer, cached: bool) -> None:
            now = self._network.fabric.clock.now
            fitting = fit(query.name, answer) if query.transport == "udp" else answer
            exchange.ended_ns, exchange.answer, exchange.cached = now, fitting, cached
            if call.lookup.result is None:
                call.lookup.on_answer(query.ident, fitting, now, query.server)
                self._go_on(call)

        node_caches.ask(call.namespace, query, call.key, heard)

    def _send(self, call: _LookupInProgress, query: Query) -> None:
        place = (query.server, query.transport)
        connection = call.sockets.get(place)
        if connection is None:
            connection = self._open(call, query)
            if connection is None:
                return
            call.sockets[place] = connection
            if query.transport == "tcp":
                call.unsent.append(query)
                self._network.handshakes.open(connection)
                return
        self._put(call, connection, query)

    def _open(self, call: _LookupInProgress, query: Query) -> Connection | None:
        address = call.resolver.servers[query.server]
        protocol = UDP if query.transport == "udp" else TCP
        pool_key = (call.namespace.address, address, protocol)
        pool = self._pools.get(pool_key)
        if pool is None:
            pool = self._pools[pool_key] = PortAllocator(splitmix64(call.namespace.address ^ address))
        port = pool.take(self._network.fabric.clock.now)
        if not port:
            return None
        call.sent += 1
        key = splitmix64(call.key ^ call.sent)
        pick_uniform = self._pick.uniform(call.key, call.sent)
        connection = Connection(self, call.namespace, port, address, DNS_PORT, protocol, key, pick_uniform)
        connection.port_pool = pool
        connection.tag = call
        return connection

    def _put(self, call: _LookupInProgress, connection: Connection, query: Query) -> None:
        now = self._network.fabric.clock.now
        uniform = self._pick.uniform(call.key, query.ident + 1000)
        request = Request(self, query.ident, now, question_bytes(query.name), 0, uniform, 0.0)
        request.tag = call
        message = DnsMessage(query)
        if call.watched is not None:
            message.exchange = Exchange(query, now, connection)
            call.watched.append(message.exchange)
        request.payload = message
        request.connection = connection
        if connection.protocol == UDP:
            self._network.datagrams.send(request)
        else:
            self._network.exchanges.send(request)

    def _close(self, connection: Connection) -> None:
        connection.tag = None
        if connection.protocol == UDP:
            self._network.datagrams.close(connection)
        else:
            self._network.handshakes.close(connection)

    # ---- what comes back ---------------------------------------------------------------------------------------------

    def connected(self, connection: Connection, now_ns: int) -> None:
        """A TCP connection to a server stands: ask."""
        call = connection.tag
        if call is None:
            return
        waiting, call.unsent = call.unsent, []
        for query in waiting:
            self._put(call, connection, query)

    def connect_failed(self, connection: Connection, outcome: Outcome, now_ns: int) -> None:
        """No TCP connection: the look-up's own time-out decides what is next."""

    def answered(self, request: Request, finish_ns: int) -> None:
        """A server answered."""
        call: _LookupInProgress = request.tag
        message = request.payload
        if request.connection.protocol == UDP:
            self._network.datagrams.answered(request.connection)
        if isinstance(message, DnsMessage) and message.exchange is not None:
            message.exchange.ended_ns, message.exchange.answer = finish_ns, message.answer
        if isinstance(message, DnsMessage):
            self._network.fabric.later(max(0, finish_ns - self._network.fabric.clock.now), lambda: self._hear(call, message))

    def _hear(self, call: _LookupInProgress, message: DnsMessage) -> None:
        if call.lookup.result is None and message.answer is not None:
            now = self._network.fabric.clock.now
            call.lookup.on_answer(message.query.ident, message.answer, now, message.query.server)
            self._go_on(call)

    def failed(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        """ICMP told that nobody listens, or the host cannot be reached."""
        call: _LookupInProgress = request.tag
        message = request.payload
        if isinstance(message, DnsMessage) and message.exchange is not None:
            message.exchange.ended_ns, message.exchange.failure = now_ns, outcome.words
        if call.lookup.result is None and isinstance(message, DnsMessage):
            call.lookup.on_refused(message.query.ident, now_ns)
            self._go_on(call)

    def disconnected(self, connection: Connection, now_ns: int) -> None:
        """A server closed a TCP connection."""

