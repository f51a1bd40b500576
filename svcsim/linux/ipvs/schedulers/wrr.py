"""Weighted round robin by passes: a threshold falls from the largest weight to 1, and each pass takes whoever reaches it.

The threshold falls by the greatest common divisor of the weights. So with weights 4, 3, 2, 1 the passes are 4 | 4 3 | 4 3 2 |
4 3 2 1: heavy servers come in bursts, unlike nginx's smooth round robin. Every change of the list or of a weight puts the
cursor back to the head but keeps the threshold if it still fits; so a service that was built server by server starts with
threshold 1.

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("wrr", weights=(4, 3, 2, 1))
>>> [servers.index(scheduler.choose(0, 0, 0, 0)) for _ in range(10)]
[0, 1, 2, 3, 0, 0, 1, 0, 1, 2]

Reference: Linux net/netfilter/ipvs/ip_vs_wrr.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from svcsim.linux.ipvs.services import RealServer


class WeightedRoundRobin:
    """`_threshold` is the kernel's cw, `_highest` its mw, `_step` its di; `_cursor` is -1 at the head of the list."""

    __slots__ = ("_cursor", "_highest", "_servers", "_step", "_threshold")

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers
        self._cursor = -1
        self._measure()
        self._threshold = self._highest

    def _measure(self) -> None:
        weights = [server.weight for server in self._servers if server.weight > 0]
        self._step = gcd(*weights) or 1
        self._highest = max(weights, default=0) - (self._step - 1)

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The next server after the cursor that reaches the threshold; the threshold falls at the end of the list."""
        if not self._highest:
            return None
        servers = self._servers
        index = self._cursor
        threshold = self._threshold
        count = len(servers)
        while True:
            index += 1
            if index == count:
                index = -1
                threshold -= self._step
                if threshold <= 0:
                    threshold = self._highest
            elif servers[index].weight >= threshold:
                self._cursor = index
                self._threshold = threshold
                return servers[index]

    def updated(self) -> None:
        """Back to the head; the threshold stays if the new weights reach it."""
        self._cursor = -1
        self._measure()
        if self._threshold > self._highest or not self._threshold:
            self._threshold = self._highest
        elif self._step > 1:
            self._threshold = self._threshold // self._step * self._step + 1

    def added(self, index: int) -> None:
        """As for a change of weight."""
        self.updated()

    def removed(self, index: int) -> None:
        """As for a change of weight."""
        self.updated()
