"""Locality-based least connection: a destination keeps its server until that server is overloaded.

Made for clusters of caches behind one firewall mark. A destination without a server gets the one that `wlc` would choose. It
keeps it unless the server has gone, has weight 0, or has more active connections than weight while another has fewer than half
of its own weight. Destinations that nobody asks for are forgotten (`_destinations`).

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("lblc", weights=(2, 2))
>>> servers[0].active = 1; scheduler.choose(0, 0, 7, 0) is servers[1]
True
>>> servers[1].active = 2; scheduler.choose(0, 0, 7, 0) is servers[1]
True
>>> servers[1].active = 3; servers[0].active = 0; scheduler.choose(0, 0, 7, 0) is servers[0]
True

Reference: Linux net/netfilter/ipvs/ip_vs_lblc.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.linux.ipvs.schedulers._destinations import Destinations
from svcsim.linux.ipvs.schedulers.wlc import least_loaded
from svcsim.linux.ipvs.services import RealServer


def overloaded(server: RealServer, servers: Sequence[RealServer]) -> bool:
    """Whether the server has more active connections than weight while another has fewer than half of its weight."""
    if server.active > server.weight:
        for other in servers:
            if other.active * 2 < other.weight:
                return True
    return False


class _Cached:
    __slots__ = ("server", "used_ns")

    def __init__(self, server: RealServer, now_ns: int) -> None:
        self.server = server
        self.used_ns = now_ns
        server.remembered += 1

    def release(self) -> None:
        """The destination is forgotten, or has another server."""
        self.server.remembered -= 1


class LocalityLeastConnection:
    """`_cache` keeps the server of each destination."""

    __slots__ = ("_cache", "_servers")

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers
        self._cache: Destinations[_Cached] = Destinations()

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The destination's server, or a new one."""
        cached = self._cache.get(destination, now_ns)
        if cached is not None:
            server = cached.server
            if server.available and server.weight > 0 and not overloaded(server, self._servers):
                return server
        chosen = least_loaded(self._servers)
        if chosen is not None:
            self._cache.put(destination, _Cached(chosen, now_ns))
        return chosen

    def added(self, index: int) -> None:
        """The cache stays."""

    def removed(self, index: int) -> None:
        """The cache stays: a deleted server is recognised when it is found."""

    def updated(self) -> None:
        """The cache stays."""
