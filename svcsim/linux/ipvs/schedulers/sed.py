"""Shortest expected delay: the smallest (active + 1) / weight, as if the new connection were already there.

Inactive connections do not count, so over UDP, where every flow is inactive, the largest weight always wins. Of equals, the
first in the list is chosen.

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("sed", weights=(1, 3), active=(0, 1))
>>> servers.index(scheduler.choose(0, 0, 0, 0))
1

Reference: Linux net/netfilter/ipvs/ip_vs_sed.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.linux.ipvs.services import RealServer


def shortest_delay(servers: Sequence[RealServer]) -> RealServer | None:
    """The first server of those with the shortest expected delay."""
    least: RealServer | None = None
    least_delay = least_weight = 0
    for server in servers:
        weight = server.weight
        if weight > 0:
            delay = server.active + 1
            if least is None or least_delay * weight > delay * least_weight:
                least = server
                least_delay = delay
                least_weight = weight
    return least


class ShortestExpectedDelay:
    """No state: the counters are the servers' own."""

    __slots__ = ("_servers",)

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The first server of those with the shortest expected delay."""
        return shortest_delay(self._servers)

    def added(self, index: int) -> None:
        """Nothing is kept."""

    def removed(self, index: int) -> None:
        """Nothing is kept."""

    def updated(self) -> None:
        """Nothing is kept."""
