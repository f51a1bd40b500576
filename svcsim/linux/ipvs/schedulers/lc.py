"""Least connection: the smallest load, where an active connection weighs 256 times an inactive one.

Weights other than 0 do not matter; of equals, the first in the list (the one added last) is chosen.

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("lc", weights=(1, 1, 1), active=(1, 0, 0), inactive=(0, 255, 3))
>>> servers.index(scheduler.choose(0, 0, 0, 0))
2

Reference: Linux net/netfilter/ipvs/ip_vs_lc.c; the load is ip_vs_dest_conn_overhead in include/net/ip_vs.h.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.linux.ipvs.services import RealServer

_MORE_THAN_ANY = 1 << 62


class LeastConnection:
    """No state: the counters are the servers' own."""

    __slots__ = ("_servers",)

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The first server of those with the smallest load."""
        least: RealServer | None = None
        least_load = _MORE_THAN_ANY
        for server in self._servers:
            if server.weight > 0:
                load = server.active * 256 + server.inactive
                if load < least_load:
                    least = server
                    least_load = load
        return least

    def added(self, index: int) -> None:
        """Nothing is kept."""

    def removed(self, index: int) -> None:
        """Nothing is kept."""

    def updated(self) -> None:
        """Nothing is kept."""
