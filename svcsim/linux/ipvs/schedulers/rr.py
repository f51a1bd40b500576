"""Round robin: the cursor stands on the server chosen last, and the next one with a weight is chosen.

The cursor starts before the first server. A server that is added goes to the head of the list, so it waits until the cursor
has come round; when the server under the cursor is deleted the cursor steps back, so nobody is skipped. Weights other than 0
do not matter.

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("rr", weights=(1, 1, 0, 1))
>>> [servers.index(scheduler.choose(0, 0, 0, 0)) for _ in range(5)]
[0, 1, 3, 0, 1]

Reference: Linux net/netfilter/ipvs/ip_vs_rr.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.linux.ipvs.services import RealServer


class RoundRobin:
    """`_cursor` is the index of the server chosen last, -1 before the first choice."""

    __slots__ = ("_cursor", "_servers")

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers
        self._cursor = -1

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The next server with a weight after the cursor, going round once."""
        servers = self._servers
        cursor = self._cursor + 1
        if cursor >= len(servers):
            cursor = 0
        for index in range(cursor, len(servers)):
            if servers[index].weight > 0:
                self._cursor = index
                return servers[index]
        for index in range(cursor):
            if servers[index].weight > 0:
                self._cursor = index
                return servers[index]
        return None

    def added(self, index: int) -> None:
        """The cursor stays on its server."""
        if self._cursor >= index:
            self._cursor += 1

    def removed(self, index: int) -> None:
        """The cursor stays on its server, or goes to the one before if its server went."""
        if self._cursor >= index:
            self._cursor -= 1

    def updated(self) -> None:
        """Weights are read at each choice."""
