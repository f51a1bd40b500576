"""The userspace proxy at work: it accepts, picks an endpoint, dials, and copies both ways.

The client's connection ends at the node; the proxy's own leads to the endpoint. A dial that is refused or times out moves on to
the next endpoint (time-outs of 250 ms, 500 ms, 1 s and 2 s; after the last the client is reset), which is the one thing that no
kernel mode can do. What is in flight when an endpoint dies is lost as in every mode: dials are retried, requests are not. Every
message wakes the process and is copied by it, and all of them share its CPU.

Source: pkg/proxy/userspace/proxysocket.go (kubernetes 1.17).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.host import Host, SynAnswer
from svcsim.datapath.multiplexed import MultiplexedConnection
from svcsim.datapath.network import Network
from svcsim.engine.streams import splitmix64
from svcsim.engine.timers import TimerFifo
from svcsim.linux.packet import TCP
from svcsim.linux.ports import PortAllocator
from svcsim.results.records import Flag, Outcome

_REDIALED, _MASQUERADED, _UNREACHED = int(Flag.REDIALED), int(Flag.MASQUERADED), int(Flag.UNREACHED)

PickEndpoint = Callable[[int, bool], "tuple[int, int] | None"]
"""(client address, reset its affinity) -> endpoint address and port, or None if there is none."""


@dataclass(frozen=True, slots=True)
class ProxyCharges:
    """What the process spends: on an accepted connection, on a dial, on each message that it copies.

    A message costs `copy_ns_per_kib` up to `unit_bytes`, and `extra_unit_ns` for each such unit beyond. `sockets_ns` is what each
    piece of work costs it at its own sockets, wake-up included. As a delay that is part of its two connections, so here it only
    keeps the process busy.
    """

    accept_ns: int
    dial_ns: int
    copy_ns: int
    copy_ns_per_kib: int
    sockets_ns: int
    unit_bytes: int = 1 << 60
    extra_unit_ns: int = 0


@dataclass(frozen=True, slots=True)
class DialTimeouts:
    """How long each dial may take, in order; after the last the client's connection is closed."""

    tcp_ns: tuple[int, ...]
    udp_idle_ns: int


class ProxyProcess:
    """kube-proxy in userspace mode on one node: one CPU for all of its connections."""

    __slots__ = (
        "_pools", "_timers", "charges", "cpu_ns", "dialed", "free_ns", "host", "network", "running", "timeouts",
    )

    def __init__(self, host: Host, network: Network, charges: ProxyCharges, timeouts: DialTimeouts) -> None:
        self.host = host
        self.network = network
        self.charges = charges
        self.timeouts = timeouts
        self.free_ns = 0
        self.cpu_ns = 0
        self.running = True
        self.dialed = 0
        self._pools: dict[tuple[int, int], PortAllocator] = {}
        clock = network.fabric.clock
        self._timers = [TimerFifo[Dial](clock, timeout_ns, Dial.expire) for timeout_ns in timeouts.tcp_ns]

    def work(self, cost_ns: int, at_ns: int) -> int:
        """Let the process do a piece of work that is there at `at_ns`; returns when it is done."""
        done_ns = max(at_ns, self.free_ns) + cost_ns
        self.free_ns = done_ns + self.charges.sockets_ns
        self.cpu_ns += cost_ns + self.charges.sockets_ns
        return done_ns

    def copy_ns(self, size_bytes: int) -> int:
        """CPU time to read and write a message."""
        charges = self.charges
        if size_bytes <= charges.unit_bytes:
            return charges.copy_ns + charges.copy_ns_per_kib * size_bytes // 1024
        extra_ns = (size_bytes - charges.unit_bytes) * charges.extra_unit_ns // charges.unit_bytes
        return charges.copy_ns + charges.copy_ns_per_kib * charges.unit_bytes // 1024 + extra_ns

    def local_port(self, address: int, port: int, now_ns: int) -> tuple[int, PortAllocator]:
        """A port of the node towards an endpoint."""
        pool = self._pools.get((address, port))
        if pool is None:
            pool = self._pools[(address, port)] = PortAllocator(splitmix64(self.host.address ^ address << 8 ^ port))
        return pool.take(now_ns), pool

    def dial_timer(self, attempt: int) -> TimerFifo[Dial]:
        """The timers of dial number `attempt`."""
        return self._timers[attempt]


class Dial:
    """One attempt to reach an endpoint, for a session."""

    __slots__ = ("connection", "deadline_ns", "session")

    def __init__(self, session: Session, connection: Connection) -> None:
        self.session = session
        self.connection = connection
        self.deadline_ns = 0

    def expire(self) -> None:
        """The endpoint did not answer in time: on to the next."""
        session = self.session
        if session.dial is self:
            session.dial = None
            session.process.network.fabric.not_reached(session.front, self.connection)
            session.process.network.handshakes.abandon(self.connection)
            session.next_dial()


class Session:
    """A client's connection and the proxy's own to the endpoint; the client (`Client`) of the latter."""

    __slots__ = ("attempt", "back", "dial", "front", "pending", "pick", "process")

    def __init__(self, process: ProxyProcess, front: Connection, pick: PickEndpoint) -> None:
        self.process = process
        self.front = front
        self.pick = pick
        self.back: Connection | None = None
        self.dial: Dial | None = None
        self.attempt = 0
        self.pending: deque[Request] = deque()

    # ---- dialling ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The client's connection was accepted: dial."""
        process = self.process
        now = process.network.fabric.clock.now
        ready_ns = process.work(process.charges.accept_ns + process.charges.dial_ns, now)
        process.network.fabric.later(ready_ns - now, self.next_dial)

    def next_dial(self) -> None:
        """Dial the next endpoint, or give the client up."""
        process = self.process
        network = process.network
        now = network.fabric.clock.now
        if not self.front.open or not process.running:
            return
        if self.attempt >= len(process.timeouts.tcp_ns):
            network.handshakes.reset(self.front)
            return
        chosen = self.pick(self.front.client_address, self.attempt > 0)
        if chosen is None:
            network.handshakes.reset(self.front)
            return
        address, port = chosen
        local_port, pool = process.local_port(address, port, now)
        if not local_port:
            network.handshakes.reset(self.front)
            return
        process.dialed += 1
        key = splitmix64(self.front.key ^ (self.attempt + 1))
        kind = type(self.front)  # the proxy copies bytes: if they are those of many streams, both connections carry many
        back = kind(self, process.host.namespace, local_port, address, port, TCP, key, self.front.pick_uniform)
        if isinstance(back, MultiplexedConnection) and isinstance(self.front, MultiplexedConnection):
            back.on_go_away = self._pass_go_away_on
            self.front.on_give_up = self._pass_give_up_on
        back.port_pool = pool
        back.tag = self
        self.dial = Dial(self, back)
        if self.attempt == 1:
            self.front.flags |= _REDIALED
        process.dial_timer(self.attempt).set(self.dial)
        self.attempt += 1
        network.handshakes.open(back)

    def connected(self, connection: Connection, now_ns: int) -> None:
        """The endpoint accepted: what waited goes on."""
        dial = self.dial
        if dial is None or dial.connection is not connection:
            self.process.network.handshakes.close(connection)
            return
        dial.deadline_ns = 0
        self.dial = None
        self.back = connection
        front = self.front
        front.endpoint = connection.endpoint
        front.endpoint_host = connection.server_host
        front.rules += connection.rules
        front.flags = front.flags & ~_UNREACHED | _MASQUERADED
        if not front.open:
            self.process.network.handshakes.close(connection)
            return
        while self.pending:
            self._pass_on(self.pending.popleft(), now_ns)

    def connect_failed(self, connection: Connection, outcome: Outcome, now_ns: int) -> None:
        """Refused, or no route: the next endpoint, at once."""
        dial = self.dial
        if dial is not None and dial.connection is connection:
            dial.deadline_ns = 0
            self.dial = None
            process = self.process
            process.network.fabric.not_reached(self.front, connection)
            ready_ns = process.work(process.charges.dial_ns, now_ns)
            process.network.fabric.later(ready_ns - now_ns, self.next_dial)

    # ---- copying -----------------------------------------------------------------------------------------------------

    def take(self, request: Request, now_ns: int) -> None:
        """A request came in on the client's connection."""
        if self.back is None:
            self.pending.append(request)
        else:
            self._pass_on(request, now_ns)

    def _pass_on(self, request: Request, now_ns: int) -> None:
        process = self.process
        if request.live:
            request.connect_ns += now_ns - request.mark_ns
            request.mark_ns = now_ns
        ready_ns = process.work(process.copy_ns(request.request_bytes), now_ns)
        process.network.fabric.later(ready_ns - now_ns, lambda: self._send(request))

    def _send(self, request: Request) -> None:
        back = self.back
        if back is None or not back.open:
            return
        now = self.process.network.fabric.clock.now
        inner = Request(
            self, request.sequence, now, request.request_bytes, request.answer_bytes, request.service_uniform,
            request.pick_uniform,
        )
        inner.is_probe = request.is_probe
        inner.connection = back
        inner.outer = request
        inner.payload = request.payload
        if request.live:
            request.request_ns += now - request.mark_ns
            request.mark_ns = now
        if isinstance(back, MultiplexedConnection):
            back.streams[inner] = None
        self.process.network.exchanges.send(inner)

    def _pass_go_away_on(self, back: MultiplexedConnection, now_ns: int) -> None:
        front = self.front
        if isinstance(front, MultiplexedConnection) and front.open:
            self.process.network.exchanges.send_go_away(front)

    def answered(self, request: Request, finish_ns: int) -> None:
        """The endpoint's answer is with the proxy: copy it to the client."""
        self._end_stream(request)
        process = self.process
        fabric = process.network.fabric
        ready_ns = process.work(process.copy_ns(request.answer_bytes), finish_ns)
        fabric.later(ready_ns - fabric.clock.now, lambda: pass_back(request, finish_ns, process))

    def failed(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        """The endpoint's connection broke under a request; `disconnected` breaks the client's."""
        self._end_stream(request)

    def _end_stream(self, request: Request) -> None:
        back, front = request.connection, self.front
        if isinstance(back, MultiplexedConnection) and isinstance(front, MultiplexedConnection):
            back.streams.pop(request, None)
            led_to = back.led_to.pop(request, None)
            if led_to is not None and request.outer is not None:
                front.led_to[request.outer] = led_to

    def _pass_give_up_on(self, request: Request) -> None:
        back = self.back
        if isinstance(back, MultiplexedConnection):
            for inner in back.under_way:
                if inner.outer is request:
                    back.on_give_up(inner)

    def disconnected(self, connection: Connection, now_ns: int) -> None:
        """The endpoint closed: the client's connection is closed too."""
        self.back = None
        if self.front.open:
            self.process.network.handshakes.reset(self.front)

    def close(self) -> None:
        """The client closed: so does the proxy."""
        network = self.process.network
        if self.dial is not None:
            dial, self.dial = self.dial, None
            dial.deadline_ns = 0
            network.fabric.not_reached(self.front, dial.connection)
            network.handshakes.abandon(dial.connection)
        if self.back is not None:
            back, self.back = self.back, None
            network.handshakes.close(back)


def pass_back(inner: Request, finish_ns: int, process: ProxyProcess) -> None:
    """The proxy has copied an answer that it had at `finish_ns`: the client's request takes over what it cost, and goes on."""
    outer = inner.outer
    if outer is None:
        return
    back, front = inner.connection, outer.connection
    if back is not None and front is not None and back.endpoint != front.endpoint:
        front.endpoint = back.endpoint  # behind a second proxy on the way it is known only now
        front.endpoint_host = back.endpoint_host or back.server_host
    if outer.live:
        outer.connect_ns += inner.connect_ns
        outer.request_ns += inner.request_ns
        outer.queue_ns += inner.queue_ns
        outer.service_ns += inner.service_ns
        outer.response_ns += inner.response_ns
        outer.mark_ns = finish_ns
    outer.flags |= inner.flags
    outer.status = inner.status
    outer.answer_bytes = inner.answer_bytes
    process.network.exchanges.respond(outer)


class ProxyPort:
    """The port that the proxy opened for a Service's port: the `Listener` at which redirected connections end."""

    __slots__ = ("endpoint", "pick", "process", "sessions")

    def __init__(self, process: ProxyProcess, pick: PickEndpoint) -> None:
        self.process = process
        self.pick = pick
        self.endpoint = -1
        self.sessions: dict[Connection, Session] = {}

    def syn(self, connection: Connection, now_ns: int) -> SynAnswer:
        """The kernel accepts as long as the process listens."""
        return SynAnswer.ACCEPT if self.process.running else SynAnswer.REFUSE

    def connected(self, connection: Connection) -> None:
        """Accept: a session begins."""
        if not self.process.running:
            connection.server = None  # the process went while the SYN-ACK travelled: RST at the first segment
            return
        session = self.sessions[connection] = Session(self.process, connection, self.pick)
        session.begin()

    def disconnected(self, connection: Connection) -> None:
        """The client closed."""
        session = self.sessions.pop(connection, None)
        if session is not None:
            session.close()

    def arrive(self, request: Request, now_ns: int) -> None:
        """A request came in."""
        connection = request.connection
        session = self.sessions.get(connection) if connection is not None else None
        if session is not None:
            session.take(request, now_ns)

    def close(self) -> None:
        """The Service port is gone: the proxy listens no longer, connections through it go on."""

    def stop(self) -> None:
        """The process exits: every connection through it dies."""
        sessions, self.sessions = self.sessions, {}
        for connection, session in sessions.items():
            session.close()
            self.process.network.handshakes.reset(connection)
