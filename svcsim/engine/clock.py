"""The simulated clock: SimPy's environment with integer nanoseconds and three ranks within one instant.

The control plane runs as SimPy processes (`process`, `sleep`, `event`); commits of kube-proxy and everything that packets do
are `Hop` objects, which are SimPy events themselves (see `svcsim.engine.hop`). Events of one nanosecond run in the order
control plane, commits, packets, and within a rank in the order in which they were scheduled.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import simpy

from svcsim.engine.environment import COMMIT, CONTROL, PACKET, Environment

__all__ = ["COMMIT", "CONTROL", "PACKET", "Clock", "ProcessGenerator", "Signal"]

Signal = simpy.Event
ProcessGenerator = Generator[simpy.Event, Any, Any]


class _Call(simpy.Event):
    """A function that the clock calls at an instant."""

    __slots__ = ()


class Clock:
    """Simulated time. `now` is an int; nothing else advances it but `run`."""

    __slots__ = ("_stops", "environment")

    def __init__(self) -> None:
        self._stops = 0
        # Any: the hot path schedules hops, which SimPy takes for events, and reads the bare clock.
        self.environment: Any = Environment(initial_time=0)

    @property
    def now(self) -> int:
        """The current instant in nanoseconds since the start of the run."""
        now: int = self.environment._now
        return now

    @property
    def events_scheduled(self) -> int:
        """How many events have been put on the clock since the start, those of the control plane among them.

        Events by which `run` stops do not count, so that looking at a run on its way changes nothing.
        """
        count: int = self.environment._eid.__reduce__()[1][0]
        return count - self._stops

    def process(self, generator: ProcessGenerator) -> simpy.Process:
        """Start a control-plane process."""
        process: simpy.Process = self.environment.process(generator)
        return process

    def sleep(self, delay_ns: int) -> simpy.Event:
        """An event that happens after a delay, to `yield` in a process."""
        timeout: simpy.Event = self.environment.timeout(delay_ns)
        return timeout

    def signal(self) -> Signal:
        """An event that a process waits for and another one triggers with `succeed()`."""
        signal: Signal = self.environment.event()
        return signal

    def any_of(self, *events: simpy.Event) -> simpy.Event:
        """An event that happens with the first of the given ones."""
        condition: simpy.Event = self.environment.any_of(events)
        return condition

    def after(self, delay_ns: int, action: Callable[[], None], rank: int = CONTROL) -> None:
        """Call a function after a delay."""
        event = _Call(self.environment)
        event._ok = True
        event._value = None
        event.callbacks = [lambda _: action()]
        self.environment.schedule(event, rank, delay_ns)

    def run(self, until_ns: int) -> None:
        """Let everything happen that is due before `until_ns`."""
        self._stops += 1
        self.environment.run_to(until_ns)
