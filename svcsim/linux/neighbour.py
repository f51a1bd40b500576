"""Neighbour resolution for addresses that nobody answers for (Linux net/core/neighbour.c).

The first packet to such an address starts three probes a second apart; until they fail, packets wait; then all that wait are
answered with ICMP host unreachable. The next packet starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Neighbours:
    """Addresses that a node is trying in vain to resolve, each with the instant at which it gives up."""

    timeout_ns: int
    _fails_at: dict[int, int] = field(default_factory=dict)

    def fails_at(self, address: int, now_ns: int) -> int:
        """When a packet sent now to this silent address is answered with host unreachable."""
        fails_at = self._fails_at.get(address, -1)
        if fails_at < now_ns:
            fails_at = self._fails_at[address] = now_ns + self.timeout_ns
        return fails_at

    def clear(self) -> None:
        """Forget all: the node lost power."""
        self._fails_at.clear()
