"""A link of finite bandwidth: a FIFO by arithmetic with room for so many bytes.

A train's head leaves after its first packet has been put on the wire, and its tail when the last one has; the next link works on
the head meanwhile, so a train is not stored and forwarded whole: each station finishes no earlier than the one before plus one
packet. Nothing here is scheduled: departures follow from the instants at which links are free.

A train of a long transfer, which comes as slowly as its sender hears of room, leaves what it does not need to others (`carry`).

A train is booked when it leaves a host, for the instant at which it will reach the link; trains from near and from far are thus
not booked in the order in which they come. A link therefore knows the gaps before its last booking, and fills them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from operator import itemgetter

from svcsim.units import S

HEADER_BYTES = 66
"""Ethernet, IPv4 and TCP headers with time-stamps, on each packet of a train."""

MAX_GAPS = 512
"""So many gaps a link remembers: the latest, for what is booked further ahead than they reach is long past."""
_end_of = itemgetter(1)


@dataclass(slots=True)
class Link:
    """One direction of a host's link. `queue_bytes` is the room before it; what does not fit is dropped whole."""

    name: str
    bandwidth_bit_per_s: int
    queue_bytes: int
    free_ns: int = 0
    """End of the last booking."""
    dropped_packets: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """When the link is idle before that: (from, until), in order."""

    def wire_ns(self, size_bytes: int) -> int:
        """Time to put so many bytes on the wire."""
        return -(-size_bytes * 8 * S // self.bandwidth_bit_per_s)

    def backlog_bytes(self, now_ns: int) -> int:
        """What waits or is being sent at this instant."""
        first = bisect_right(self.gaps, now_ns, key=_end_of)
        return self._bytes(self.free_ns - now_ns - sum(until - max(since, now_ns) for since, until in self.gaps[first:]))

    def _bytes(self, busy_ns: int) -> int:
        return busy_ns * self.bandwidth_bit_per_s // (8 * S) if busy_ns > 0 else 0

    def transmit(self, head_ns: int, packets: int, size_bytes: int, tail_ns: int = 0) -> tuple[int, int] | None:
        """When the train's first packet and its last one are through; None if the queue has no room.

        The head arrives at `head_ns`, the last packet not before `tail_ns`. A link that is free takes any train.

        >>> link = Link("a", 8_000_000, 4000)  # a byte a microsecond
        >>> link.transmit(0, 1, 934), link.transmit(0, 2, 1868), link.transmit(0, 3, 3000)
        ((1000000, 1000000), (2000000, 3000000), None)
        """
        total_bytes = size_bytes + packets * HEADER_BYTES
        packet_bytes = -(-total_bytes // packets)
        first_ns, whole_ns = self.wire_ns(packet_bytes), self.wire_ns(total_bytes)
        gaps, free_ns = self.gaps, self.free_ns
        if head_ns >= free_ns:
            if head_ns > free_ns:
                gaps.append((free_ns, head_ns))
                if len(gaps) > MAX_GAPS:
                    del gaps[: MAX_GAPS // 2]
            self.free_ns = end_ns = max(head_ns + whole_ns, tail_ns + first_ns)
            return head_ns + first_ns, end_ns
        idle_ns = 0
        for place in range(bisect_right(gaps, head_ns, key=_end_of), len(gaps)):
            since_ns, until_ns = gaps[place]
            start_ns = max(since_ns, head_ns)
            end_ns = max(start_ns + whole_ns, tail_ns + first_ns)
            if end_ns <= until_ns:
                break
            idle_ns += until_ns - start_ns
        else:
            place = len(gaps)
            start_ns = free_ns
            end_ns = max(start_ns + whole_ns, tail_ns + first_ns)
        if start_ns > head_ns:
            if self._bytes(start_ns - head_ns - idle_ns) + total_bytes > self.queue_bytes:
                self.dropped_packets += packets
                return None
        if place < len(gaps):
            gaps[place : place + 1] = [gap for gap in ((since_ns, start_ns), (end_ns, until_ns)) if gap[0] < gap[1]]
        else:
            self.free_ns = end_ns
        return start_ns + first_ns, end_ns

    def carry(self, head_ns: int, tail_ns: int, packets: int, size_bytes: int) -> tuple[int, int, int]:
        """How many packets of a train find room, and when the first and the last of these are through.

        They arrive evenly from `head_ns` to `tail_ns`, and those that find the queue full are dropped: the last ones, since the
        queue is fullest then. The train takes the link for as long as it has bytes, as late as it may, and in several parts if
        other trains are booked in between. A train of which nothing finds room leaves the link as it was.

        >>> link = Link("a", 8_000_000, 4000)  # a byte a microsecond
        >>> link.carry(0, 0, 10, 9340), link.carry(5_000_000, 14_000_000, 10, 9340), link.backlog_bytes(14_000_000)
        ((5, 1000000, 5000000), (10, 6000000, 15000000), 1000)
        """
        packet_bytes = -(-size_bytes // packets) + HEADER_BYTES
        first_ns = self.wire_ns(packet_bytes)
        free_ns = self._free_at(head_ns)
        room_bytes = self.queue_bytes - self._bytes(free_ns - head_ns) + self._bytes(tail_ns - head_ns)
        if free_ns == head_ns:
            room_bytes += packet_bytes  # on the wire at once
        taken = min(packets, room_bytes // packet_bytes)
        if taken < packets:
            self.dropped_packets += packets - max(0, taken)
            if taken <= 0:
                return 0, free_ns, free_ns
            size_bytes = size_bytes * taken // packets
        whole_ns = self.wire_ns(size_bytes + taken * HEADER_BYTES)
        end_ns = self._book(max(head_ns, tail_ns + first_ns - whole_ns), whole_ns)
        return taken, min(free_ns + first_ns, end_ns), end_ns

    def _free_at(self, now_ns: int) -> int:
        """The first instant from then on at which nothing is on the wire."""
        if now_ns >= self.free_ns:
            return now_ns
        place = bisect_right(self.gaps, now_ns, key=_end_of)
        return max(now_ns, self.gaps[place][0]) if place < len(self.gaps) else self.free_ns

    def _book(self, begin_ns: int, busy_ns: int) -> int:
        """Take the first free time from an instant on, and return when that is used up."""
        gaps = self.gaps
        if begin_ns < self.free_ns:
            place = bisect_right(gaps, begin_ns, key=_end_of)
            kept: list[tuple[int, int]] = []
            at, end_ns = place, 0
            while at < len(gaps) and busy_ns:
                since_ns, until_ns = gaps[at]
                start_ns = max(since_ns, begin_ns)
                end_ns = min(until_ns, start_ns + busy_ns)
                busy_ns -= end_ns - start_ns
                kept += [gap for gap in ((since_ns, start_ns), (end_ns, until_ns)) if gap[0] < gap[1]]
                at += 1
            gaps[place:at] = kept
            if not busy_ns:
                return end_ns
            begin_ns = self.free_ns
        elif begin_ns > self.free_ns:
            gaps.append((self.free_ns, begin_ns))
            if len(gaps) > MAX_GAPS:
                del gaps[: MAX_GAPS // 2]
        self.free_ns = begin_ns + busy_ns
        return self.free_ns
