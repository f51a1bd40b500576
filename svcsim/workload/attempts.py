"""The attempts of a workload's requests: begun, timed, ended, tried again, and recorded, whatever triggered them.

The life of a request: it is due (`begin`), it gets a connection, it is sent, it is answered or fails, and perhaps it is tried
again. Latency counts from the intended send, so a client that could not send in time does not hide it. Which connection a request
gets is a subclass's: `svcsim.workload.workload` and `svcsim.workload.multiplexed`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

from svcsim.datapath.connection import CONNECT, DNS, WAIT, Connection, Request
from svcsim.datapath.network import Network
from svcsim.engine.hop import Step
from svcsim.engine.streams import Stream
from svcsim.engine.timers import TimerFifo
from svcsim.linux.packet import UDP
from svcsim.results.records import Flag, Outcome, RecordWriter
from svcsim.workload.balancing import Balancer
from svcsim.workload.extra_attempts import ExtraAttempts
from svcsim.workload.settings import WorkloadSettings
from svcsim.workload.source import Source

_RESOLVED, _CROSS_NODE, _HAIRPIN = int(Flag.RESOLVED), int(Flag.CROSS_NODE), int(Flag.HAIRPIN)
_HEDGED, _RETRY_DENIED, _UNREACHED = int(Flag.HEDGED), int(Flag.RETRY_DENIED), int(Flag.UNREACHED)
_OK = Outcome.OK


class Attempts(ABC):
    """The requests of one entry under `workloads:`, from when they are due until they are recorded."""

    __slots__ = (
        "_again", "_balancer", "_clock", "_environment", "_extra", "_records", "_redraw", "_timers", "ended", "failures",
        "network", "on_end", "settings", "sources", "started",
    )

    def __init__(
        self, settings: WorkloadSettings, sources: list[Source], network: Network, records: RecordWriter, seed: int
    ) -> None:
        self.settings = settings
        self.sources = sources
        self.network = network
        self._records = records
        self._clock = network.fabric.clock
        self._environment = self._clock.environment
        self._timers: TimerFifo[Request] = TimerFifo(self._clock, settings.timeout_ns, self._time_out)
        self._redraw = Stream(seed, f"workload/{settings.name}/attempts")
        self._balancer: Balancer | None = None
        if settings.balancing is not None:
            self._balancer = Balancer(settings.balancing, Stream(seed, f"workload/{settings.name}/balancing"))
        self._again: Step = (self._on_retry,)
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

    # ---- what an attempt goes over -----------------------------------------------------------------------------------

    @abstractmethod
    def _find_connection(self, source: Source, request: Request) -> None:
        """Send the request on a connection, let it wait for one, or end it."""

    @abstractmethod
    def _withdraw(self, request: Request, connection: Connection, now_ns: int) -> None:
        """The client waits no longer for a request that is on a connection."""

    @abstractmethod
    def _discard(self, connection: Connection, now_ns: int) -> None:
        """Give up a connection that did not do its work."""

    # ---- an attempt --------------------------------------------------------------------------------------------------

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

    def _end_attempt(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        request.live = False
        request.deadline_ns = 0
        request.close_part(now_ns)
        self.failures += 1
        if self._balancer is not None:
            self._balancer.finished(request, now_ns, succeeded=False)
        connection = request.connection
        if connection is not None and connection.protocol == UDP and connection.request is None and outcome in (
            Outcome.REFUSED, Outcome.NO_ROUTE
        ):
            self._discard(connection, now_ns)
        if not self._tries_again(request, outcome, now_ns):
            self._record(request, outcome, now_ns)

    # ---- the next one ------------------------------------------------------------------------------------------------

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
