"""Which of two endpoints, drawn at random, has answered faster of late: balancing by a moving average of response times.

An endpoint's average moves towards each time that it took, the more the longer it had none, and falls towards zero while it has
none. So a slow one is avoided and tried again later; but one that fails at once looks fast.

Source: kubernetes/ingress-nginx rootfs/etc/nginx/lua/balancer/ewma.lua (DECAY_TIME 10 s, PICK_SET_SIZE 2).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from math import exp
from typing import Generic, TypeVar

from svcsim.units import S

DECAY_NS = 10 * S

T = TypeVar("T", bound=Hashable)


class MovingAverages(Generic[T]):
    """The averages of some endpoints.

    >>> averages = MovingAverages(("a", "b"))
    >>> averages.observe("a", 5_000_000_000, 0)
    >>> averages.faster("a", "b", 1)
    'b'
    """

    __slots__ = ("_averages",)

    def __init__(self, endpoints: Iterable[T] = ()) -> None:
        self._averages: dict[T, tuple[float, int | None]] = dict.fromkeys(endpoints, (0.0, None))

    def changed_to(self, endpoints: Iterable[T], now_ns: int) -> MovingAverages[T]:
        """Those of other endpoints: the ones that stay keep theirs, a new one begins with the mean of the old."""
        old = self._averages
        mean = sum(average for average, _ in old.values()) / len(old) if old else 0.0
        made: MovingAverages[T] = MovingAverages()
        made._averages = {endpoint: old.get(endpoint, (mean, now_ns)) for endpoint in endpoints}
        return made

    def observe(self, endpoint: T, took_ns: int, now_ns: int) -> None:
        """A request took an endpoint so long; one that is there no more is passed over."""
        if endpoint in self._averages:
            self._averages[endpoint] = self._moved(endpoint, took_ns, now_ns), now_ns

    def faster(self, one: T, other: T, now_ns: int) -> T:
        """The one with the lower average; the first, if they are equal."""
        return other if self._moved(other, 0, now_ns) < self._moved(one, 0, now_ns) else one

    def _moved(self, endpoint: T, took_ns: int, now_ns: int) -> float:
        average, touched_ns = self._averages[endpoint]
        if touched_ns is None:
            return float(took_ns)
        kept = exp(-max(0, now_ns - touched_ns) / DECAY_NS)
        return average * kept + took_ns * (1.0 - kept)
