"""Timers of one duration in one FIFO with a single armed event.

SimPy cannot cancel, and a dead time-out in its heap costs as much as a live one. Of all timers with the same duration the
first one set is the first one due, so a deque keeps their order; one event is armed for its head. Cancelling is a mark on the
object: its `deadline_ns` becomes 0. Marked heads leave when the next timer is set, so the FIFO stays as short as what is in
flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from svcsim.engine.clock import Clock
from svcsim.engine.hop import Hop


class Timed(Protocol):
    """What a timer can be set on."""

    deadline_ns: int


T = TypeVar("T", bound=Timed)


class TimerFifo(Hop, Generic[T]):
    """All timers of one duration; `expire(item)` is called when one is due and was not cancelled."""

    __slots__ = ("_clock", "_environment", "_expire", "_items", "_step", "armed", "duration_ns")

    def __init__(self, clock: Clock, duration_ns: int, expire: Callable[[T], None]) -> None:
        super().__init__()
        self.duration_ns = duration_ns
        self._clock = clock
        self._environment = clock.environment
        self._expire = expire
        self._items: deque[T] = deque()
        self._step = (self._fire,)
        self.armed = False

    def set(self, item: T) -> None:
        """Start a timer on the item; its `deadline_ns` becomes now plus the duration."""
        items = self._items
        while items and not items[0].deadline_ns:
            items.popleft()
        item.deadline_ns = deadline_ns = self._environment._now + self.duration_ns
        items.append(item)
        if not self.armed:
            self._arm(deadline_ns)

    def pending(self) -> list[T]:
        """What timers are set on, in order of their expiry."""
        return [item for item in self._items if item.deadline_ns]

    def __len__(self) -> int:
        return len(self._items)

    def _arm(self, deadline_ns: int) -> None:
        self.armed = True
        self.callbacks = self._step
        self._environment.at(self, deadline_ns)

    def _fire(self, _: Hop) -> None:
        now = self._clock.now
        items = self._items
        # Armed until the end: what `expire` sets is due after all that waits here already.
        while items:
            item = items[0]
            deadline = item.deadline_ns
            if deadline > now:
                self._arm(deadline)
                return
            items.popleft()
            if deadline:
                item.deadline_ns = 0
                self._expire(item)
        self.armed = False
