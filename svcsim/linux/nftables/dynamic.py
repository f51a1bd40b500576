"""Elements of dynamic sets: what packets write into the table, with a time-out each.

An `update` starts the element's time anew; a set that is full takes no new element until others expire, and the rule that
wanted to add one ends there (kernel net/netfilter/nft_dynset.c, nft_set_hash.c).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from svcsim.linux.nftables.ruleset import DYNAMIC_SET_SIZE


@dataclass(slots=True)
class DynamicSet:
    """Addresses with the time at which each expires."""

    timeout_ns: int
    size: int = DYNAMIC_SET_SIZE
    expiry_ns: dict[int, int] = field(default_factory=dict)
    sweep_at: int = 256

    def __contains__(self, item: tuple[int, int]) -> bool:
        """Whether (address, now) is live."""
        address, now_ns = item
        return self.expiry_ns.get(address, -1) > now_ns

    def update(self, address: int, now_ns: int) -> bool:
        """Add the address or start its time anew; False if the set is full."""
        entries = self.expiry_ns
        if address not in entries and len(entries) >= self.sweep_at:
            self.sweep(now_ns)
            if len(self.expiry_ns) >= self.size:
                return False
            entries = self.expiry_ns
        entries[address] = now_ns + self.timeout_ns
        return True

    def sweep(self, now_ns: int) -> None:
        """Drop what has expired; the next sweep is due when twice as many are there, so its cost is spread."""
        self.expiry_ns = {address: expiry for address, expiry in self.expiry_ns.items() if expiry > now_ns}
        self.sweep_at = min(self.size, max(256, 2 * len(self.expiry_ns)))

    def live(self, now_ns: int) -> dict[int, int]:
        """The live elements and their expiry."""
        return {address: expiry for address, expiry in self.expiry_ns.items() if expiry > now_ns}
