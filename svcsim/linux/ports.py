"""Local ports of connections: the ephemeral range, with the client's TIME_WAIT.

One allocator serves one (source address, destination, destination port, protocol), since only a whole tuple must be unique.
Ports go up from an offset (Linux net/ipv4/inet_hashtables.c hashes it from the tuple); a port that its connection left in
TIME_WAIT comes back after 60 s (TCP_TIMEWAIT_LEN, include/net/tcp.h), oldest first. Nothing is scheduled.
"""

from __future__ import annotations

from collections import deque

from svcsim.units import S

FIRST_PORT = 32768
LAST_PORT = 60999
TIME_WAIT_NS = 60 * S


class PortAllocator:
    """Free ports towards one destination."""

    __slots__ = ("_early", "_fresh", "_offset", "_returned", "_size", "_start")

    def __init__(self, offset: int = 0, first: int = FIRST_PORT, last: int = LAST_PORT) -> None:
        self._start = first
        self._size = last - first + 1
        self._offset = offset % self._size
        self._fresh = 0
        self._returned: deque[tuple[int, int]] = deque()
        self._early: deque[tuple[int, int]] = deque()

    def take(self, now_ns: int) -> int:
        """A free port, or 0 if none is left (EADDRNOTAVAIL)."""
        returned = self._returned
        if self._fresh < self._size:
            port = self._start + (self._offset + self._fresh) % self._size
            self._fresh += 1
            return port
        early = self._early
        if early and early[0][0] <= now_ns:
            return early.popleft()[1]
        if returned and returned[0][0] <= now_ns:
            return returned.popleft()[1]
        return 0

    def give(self, port: int, free_at_ns: int) -> None:
        """The connection on this port is over; the port is free again from `free_at_ns` on."""
        returned = self._returned
        if returned and returned[-1][0] > free_at_ns:
            # Free before one that was given earlier: it had no TIME_WAIT. These have a queue of their own, in order too.
            self._early.append((free_at_ns, port))
        else:
            returned.append((free_at_ns, port))
