"""The limit on ICMP errors: a token bucket for each destination (Linux net/ipv4/icmp.c, icmp_ratelimit, inet_peer_xrlim_allow).

REJECT and route errors share it: six at once to one peer, then one a second (IPv6: four). What gets no answer waits for its own
retransmission. The kernel counts in jiffies, 4 ms at HZ=250: an error to a SYN that is sent again after exactly a second is
allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from svcsim.linux.address import LAST_IPV4

JIFFY_NS = 4_000_000
IPV6_SHIFT = 2
"""An error of IPv6 takes a quarter of the interval: the kernel gives routes to a /64, as a node's pods have, so much more
(net/ipv6/icmp.c, icmpv6_xrlim_allow: half for each 32 bits that the prefix is short of 128)."""


@dataclass(slots=True)
class IcmpLimiter:
    """The buckets of one node."""

    burst: int
    interval_ns: int
    _buckets: dict[int, tuple[int, int]] = field(default_factory=dict)

    def allow(self, destination: int, now_ns: int) -> bool:
        """Whether an ICMP error to this address may be sent now; takes a token if so."""
        now_ns -= now_ns % JIFFY_NS
        interval_ns = self.interval_ns >> IPV6_SHIFT if destination > LAST_IPV4 else self.interval_ns
        full_ns = self.burst * interval_ns
        credit_ns, last_ns = self._buckets.get(destination, (full_ns, now_ns))
        credit_ns = min(full_ns, credit_ns + now_ns - last_ns)
        allowed = credit_ns >= interval_ns
        if allowed:
            credit_ns -= interval_ns
        self._buckets[destination] = (credit_ns, now_ns)
        return allowed

    def clear(self) -> None:
        """Forget all peers: the node lost power."""
        self._buckets.clear()
