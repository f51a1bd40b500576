"""Destination hashing: the destination's address picks one of 256 buckets, dealt out to the servers in turn.

Made for clusters of caches behind one firewall mark; a service with one virtual address always uses one server. Weights do
not matter, except that a bucket whose server has weight 0 refuses.

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("dh", weights=(1, 1, 1))
>>> [servers.index(scheduler.choose(0, 0, destination, 0)) for destination in (0x0A600001, 0x0A600002, 0x0A600003)]
[1, 0, 0]

Reference: Linux net/netfilter/ipvs/ip_vs_dh.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.linux.ipvs.schedulers.hashing import bucket_of
from svcsim.linux.ipvs.services import RealServer


class DestinationHashing:
    """The deal is a matter of arithmetic: bucket b belongs to server b modulo their number."""

    __slots__ = ("_servers",)

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The owner of the destination's bucket, if it has a weight."""
        servers = self._servers
        if not servers:
            return None
        server = servers[bucket_of(destination, 0) % len(servers)]
        return server if server.weight > 0 else None

    def added(self, index: int) -> None:
        """Nothing is kept."""

    def removed(self, index: int) -> None:
        """Nothing is kept."""

    def updated(self) -> None:
        """Nothing is kept."""
