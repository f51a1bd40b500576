"""Clients of HTTP/2 and gRPC: one connection a client process and address, with many requests on it at a time.

A client opens its connection with the first request and keeps it. Requests that come while it connects wait for the handshake;
those beyond the limit of streams wait for a stream, or open a further connection. A request that times out gives up its stream,
not the connection: the client stays with a silent peer until something resets the connection, or `keepalive` finds it dead. The
server ends a connection at its greatest age (give or take a tenth, so that not all end at once): GOAWAY, no new streams, and a
reset of what is left after the grace.

Sources: gRPC A8 (client-side keepalive) and A9 (server-side connection management); grpc-go internal/transport/http2_server.go
(jitter of a tenth, GOAWAY) and internal/resolver/dns/dns_resolver.go (MinResolutionInterval); gRPC doc/connection-backoff.md
(MIN_CONNECT_TIMEOUT); RFC 9113, 5.1.2 and 6.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

from svcsim.datapath.connection import CONNECT, WAIT, Connection, Request
from svcsim.datapath.multiplexed import MultiplexedConnection
from svcsim.datapath.network import Network
from svcsim.engine.streams import Stream
from svcsim.engine.timers import TimerFifo
from svcsim.results.records import Outcome, RecordWriter
from svcsim.units import S
from svcsim.workload.reconnecting import Backoffs, Reconnecting
from svcsim.workload.server import Server
from svcsim.workload.settings import WorkloadSettings
from svcsim.workload.source import Source
from svcsim.workload.workload import Resolve, Workload

MIN_CONNECT_TIMEOUT_NS = 20 * S
"""How long a connection attempt goes on, however soon its requests give up."""
MIN_RESOLUTION_INTERVAL_NS = 30 * S
"""So long a client keeps an answer, whatever becomes of its connections."""
AGE_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Multiplexing:
    """How many streams a connection takes, what is done beyond, when it ends, and how long a client waits before it connects
    again after it could not; None: never, or not at all.

    `keepalive_ns` is (silence after which the client pings, how long it waits for the answer).
    """

    max_streams: int = 100
    when_full: Literal["wait", "connect"] = "wait"
    max_age_ns: int | None = None
    grace_ns: int | None = None
    keepalive_ns: tuple[int, int] | None = None
    reconnecting: Reconnecting | None = None


class MultiplexedWorkload(Workload):
    """A workload whose requests share connections."""

    __slots__ = ("_ages", "_backoffs", "_multiplexing")
    _connection_kind: ClassVar[type[Connection]] = MultiplexedConnection

    def __init__(
        self, settings: WorkloadSettings, sources: list[Source], network: Network, records: RecordWriter, seed: int,
        resolve: Resolve | None = None, multiplexing: Multiplexing | None = None,
    ) -> None:
        super().__init__(settings, sources, network, records, seed, resolve)
        self._multiplexing = multiplexing or Multiplexing()
        self._ages = Stream(seed, f"workload/{settings.name}/ages")
        self._backoffs: Backoffs | None = None
        if self._multiplexing.reconnecting is not None:
            draws = Stream(seed, f"workload/{settings.name}/reconnecting")
            self._backoffs = Backoffs(self._multiplexing.reconnecting, draws)
        limit_ns = settings.connect_timeout_ns or MIN_CONNECT_TIMEOUT_NS
        self._connect_timers: TimerFifo[Connection] | None = TimerFifo(self._clock, limit_ns, self._connect_time_out)

    # ---- sending -----------------------------------------------------------------------------------------------------

    def _find_connection(self, source: Source, request: Request) -> None:
        now = self._environment._now
        settings, multiplexing = self.settings, self._multiplexing
        balancer = self._balancer
        if balancer is not None:
            if source.resolved_until_ns < now and self.resolve is not None:
                self._await_name(source, request)
                return
            balancer.choose(source, request, now)
        channels = [each for each in source.channels if balancer is None or each.destination == source.target]
        for channel in channels:
            if len(channel.streams) < multiplexing.max_streams:
                self._join(channel, request, now)
                return
        if channels and multiplexing.when_full == "wait":
            if settings.waiting_limit is not None and len(source.waiting) >= settings.waiting_limit:
                self._end_attempt(request, Outcome.SHED, now)
                return
            request.phase = WAIT
            source.waiting.append(request)
            return
        if source.resolved_until_ns < now and self.resolve is not None:
            self._await_name(source, request)
            return
        refusal = None if self._backoffs is None else self._backoffs.refusal(source, source.target, now)
        if refusal is None:
            self._open(source, request, now)
        else:
            self._end_attempt(request, refusal, now)

    def _open(self, source: Source, request: Request, now: int) -> None:
        super()._open(source, request, now)
        connection = cast("MultiplexedConnection | None", request.connection)
        if connection is not None:
            connection.on_go_away = self._go_away
            connection.streams[request] = None
            source.channels.append(connection)

    def _join(self, channel: MultiplexedConnection, request: Request, now: int) -> None:
        channel.streams[request] = None
        if channel.ready:
            self._send(channel, request, now)
        else:
            request.close_part(now)
            request.phase = CONNECT
            request.connection = channel

    # ---- what comes back ---------------------------------------------------------------------------------------------

    def connected(self, connection: Connection, now_ns: int) -> None:
        """The handshake is complete: send everything that waited for it."""
        channel = cast(MultiplexedConnection, connection)
        channel.deadline_ns = 0
        channel.ready = True
        channel.free_at_ns = now_ns
        if self._backoffs is not None:
            self._backoffs.succeeded(channel.tag, channel.destination)
        self._live_for_a_time(channel)
        for request in channel.under_way:
            request.connect_ns += now_ns - request.mark_ns
            request.mark_ns = now_ns
            self.network.exchanges.send(request)

    def connect_failed(self, connection: Connection, outcome: Outcome, now_ns: int) -> None:
        """The connection will not be: nor will be what waited for it."""
        connection.deadline_ns = 0
        self._lose(cast(MultiplexedConnection, connection), outcome, now_ns)

    def answered(self, request: Request, finish_ns: int) -> None:
        """The answer is there at `finish_ns`: its stream is free again."""
        _take_off(cast(MultiplexedConnection, request.connection), request)
        super().answered(request, finish_ns)

    def failed(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        """The request got an error instead of an answer."""
        _take_off(cast(MultiplexedConnection, request.connection), request)
        super().failed(request, outcome, now_ns)

    def disconnected(self, connection: Connection, now_ns: int) -> None:
        """The server closed or reset the connection."""
        source: Source = connection.tag
        self._forget(source, cast(MultiplexedConnection, connection))
        self._serve_all_waiting(source)

    def _release(self, connection: Connection, now_ns: int) -> None:
        """A stream is free: for who waits first for this address, or the connection was the last one's to be closed after."""
        channel = cast(MultiplexedConnection, connection)
        source: Source = channel.tag
        if channel.leaving:
            self._close_if_idle(channel)
            return
        if channel.client is None or (channel.ready and not channel.open):
            return
        for request in source.waiting:
            if request.live and (self._balancer is None or source.chosen.get(request) == channel.destination):
                source.waiting.remove(request)
                if not channel.ready:
                    self._join(channel, request, now_ns)
                    return
                channel.streams[request] = None
                request.connection = channel
                request.callbacks = self._hand_over
                self.network.fabric.schedule(request, max(0, now_ns - self._environment._now))
                return

    def _on_hand_over(self, request: Request) -> None:
        channel = cast(MultiplexedConnection, request.connection)
        if not request.live:
            return
        if channel.open and not channel.leaving:
            self._send(channel, request, self._environment._now)
        else:
            channel.streams.pop(request, None)
            if channel.leaving:
                self._close_if_idle(channel)
            request.connection = None  # type: ignore[assignment]
            self._find_connection(channel.tag, request)

    # ---- what does not come back -------------------------------------------------------------------------------------

    def _withdraw(self, request: Request, connection: Connection, now_ns: int) -> None:
        """Give the stream up (RST_STREAM)."""
        channel = cast(MultiplexedConnection, connection)
        if channel.request is request:
            channel.request = None
        channel.on_give_up(request)
        _take_off(channel, request)
        if channel.ready and not channel.open and not channel.streams and channel.client is not None:
            self._drop(channel, now_ns)  # it was reset behind an answer that never came
        else:
            self._release(channel, now_ns)

    def _connect_time_out(self, connection: Connection) -> None:
        self.network.handshakes.close(connection)
        self._lose(cast(MultiplexedConnection, connection), Outcome.CONNECT_TIMEOUT, self._environment._now)

    def _lose(self, channel: MultiplexedConnection, outcome: Outcome, now_ns: int) -> None:
        """A connection is no more: everything on it fails."""
        source: Source = channel.tag
        channel.request = None
        self._forget(source, channel)
        if not channel.ready:
            self._not_reached(source, channel.destination, outcome, now_ns)
        for request in channel.under_way:
            _take_off(channel, request)
            if request.live:
                self._end_attempt(request, outcome, now_ns)
        self._serve_all_waiting(source)

    def _not_reached(self, source: Source, address: int, outcome: Outcome, now_ns: int) -> None:
        if self._balancer is not None:
            source.failed.add(address)
        if self._backoffs is not None:
            wait_ns = self._backoffs.failed(source, address, outcome, now_ns)
            if self._balancer is not None:
                self.network.fabric.later(wait_ns, lambda: source.failed.discard(address))

    def _drop(self, channel: MultiplexedConnection, now_ns: int) -> None:
        channel.client = None
        channel.return_port(now_ns)
        self.disconnected(channel, now_ns)

    def _forget(self, source: Source, channel: MultiplexedConnection) -> None:
        source.opened -= 1
        if channel in source.channels:
            source.channels.remove(channel)
            self._ask_again(source)

    def _serve_all_waiting(self, source: Source) -> None:
        """The connection whose streams they waited for is gone: each finds another, or opens it."""
        waiting = list(source.waiting)
        source.waiting.clear()
        for request in waiting:
            if request.live:
                self._find_connection(source, request)

    # ---- age and death -----------------------------------------------------------------------------------------------

    def _live_for_a_time(self, channel: MultiplexedConnection) -> None:
        fabric, multiplexing = self.network.fabric, self._multiplexing
        if multiplexing.max_age_ns is not None:
            share = 1.0 + AGE_JITTER * (2.0 * self._ages.uniform(channel.key) - 1.0)
            fabric.later(round(multiplexing.max_age_ns * share), lambda: self._aged(channel))
        if multiplexing.keepalive_ns is not None:
            fabric.later(multiplexing.keepalive_ns[0], lambda: self._ping_if_silent(channel))

    def _aged(self, channel: MultiplexedConnection) -> None:
        """The server finds that the connection has lived long enough."""
        if not channel.open or not _is_awake(channel):
            return
        self.network.exchanges.send_go_away(channel)
        if self._multiplexing.grace_ns is not None:
            self.network.fabric.later(self._multiplexing.grace_ns, lambda: self.network.handshakes.reset(channel))

    def _go_away(self, channel: MultiplexedConnection, now_ns: int) -> None:
        """The server wants no new streams: the next request opens another connection, and this one ends with its last stream."""
        source: Source = channel.tag
        if channel.leaving:
            return
        channel.leaving = True
        source.channels.remove(channel)
        self._ask_again(source)
        self._close_if_idle(channel)
        self._serve_all_waiting(source)

    def _close_if_idle(self, channel: MultiplexedConnection) -> None:
        if not channel.streams and channel.open:
            channel.tag.opened -= 1
            self.network.handshakes.close(channel)

    def _ask_again(self, source: Source) -> None:
        """A client that balances asks for the addresses anew when a connection is gone, unless it did so lately."""
        if self._balancer is not None and self.settings.resolve == "interval":
            soonest_ns = max(self._environment._now - 1, source.resolved_ns + MIN_RESOLUTION_INTERVAL_NS)
            source.resolved_until_ns = min(source.resolved_until_ns, soonest_ns)

    def _ping_if_silent(self, channel: MultiplexedConnection) -> None:
        """PING if something is under way and nothing came for a while; look again when that might be so."""
        assert self._multiplexing.keepalive_ns is not None
        after_ns, limit_ns = self._multiplexing.keepalive_ns
        fabric = self.network.fabric
        if channel.client is None:
            return
        rest_ns = channel.free_at_ns + after_ns - fabric.clock.now
        if rest_ns > 0:
            fabric.later(rest_ns, lambda: self._ping_if_silent(channel))
        elif not channel.streams or self._is_answered(channel):
            fabric.later(after_ns, lambda: self._ping_if_silent(channel))
        else:
            heard_ns = channel.free_at_ns
            fabric.later(limit_ns, lambda: self._give_up_if_silent(channel, heard_ns))

    def _give_up_if_silent(self, channel: MultiplexedConnection, heard_ns: int) -> None:
        if channel.client is None:
            return
        if channel.free_at_ns > heard_ns or self._is_answered(channel):
            self._ping_if_silent(channel)
            return
        self.network.handshakes.close(channel)
        channel.client = None
        self._lose(channel, Outcome.RESET, self._environment._now)

    def _is_answered(self, channel: MultiplexedConnection) -> bool:
        """Whether a PING gets there and back now."""
        exchanges = self.network.exchanges
        stands = channel.open and channel.server_namespace.alive and channel.server_host.up and _is_awake(channel)
        return stands and (channel.generation == exchanges.fabric.generation or exchanges.revalidate(channel))

    # ---- faults ------------------------------------------------------------------------------------------------------

    def _record(self, request: Request, outcome: Outcome, finish_ns: int) -> None:
        channel = cast("MultiplexedConnection | None", request.connection)
        if outcome is Outcome.CLIENT_GONE and channel is not None:
            _take_off(channel, request)
        super()._record(request, outcome, finish_ns)

    def source_gone(self, source: Source) -> None:
        """As it is; connections without a request under way are closed, too."""
        channels, source.channels = source.channels, []
        super().source_gone(source)
        for channel in channels:
            channel.streams.clear()
            channel.deadline_ns = 0
            if not source.namespace.host.up:
                channel.client = None
            elif channel.client is not None:
                self.network.handshakes.close(channel)


def _take_off(channel: MultiplexedConnection, request: Request) -> None:
    """A stream is over; what there is to say of the connection is for this request said now."""
    channel.streams.pop(request, None)
    if channel.led_to:
        channel.recall(request)
        channel.led_to.pop(request, None)


def _is_awake(channel: MultiplexedConnection) -> bool:
    """Whether there is a process at the other end, and it works."""
    server = channel.server
    return server is not None and (not isinstance(server, Server) or server.is_alive)
