"""The limit on ICMP errors: a token bucket for each destination (Linux net/ipv4/icmp.c, icmp_ratelimit, inet_peer_xrlim_allow).

REJECT and route errors share it: six at once to one peer, then one a second. What gets no answer waits for its own
retransmission. The kernel counts in jiffies, 4 ms at HZ=250: an error to a SYN that is sent again after exactly a second is
allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

JIFFY_NS = 4_000_000


@dataclass(slots=True)
class IcmpLimiter:
    """The buckets of one node."""

    burst: int
    interval_ns: int
    _buckets: dict[int, tuple[int, int]] = field(default_factory=dict)

    def allow(self, destination: int, now_ns: int) -> bool:
        """Whether an ICMP error to this address may be sent now; takes a token if so."""
        now_ns -= now_ns % JIFFY_NS
        full_ns = self.burst * self.interval_ns
        credit_ns, last_ns = self._buckets.get(destination, (full_ns, now_ns))
        credit_ns = min(full_ns, credit_ns + now_ns - last_ns)
        allowed = credit_ns >= self.interval_ns
        if allowed:
            credit_ns -= self.interval_ns
        self._buckets[destination] = (credit_ns, now_ns)
        return allowed

    def clear(self) -> None:
        """Forget all peers: the node lost power."""
        self._buckets.clear()
