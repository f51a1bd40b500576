"""A link of finite bandwidth: a FIFO by arithmetic with room for so many bytes.

A train's head leaves after its first packet has been put on the wire, and its tail when the last one has; the next link works on
the head meanwhile, so a train is not stored and forwarded whole: each station finishes no earlier than the one before plus one
packet. Nothing here is scheduled: departures follow from the instants at which links are free.
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

    def transmit(
        self, head_ns: int, packets: int, size_bytes: int, tail_ns: int = 0, burst: int | None = None
    ) -> tuple[int, int] | None:
        """When the train's first packet and its last one are through; None if the queue has no room.

        The head arrives at `head_ns`, the last packet not before `tail_ns`. A sender with a window has `burst` packets on the
        way at most, so no more of them need room at once, and a link that is free takes any train.

        >>> link = Link("a", 8_000_000, 4000)  # a byte a microsecond
        >>> link.transmit(0, 1, 934), link.transmit(0, 2, 1868), link.transmit(0, 3, 3000)
        ((1000000, 1000000), (2000000, 3000000), None)
        """
        total_bytes = size_bytes + packets * HEADER_BYTES
        packet_bytes = -(-total_bytes // packets)
        start_ns = self.free_ns
        if start_ns > head_ns:
            at_once = total_bytes if burst is None else min(total_bytes, burst * packet_bytes)
            if self.backlog_bytes(head_ns) + at_once > self.queue_bytes:
                self.dropped_packets += packets
                return None
        else:
            start_ns = head_ns
        first_ns = self.wire_ns(packet_bytes)
        self.free_ns = end_ns = max(start_ns + self.wire_ns(total_bytes), tail_ns + first_ns)
        return start_ns + first_ns, end_ns
