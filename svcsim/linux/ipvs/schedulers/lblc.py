"""Locality-based least connection: a destination keeps its server until that server is overloaded.

Made for clusters of caches behind one firewall mark. A destination without a server gets the one that `wlc` would choose. It
keeps it unless the server has gone, has weight 0, or has more active connections than weight while another has fewer than half
of its own weight. Destinations that nobody asked for are forgotten: after a day, or after six minutes when there are more than
16384.

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

from svcsim.linux.ipvs.schedulers.wlc import least_loaded
from svcsim.linux.ipvs.services import RealServer
from svcsim.units import DAY, MINUTE

CHECK_NS = MINUTE
IDLE_NS = 6 * MINUTE
FORGET_NS = DAY
LIMIT = 16384
CHECKS_TO_FULL = 30


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


class LocalityLeastConnection:
    """`_cache` maps destinations to servers, in order of entry."""

    __slots__ = ("_cache", "_checks", "_next_check_ns", "_servers")

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers
        self._cache: dict[int, _Cached] = {}
        self._checks = 1
        self._next_check_ns = -1

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The destination's server, or a new one."""
        if now_ns >= self._next_check_ns:
            self._forget(now_ns)
        cached = self._cache.get(destination)
        if cached is not None:
            cached.used_ns = now_ns
            server = cached.server
            if server.available and server.weight > 0 and not overloaded(server, self._servers):
                return server
        chosen = least_loaded(self._servers)
        if chosen is not None:
            self._cache[destination] = _Cached(chosen, now_ns)
        return chosen

    def _forget(self, now_ns: int) -> None:
        """The periodic check, made up for when somebody asks: idle destinations go."""
        if self._next_check_ns >= 0:
            self._checks += 1 + (now_ns - self._next_check_ns) // CHECK_NS
            age_ns = IDLE_NS if len(self._cache) > LIMIT else FORGET_NS
            if age_ns == IDLE_NS or self._checks > CHECKS_TO_FULL:
                for destination, cached in list(self._cache.items()):
                    if now_ns - cached.used_ns >= age_ns:
                        del self._cache[destination]
            if self._checks > CHECKS_TO_FULL:
                self._checks = 1
        self._next_check_ns = now_ns + CHECK_NS

    def added(self, index: int) -> None:
        """The cache stays."""

    def removed(self, index: int) -> None:
        """The cache stays: a deleted server is recognised when it is found."""

    def updated(self) -> None:
        """The cache stays."""
