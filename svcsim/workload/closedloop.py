"""Closed loop: a fixed number of users, each of whom thinks, sends, waits for the answer and thinks again.

A user whose client is dead waits until it is back, and goes to another one if it will not come back.
"""

from __future__ import annotations

from collections.abc import Iterator

from svcsim.datapath.connection import Request
from svcsim.engine.clock import PACKET, Clock
from svcsim.engine.hop import Hop, Step
from svcsim.engine.streams import Stream
from svcsim.units import MS
from svcsim.workload.distributions import Quantile
from svcsim.workload.openloop import Size
from svcsim.workload.source import Source
from svcsim.workload.workload import Workload

_USER_SHIFT = 32
_LOOK_AGAIN_NS = 100 * MS
"""How often a user without a client looks for one."""
_BREATH_NS = 1 * MS
"""What a user who does not think waits after a request that failed in no time."""


class _User(Hop):
    """One user: his draws depend on nobody else's."""

    __slots__ = ("row", "rows", "sequence", "source")

    def __init__(self, source: Source, rows: Iterator[tuple[float, ...]], first: int) -> None:
        super().__init__()
        self.source = source
        self.rows = rows
        self.row: tuple[float, ...] = ()
        self.sequence = first


class ClosedLoop:
    """The users of a workload. Think times are quantile functions in nanoseconds; nobody starts a request after `until_ns`."""

    __slots__ = ("_answer_size", "_clock", "_request_size", "_send_step", "_think", "_until_ns", "_users", "workload")

    def __init__(
        self, workload: Workload, users: int, think: Quantile, request_size: Size, answer_size: Size, clock: Clock, seed: int,
        until_ns: int,
    ) -> None:
        self.workload = workload
        self._think = think
        self._request_size = request_size
        self._answer_size = answer_size
        self._clock = clock
        self._until_ns = until_ns
        self._send_step: Step = (self._send,)
        name = workload.settings.name
        sources = workload.sources
        self._users = [
            _User(
                sources[i % len(sources)], Stream(seed, f"workload/{name}/user/{i}").uniforms(5), i << _USER_SHIFT
            )
            for i in range(users)
        ]
        workload.on_end = self._ended

    def start(self, begin_ns: int) -> None:
        """Every user thinks, and then sends his first request."""
        for user in self._users:
            self._after(user, begin_ns)

    def _after(self, user: _User, at_ns: int) -> None:
        user.row = next(user.rows)
        self._send_at(user, at_ns + self._think(user.row[0]))

    def _send_at(self, user: _User, due_ns: int) -> None:
        if due_ns < self._until_ns:
            user.callbacks = self._send_step
            self._clock.environment.schedule(user, PACKET, due_ns - self._clock.now)

    def _send(self, user: _User) -> None:
        if not user.source.alive:
            sources = self.workload.sources
            if user.source not in sources:
                user.source = sources[(user.sequence >> _USER_SHIFT) % len(sources)]
            if not user.source.alive:
                self._send_at(user, self._clock.now + _LOOK_AGAIN_NS)
                return
        _, service_u, pick_u, request_u, answer_u = user.row
        request = Request(
            self.workload, user.sequence, self._clock.now, self._request_size(request_u), self._answer_size(answer_u), service_u,
            pick_u,
        )
        user.sequence += 1
        self.workload.begin(user.source, request)

    def _ended(self, request: Request, finish_ns: int) -> None:
        if finish_ns == request.intended_ns:
            finish_ns += _BREATH_NS
        self._after(self._users[request.sequence >> _USER_SHIFT], finish_ns)

