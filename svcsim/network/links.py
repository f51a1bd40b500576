"""A link of finite bandwidth: a FIFO by arithmetic with room for so many bytes.

A train's head leaves after its first packet has been put on the wire, and its end when the last one has; the next station works
on the head meanwhile (cut-through), so a train is not stored and forwarded whole. Nothing here is scheduled: the departure
follows from the instant at which the link is free.
"""

from __future__ import annotations

from dataclasses import dataclass

from svcsim.units import S

HEADER_BYTES = 66
"""Ethernet, IPv4 and TCP headers with time-stamps, on each packet of a train."""


@dataclass(slots=True)
class Link:
    """One direction of a host's link. `queue_bytes` is the room before it; what does not fit is dropped whole."""

    name: str
    bandwidth_bit_per_s: int
    queue_bytes: int
    free_ns: int = 0
    dropped_packets: int = 0

    def wire_ns(self, size_bytes: int) -> int:
        """Time to put so many bytes on the wire."""
        return -(-size_bytes * 8 * S // self.bandwidth_bit_per_s)

    def backlog_bytes(self, now_ns: int) -> int:
        """What waits or is being sent at this instant."""
        waiting_ns = self.free_ns - now_ns
        return waiting_ns * self.bandwidth_bit_per_s // (8 * S) if waiting_ns > 0 else 0

    def transmit(self, arrival_ns: int, packets: int, size_bytes: int) -> int | None:
        """When the train's last byte is through, or None if the queue has no room for it.

        >>> link = Link("a", 8_000_000, 4000)  # a byte a microsecond
        >>> link.transmit(0, 1, 934), link.transmit(0, 1, 934), link.transmit(0, 3, 3000)
        (1000000, 2000000, None)
        """
        total_bytes = size_bytes + packets * HEADER_BYTES
        if self.backlog_bytes(arrival_ns) + total_bytes > self.queue_bytes:
            self.dropped_packets += packets
            return None
        start_ns = max(arrival_ns, self.free_ns)
        self.free_ns = start_ns + self.wire_ns(total_bytes)
        return self.free_ns
