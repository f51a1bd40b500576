"""How a reverse proxy reaches its upstreams: round robin, connections that are kept, time-outs, and another try with the next.

A try that fails to connect, is reset before the answer, or takes too long goes on to the next endpoint, up to a number of tries;
an error on a kept connection does not count, since the endpoint may only have closed it. When no try is left the client is
answered 502, or 504 after a time-out. Idle connections are closed after a while, those used longest ago if there are too many.

Sources: nginx src/http/ngx_http_upstream.c (ngx_http_upstream_next), modules/ngx_http_upstream_keepalive_module.c; ingress-nginx
docs/user-guide/nginx-configuration/configmap.md (proxy-next-upstream error timeout, 3 tries; upstream-keepalive-*),
rootfs/etc/nginx/lua/balancer/round_robin.lua.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from svcsim.datapath.connection import REQUEST, Connection, Request
from svcsim.datapath.host import Namespace
from svcsim.datapath.multiplexed import MultiplexedConnection
from svcsim.datapath.network import Network
from svcsim.engine.hop import Step
from svcsim.engine.streams import Stream, splitmix64, stream_seed
from svcsim.engine.timers import TimerFifo
from svcsim.kube.ingress_rules import Backend
from svcsim.linux.packet import TCP
from svcsim.linux.ports import PortAllocator
from svcsim.results.records import Flag, Outcome
from svcsim.workload.hash_ring import HashRing

Upstream = tuple[int, int]
Failure = Literal["error", "timeout", "http_503"]
_BUSY = Outcome.SERVER_BUSY
_REDIALED, _UNREACHED = int(Flag.REDIALED), int(Flag.UNREACHED)


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Time-outs, when and how often another endpoint is tried (`tries` in all), and what is kept of connections.

    `next_timeout_ns`: so long after a request's first try there are others; neither it nor `tries` has a limit at 0.
    """

    connect_timeout_ns: int
    read_timeout_ns: int
    next_on: frozenset[str]
    tries: int
    next_timeout_ns: int
    kept: int
    kept_for_ns: int
    requests_per_connection: int


class Exchange:
    """A client's request on its way through the proxy; `hashed` is what decides its endpoint, None if endpoints take turns."""

    __slots__ = (
        "backend", "begun_ns", "connect_before_ns", "connection", "front", "hashed", "inner", "is_cached", "outer", "settings",
        "tries",
    )

    def __init__(self, outer: Request, backend: Backend, settings: UpstreamSettings, hashed: int | None = None) -> None:
        self.settings = settings
        self.hashed = hashed
        self.begun_ns = 0
        self.outer = outer
        self.front = outer.connection
        self.backend = backend
        self.connection: Connection | None = None
        self.inner: Request | None = None
        self.is_cached = False
        self.tries = 0
        self.connect_before_ns = 0

    @property
    def key(self) -> int:
        """Names it among all of its client's connection."""
        front = self.front
        return front.key ^ (self.outer.sequence if isinstance(front, MultiplexedConnection) else front.used) << 8

    def note(self) -> None:
        """It was led to an endpoint, as its client's connection says now."""
        if isinstance(self.front, MultiplexedConnection):
            self.front.note(self.outer)

    def not_reached(self, network: Network, connection: Connection) -> None:
        """The endpoint at the other end of a connection was not reached for it."""
        if isinstance(self.front, MultiplexedConnection):
            self.front.recall(self.outer)
        network.fabric.not_reached(self.front, connection)
        self.note()


class _Kept:
    """An idle connection, until its timer closes it."""

    __slots__ = ("connection", "deadline_ns")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.deadline_ns = 0


@dataclass(slots=True)
class _Turn:
    """The endpoints of a backend, and whose turn it is."""

    endpoints: tuple[Upstream, ...]
    index: int
    changes: int
    ring: HashRing | None = None

    def of(self, hashed: int) -> Upstream:
        """The endpoint of a hash, the same one as long as it is there."""
        if self.ring is None:
            self.ring = HashRing(tuple(splitmix64(address ^ port << 32) for address, port in self.endpoints))
        return self.endpoints[self.ring.find(hashed)]


Done = Callable[[Exchange, Outcome], None]
"""An exchange has ended: with an answer of the upstream (OK), or with none."""


class Upstreams:
    """The connections of one proxy to endpoints; the `Client` of all of them."""

    __slots__ = (
        "_answered", "_connect_timers", "_done", "_free", "_idle", "_idle_timers", "_is_awake", "_later", "_namespace",
        "_network", "_picks", "_ports", "_read_timers", "_settings", "_starts", "_turns", "_under_way",
    )

    def __init__(
        self, network: Network, namespace: Namespace, settings: UpstreamSettings, seed: int, done: Done,
        is_awake: Callable[[], bool],
    ) -> None:
        """`is_awake`: whether the proxy's process does anything; what happens while it hangs is taken up by `wake`."""
        self._network = network
        self._namespace = namespace
        self._settings = settings
        self._done = done
        self._is_awake = is_awake
        self._starts = Stream(seed, f"ingress/round-robin/{namespace.name}")
        self._picks = Stream(seed, f"ingress/service-upstream/{namespace.name}")
        self._turns: dict[Backend, _Turn] = {}
        self._ports: dict[Upstream, PortAllocator] = {}
        self._free: dict[Upstream, list[_Kept]] = {}
        self._idle: dict[_Kept, None] = {}
        self._under_way: dict[Exchange, None] = {}
        self._later: list[Callable[[], None]] = []
        clock = network.fabric.clock
        self._connect_timers: dict[int, TimerFifo[Connection]] = {}
        self._read_timers: dict[int, TimerFifo[Request]] = {}
        self._idle_timers: TimerFifo[_Kept] = TimerFifo(clock, settings.kept_for_ns, self._idle_timed_out)
        self._answered: Step = (self._on_answer,)

    # ---- endpoints ---------------------------------------------------------------------------------------------------

    def set_endpoints(self, backends: Mapping[Backend, tuple[Upstream, ...]]) -> None:
        """The endpoints are these now; where they changed the turn begins anew, anywhere among them."""
        turns: dict[Backend, _Turn] = {}
        for backend, upstreams in backends.items():
            endpoints = tuple(each for each in upstreams if self._namespace.towards(each[0]))
            old = self._turns.get(backend)
            if old is not None and old.endpoints == endpoints:
                turns[backend] = old
                continue
            changes = 0 if old is None else old.changes + 1
            key = stream_seed(0, f"{backend.namespace}/{backend.service}:{backend.port}")
            turns[backend] = _Turn(endpoints, self._starts.bits(key, changes) % max(1, len(endpoints)), changes)
        self._turns = turns

    def has_endpoints(self, backend: Backend) -> bool:
        """Whether there is an endpoint to try."""
        turn = self._turns.get(backend)
        return turn is not None and bool(turn.endpoints)

    def _next_endpoint(self, exchange: Exchange) -> Upstream | None:
        turn = self._turns.get(exchange.backend)
        if turn is None or not turn.endpoints:
            return None
        if exchange.hashed is not None:
            return turn.of(exchange.hashed)
        chosen = turn.endpoints[turn.index]
        turn.index = (turn.index + 1) % len(turn.endpoints)
        return chosen

    # ---- a try -------------------------------------------------------------------------------------------------------

    def begin(self, exchange: Exchange) -> None:
        """Send a client's request to an endpoint of its backend."""
        self._under_way[exchange] = None
        exchange.begun_ns = self._network.fabric.clock.now
        exchange.outer.phase = REQUEST
        self._try(exchange)

    def _try(self, exchange: Exchange) -> None:
        endpoint = self._next_endpoint(exchange)
        if endpoint is None:
            self._end(exchange, Outcome.BAD_GATEWAY)
            return
        exchange.tries += 1
        exchange.connect_before_ns = exchange.outer.connect_ns
        kept = self._free.get(endpoint)
        if kept:
            taken = kept.pop()
            taken.deadline_ns = 0
            del self._idle[taken]
            exchange.is_cached = True
            self._send(exchange, taken.connection)
            return
        exchange.is_cached = False
        self._dial(exchange, endpoint)

    def _dial(self, exchange: Exchange, endpoint: Upstream) -> None:
        network, namespace = self._network, self._namespace
        now = network.fabric.clock.now
        pool = self._ports.get(endpoint)
        if pool is None:
            pool = self._ports[endpoint] = PortAllocator(splitmix64(namespace.address ^ endpoint[0] << 20 ^ endpoint[1]))
        port = pool.take(now)
        if not port:
            self._failed(exchange, "error", now)
            return
        key = splitmix64(exchange.key ^ exchange.tries)
        # Through a ClusterIP each try is a draw of its own; the client's connection may be the same for many.
        pick = self._picks.uniform(key) if exchange.backend.by_service else exchange.front.pick_uniform
        connection = Connection(self, namespace, port, *endpoint, TCP, key, pick)
        connection.port_pool = pool
        connection.tag = exchange
        exchange.connection = connection
        self._connect_timer(exchange.settings.connect_timeout_ns).set(connection)
        network.handshakes.open(connection)

    def _connect_timer(self, duration_ns: int) -> TimerFifo[Connection]:
        timers = self._connect_timers.get(duration_ns)
        if timers is None:
            timers = TimerFifo(self._network.fabric.clock, duration_ns, self._connect_timed_out)
            self._connect_timers[duration_ns] = timers
        return timers

    def _read_timer(self, duration_ns: int) -> TimerFifo[Request]:
        timers = self._read_timers.get(duration_ns)
        if timers is None:
            timers = self._read_timers[duration_ns] = TimerFifo(self._network.fabric.clock, duration_ns, self._read_timed_out)
        return timers

    def _send(self, exchange: Exchange, connection: Connection) -> None:
        outer, front = exchange.outer, exchange.front
        now = self._network.fabric.clock.now
        exchange.connection = connection
        connection.tag = exchange
        inner = exchange.inner = Request(
            self, outer.sequence, now, outer.request_bytes, outer.answer_bytes, outer.service_uniform, outer.pick_uniform
        )
        inner.outer = outer
        inner.payload = outer.payload
        inner.connection = connection
        front.endpoint = connection.endpoint
        front.endpoint_host = connection.server_host
        front.flags &= ~_UNREACHED
        exchange.note()
        self._read_timer(exchange.settings.read_timeout_ns).set(inner)
        self._network.exchanges.send(inner)

    # ---- what comes back (`Client`) ----------------------------------------------------------------------------------

    def connected(self, connection: Connection, now_ns: int) -> None:
        """The endpoint accepted: send it the request."""
        connection.deadline_ns = 0
        exchange: Exchange | None = connection.tag
        if exchange is None or exchange.connection is not connection:
            self._network.handshakes.close(connection)
            return
        if not self._is_awake():
            self._later.append(lambda: self.connected(connection, self._network.fabric.clock.now))
            return
        outer = exchange.outer
        if outer.live:
            outer.connect_ns += now_ns - outer.mark_ns
            outer.mark_ns = now_ns
        if connection.open:
            self._send(exchange, connection)
        else:
            self._failed(exchange, "error", now_ns)

    def connect_failed(self, connection: Connection, outcome: Outcome, now_ns: int) -> None:
        """Refused, or no way there: the next endpoint, at once."""
        connection.deadline_ns = 0
        self._connection_failed(connection, "error", now_ns)

    def answered(self, request: Request, finish_ns: int) -> None:
        """The endpoint's answer is with the proxy at `finish_ns`."""
        request.callbacks = self._answered
        fabric = self._network.fabric
        fabric.schedule(request, finish_ns - fabric.clock.now)

    def failed(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        """The connection was reset under the request."""
        self._connection_failed(request.connection, "error", now_ns)

    def disconnected(self, connection: Connection, now_ns: int) -> None:
        """The endpoint closed an idle connection, or one whose request has failed already."""
        for kept in self._free.get((connection.destination, connection.destination_port), ()):
            if kept.connection is connection:
                self._forget(kept)
                return

    def _on_answer(self, inner: Request) -> None:
        """The answer is there: the client's request takes over what it cost."""
        if not self._is_awake():
            self._later.append(lambda: self._on_answer(inner))
            return
        connection = inner.connection
        exchange: Exchange | None = connection.tag
        if exchange is None or exchange.inner is not inner:
            return
        connection.tag = None
        outer, now = exchange.outer, self._network.fabric.clock.now
        if inner.status is _BUSY and self._goes_on(exchange, "http_503", now):
            self._keep(connection)
            self._failed(exchange, "http_503", now)
            return
        exchange.inner = exchange.connection = None
        if outer.live:
            outer.request_ns += inner.request_ns
            outer.queue_ns += inner.queue_ns
            outer.service_ns += inner.service_ns
            outer.response_ns += inner.response_ns + now - inner.mark_ns
            outer.mark_ns = now
        outer.flags |= inner.flags
        outer.status = inner.status
        outer.answer_bytes = inner.answer_bytes
        front = exchange.front
        if connection.endpoint_host is not None:
            front.endpoint, front.endpoint_host = connection.endpoint, connection.endpoint_host
            exchange.note()
        self._keep(connection)
        self._end(exchange, Outcome.OK)

    # ---- what does not -----------------------------------------------------------------------------------------------

    def _connect_timed_out(self, connection: Connection) -> None:
        self._network.handshakes.abandon(connection)
        self._connection_failed(connection, "timeout", self._network.fabric.clock.now)

    def _read_timed_out(self, inner: Request) -> None:
        connection = inner.connection
        inner.live = False
        self._network.handshakes.close(connection)
        self._connection_failed(connection, "timeout", self._network.fabric.clock.now)

    def _connection_failed(self, connection: Connection, failure: Failure, now_ns: int) -> None:
        exchange: Exchange | None = connection.tag
        if exchange is None or exchange.connection is not connection:
            return
        if not self._is_awake():
            self._later.append(lambda: self._connection_failed(connection, failure, self._network.fabric.clock.now))
            return
        connection.tag = None
        if exchange.inner is None:
            exchange.not_reached(self._network, connection)
        self._failed(exchange, failure, now_ns)

    def _failed(self, exchange: Exchange, failure: Failure, now_ns: int) -> None:
        """A try has failed: its time is that of a failed attempt, and the next endpoint is tried unless that was the last."""
        exchange.inner = exchange.connection = None
        outer = exchange.outer
        if outer.live:
            outer.retry_ns += now_ns - outer.mark_ns + outer.connect_ns - exchange.connect_before_ns
            outer.connect_ns = exchange.connect_before_ns
            outer.mark_ns = now_ns
        if exchange.is_cached and failure == "error":
            exchange.tries -= 1
        if self._goes_on(exchange, failure, now_ns):
            outer.flags |= _REDIALED
            self._try(exchange)
            return
        self._end(exchange, Outcome.GATEWAY_TIMEOUT if failure == "timeout" else Outcome.BAD_GATEWAY)

    def _goes_on(self, exchange: Exchange, failure: Failure, now_ns: int) -> bool:
        """Whether another endpoint is tried after a failure (ngx_http_upstream_next)."""
        settings = exchange.settings
        if failure not in settings.next_on or (settings.tries and exchange.tries >= settings.tries):
            return False
        return not settings.next_timeout_ns or now_ns - exchange.begun_ns < settings.next_timeout_ns

    def _end(self, exchange: Exchange, outcome: Outcome) -> None:
        self._under_way.pop(exchange, None)
        self._done(exchange, outcome)

    def abort(self, exchange: Exchange) -> None:
        """The client is gone: give up what is done for it."""
        self._under_way.pop(exchange, None)
        connection, inner = exchange.connection, exchange.inner
        exchange.connection = exchange.inner = None
        if inner is not None:
            inner.live = False
            inner.deadline_ns = 0
        if connection is not None:
            if inner is None:
                exchange.not_reached(self._network, connection)
            connection.tag = None
            connection.deadline_ns = 0
            self._network.handshakes.close(connection)

    # ---- connections that are kept -----------------------------------------------------------------------------------

    def _keep(self, connection: Connection) -> None:
        settings = self._settings
        if not connection.open:
            return
        if not settings.kept or connection.used >= settings.requests_per_connection:
            self._network.handshakes.close(connection)
            return
        kept = _Kept(connection)
        self._idle[kept] = None
        self._free.setdefault((connection.destination, connection.destination_port), []).append(kept)
        self._idle_timers.set(kept)
        if len(self._idle) > settings.kept:
            self._close(next(iter(self._idle)))

    def _idle_timed_out(self, kept: _Kept) -> None:
        if kept in self._idle:
            self._close(kept)

    def _close(self, kept: _Kept) -> None:
        self._forget(kept)
        self._network.handshakes.close(kept.connection)

    def _forget(self, kept: _Kept) -> None:
        kept.deadline_ns = 0
        del self._idle[kept]
        self._free[(kept.connection.destination, kept.connection.destination_port)].remove(kept)

    # ---- the process -------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The process goes on: what came meanwhile is taken up."""
        later, self._later = self._later, []
        for action in later:
            action()

    def close_idle(self) -> None:
        """Close the connections that nobody uses, as workers do that a reload has replaced."""
        for kept in list(self._idle):
            self._close(kept)

    def stop(self, *, silently: bool) -> None:
        """The process is gone: its kernel closes the connections, unless nobody is told (`silently`)."""
        self._later = []
        connections = [kept.connection for kept in self._idle]
        for kept in self._idle:
            kept.deadline_ns = 0
        self._idle.clear()
        self._free.clear()
        for exchange in self._under_way:
            if exchange.inner is not None:
                exchange.inner.live = False
                exchange.inner.deadline_ns = 0
            if exchange.connection is not None:
                connections.append(exchange.connection)
            exchange.connection = exchange.inner = None
        self._under_way.clear()
        for connection in connections:
            connection.tag = None
            connection.request = None
            connection.deadline_ns = 0
            if silently:
                connection.client = None
            else:
                self._network.handshakes.close(connection)
