"""How a reverse proxy reaches its upstreams: tries, time-outs, and another try with the next endpoint.

A try that fails to connect, is reset before the answer, or takes too long goes on to the next endpoint, up to a number of tries;
an error on a kept connection does not count, since the endpoint may only have closed it. When no try is left the client is
answered 502, or 504 after a time-out. Endpoints are `workload/upstream_turns.py`'s, idle connections `kept_connections.py`'s.

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
from svcsim.engine.streams import Stream, splitmix64
from svcsim.engine.timers import TimerFifo
from svcsim.kube.ingress_rules import Backend
from svcsim.linux.packet import TCP
from svcsim.linux.ports import PortAllocator
from svcsim.results.records import Flag, Outcome
from svcsim.workload.kept_connections import KeptConnections
from svcsim.workload.upstream_turns import Turns, Upstream

Failure = Literal["error", "timeout", "http_503"]
_BUSY = Outcome.SERVER_BUSY
_REDIALED, _UNREACHED = int(Flag.REDIALED), int(Flag.UNREACHED)


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Time-outs, when and how often another endpoint is tried (`tries` in all), and what is kept of connections.

    `next_timeout_ns`: so long after a request's first try there are others; neither it nor `tries` has a limit at 0.
    `balancing`: of backends that do not say, `round_robin` or `ewma`.
    """

    connect_timeout_ns: int
    read_timeout_ns: int
    next_on: frozenset[str]
    tries: int
    next_timeout_ns: int
    balancing: str
    kept: int
    kept_for_ns: int
    requests_per_connection: int


class Exchange:
    """A client's request on its way through the proxy; `hashed` is what decides its endpoint, None if endpoints take turns."""

    __slots__ = (
        "backend", "begun_ns", "connect_before_ns", "connection", "first", "first_connect_ns", "front", "hashed", "inner",
        "is_cached", "outer", "settings", "tries",
    )

    def __init__(self, outer: Request, backend: Backend, settings: UpstreamSettings, hashed: int | None = None) -> None:
        self.settings = settings
        self.hashed = hashed
        self.begun_ns = self.first_connect_ns = 0
        self.first: Upstream | None = None
        """The endpoint of the first try, until that has ended."""
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


Done = Callable[[Exchange, Outcome], None]
"""An exchange has ended: with an answer of the upstream (OK), or with none."""


class Upstreams:
    """The connections of one proxy to endpoints; the `Client` of all of them."""

    __slots__ = (
        "_answered", "_connect_timers", "_done", "_is_awake", "_kept", "_later", "_namespace", "_network", "_picks", "_ports",
        "_read_timers", "_turns", "_under_way",
    )

    def __init__(
        self, network: Network, namespace: Namespace, settings: UpstreamSettings, seed: int, done: Done,
        is_awake: Callable[[], bool],
    ) -> None:
        """`is_awake`: whether the proxy's process does anything; what happens while it hangs is taken up by `wake`."""
        self._network = network
        self._namespace = namespace
        self._done = done
        self._is_awake = is_awake
        self._turns = Turns(namespace, seed, network.fabric.clock, settings.balancing)
        self._picks = Stream(seed, f"ingress/service-upstream/{namespace.name}")
        self._ports: dict[Upstream, PortAllocator] = {}
        self._kept = KeptConnections(network, settings.kept, settings.kept_for_ns, settings.requests_per_connection)
        self._under_way: dict[Exchange, None] = {}
        self._later: list[Callable[[], None]] = []
        self._connect_timers: dict[int, TimerFifo[Connection]] = {}
        self._read_timers: dict[int, TimerFifo[Request]] = {}
        self._answered: Step = (self._on_answer,)

    # ---- endpoints ---------------------------------------------------------------------------------------------------

    def set_endpoints(self, backends: Mapping[Backend, tuple[Upstream, ...]]) -> None:
        """The endpoints are these now, for further tries too."""
        self._turns.set(backends)

    def has_endpoints(self, backend: Backend) -> bool:
        """Whether there is an endpoint to try."""
        return self._turns.has_endpoints(backend)

    # ---- a try -------------------------------------------------------------------------------------------------------

    def begin(self, exchange: Exchange) -> None:
        """Send a client's request to an endpoint of its backend."""
        self._under_way[exchange] = None
        exchange.begun_ns = self._network.fabric.clock.now
        exchange.outer.phase = REQUEST
        self._try(exchange)

    def _try(self, exchange: Exchange) -> None:
        endpoint = self._turns.next(exchange.backend, exchange.hashed, exchange.key ^ exchange.tries)
        if endpoint is None:
            self._end(exchange, Outcome.BAD_GATEWAY)
            return
        if not exchange.tries:
            exchange.first = endpoint
        exchange.tries += 1
        exchange.connect_before_ns = exchange.outer.connect_ns
        kept = self._kept.take(endpoint)
        exchange.is_cached = kept is not None
        if kept is not None:
            self._send(exchange, kept)
        else:
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
        if exchange.first is not None:
            exchange.first_connect_ns = now_ns - exchange.begun_ns
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
        self._kept.closed(connection)

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
        if exchange.first is not None:
            self._first_ended(exchange, exchange.first, now)
        if inner.status is _BUSY and self._goes_on(exchange, "http_503", now):
            self._kept.keep(connection)
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
        self._kept.keep(connection)
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
        if exchange.first is not None:
            self._first_ended(exchange, exchange.first, now_ns)
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

    def _first_ended(self, exchange: Exchange, endpoint: Upstream, now_ns: int) -> None:
        """Its time counts for the endpoint: that until the answer, or failure, and that of connecting again (ewma.lua)."""
        exchange.first = None
        self._turns.took(exchange.backend, endpoint, now_ns - exchange.begun_ns + exchange.first_connect_ns)

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
        if exchange.first is not None:
            self._first_ended(exchange, exchange.first, self._network.fabric.clock.now)
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

    # ---- the process -------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The process goes on: what came meanwhile is taken up."""
        later, self._later = self._later, []
        for action in later:
            action()

    def close_idle(self) -> None:
        """Close the connections that nobody uses, as workers do that a reload has replaced."""
        self._kept.close_all()

    def stop(self, *, silently: bool) -> None:
        """The process is gone: its kernel closes the connections, unless nobody is told (`silently`)."""
        self._later = []
        connections = self._kept.forget_all()
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
