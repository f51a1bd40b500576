"""Endpoint changes of generated Services at a rate: what the coming and going of pods in a large cluster asks of kube-proxy.

One change after the other: a Service's first endpoint turns unready, with the next change it is ready again, and then it is the
next Service's turn. While the API server is away nothing changes.
"""

from __future__ import annotations

from svcsim.engine.clock import Clock
from svcsim.kube.api.endpoints import EndpointConditions, EndpointSlice
from svcsim.kube.store import Store
from svcsim.scenario.generator import ServiceGenerator
from svcsim.units import S


class Churn:
    """The changes of one generator, evenly spaced, until a given instant."""

    __slots__ = ("_changes", "_clock", "_generator", "_store", "_until_ns")

    def __init__(self, generator: ServiceGenerator, store: Store, clock: Clock, until_ns: int) -> None:
        self._generator = generator
        self._store = store
        self._clock = clock
        self._until_ns = until_ns
        self._changes = 0

    def start(self) -> None:
        """Arm the first change, an interval from now; nothing for a generator without churn."""
        if self._generator.churn_per_s:
            self._arm()

    def _arm(self) -> None:
        interval_ns = max(1, round(S / self._generator.churn_per_s))
        if self._clock.now + interval_ns < self._until_ns:
            self._clock.after(interval_ns, self._change)

    def _change(self) -> None:
        if self._store.available:
            turn, back = divmod(self._changes, 2)
            self._set_ready(turn % self._generator.count + 1, ready=bool(back))
            self._changes += 1
        self._arm()

    def _set_ready(self, number: int, *, ready: bool) -> None:
        """Change the first endpoint of the Service with a number; nothing if a fault has deleted it."""
        namespace, name = self._generator.key(number)
        piece = self._store.get(EndpointSlice, f"{namespace}/{name}-1")
        if piece is None:
            return
        first, *others = piece.endpoints
        changed = first.model_copy(update={"conditions": EndpointConditions(ready=ready)})
        self._store.update(piece.model_copy(update={"endpoints": (changed, *others)}))
