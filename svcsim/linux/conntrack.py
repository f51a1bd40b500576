"""Connection tracking: one table a node, with time-outs, NAT bindings, a size limit and drops when it is full.

An entry carries its expiry; nothing is scheduled for it, and one whose time is up counts for nothing. Entries wait in a FIFO a
time-out. Whoever counts, and whoever would pass the limit or the peak, sweeps the FIFOs up to now first, so look-ups, counts,
limit and peak are exact. (The peak is the number of entries, or what that was before some of them left, whichever is more: as
long as nothing is due they are all alive.) A refresh only rewrites the expiry: the FIFO looks again when the old one is due. An
entry whose connection is over shrinks to its key and expiry.

The original direction is the key (`flow_key`); replies reach the entry by the connection that holds it. Source: Linux
net/netfilter/nf_conntrack_core.c, nf_conntrack_proto_tcp.c, Documentation/networking/nf_conntrack-sysctl.rst.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

from svcsim.units import S


class State(IntEnum):
    """Where a tracked flow stands; UDP knows unreplied and stream only."""

    SYN_SENT = 0
    ESTABLISHED = 1
    TIME_WAIT = 2
    CLOSE = 3
    UDP_UNREPLIED = 4
    UDP_STREAM = 5


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds of life in each state, as nanoseconds (nf_conntrack-sysctl.rst; established is what kube-proxy sets)."""

    syn_sent_ns: int = 120 * S
    established_ns: int = 86400 * S
    time_wait_ns: int = 120 * S
    close_ns: int = 10 * S
    udp_ns: int = 30 * S
    udp_stream_ns: int = 120 * S

    def by_state(self) -> tuple[int, ...]:
        """Life after the last packet, indexed by `State`."""
        return (
            self.syn_sent_ns,
            self.established_ns,
            self.time_wait_ns,
            self.close_ns,
            self.udp_ns,
            self.udp_stream_ns,
        )


_IPV6_FROM = 1 << 32
"""Addresses below are IPv4."""


def flow_key(protocol: int, source: int, source_port: int, destination: int, destination_port: int) -> int:
    """The five-tuple of the original direction as one int (addresses take 129 bits, see `svcsim.linux.address`).

    IPv4 flows stay below 2**104; the family bit of an IPv6 address keeps the two apart.
    """
    if source >= _IPV6_FROM or destination >= _IPV6_FROM:
        return ((((((1 << 130) | source) << 130) | destination) << 40) | protocol << 32 | source_port << 16) | destination_port
    return (source << 32 | destination) << 40 | (protocol << 32 | source_port << 16 | destination_port)


def split_flow_key(key: int) -> tuple[int, int, int, int, int]:
    """Protocol, source, source port, destination and destination port of a `flow_key`.

    >>> split_flow_key(flow_key(17, 1, 2, 3, 4)), split_flow_key(flow_key(6, 1 << 128, 2, (1 << 128) + 9, 4))[3] == (1 << 128) + 9
    ((17, 1, 2, 3, 4), True)
    """
    port, source_port, protocol = key & 0xFFFF, (key >> 16) & 0xFFFF, (key >> 32) & 0xFF
    if key >> 104:
        mask = (1 << 130) - 1
        return protocol, (key >> 170) & mask, source_port, (key >> 40) & mask, port
    return protocol, key >> 72, source_port, (key >> 40) & 0xFFFFFFFF, port


class Entry:
    """A live flow: what its packets are rewritten to, in which state it is and until when.

    Whoever holds a reference can tell without a look-up: once `expires_ns` is not after now, the entry is gone.
    """

    __slots__ = (
        "confirmed_ns", "destination", "destination_port", "due_ns", "expires_ns", "key", "source", "source_port", "state",
    )

    def __init__(
        self, key: int, state: State, destination: int, destination_port: int, source: int, source_port: int, confirmed_ns: int
    ) -> None:
        self.key = key
        self.state = state
        self.destination = destination
        self.destination_port = destination_port
        self.source = source
        self.source_port = source_port
        self.confirmed_ns = confirmed_ns
        self.expires_ns = 0
        self.due_ns = 0


class _Fifo:
    """Keys in the order in which their expiry was due when they were queued."""

    __slots__ = ("dues", "keys")

    def __init__(self) -> None:
        self.keys: deque[int] = deque()
        self.dues: deque[int] = deque()


class Conntrack:
    """The table of one node."""

    __slots__ = ("_fifos", "_next_due_ns", "dropped_full", "entries", "insert_failed", "limit", "timeouts", "_life_ns", "_peak")

    def __init__(self, limit: int, timeouts: Timeouts) -> None:
        self.limit = limit
        self.timeouts = timeouts
        self._life_ns = timeouts.by_state()
        self.entries: dict[int, Entry | int] = {}
        self._fifos: dict[int, _Fifo] = {}
        self._next_due_ns = 1 << 62
        self.dropped_full = 0
        self.insert_failed = 0
        self._peak = 0

    def lookup(self, key: int, now_ns: int) -> Entry | None:
        """The live entry of a flow, or None; a closed one that lingers is None too (its tuple may be taken over)."""
        found = self.entries.get(key)
        if found.__class__ is not Entry:
            return None
        return found if found.expires_ns > now_ns else None

    def count(self, now_ns: int) -> int:
        """nf_conntrack_count: live and lingering entries."""
        if self._next_due_ns <= now_ns:
            self.sweep(now_ns)
        return len(self.entries)

    def insert(self, entry: Entry, now_ns: int) -> bool:
        """Enter a flow; False if the table is full ("nf_conntrack: table full, dropping packet")."""
        entries = self.entries
        key = entry.key
        if (key in entries or self._next_due_ns <= now_ns or len(entries) >= self.limit) and not self._takes(key, now_ns):
            return False
        entries[key] = entry
        timeout_ns = self._life_ns[entry.state]
        entry.expires_ns = entry.due_ns = due_ns = now_ns + timeout_ns
        fifo = self._fifos.get(timeout_ns) or self._fifo(timeout_ns)
        fifo.keys.append(key)
        fifo.dues.append(due_ns)
        if due_ns < self._next_due_ns:
            self._next_due_ns = due_ns
        return True

    def _takes(self, key: int, now_ns: int) -> bool:
        """Whether there is room for a flow; one of the same tuple gives way."""
        entries = self.entries
        is_due = self._next_due_ns <= now_ns
        if is_due and (key in entries or len(entries) >= min(self._peak, self.limit)):
            self.sweep(now_ns)
        old = entries.get(key)
        if old is None:
            if len(entries) >= self.limit:
                self.dropped_full += 1
                return False
        elif old.__class__ is Entry:
            old.expires_ns = 0
        return True

    @property
    def peak(self) -> int:
        """The most flows that there were at a time."""
        return max(self._peak, len(self.entries))

    def move(self, entry: Entry, state: State, now_ns: int) -> None:
        """A packet took the flow to a state; its time starts anew."""
        if entry.expires_ns <= now_ns:
            return
        entry.state = state
        entry.confirmed_ns = 0  # long ago; a small int takes no memory
        timeout_ns = self._life_ns[state]
        entry.expires_ns = expires_ns = now_ns + timeout_ns
        if expires_ns < entry.due_ns:
            self._look_at(entry, timeout_ns, expires_ns)

    def refresh(self, entry: Entry, now_ns: int) -> None:
        """A packet of the flow passed; its time starts anew."""
        if entry.expires_ns > now_ns:
            entry.expires_ns = now_ns + self._life_ns[entry.state]

    def close(self, entry: Entry, state: State, now_ns: int) -> None:
        """The connection is over (TIME_WAIT or CLOSE): keep key and expiry only. `now_ns` may lie a little ahead."""
        if entry.expires_ns <= now_ns:
            return
        timeout_ns = self._life_ns[state]
        expires_ns = now_ns + timeout_ns
        entry.expires_ns = 0
        self.entries[entry.key] = expires_ns
        if expires_ns < entry.due_ns:
            self._look_at(entry, ~timeout_ns, expires_ns)

    def delete(self, entry: Entry) -> None:
        """Forget a flow at once (`conntrack -D`)."""
        if entry.expires_ns:
            self._peak = self.peak
            entry.expires_ns = 0
            del self.entries[entry.key]

    def flush(self) -> None:
        """Forget everything: the node lost power."""
        self._peak = self.peak
        for entry in self.entries.values():
            if entry.__class__ is Entry:
                entry.expires_ns = 0
        self.entries.clear()
        self._fifos.clear()
        self._next_due_ns = 1 << 62

    def live(self, now_ns: int | None = None) -> list[Entry]:
        """All entries that are not lingering, for `conntrack -D` by filter and for display; without a time, as last swept."""
        if now_ns is not None:
            self.sweep(now_ns)
        return [entry for entry in self.entries.values() if entry.__class__ is Entry]

    def _fifo(self, timeout_ns: int) -> _Fifo:
        fifo = self._fifos.get(timeout_ns)
        if fifo is None:
            fifo = self._fifos[timeout_ns] = _Fifo()
        return fifo

    def _look_at(self, entry: Entry, lane: int, due_ns: int) -> None:
        """Look at an entry earlier than its place in a FIFO says."""
        entry.due_ns = due_ns
        fifo = self._ordered_fifo(lane, due_ns)
        fifo.keys.append(entry.key)
        fifo.dues.append(due_ns)
        if due_ns < self._next_due_ns:
            self._next_due_ns = due_ns

    def sweep(self, now_ns: int) -> None:
        """Remove what has expired up to now; what was refreshed meanwhile is queued for its new expiry."""
        self._peak = self.peak
        entries = self.entries
        again: list[tuple[int, Entry | int, int]] = []
        next_due_ns = 1 << 62
        for fifo in self._fifos.values():
            dues = fifo.dues
            while dues and dues[0] <= now_ns:
                due_ns = dues.popleft()
                key = fifo.keys.popleft()
                value = entries.get(key)
                if value is None:
                    continue
                if value.__class__ is Entry:
                    if value.due_ns != due_ns:
                        continue  # a later element of a FIFO answers for this one
                    expires_ns: int = value.expires_ns
                    if expires_ns <= now_ns:
                        value.expires_ns = 0
                else:
                    expires_ns = value  # type: ignore[assignment]
                if expires_ns <= now_ns:
                    del entries[key]
                else:
                    again.append((key, value, expires_ns))
            if dues and dues[0] < next_due_ns:
                next_due_ns = dues[0]
        for key, value, expires_ns in again:
            if value.__class__ is Entry:
                fifo = self._ordered_fifo(self._life_ns[value.state], expires_ns)
                value.due_ns = expires_ns
            else:
                fifo = self._ordered_fifo(-1, expires_ns)
            fifo.keys.append(key)
            fifo.dues.append(expires_ns)
            if expires_ns < next_due_ns:
                next_due_ns = expires_ns
        self._next_due_ns = next_due_ns

    def _ordered_fifo(self, preferred_ns: int, expires_ns: int) -> _Fifo:
        """A FIFO whose last element is not due after this one, so that each FIFO stays in order."""
        fifo = self._fifo(preferred_ns)
        lane = preferred_ns
        while fifo.dues and fifo.dues[-1] > expires_ns:
            lane = -lane - 1 if lane >= 0 else lane - 1
            fifo = self._fifo(lane)
        return fifo
