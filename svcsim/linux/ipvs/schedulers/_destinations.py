"""What lblc and lblcr remember of destinations, and how they forget those that nobody asks for.

The kernel looks at its table each minute. Each thirtieth time it forgets what has not been used for a day. At the other times it
does something only if there are more than 16384 destinations: it goes on through the buckets where it stopped, forgetting what
has not been used for six minutes, until it has enough. Here the looks that are due are made up for when somebody asks; the first
is due a minute after the first question.

Reference: Linux net/netfilter/ipvs/ip_vs_lblc.c and ip_vs_lblcr.c, `check_expire` and `full_check`.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from svcsim.linux.ipvs.schedulers.hashing import folded, hash_32
from svcsim.units import DAY, MINUTE

CHECK_NS = MINUTE
IDLE_NS = 6 * MINUTE
FORGET_NS = DAY
TABLE_BITS = 10
LIMIT = 16 << TABLE_BITS
CHECKS_TO_FULL = 30


class _Used(Protocol):
    used_ns: int

    def release(self) -> None: ...


Kept = TypeVar("Kept", bound=_Used)


class Destinations(Generic[Kept]):
    """A table by destination. `_counter` counts the looks since the last full one; `_rover` is the bucket looked at last."""

    __slots__ = ("_counter", "_kept", "_next_check_ns", "_rover")

    def __init__(self) -> None:
        self._kept: dict[int, Kept] = {}
        self._counter = 1
        self._rover = 0
        self._next_check_ns = -1

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, destination: int, now_ns: int) -> Kept | None:
        """What is remembered of a destination, used now; what was to be forgotten until now is forgotten first."""
        if now_ns >= self._next_check_ns:
            self._make_up(now_ns)
        kept = self._kept.get(destination)
        if kept is not None:
            kept.used_ns = now_ns
        return kept

    def put(self, destination: int, kept: Kept) -> None:
        """Remember it, in place of what was there."""
        old = self._kept.get(destination)
        if old is not None:
            old.release()
        self._kept[destination] = kept

    def _make_up(self, now_ns: int) -> None:
        if self._next_check_ns < 0:
            self._next_check_ns = now_ns + CHECK_NS
        while self._next_check_ns <= now_ns:
            self._check(self._next_check_ns)
            self._next_check_ns += CHECK_NS

    def _check(self, now_ns: int) -> None:
        if self._counter == CHECKS_TO_FULL:
            self._counter = 1
            for destination in [key for key, kept in self._kept.items() if now_ns >= kept.used_ns + FORGET_NS]:
                self._forget(destination)
        elif len(self._kept) <= LIMIT:
            self._counter += 1
        else:
            self._forget_some(now_ns, min((len(self._kept) - LIMIT) * 4 // 3, LIMIT // 2))

    def _forget_some(self, now_ns: int, goal: int) -> None:
        idle: dict[int, list[int]] = {}
        for destination, kept in self._kept.items():
            if now_ns >= kept.used_ns + IDLE_NS:
                idle.setdefault(hash_32(folded(destination), TABLE_BITS), []).append(destination)
        size = 1 << TABLE_BITS
        bucket = self._rover
        for _ in range(size):
            bucket = (bucket + 1) % size
            for destination in idle.get(bucket, ()):
                self._forget(destination)
                goal -= 1
            if goal <= 0:
                break
        self._rover = bucket

    def _forget(self, destination: int) -> None:
        self._kept.pop(destination).release()
