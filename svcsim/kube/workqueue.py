"""A controller's queue of keys: each key once, never worked on twice at a time, tried again with a growing delay.

Source: client-go util/workqueue (queue.go, delaying_queue.go, default_rate_limiters.go). A worker takes a key, computes, and
writes at the end of that time; each further write keeps it busy for as long as a write takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from svcsim.kube.client import Client
from svcsim.kube.store import ApiError, UnavailableError


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a queue works: workers, time of a sync and of a write, first and longest delay after a failure."""

    workers: int
    sync_ns: int
    write_ns: int
    backoff_ns: int
    backoff_max_ns: int


class WorkQueue:
    """Keys to work on. `sync(key)` returns the number of its API writes; an ApiError has it tried again."""

    __slots__ = ("_busy", "_client", "_dirty", "_due", "_failures", "_pace", "_processing", "_ready", "_sync", "_waits")

    def __init__(self, client: Client, pace: Pace, sync: Callable[[str], int]) -> None:
        self._client = client
        self._pace = pace
        self._sync = sync
        self._ready: deque[str] = deque()
        self._dirty: set[str] = set()
        self._processing: set[str] = set()
        self._due: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._busy = 0
        self._waits = False

    def add(self, key: str) -> None:
        """Have a key worked on as soon as a worker is free."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._start()

    def add_after(self, key: str, delay_ns: int) -> None:
        """Have a key worked on after a delay; of several delays for one key the first to end counts."""
        if delay_ns <= 0:
            self.add(key)
            return
        clock = self._client.clock
        due_ns = clock.now + delay_ns
        waiting_ns = self._due.get(key)
        if waiting_ns is not None and waiting_ns <= due_ns:
            return
        self._due[key] = due_ns

        def ripe() -> None:
            if self._due.get(key) == due_ns:
                del self._due[key]
                self.add(key)

        clock.after(delay_ns, ripe)

    def _start(self) -> None:
        while self._ready and self._busy < self._pace.workers:
            if not self._client.reachable:
                self._wait()
                return
            key = self._ready.popleft()
            self._dirty.discard(key)
            self._processing.add(key)
            self._busy += 1
            self._client.clock.after(self._pace.sync_ns + self._pace.write_ns, lambda key=key: self._work(key))  # type: ignore[misc]

    def _wait(self) -> None:
        if not self._waits:
            self._waits = True
            self._client.when_reachable(self._go_on)

    def _go_on(self) -> None:
        self._waits = False
        self._start()

    def _work(self, key: str) -> None:
        writes = 0
        try:
            if not self._client.reachable:
                raise UnavailableError("away")
            writes = self._sync(key)
        except UnavailableError:
            self._dirty.add(key)
        except ApiError:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self.add_after(key, min(self._pace.backoff_ns << (failures - 1), self._pace.backoff_max_ns))
        else:
            self._failures.pop(key, None)
        if writes > 1:
            self._client.clock.after((writes - 1) * self._pace.write_ns, lambda: self._done(key))
        else:
            self._done(key)

    def _done(self, key: str) -> None:
        self._busy -= 1
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
        self._start()
