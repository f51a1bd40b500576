"""NodeLocal DNSCache: a DNS server on each node, at an address that every node has for itself.

Pods ask it without connection tracking, so there is nothing to race for and no entry to go stale. What it does not know of the
cluster it asks cluster DNS, over TCP connections that it keeps, through the same proxies as all traffic; other names it asks the
upstream itself. Sources: kubernetes/dns cmd/node-cache and its Corefile (kubernetes cluster/addons/dns/nodelocaldns), coredns
plugin/forward (connect.go, persistent.go: 2 s to read, 10 s idle, one upstream, SERVFAIL when it fails).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.host import Host, Namespace
from svcsim.datapath.network import Network
from svcsim.engine.streams import Stream, splitmix64
from svcsim.engine.timers import TimerFifo
from svcsim.kube.dns.answers import DnsServer, within
from svcsim.kube.dns.cache import COREDNS, NODE_LOCAL, AnswerCache, CacheSettings
from svcsim.kube.dns.config import absolute
from svcsim.kube.dns.lookup import Query
from svcsim.kube.dns.records import Answer, balanced, question_bytes
from svcsim.linux.packet import TCP
from svcsim.linux.ports import PortAllocator
from svcsim.results.records import Outcome
from svcsim.units import S
from svcsim.workload.distributions import Quantile
from svcsim.workload.resolving import DNS_PORT, DnsMessage

READ_TIMEOUT_NS = 2 * S
IDLE_NS = 10 * S
REVERSE = ("in-addr.arpa.", "ip6.arpa.")

OnAnswer = Callable[[Answer, bool], None]
"""Called with the answer when it is in the client's hands, and whether it came from the cache."""


@dataclass(slots=True, eq=False)
class _Asked:
    """A question to cluster DNS that an agent waits for."""

    agent: _Agent
    query: Query
    key: int
    done: Callable[[Answer], None]
    deadline_ns: int = 0
    connection: Connection | None = None
    fresh: bool = True


@dataclass(slots=True, eq=False)
class _Agent:
    """The server on one node."""

    host: Host
    cluster: AnswerCache
    outside: AnswerCache = field(default_factory=lambda: AnswerCache(COREDNS))
    idle: deque[tuple[Connection, int]] = field(default_factory=deque)
    asked: int = 0


class NodeCaches:
    """The servers of all nodes; the client (`Client`) of their connections to cluster DNS."""

    def __init__(
        self, network: Network, server: DnsServer, address: int, upstream: int, service_time: Quantile, upstream_ns: int,
        seed: int, settings: CacheSettings = NODE_LOCAL,
    ) -> None:
        self.address = address
        self._network = network
        self._server = server
        self._upstream = upstream
        self._service_time = service_time
        self._upstream_ns = upstream_ns
        self._settings = settings
        self._work = Stream(seed, "dns/node-local")
        self._agents: dict[Host, _Agent] = {}
        self._pools: dict[int, PortAllocator] = {}
        self._timers: TimerFifo[_Asked] = TimerFifo(network.fabric.clock, READ_TIMEOUT_NS, self._time_out)
        self._zones = (server.config.primary_zone, *REVERSE)

    def counts(self) -> tuple[int, int]:
        """Hits and misses of all nodes."""
        caches = [cache for agent in self._agents.values() for cache in (agent.cluster, agent.outside)]
        return sum(cache.hits for cache in caches), sum(cache.misses for cache in caches)

    def power_off(self, host: Host) -> None:
        """The node lost power, and with it what its server knew."""
        self._agents.pop(host, None)

    def ask(self, namespace: Namespace, query: Query, key: int, on_answer: OnAnswer) -> None:
        """A process on a node sends a question to the node's own server; without power nobody answers."""
        host = namespace.host
        agent = self._agents.get(host)
        if agent is None:
            agent = self._agents[host] = _Agent(host, AnswerCache(self._settings))
        agent.asked += 1
        charges = host.charges
        hop_ns = charges.udp_send_ns + charges.udp_receive_ns + (0 if namespace.is_host else charges.forward_ns)
        work_ns = self._service_time(self._work.uniform(splitmix64(host.index ^ agent.asked << 20), 0))
        self._network.fabric.later(
            hop_ns + charges.fresh_udp_send_ns + work_ns, lambda: self._look(agent, query, key, hop_ns, on_answer)
        )

    def _look(self, agent: _Agent, query: Query, key: int, hop_ns: int, on_answer: OnAnswer) -> None:
        if not agent.host.up:
            return
        fabric = self._network.fabric
        name, rtype, now = query.name, query.type, fabric.clock.now
        mix = splitmix64(key ^ query.ident << 8 ^ agent.asked)
        lower = absolute(name.lower())
        is_cluster = any(within(lower, zone) for zone in self._zones)
        cache = agent.cluster if is_cluster else agent.outside
        kept = cache.get(name, rtype, now)

        def respond(answer: Answer, cached: bool) -> None:
            fabric.later(hop_ns, lambda: on_answer(balanced(answer, mix), cached))

        def learn(answer: Answer) -> None:
            cache.put(name, rtype, answer, fabric.clock.now)
            respond(answer, False)

        if kept is not None:
            respond(kept, True)
        elif is_cluster:
            self._forward(_Asked(agent, query, mix, learn))
        else:
            fabric.later(self._upstream_ns, lambda: learn(self._server.answer(name, rtype)))

    # ---- cluster DNS -------------------------------------------------------------------------------------------------

    def _forward(self, asked: _Asked) -> None:
        agent = asked.agent
        now = self._network.fabric.clock.now
        self._timers.set(asked)
        while agent.idle:
            connection, since_ns = agent.idle.pop()
            if connection.open and since_ns + IDLE_NS > now:
                asked.fresh = False
                self._send(asked, connection)
                return
            self._close(connection)
        self._dial(asked)

    def _dial(self, asked: _Asked) -> None:
        host = asked.agent.host
        pool = self._pools.get(host.index)
        if pool is None:
            pool = self._pools[host.index] = PortAllocator(splitmix64(host.address ^ self._upstream))
        port = pool.take(self._network.fabric.clock.now)
        if not port:
            self._fail(asked)
            return
        asked.fresh = True
        uniform = self._work.uniform(asked.key, 1)
        connection = Connection(self, host.namespace, port, self._upstream, DNS_PORT, TCP, asked.key, uniform)
        connection.port_pool = pool
        connection.tag = asked
        asked.connection = connection
        self._network.handshakes.open(connection)

    def _send(self, asked: _Asked, connection: Connection) -> None:
        now = self._network.fabric.clock.now
        connection.tag = asked
        asked.connection = connection
        uniform = self._work.uniform(asked.key, 2)
        request = Request(self, asked.query.ident, now, question_bytes(asked.query.name), 0, uniform, 0.0)
        request.tag = asked
        request.payload = DnsMessage(asked.query)
        request.connection = connection
        self._network.exchanges.send(request)

    def _close(self, connection: Connection) -> None:
        connection.tag = None
        self._network.handshakes.close(connection)

    def _fail(self, asked: _Asked) -> None:
        asked.deadline_ns = 0
        connection, asked.connection = asked.connection, None
        if connection is not None:
            self._close(connection)
        asked.done(Answer("SERVFAIL"))

    def _time_out(self, asked: _Asked) -> None:
        self._fail(asked)

    # ---- what comes back ---------------------------------------------------------------------------------------------

    def connected(self, connection: Connection, now_ns: int) -> None:
        """A connection to cluster DNS stands: ask."""
        asked = connection.tag
        if asked is not None and asked.connection is connection:
            self._send(asked, connection)

    def connect_failed(self, connection: Connection, outcome: Outcome, now_ns: int) -> None:
        """Nobody listens there, or nothing leads there."""
        asked = connection.tag
        if asked is not None and asked.connection is connection:
            asked.connection = None
            self._fail(asked)

    def answered(self, request: Request, finish_ns: int) -> None:
        """Cluster DNS answered: keep the connection for the next question."""
        asked: _Asked = request.tag
        message = request.payload
        connection = request.connection
        if asked.connection is not connection or not isinstance(message, DnsMessage) or message.answer is None:
            return
        answer = message.answer
        asked.deadline_ns = 0
        asked.connection = None
        connection.tag = None

        def finish() -> None:
            if connection.open:
                asked.agent.idle.append((connection, finish_ns))
            asked.done(answer)

        self._network.fabric.later(max(0, finish_ns - self._network.fabric.clock.now), finish)

    def failed(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        """The connection broke: a kept one is tried anew, as the server may have closed it meanwhile."""
        asked: _Asked = request.tag
        if asked.connection is not request.connection:
            return
        asked.connection = None
        if asked.fresh:
            self._fail(asked)
        else:
            self._dial(asked)

    def disconnected(self, connection: Connection, now_ns: int) -> None:
        """Cluster DNS closed a connection on which nothing was asked."""
