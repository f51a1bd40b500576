"""Probes as the kubelet makes them: real requests from the node's own address to the pod's port, with a time limit.

A tcpSocket probe succeeds when the handshake does, so a hung process passes it; an httpGet probe waits for an answer from the
pod's own queue, so an overloaded or hung pod fails it. An exec probe runs beside the server's workers: it succeeds as long as the
process lives and is not hung.
"""

from __future__ import annotations

from collections.abc import Callable

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.host import Host
from svcsim.datapath.network import Network
from svcsim.engine.streams import Stream
from svcsim.engine.timers import TimerFifo
from svcsim.linux.packet import TCP
from svcsim.linux.ports import PortAllocator
from svcsim.results.records import Outcome

OnResult = Callable[[bool, str], None]

PROBE_REQUEST_BYTES = 120
PROBE_ANSWER_BYTES = 160


class _Probe:
    """One probe under way."""

    __slots__ = ("connection", "deadline_ns", "http", "on_result")

    def __init__(self, on_result: OnResult, *, http: bool) -> None:
        self.on_result: OnResult | None = on_result
        self.http = http
        self.deadline_ns = 0
        self.connection: Connection | None = None


class Prober:
    """All probes of a world; implements `svcsim.datapath.connection.Client`."""

    __slots__ = ("_network", "_pools", "_sequence", "_service", "_timers")

    def __init__(self, network: Network, seed: int, name: str = "kubelet/probes") -> None:
        self._network = network
        self._pools: dict[tuple[int, int, int], PortAllocator] = {}
        self._timers: dict[int, TimerFifo[_Probe]] = {}
        self._service = Stream(seed, f"{name}/service")
        self._sequence = 0

    def probe(self, host: Host, address: int, port: int, timeout_ns: int, on_result: OnResult, *, http: bool) -> None:
        """Probe a port of a pod from its node, now; `on_result(success, reason)` is called once."""
        now = self._network.fabric.clock.now
        pool = self._pools.get((host.index, address, port))
        if pool is None:
            pool = self._pools[(host.index, address, port)] = PortAllocator(address ^ port)
        probe = _Probe(on_result, http=http)
        local_port = pool.take(now)
        if not local_port:
            on_result(False, "no local port")
            return
        self._sequence += 1
        connection = Connection(self, host.namespace, local_port, address, port, TCP, -self._sequence, 0.0)
        connection.port_pool = pool
        connection.tag = probe
        probe.connection = connection
        timers = self._timers.get(timeout_ns)
        if timers is None:
            timers = self._timers[timeout_ns] = TimerFifo(self._network.fabric.clock, timeout_ns, self._time_out)
        timers.set(probe)
        self._network.handshakes.open(connection)

    def _end(self, probe: _Probe, success: bool, reason: str) -> None:
        on_result, probe.on_result = probe.on_result, None
        probe.deadline_ns = 0
        connection, probe.connection = probe.connection, None
        if connection is not None:
            connection.tag = None
            connection.request = None
            self._network.handshakes.close(connection)
        if on_result is not None:
            on_result(success, reason)

    def _time_out(self, probe: _Probe) -> None:
        if probe.connection is not None and probe.connection.request is not None:
            probe.connection.request.live = False
        self._end(probe, False, "time-out")

    def connected(self, connection: Connection, now_ns: int) -> None:
        """The handshake is complete."""
        probe = connection.tag
        if not isinstance(probe, _Probe):
            self._network.handshakes.close(connection)
            return
        if not probe.http:
            self._end(probe, True, "")
            return
        request = Request(
            self, self._sequence, now_ns, PROBE_REQUEST_BYTES, PROBE_ANSWER_BYTES, self._service.uniform(-connection.key), 0.0
        )
        request.connection = connection
        request.is_probe = True
        self._network.exchanges.send(request)

    def connect_failed(self, connection: Connection, outcome: Outcome, now_ns: int) -> None:
        """Refused, or nobody there."""
        probe = connection.tag
        if isinstance(probe, _Probe):
            probe.connection = None
            self._end(probe, False, outcome.words)

    def answered(self, request: Request, finish_ns: int) -> None:
        """The pod answered."""
        connection = request.connection
        probe = connection.tag if connection is not None else None
        if isinstance(probe, _Probe):
            self._end(probe, not request.status, "status 503" if request.status else "")

    def failed(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        """The connection was reset under the request."""
        connection = request.connection
        probe = connection.tag if connection is not None else None
        if isinstance(probe, _Probe):
            self._end(probe, False, outcome.words)

    def disconnected(self, connection: Connection, now_ns: int) -> None:
        """The pod closed a connection that had done its work."""
