"""Never queue: an idle server gets the connection at once, whatever its weight; if none is idle, as `sed`.

The first idle server in the list is taken. Over UDP every server is idle (its flows are inactive), so the head of the list
gets everything.

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("nq", weights=(100, 1), active=(1, 0))
>>> servers.index(scheduler.choose(0, 0, 0, 0))
1

Reference: Linux net/netfilter/ipvs/ip_vs_nq.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.linux.ipvs.schedulers.sed import shortest_delay
from svcsim.linux.ipvs.services import RealServer


class NeverQueue:
    """No state: the counters are the servers' own."""

    __slots__ = ("_servers",)

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The first idle server, else the first of those with the shortest expected delay."""
        for server in self._servers:
            if server.weight > 0 and not server.active:
                return server
        return shortest_delay(self._servers)

    def added(self, index: int) -> None:
        """Nothing is kept."""

    def removed(self, index: int) -> None:
        """Nothing is kept."""

    def updated(self) -> None:
        """Nothing is kept."""
