"""SimPy's environment with the loop of a run in one function, and packets put on it by the instant.

`simpy.Environment.run` calls `step` for each event, and most events of a run are hops (`svcsim.engine.hop`): one callback, which
cannot fail. `run_to` pops and calls them in its own loop, otherwise as `step` does. The heap, its order, events and processes
are SimPy's; `tests/engine/test_environment.py` holds both loops equal.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import NORMAL, URGENT

from svcsim.engine.hop import Hop

CONTROL = NORMAL
COMMIT = NORMAL + 1
PACKET = NORMAL + 2


class _Reached(Exception):
    """The instant until which to run is there."""


def _stop(_: Hop) -> None:
    raise _Reached


class Environment(simpy.Environment):
    """The clock's heap of events."""

    _now: int
    _queue: list[Any]

    def at(self, hop: Hop, instant_ns: int) -> None:
        """Put a packet's next step on the clock."""
        heappush(self._queue, (instant_ns, PACKET, next(self._eid), hop))

    def run_to(self, until_ns: int) -> None:
        """Let everything happen that is due before an instant, which lies ahead; takes one event itself, in order to stop."""
        if until_ns <= self._now:
            raise ValueError(f"the clock is at {self._now} ns and does not run back to {until_ns} ns")
        end = Hop()
        end.callbacks = (_stop,)
        self.schedule(end, URGENT, until_ns - self._now)  # type: ignore[arg-type]
        queue = self._queue
        try:
            while True:
                self._now, _, _, event = heappop(queue)
                callbacks = event.callbacks
                event.callbacks = None
                if callbacks.__class__ is tuple:
                    callbacks[0](event)
                    continue
                for callback in callbacks:
                    callback(event)
                if not event._ok and not hasattr(event, "_defused"):
                    raise event._value
        except _Reached:
            return
