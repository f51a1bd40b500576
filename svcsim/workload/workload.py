"""A workload: which connection a request goes over, whatever triggered it.

The name is resolved unless the answer is cached; the request gets a kept connection or a new one, waits for one of a full pool,
and leaves it to others when it is answered. `svcsim.workload.attempts` has the life of the request itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from svcsim.datapath.connection import CONNECT, DNS, WAIT, Connection, Request
from svcsim.datapath.network import Network
from svcsim.engine.hop import Step
from svcsim.engine.timers import TimerFifo
from svcsim.linux.packet import TCP, UDP
from svcsim.results.records import Flag, Outcome, RecordWriter
from svcsim.workload.attempts import Attempts
from svcsim.workload.settings import WorkloadSettings
from svcsim.workload.source import FOREVER_NS, Source

_NEW_CONNECTION = int(Flag.NEW_CONNECTION)
_OK = Outcome.OK

Resolve = Callable[["Workload", Source, Callable[[int], None]], None]
"""Look the destination's name up for a source; the function is called once, with an address, or 0 when there is none."""


class Workload(Attempts):
    """The traffic of one entry under `workloads:`; implements `svcsim.datapath.connection.Client`."""

    __slots__ = ("_connect_timers", "_hand_over", "resolve")

    _connection_kind: ClassVar[type[Connection]] = Connection

    def __init__(
        self, settings: WorkloadSettings, sources: list[Source], network: Network, records: RecordWriter, seed: int,
        resolve: Resolve | None = None,
    ) -> None:
        super().__init__(settings, sources, network, records, seed)
        self.resolve = resolve
        self._connect_timers: TimerFifo[Connection] | None = None
        if settings.connect_timeout_ns is not None and settings.connect_timeout_ns < settings.timeout_ns:
            self._connect_timers = TimerFifo(self._clock, settings.connect_timeout_ns, self._connect_time_out)
        self._hand_over: Step = (self._on_hand_over,)

    # ---- the address -------------------------------------------------------------------------------------------------

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
            source.resolved_ns = self._environment._now
            source.resolved_until_ns = source.resolved_ns + interval_ns
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

    # ---- the connection ----------------------------------------------------------------------------------------------

    def _find_connection(self, source: Source, request: Request) -> None:
        now = self._environment._now
        idle = source.idle
        balancer = self._balancer
        if balancer is not None:
            if source.resolved_until_ns < now and self.resolve is not None:
                self._await_name(source, request)
                return
            balancer.choose(source, request, now)
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
        if request.mark_ns != now:
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
        connection = request.connection
        outcome = request.status
        if self._balancer is not None:
            self._balancer.finished(request, self._environment._now, succeeded=outcome is _OK)
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
