"""Consistent hashing: a key belongs to the member whose point follows it on a ring, so that a change of members moves few keys.

Each member has 160 points. Source: openresty/lua-resty-chash (ketama), which ingress-nginx uses for `upstream-hash-by`; the
points themselves are others, so a key's member is not the one that nginx would choose.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from svcsim.engine.streams import splitmix64

POINTS = 160


class HashRing:
    """A ring of members, each named by 64 bits.

    >>> ring, fewer = HashRing((11, 22, 33)), HashRing((11, 22))
    >>> moved = [key for key in range(0, 1 << 64, 1 << 54) if ring.find(key) < 2 and ring.find(key) != fewer.find(key)]
    >>> moved
    []
    """

    __slots__ = ("_members", "_points")

    def __init__(self, members: Sequence[int]) -> None:
        placed = sorted(
            (splitmix64(name ^ splitmix64(point)), member) for member, name in enumerate(members) for point in range(POINTS)
        )
        self._points = [point for point, _ in placed]
        self._members = [member for _, member in placed]

    def find(self, key: int) -> int:
        """The place among the members of the one that a key of 64 bits belongs to."""
        return self._members[bisect_left(self._points, key) % len(self._points)]
