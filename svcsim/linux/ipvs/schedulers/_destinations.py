"""What lblc and lblcr remember of destinations, and how they forget those that nobody asks for.

Reference: Linux net/netfilter/ipvs/ip_vs_lblc.c and ip_vs_lblcr.c, the periodic check and the full check.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from svcsim.units import DAY, MINUTE

CHECK_NS = MINUTE
IDLE_NS = 6 * MINUTE
FORGET_NS = DAY
LIMIT = 16384
CHECKS_TO_FULL = 30


class _Used(Protocol):
    used_ns: int


Kept = TypeVar("Kept", bound=_Used)


class Destinations(Generic[Kept]):
    """A table by destination, in order of entry. `checks` counts the periodic checks since the last full one."""

    __slots__ = ("_checks", "_kept", "_next_check_ns")

    def __init__(self) -> None:
        self._kept: dict[int, Kept] = {}
        self._checks = 1
        self._next_check_ns = -1

    def get(self, destination: int, now_ns: int) -> Kept | None:
        """What is remembered of a destination, used now; the idle ones are forgotten first."""
        if now_ns >= self._next_check_ns:
            self._forget(now_ns)
        kept = self._kept.get(destination)
        if kept is not None:
            kept.used_ns = now_ns
        return kept

    def put(self, destination: int, kept: Kept) -> None:
        """Remember it, in place of what was there."""
        self._kept[destination] = kept

    def _forget(self, now_ns: int) -> None:
        """The periodic check, made up for when somebody asks: idle destinations go."""
        if self._next_check_ns >= 0:
            self._checks += 1 + (now_ns - self._next_check_ns) // CHECK_NS
            age_ns = IDLE_NS if len(self._kept) > LIMIT else FORGET_NS
            if age_ns == IDLE_NS or self._checks > CHECKS_TO_FULL:
                for destination, kept in list(self._kept.items()):
                    if now_ns - kept.used_ns >= age_ns:
                        del self._kept[destination]
            if self._checks > CHECKS_TO_FULL:
                self._checks = 1
        self._next_check_ns = now_ns + CHECK_NS
