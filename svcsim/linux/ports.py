"""Local ports of connections: the ephemeral range, with the client's TIME_WAIT.

One allocator serves one (source address, destination, destination port, protocol), since only a whole tuple must be unique.
Ports go up from an offset, round and round, and those that are in use or in TIME_WAIT (60 s) are passed over. Nothing is
scheduled.

Sources: Linux net/ipv4/inet_hashtables.c (`__inet_hash_connect`; the offset is hashed from the tuple), include/net/tcp.h
(TCP_TIMEWAIT_LEN).
"""

from __future__ import annotations

from svcsim.units import S

FIRST_PORT = 32768
LAST_PORT = 60999
TIME_WAIT_NS = 60 * S
_NEVER_NS = 1 << 62


class PortAllocator:
    """Free ports towards one destination. `_free_at` says of each port that was given back from when on it may be taken."""

    __slots__ = ("_first", "_free_at", "_fresh", "_none_before_ns", "_offset", "_size")

    def __init__(self, offset: int = 0, first: int = FIRST_PORT, last: int = LAST_PORT) -> None:
        self._first = first
        self._size = last - first + 1
        self._offset = offset % self._size
        self._fresh = 0
        self._free_at: dict[int, int] = {}
        self._none_before_ns = 0

    def take(self, now_ns: int) -> int:
        """A free port, or 0 if none is left (EADDRNOTAVAIL)."""
        if self._fresh < self._size:
            port = self._first + (self._offset + self._fresh) % self._size
            self._fresh += 1
            return port
        if now_ns < self._none_before_ns:
            return 0
        free_at = self._free_at
        place = self._offset
        size = self._size
        earliest_ns = _NEVER_NS
        for _ in range(size):
            port = self._first + place
            at_ns = free_at.get(port, _NEVER_NS)
            place += 1
            if place == size:
                place = 0
            if at_ns <= now_ns:
                del free_at[port]
                self._offset = place
                return port
            if at_ns < earliest_ns:
                earliest_ns = at_ns
        self._none_before_ns = earliest_ns
        return 0

    def give(self, port: int, free_at_ns: int) -> None:
        """The connection on this port is over; the port is free again from `free_at_ns` on."""
        self._free_at[port] = free_at_ns
        if free_at_ns < self._none_before_ns:
            self._none_before_ns = free_at_ns
