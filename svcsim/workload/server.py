"""A pod as a server: a queue, workers, a service time, and the states in which it can be.

Fine; slow (each service takes a factor longer); hung (the kernel still accepts connections and data, the process does
nothing); port closed (the process lives, its socket does not); draining (SIGTERM came); stopped (the process has exited, or the
node lost power). A worker's work is a true queue: kill, hang and slow act on what waits. A process that is started again is a new
`Server`: nothing of the old one is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from svcsim.datapath.connection import QUEUE, SERVICE, Connection, Request
from svcsim.datapath.exchange import Exchanges
from svcsim.datapath.handshake import Handshakes
from svcsim.datapath.host import Namespace, SynAnswer
from svcsim.datapath.multiplexed import MultiplexedConnection
from svcsim.engine.hop import Step
from svcsim.results.records import Outcome
from svcsim.workload.distributions import Quantile


class State(Enum):
    """What the process behind the port does."""

    FINE = "fine"
    HUNG = "hung"
    CLOSED = "port closed"
    DRAINING = "draining"  # after SIGTERM: no new connections, what is under way is finished
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ServerProfile:
    """How a pod serves: service time, parallel workers, queue limit (None: no limit) and listen backlog.

    `drain` is what the program does at SIGTERM: `finish` what is under way, without new connections, and exit; `exit` at once; or
    `ignore` it until SIGKILL. Probes share the queue with requests, or `separate` ones find a worker of their own at once.
    """

    service_time: Quantile
    workers: int
    queue_limit: int | None = None
    backlog: int = 4096
    drain: Literal["finish", "exit", "ignore"] = "finish"
    probes: Literal["shared", "separate"] = "shared"


# A member looked up in its enum costs four times a constant.
_FINE, _HUNG, _CLOSED, _DRAINING, _STOPPED = State
_ACCEPT = SynAnswer.ACCEPT
_SERVER_BUSY = Outcome.SERVER_BUSY


class Server:
    """One pod's process: a `Listener` for each of its ports."""

    __slots__ = (
        "_done", "_environment", "_exchanges", "_frozen", "_handshakes", "_hung_since_ns", "_paused_ns", "_probe_done",
        "_resumed_state", "_terminated", "busy", "connections", "endpoint", "handler", "in_service",
        "namespace", "on_exit", "pending_syns", "profile", "queue", "served", "slowdown", "state",
    )

    def __init__(
        self, profile: ServerProfile, namespace: Namespace, endpoint: int, exchanges: Exchanges, handshakes: Handshakes
    ) -> None:
        self.profile = profile
        self.namespace = namespace
        self.endpoint = endpoint
        self._exchanges = exchanges
        self._handshakes = handshakes
        self._environment = exchanges.fabric.environment
        self._done: Step = (self._on_done,)
        self._probe_done: Step = (self._on_probe_done,)
        self.state = State.FINE
        self.slowdown = 1.0
        self.busy = 0
        self.queue: deque[Request] = deque()
        self.in_service: dict[Request, int] = {}
        self.connections: dict[Connection, None] = {}
        self._frozen: list[tuple[Request, int]] = []
        self._hung_since_ns = 0
        self._paused_ns = 0
        self._resumed_state = State.FINE
        self._terminated = False
        self.pending_syns = 0
        self.served = 0
        self.on_exit: Callable[[], None] | None = None
        self.handler: Callable[[Request], int] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the process does anything: it is neither hung nor stopped."""
        return self.state is not _HUNG and self.state is not _STOPPED

    # ---- what the network brings -------------------------------------------------------------------------------------

    def syn(self, connection: Connection, now_ns: int) -> SynAnswer:
        """The kernel accepts for a process that listens, until the backlog of one that does not accept is full."""
        state = self.state
        if state is _FINE:
            return _ACCEPT
        if state is _HUNG and self._resumed_state is _FINE:
            if self.pending_syns >= self.profile.backlog:
                return SynAnswer.IGNORE
            self.pending_syns += 1
            return _ACCEPT
        return SynAnswer.REFUSE

    def connected(self, connection: Connection) -> None:
        """A connection stands."""
        if self.state is _STOPPED:
            connection.server = None  # the process went while the SYN-ACK travelled: RST at the first segment
        else:
            self.connections[connection] = None
            connection.forward = connection.paths.first_forward

    def disconnected(self, connection: Connection) -> None:
        """The client closed it, or it was reset."""
        self.connections.pop(connection, None)
        if self.state is _DRAINING:
            self._exit_when_done()

    def arrive(self, request: Request, now_ns: int) -> None:
        """A request is in the socket: to a worker, into the queue, or turned away."""
        request.phase = QUEUE
        state = self.state
        if state is _FINE or state is _DRAINING or state is _CLOSED:
            profile = self.profile
            if request.is_probe and profile.probes == "separate":
                self._begin(request, now_ns, self._probe_done)
                return
            if self.busy < profile.workers:
                self.busy += 1
                self._begin(request, now_ns, self._done)
                return
            limit = profile.queue_limit
            if limit is None or len(self.queue) < limit:
                self.queue.append(request)
                return
            request.status = _SERVER_BUSY
            self._exchanges.respond(request)
            return
        if state is _HUNG:
            self.queue.append(request)
            return
        self._exchanges.answer_reset(request)

    # ---- the workers -------------------------------------------------------------------------------------------------

    def _begin(self, request: Request, now_ns: int, done: Step) -> None:
        request.queue_ns += now_ns - request.mark_ns
        request.mark_ns = now_ns
        request.phase = SERVICE
        service_ns = self.profile.service_time(request.service_uniform)
        if self.slowdown != 1.0:
            service_ns = round(service_ns * self.slowdown)
        self.in_service[request] = self._paused_ns
        request.callbacks = done
        self._environment.at(request, now_ns + service_ns)

    def _on_done(self, request: Request) -> None:
        paused_before_ns = self.in_service.pop(request, None)
        if paused_before_ns != self._paused_ns or self.state is _HUNG:
            self._interrupted(request, paused_before_ns, self._done)
            return
        self.busy -= 1
        self.served += 1
        self._answer_now(request)
        if self.queue:
            self._take_next(self._environment._now)
        elif self.state is _DRAINING:
            self._exit_when_done()

    def _on_probe_done(self, request: Request) -> None:
        paused_before_ns = self.in_service.pop(request, None)
        if paused_before_ns != self._paused_ns or self.state is _HUNG:
            self._interrupted(request, paused_before_ns, self._probe_done)
        else:
            self._answer_now(request)

    def _interrupted(self, request: Request, paused_before_ns: int | None, done: Step) -> None:
        """The time of a service is up, but the process was killed, hangs or hung meanwhile: then it owes that time."""
        if paused_before_ns is None:
            return
        owed_ns = self._paused_ns - paused_before_ns
        if self.state is _HUNG:
            self._frozen.append((request, owed_ns + self._environment._now - self._hung_since_ns))
        else:
            self._go_on(request, owed_ns, done)

    def _go_on(self, request: Request, owed_ns: int, done: Step) -> None:
        self.in_service[request] = self._paused_ns
        request.callbacks = done
        self._environment.at(request, self._environment._now + owed_ns)

    def _answer_now(self, request: Request) -> None:
        if request.live:
            now = self._environment._now
            request.service_ns += now - request.mark_ns
            request.mark_ns = now
        handler = self.handler
        if handler is not None and (delay_ns := handler(request)):
            self._exchanges.fabric.later(delay_ns, lambda: self._respond(request))
        elif self.state is _FINE:
            self._exchanges.respond(request)
        else:
            self._respond(request)

    def _respond(self, request: Request) -> None:
        if self.state is _STOPPED:
            return
        connection = request.connection  # the answer may be with its client, and forgotten there, before the next line
        self._exchanges.respond(request)
        if self.state is _DRAINING and connection is not None:
            if isinstance(connection, MultiplexedConnection):
                self._exchanges.send_go_away(connection)
            elif self._exchanges.transfers.is_sending(connection):
                self._exchanges.transfers.when_sent(connection, lambda: self._close(connection))
            else:
                self._close(connection)

    def _take_next(self, now_ns: int) -> None:
        request = self.queue.popleft()
        if request.is_probe and self.profile.probes == "separate":
            self._begin(request, now_ns, self._probe_done)
        else:
            self.busy += 1
            self._begin(request, now_ns, self._done)

    # ---- what goes wrong ---------------------------------------------------------------------------------------------

    def hang(self) -> None:
        """The process stops doing anything; the kernel goes on accepting for it."""
        if self.is_alive:
            self._resumed_state = self.state
            self.state = _HUNG
            self._hung_since_ns = self._environment._now

    def resume(self) -> None:
        """The process goes on where it stood; a SIGTERM that came meanwhile is handled now."""
        if self.state is not _HUNG:
            return
        now = self._environment._now
        self.state = self._resumed_state
        self.pending_syns = 0
        self._paused_ns += now - self._hung_since_ns
        frozen, self._frozen = self._frozen, []
        for request, owed_ns in frozen:
            apart = request.is_probe and self.profile.probes == "separate"
            self._go_on(request, owed_ns, self._probe_done if apart else self._done)
        while self.queue and self.busy < self.profile.workers:
            self._take_next(now)
        if self._terminated:
            self.terminate()

    def close_port(self) -> None:
        """The listening socket goes; connections that stand go on."""
        if self.state is _FINE:
            self.state = _CLOSED
        elif self.state is _HUNG and self._resumed_state is _FINE:
            self._resumed_state = _CLOSED

    def reopen_port(self) -> None:
        """The listening socket is back."""
        if self.state is _CLOSED:
            self.state = _FINE
        elif self.state is _HUNG and self._resumed_state is _CLOSED:
            self._resumed_state = _FINE

    def terminate(self) -> None:
        """SIGTERM: the program drains, exits at once or takes no notice, as its profile says; a hung one handles it later."""
        drain = self.profile.drain
        if self.state is _STOPPED or drain == "ignore":
            return
        self._terminated = True
        if self.state is _HUNG:
            return
        if drain == "exit":
            self._exit()
            return
        self.state = _DRAINING
        for connection in list(self.connections):
            if isinstance(connection, MultiplexedConnection):
                self._exchanges.send_go_away(connection)
            elif connection.request is None:
                self._close(connection)
        self._exit_when_done()

    def _close(self, connection: Connection) -> None:
        if connection.is_tcp:
            self._handshakes.reset(connection)

    def _exit_when_done(self) -> None:
        """Exit if nothing is under way any more: no request here, and none on its way on a connection that stands."""
        if self.state is _DRAINING and not self.busy and not self.queue and not self.in_service:
            if not any(connection.is_tcp for connection in self.connections):
                self._exit()

    def kill(self) -> None:
        """SIGKILL, a crash, or the end of the sandbox: whatever is under way is lost; the kernel resets the connections."""
        if self.state is _STOPPED:
            return
        connections = list(self.connections)
        self._stop()
        for connection in connections:
            if connection.is_tcp:
                self._handshakes.reset(connection)
            else:
                connection.open = False
                connection.server = None

    def power_off(self) -> None:
        """The node lost power: nobody is told. What still comes in on a connection of before finds no socket."""
        connections = list(self.connections)
        self._stop()
        for connection in connections:
            connection.server = None

    def _stop(self) -> None:
        self.state = _STOPPED
        self.busy = 0
        self.queue.clear()
        self.in_service.clear()
        self._frozen.clear()
        self.connections.clear()

    def _exit(self) -> None:
        self.kill()
        if self.on_exit is not None:
            exited, self.on_exit = self.on_exit, None
            exited()
