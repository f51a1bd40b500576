"""A workload: how a request is made, sent, timed, tried again and recorded, whatever triggered it.

The life of a request: it is due (`begin`), its name is resolved unless the answer is cached, it gets a connection (a kept one
or a new one), it is sent, it is answered or fails, and perhaps it is tried again. Latency counts from the intended send, so a
client that could not send in time does not hide it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from svcsim.datapath.connection import CONNECT, DNS, WAIT, Connection, Request
from svcsim.datapath.network import Network
from svcsim.engine.hop import Step
from svcsim.engine.streams import Stream
from svcsim.engine.timers import TimerFifo
from svcsim.linux.packet import TCP, UDP
from svcsim.results.records import Flag, Outcome, RecordWriter
from svcsim.workload.balancing import Balancer
from svcsim.workload.extra_attempts import ExtraAttempts
from svcsim.workload.settings import WorkloadSettings
from svcsim.workload.source import FOREVER_NS, Source

_NEW_CONNECTION, _RESOLVED, _CROSS_NODE, _HAIRPIN = map(
    int, (Flag.NEW_CONNECTION, Flag.RESOLVED, Flag.CROSS_NODE, Flag.HAIRPIN)
)
_HEDGED, _RETRY_DENIED, _UNREACHED = int(Flag.HEDGED), int(Flag.RETRY_DENIED), int(Flag.UNREACHED)
_OK = Outcome.OK

Resolve = Callable[["Workload", Source, Callable[[int], None]], None]
"""Look the destination's name up for a source; the function is called once, with an address, or 0 when there is none."""


class Workload:
    """The traffic of one entry under `workloads:`; implements `svcsim.datapath.connection.Client`."""

    __slots__ = (
        "_again", "_balancer", "_clock", "_connect_timers", "_environment", "_extra", "_hand_over", "_records", "_redraw",
        "_timers", "ended", "failures", "network", "on_end", "resolve", "settings", "sources", "started",
    )

    _connection_kind: ClassVar[type[Connection]] = Connection

    def __init__(
        self, settings: WorkloadSettings, sources: list[Source], network: Network, records: RecordWriter, seed: int,
        resolve: Resolve | None = None,
    ) -> None:
        self.settings = settings
        self.sources = sources
        self.network = network
        self.resolve = resolve
        self._records = records
        self._clock = network.fabric.clock
        self._environment = self._clock.environment
        self._timers: TimerFifo[Request] = TimerFifo(self._clock, settings.timeout_ns, self._time_out)
        self._connect_timers: TimerFifo[Connection] | None = None
        if settings.connect_timeout_ns is not None and settings.connect_timeout_ns < settings.timeout_ns:
            self._connect_timers = TimerFifo(self._clock, settings.connect_timeout_ns, self._connect_time_out)
        self._redraw = Stream(seed, f"workload/{settings.name}/attempts")
        self._balancer: Balancer | None = None
        if settings.balancing is not None:
            self._balancer = Balancer(settings.balancing, Stream(seed, f"workload/{settings.name}/balancing"))
        self._again: Step = (self._on_retry,)
        self._hand_over: Step = (self._on_hand_over,)
        self._extra: ExtraAttempts | None = None
        if settings.retries.budget is not None or settings.hedging is not None:
            draws = Stream(seed, f"workload/{settings.name}/hedges")
            self._extra = ExtraAttempts(
                settings.retries.budget, settings.hedging, self._clock, draws, self._begin_attempt, self._cancel
            )
        self.started = 0
        self.ended = 0
        self.failures = 0
        self.on_end: Callable[[Request, int], None] | None = None

    # ---- sending -----------------------------------------------------------------------------------------------------

    def begin(self, source: Source, request: Request) -> None:
        """A request is due, now."""
        self.started += 1
        request.tag = source
        if not source.alive:
            request.live = False
            self._record(request, Outcome.CLIENT_GONE, self._environment._now)
            return
        if self._extra is not None:
            self._extra.request_begun(request)
        self._timers.set(request)
        self._find_connection(source, request)

    def _begin_attempt(self, request: Request) -> None:
        self._timers.set(request)
        self._find_connection(request.tag, request)

    def _cancel(self, request: Request) -> None:
        """The client got its answer elsewhere and waits no longer for this attempt."""
        if self._balancer is not None:
            self._balancer.ended(request)
        request.live = False
        request.deadline_ns = 0
        if request.phase == WAIT:
            with suppress(ValueError):
                request.tag.waiting.remove(request)
        if request.connection is not None:
            self._withdraw(request, request.connection, self._environment._now)

    def _await_name(self, source: Source, request: Request) -> None:
        assert self.resolve is not None
        request.phase = DNS
        if self.settings.resolve == "connection":
            # A client without a cache of its own calls getaddrinfo for each connection, and its calls run side by side.
            self.resolve(self, source, lambda address: self._resolved(source, [request], address))
            return
        if source.resolving is not None:
            source.resolving.append(request)
            return
        source.resolving = [request]
        self.resolve(self, source, lambda address: self._resolved_for_all(source, address))

    def _resolved_for_all(self, source: Source, address: int) -> None:
        """The answer that a source keeps, and everybody who waited for it."""
        waiting, source.resolving = source.resolving or [], None
        if address:
            interval_ns = self.settings.resolve_interval_ns if self.settings.resolve == "interval" else FOREVER_NS
            source.resolved_until_ns = self._environment._now + interval_ns
        self._resolved(source, waiting, address)

    def _resolved(self, source: Source, waiting: list[Request], address: int) -> None:
        now = self._environment._now
        if address:
            source.target = address
        for request in waiting:
            if not request.live:
                continue
            request.close_part(now)
            if not address:
                self._end_attempt(request, self.settings.unresolved, now)
            elif self.settings.resolve == "connection":
                self._open(source, request, now)
            else:
                self._find_connection(source, request)

    def _find_connection(self, source: Source, request: Request) -> None:
        now = self._environment._now
        idle = source.idle
        balancer = self._balancer
        if balancer is not None:
            if source.resolved_until_ns < now and self.resolve is not None:
                self._await_name(source, request)
                return
            balancer.choose(source, request)
            kept = next((each for each in idle if each.destination == source.target and each.free_at_ns <= now), None)
            if kept is not None:
                idle.remove(kept)
                self._send(kept, request, now)
                return
        elif idle:
            connection = idle[-1]
            if connection.free_at_ns <= now:
                idle.pop()
                self._send(connection, request, now)
                return
            connection = idle[0]
            if connection.free_at_ns <= now:
                idle.popleft()
                self._send(connection, request, now)
                return
        settings = self.settings
        if settings.pool_limit is not None and source.opened >= settings.pool_limit and not self._made_room(source, now):
            if settings.waiting_limit is not None and len(source.waiting) >= settings.waiting_limit:
                self._end_attempt(request, Outcome.SHED, now)
                return
            if balancer is not None:
                balancer.ended(request)  # it is nobody's until a connection is free
            request.phase = WAIT
            source.waiting.append(request)
            return
        if source.resolved_until_ns < now and self.resolve is not None:
            self._await_name(source, request)
            return
        self._open(source, request, now)

    def _made_room(self, source: Source, now: int) -> bool:
        """Whether a full pool could close an idle connection to another address, the one used longest ago."""
        if self._balancer is None or not source.idle or source.idle[0].free_at_ns > now:
            return False
        self._close(source.idle.popleft())
        return True

    def _close(self, connection: Connection) -> None:
        connection.tag.opened -= 1
        if connection.protocol == UDP:
            self.network.datagrams.close(connection)
        else:
            self.network.handshakes.close(connection, by_client=not self.settings.server_closes)

    def _open(self, source: Source, request: Request, now: int) -> None:
        settings = self.settings
        destination_port = source.port or settings.port
        pool = source.port_pool(source.target, destination_port)
        port = pool.take(now)
        if not port:
            self._end_attempt(request, Outcome.NO_LOCAL_PORT, now)
            return
        key = (settings.index << 52) ^ (request.sequence << 6) ^ request.attempt
        connection = self._connection_kind(
            self, source.namespace, port, source.target, destination_port, settings.protocol, key, request.pick_uniform
        )
        connection.port_pool = pool
        connection.tag = source
        connection.request = request
        request.connection = connection
        request.flags |= _NEW_CONNECTION
        source.opened += 1
        if settings.protocol == UDP:
            request.close_part(now)
            self.network.datagrams.send(request)
            return
        request.close_part(now)
        request.phase = CONNECT
        if self._connect_timers is not None:
            self._connect_timers.set(connection)
        self.network.handshakes.open(connection)

    def _send(self, connection: Connection, request: Request, now: int) -> None:
        request.connection = connection
        if request.mark_ns != now:
            request.close_part(now)
        if connection.protocol == TCP:
            self.network.exchanges.send(request)
        else:
            self.network.datagrams.send(request)

    # ---- what comes back ---------------------------------------------------------------------------------------------

    def connected(self, connection: Connection, now_ns: int) -> None:
        """The handshake is complete: send what it was opened for."""
        connection.deadline_ns = 0
        request = connection.request
        if request is None or not request.live:
            self._release(connection, now_ns)
            return
        request.connect_ns += now_ns - request.mark_ns
        request.mark_ns = now_ns
        self.network.exchanges.send(request)

    def connect_failed(self, connection: Connection, outcome: Outcome, now_ns: int) -> None:
        """The connection will not be."""
        connection.deadline_ns = 0
        connection.tag.opened -= 1
        if self._balancer is not None:
            connection.tag.failed.add(connection.destination)
        request = connection.request
        connection.request = None
        if request is not None and request.live:
            self._end_attempt(request, outcome, now_ns)
        self._serve_waiting(connection.tag, now_ns)

    def answered(self, request: Request, finish_ns: int) -> None:
        """The answer is there at `finish_ns`."""
        if self._balancer is not None:
            self._balancer.ended(request)
        connection = request.connection
        outcome = request.status
        if outcome is not _OK:
            self.failures += 1
        if connection.protocol == UDP:
            self.network.datagrams.answered(connection)
        if outcome is not _OK and self._tries_again(request, outcome, finish_ns):
            self._release(connection, finish_ns)
            return
        if self._extra is not None:
            self._extra.won(request, finish_ns)
        self._record(request, outcome, finish_ns)
        request.connection = None  # type: ignore[assignment]
        self._release(connection, finish_ns)

    def failed(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        """The request got an error instead of an answer."""
        self._end_attempt(request, outcome, now_ns)

    def disconnected(self, connection: Connection, now_ns: int) -> None:
        """The server closed or reset the connection."""
        source: Source = connection.tag
        source.opened -= 1
        if connection.free_at_ns:
            with suppress(ValueError):
                source.idle.remove(connection)
        self._serve_waiting(source, now_ns)

    def _release(self, connection: Connection, now_ns: int) -> None:
        """A connection has no request any more: keep it, hand it to who waits, or close it."""
        settings = self.settings
        source: Source = connection.tag
        keep = connection.open and settings.keepalive
        if keep and settings.requests_per_connection is not None and connection.used >= settings.requests_per_connection:
            keep = False
        if not keep:
            self._close(connection)
            if source.waiting:
                self._serve_waiting(source, now_ns)
            return
        waiting = source.waiting
        while waiting:
            request = waiting.popleft()
            if request.live:
                if self._balancer is not None:
                    self._balancer.moved(request, connection.destination)
                request.connection = connection
                request.callbacks = self._hand_over
                self.network.fabric.schedule(request, max(0, now_ns - self._environment._now))
                return
        source.idle.append(connection)

    def _on_hand_over(self, request: Request) -> None:
        connection = request.connection
        now = self._environment._now
        if not connection.open:
            if request.live:
                self._find_connection(connection.tag, request)
        elif request.live:
            self._send(connection, request, now)
        else:
            self._release(connection, now)

    def _serve_waiting(self, source: Source, now_ns: int) -> None:
        waiting = source.waiting
        while waiting:
            request = waiting.popleft()
            if request.live:
                self._find_connection(source, request)
                return

    # ---- what does not come back -------------------------------------------------------------------------------------

    def _time_out(self, request: Request) -> None:
        """The request's own limit has passed."""
        if not request.live:
            return
        now = self._environment._now
        connection = request.connection
        phase = request.phase
        outcome = Outcome.REQUEST_TIMEOUT
        if phase == CONNECT:
            outcome = Outcome.CONNECT_TIMEOUT
            if self._balancer is not None:
                request.tag.failed.add(connection.destination)
        elif phase == DNS:
            outcome = Outcome.DNS_FAILURE
        elif phase == WAIT:
            with suppress(ValueError):
                request.tag.waiting.remove(request)  # at its head: who waits longest is out of time first
        if connection is not None:
            self._withdraw(request, connection, now)
        self._end_attempt(request, outcome, now)

    def _withdraw(self, request: Request, connection: Connection, now_ns: int) -> None:
        """The client waits no longer for a request that is on a connection."""
        if connection.request is request:
            connection.request = None
            connection.deadline_ns = 0
            self._discard(connection, now_ns)

    def _connect_time_out(self, connection: Connection) -> None:
        request = connection.request
        connection.request = None
        now = self._environment._now
        if self._balancer is not None:
            connection.tag.failed.add(connection.destination)
        self._discard(connection, now)
        if request is not None and request.live:
            self._end_attempt(request, Outcome.CONNECT_TIMEOUT, now)

    def _discard(self, connection: Connection, now_ns: int) -> None:
        """Give up a connection that did not do its work in time (a UDP socket is kept: the next datagram may fare better)."""
        source: Source = connection.tag
        if connection.protocol == UDP:
            if self.settings.keepalive:
                connection.free_at_ns = now_ns
                source.idle.append(connection)
                self._serve_waiting(source, now_ns)
                return
            self.network.datagrams.close(connection)
        else:
            self.network.handshakes.close(connection)
        source.opened -= 1
        self._serve_waiting(source, now_ns)

    def _end_attempt(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        request.live = False
        request.deadline_ns = 0
        request.close_part(now_ns)
        self.failures += 1
        if self._balancer is not None:
            self._balancer.ended(request)
        connection = request.connection
        if connection is not None and connection.protocol == UDP and connection.request is None and outcome in (
            Outcome.REFUSED, Outcome.NO_ROUTE
        ):
            self._discard(connection, now_ns)
        if not self._tries_again(request, outcome, now_ns):
            self._record(request, outcome, now_ns)

    def _tries_again(self, request: Request, outcome: Outcome, now_ns: int) -> bool:
        retries = self.settings.retries
        extra = self._extra
        if extra is not None and extra.other_goes_on(request):
            return True
        attempt = request.attempt + 1
        if attempt >= retries.attempts or outcome not in retries.on or not request.tag.alive:
            return False
        if extra is not None and not extra.may_retry(request.tag):
            request.flags |= _RETRY_DENIED
            return False
        key = request.sequence
        draw = self._redraw.uniform
        again = request.next_attempt(draw(key, 4 * attempt), draw(key, 4 * attempt + 1))
        again.tag = request.tag
        again.flags = request.flags & _HEDGED
        wait_ns = min(retries.max_ns, round(retries.base_ns * retries.factor ** (attempt - 1)))
        if retries.jitter:
            wait_ns = round(wait_ns * (1.0 - retries.jitter * draw(key, 4 * attempt + 2)))
        again.callbacks = self._again
        self.network.fabric.schedule(again, max(0, now_ns - self._environment._now) + wait_ns)
        return True

    def _on_retry(self, request: Request) -> None:
        request.close_part(self._environment._now)
        if not request.tag.alive:
            request.live = False
            self._record(request, Outcome.CLIENT_GONE, self._environment._now)
            return
        if self._extra is not None:
            self._extra.attempt_begun(request)
        self._begin_attempt(request)

    # ---- the record --------------------------------------------------------------------------------------------------

    def _record(self, request: Request, outcome: Outcome, finish_ns: int) -> None:
        connection = request.connection
        source: Source = request.tag
        client_node = source.namespace.host.index
        flags = request.flags
        endpoint = server_node = -1
        rules = 0
        if connection is not None:
            endpoint = connection.endpoint
            rules = connection.rules
            flags |= connection.flags
            server_node = (connection.endpoint_host or connection.server_host).index
            if server_node != client_node:
                flags |= _CROSS_NODE
            elif connection.server_namespace is source.namespace and endpoint >= 0:
                flags |= _HAIRPIN
            if endpoint < 0 and outcome is not _OK:
                endpoint = self.network.fabric.endpoint_at(
                    connection.backend_address, connection.protocol, connection.backend_port
                )
                if endpoint >= 0:
                    flags |= _UNREACHED
        if request.dns_ns:
            flags |= _RESOLVED
        start_ns = request.intended_ns
        self._records.row(
            self.settings.index, request.sequence & 0xFFFFFFFF, start_ns, finish_ns - start_ns, request.wait_ns, request.dns_ns,
            request.retry_ns, request.connect_ns, request.request_ns, request.queue_ns, request.service_ns, request.response_ns,
            outcome, request.attempt + 1, endpoint, client_node, server_node, rules, flags,
        )
        self.ended += 1
        if self.on_end is not None:
            self.on_end(request, finish_ns)

    # ---- faults ------------------------------------------------------------------------------------------------------

    def source_gone(self, source: Source) -> None:
        """The client's process or node is dead: what it had under way ends as `client gone`.

        The kernel closes the connections of a process that died; of a node without power nobody hears.
        """
        source.alive = False
        connections = list(source.idle)
        source.idle.clear()
        source.waiting.clear()
        now = self._environment._now
        for request in self._timers.pending():
            if request.live and request.tag is source:
                request.live = False
                request.deadline_ns = 0
                request.close_part(now)
                if request.connection is not None:
                    connections.append(request.connection)
                if self._extra is None or not self._extra.other_goes_on(request):
                    self._record(request, Outcome.CLIENT_GONE, now)
        for connection in connections:
            connection.request = None
            connection.deadline_ns = 0
            if not source.namespace.host.up:
                connection.client = None
            elif connection.protocol == UDP:
                self.network.datagrams.close(connection)
            else:
                self.network.handshakes.close(connection)
        source.opened = 0
        source.active.clear()
        source.chosen.clear()
