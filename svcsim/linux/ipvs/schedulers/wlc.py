"""Weighted least connection: the smallest load by weight, compared by cross-multiplication.

The load is `lc`'s: 256 for an active connection, 1 for an inactive one. Of equals, the first in the list is chosen.

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("wlc", weights=(1, 3), active=(1, 2))
>>> servers.index(scheduler.choose(0, 0, 0, 0))
1

Reference: Linux net/netfilter/ipvs/ip_vs_wlc.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from svcsim.linux.ipvs.services import RealServer


def least_loaded(servers: Iterable[RealServer]) -> RealServer | None:
    """The first of the servers with the smallest load by weight; those without a weight do not count."""
    least: RealServer | None = None
    least_load = least_weight = 0
    for server in servers:
        weight = server.weight
        if weight > 0:
            load = (server.active << 8) + server.inactive
            if least is None or least_load * weight > load * least_weight:
                least = server
                least_load = load
                least_weight = weight
    return least


class WeightedLeastConnection:
    """No state: the counters are the servers' own."""

    __slots__ = ("_servers",)

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The first server of those with the smallest load by weight."""
        return least_loaded(self._servers)

    def added(self, index: int) -> None:
        """Nothing is kept."""

    def removed(self, index: int) -> None:
        """Nothing is kept."""

    def updated(self) -> None:
        """Nothing is kept."""
