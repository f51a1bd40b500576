"""Open loop: requests are sent when their time has come, however the ones before fare.

The generator is one hop that schedules itself: one event an arrival. What a request draws (the gap to the next, its client, its
service quantile, its sizes) comes in blocks by sequence number, so request i is the same request in every mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from svcsim.datapath.connection import Request
from svcsim.engine.clock import Clock
from svcsim.engine.hop import Hop, Step
from svcsim.engine.streams import Stream
from svcsim.workload.arrivals import Arrivals
from svcsim.workload.workload import Workload

Size = Callable[[float], int]


class OpenLoop(Hop):
    """The arrivals of a workload, until `until_ns`."""

    __slots__ = (
        "_answer_size", "_arrivals", "_clock", "_environment", "_request_size", "_rows", "_tick_step", "_until_ns", "next_ns",
        "sequence",
        "workload",
    )

    def __init__(
        self, workload: Workload, arrivals: Arrivals, request_size: Size, answer_size: Size, clock: Clock, seed: int,
        begin_ns: int, until_ns: int,
    ) -> None:
        super().__init__()
        self.workload = workload
        self._arrivals = arrivals
        self._request_size = request_size
        self._answer_size = answer_size
        self._clock = clock
        self._environment = clock.environment
        self._until_ns = until_ns
        self._rows: Iterator[tuple[float, ...]] = Stream(seed, f"workload/{workload.settings.name}/arrivals").uniforms(6)
        self._tick_step: Step = (self._tick,)
        self.sequence = 0
        self.next_ns = arrivals(begin_ns, next(Stream(seed, f"workload/{workload.settings.name}/first").uniforms(1))[0])

    def start(self) -> None:
        """Arm the first arrival."""
        if self.next_ns < self._until_ns:
            self.callbacks = self._tick_step
            self._environment.at(self, self.next_ns)

    def _tick(self, _: Hop) -> None:
        now = self.next_ns
        gap_u, source_u, service_u, pick_u, request_u, answer_u = next(self._rows)
        workload = self.workload
        sources = workload.sources
        request = Request(
            workload, self.sequence, now, self._request_size(request_u), self._answer_size(answer_u), service_u, pick_u
        )
        self.sequence += 1
        self.next_ns = next_ns = self._arrivals(now, gap_u)
        if next_ns < self._until_ns:
            self.callbacks = self._tick_step
            self._environment.at(self, next_ns)
        workload.begin(sources[int(source_u * len(sources))], request)
