"""Source hashing: the client's address picks one of 256 buckets, and the bucket belongs to a server.

The buckets are dealt out in list order, `max(1, weight)` in a row to each server, round and round until all are given. A
server of weight 0 still owns one bucket a round, and clients that hash there are refused. With `sh-fallback` they look at
other buckets until they find a server; with `sh-port` the client's port is part of the hash.

>>> from svcsim.linux.ipvs.schedulers._example import service
>>> servers, scheduler = service("sh", weights=(1, 1))
>>> [servers.index(scheduler.choose(client, 0, 0, 0)) for client in (0x0A000001, 0x0A000002, 0x0A000001)]
[1, 1, 1]

Reference: Linux net/netfilter/ipvs/ip_vs_sh.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.linux.ipvs.schedulers.hashing import BUCKETS, bucket_of
from svcsim.linux.ipvs.services import RealServer


class SourceHashing:
    """`_buckets` is dealt out at the first choice after a change."""

    __slots__ = ("_buckets", "_fallback", "_servers", "_with_port")

    def __init__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> None:
        self._servers = servers
        self._fallback = "sh-fallback" in flags
        self._with_port = "sh-port" in flags
        self._buckets: list[RealServer] = []

    def _deal(self) -> list[RealServer]:
        turn = [server for server in self._servers for _ in range(min(BUCKETS, max(1, server.weight)))]
        rounds = -(-BUCKETS // len(turn))
        self._buckets = (turn * rounds)[:BUCKETS]
        return self._buckets

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The owner of the client's bucket, if it has a weight."""
        if not self._servers:
            return None
        buckets = self._buckets or self._deal()
        bucket = bucket_of(client, client_port if self._with_port else 0)
        server = buckets[bucket]
        if server.weight > 0:
            return server
        if self._fallback:
            for offset in range(BUCKETS):
                server = buckets[(offset + bucket + bucket) % BUCKETS]
                if server.weight > 0:
                    return server
        return None

    def updated(self) -> None:
        """The buckets are dealt out anew."""
        self._buckets = []

    def added(self, index: int) -> None:
        """The buckets are dealt out anew."""
        self._buckets = []

    def removed(self, index: int) -> None:
        """The buckets are dealt out anew."""
        self._buckets = []
