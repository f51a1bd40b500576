"""A pod as a server: a queue, workers, a service time, and the states in which it can be.

Fine; slow (each service takes a factor longer); hung (the kernel still accepts connections and data, the process does
nothing); port closed (the process lives, its socket does not); stopped (the process has exited). A worker's work is a true
queue: kill, hang and slow act on what waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from svcsim.datapath.connection import Connection, Phase, Request
from svcsim.datapath.exchange import Exchanges
from svcsim.datapath.handshake import Handshakes
from svcsim.datapath.host import Namespace, SynAnswer
from svcsim.engine.clock import PACKET
from svcsim.engine.hop import Step
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
    """How a pod serves: service time, parallel workers, queue limit (None: no limit) and listen backlog."""

    service_time: Quantile
    workers: int
    queue_limit: int | None = None
    backlog: int = 4096
    drains: bool = True


class Server:
    """One pod's process: a `Listener` for each of its ports."""

    __slots__ = (
        "_done", "_environment", "_exchanges", "_frozen", "_handshakes", "_hung_since_ns", "_paused_ns", "busy", "connections",
        "endpoint", "handler", "in_service",
        "namespace", "on_exit", "profile", "queue", "served", "slowdown", "state", "pending_syns",
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
        self.state = State.FINE
        self.slowdown = 1.0
        self.busy = 0
        self.queue: deque[Request] = deque()
        self.in_service: dict[Request, int] = {}
        self.connections: dict[Connection, None] = {}
        self._frozen: list[tuple[Request, int]] = []
        self._hung_since_ns = 0
        self._paused_ns = 0
        self.pending_syns = 0
        self.served = 0
        self.on_exit: Callable[[], None] | None = None
        self.handler: Callable[[Request], int] | None = None

    # ---- what the network brings -------------------------------------------------------------------------------------

    def syn(self, connection: Connection, now_ns: int) -> SynAnswer:
        """The kernel accepts for a process that listens, until the backlog of one that does not accept is full."""
        state = self.state
        if state is State.FINE:
            return SynAnswer.ACCEPT
        if state is State.HUNG:
            if self.pending_syns >= self.profile.backlog:
                return SynAnswer.IGNORE
            self.pending_syns += 1
            return SynAnswer.ACCEPT
        return SynAnswer.REFUSE

    def connected(self, connection: Connection) -> None:
        """A connection stands."""
        self.connections[connection] = None

    def disconnected(self, connection: Connection) -> None:
        """The client closed it."""
        self.connections.pop(connection, None)

    def arrive(self, request: Request, now_ns: int) -> None:
        """A request is in the socket: to a worker, into the queue, or turned away."""
        request.phase = Phase.QUEUE
        state = self.state
        if state is State.FINE or state is State.DRAINING or state is State.CLOSED:
            if self.busy < self.profile.workers:
                self._start(request, now_ns)
                return
            limit = self.profile.queue_limit
            if limit is None or len(self.queue) < limit:
                self.queue.append(request)
                return
            request.overload = True
            self._exchanges.respond(request)
            return
        if state is State.HUNG:
            self.queue.append(request)
            return
        self._exchanges.answer_reset(request)

    # ---- the workers -------------------------------------------------------------------------------------------------

    def _start(self, request: Request, now_ns: int) -> None:
        self.busy += 1
        request.queue_ns += now_ns - request.mark_ns
        request.mark_ns = now_ns
        request.phase = Phase.SERVICE
        service_ns = self.profile.service_time(request.service_uniform)
        if self.slowdown != 1.0:
            service_ns = round(service_ns * self.slowdown)
        self.in_service[request] = self._paused_ns
        request.callbacks = self._done
        self._environment.schedule(request, PACKET, service_ns)

    def _on_done(self, request: Request) -> None:
        paused_before_ns = self.in_service.pop(request, None)
        if paused_before_ns is None:
            return  # the process was killed meanwhile
        now = self._environment._now
        if self.state is State.HUNG:
            owed_ns = self._paused_ns - paused_before_ns + now - self._hung_since_ns
            self._frozen.append((request, owed_ns))
            return
        owed_ns = self._paused_ns - paused_before_ns
        if owed_ns:
            self.in_service[request] = self._paused_ns
            request.callbacks = self._done
            self._environment.schedule(request, PACKET, owed_ns)
            return
        self.busy -= 1
        self.served += 1
        if request.live:
            request.service_ns += now - request.mark_ns
            request.mark_ns = now
        if self.handler is None:
            self._exchanges.respond(request)
        else:
            self._answer_later(request, self.handler(request))
        if self.queue:
            self._start(self.queue.popleft(), now)
        elif self.state is State.DRAINING and not self.busy:
            self._exit()

    def _answer_later(self, request: Request, delay_ns: int) -> None:
        if delay_ns:
            self._exchanges.fabric.later(delay_ns, lambda: self._exchanges.respond(request))
        else:
            self._exchanges.respond(request)

    # ---- what goes wrong ---------------------------------------------------------------------------------------------

    def hang(self) -> None:
        """The process stops doing anything; the kernel goes on accepting for it."""
        if self.state is State.FINE:
            self.state = State.HUNG
            self._hung_since_ns = self._environment._now

    def resume(self) -> None:
        """The process goes on where it stood."""
        if self.state is not State.HUNG:
            return
        now = self._environment._now
        self.state = State.FINE
        self.pending_syns = 0
        self._paused_ns += now - self._hung_since_ns
        frozen, self._frozen = self._frozen, []
        for request, owed_ns in frozen:
            self.in_service[request] = self._paused_ns
            request.callbacks = self._done
            self._environment.schedule(request, PACKET, owed_ns)
        while self.queue and self.busy < self.profile.workers:
            self._start(self.queue.popleft(), now)

    def close_port(self) -> None:
        """The listening socket goes; connections that stand go on."""
        if self.state is State.FINE:
            self.state = State.CLOSED

    def reopen_port(self) -> None:
        """The listening socket is back."""
        if self.state is State.CLOSED:
            self.state = State.FINE

    def terminate(self) -> None:
        """SIGTERM: finish what is under way and exit, or exit at once if the program does not drain."""
        if self.state is State.HUNG:
            return  # a hung process does not handle the signal; SIGKILL will follow
        if not self.profile.drains:
            self.kill()
            self._exit()
            return
        self.state = State.DRAINING
        for connection in list(self.connections):
            if connection.request is None and connection.is_tcp:
                self.connections.pop(connection, None)
                self._handshakes.reset(connection)
        if not self.busy and not self.queue:
            self._exit()

    def kill(self) -> None:
        """SIGKILL, a crash, or the end of the sandbox: whatever is under way is lost; the kernel resets the connections."""
        if self.state is State.STOPPED:
            return
        self.state = State.STOPPED
        self.busy = 0
        self.queue.clear()
        self.in_service.clear()
        self._frozen.clear()
        for connection in list(self.connections):
            if connection.is_tcp:
                self._handshakes.reset(connection)
            else:
                connection.open = False
                connection.server = None
        self.connections.clear()

    def power_off(self) -> None:
        """The node lost power: nobody is told."""
        self.state = State.STOPPED
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

