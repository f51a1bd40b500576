"""Entries of the connection table, and the queue in which they wait for their time.

No event is scheduled for an entry. Each waits in a FIFO of its time-out, with the instant at which somebody should look;
a refresh only rewrites the entry's expiry, and whoever finds it early queues it again. An entry that would break the order
of its FIFO waits in a heap beside. So entries come out in the order of their time, and a refresh costs one assignment.

Source of what the entries mean: Linux net/netfilter/ipvs/ip_vs_conn.c.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from svcsim.linux.ipvs.services import RealServer
from svcsim.linux.ipvs.states import State

NEVER_NS = 1 << 62


class Template:
    """The memory of persistence: this client goes to this server. It counts the entries that it controls (`held`).

    `displaced` templates no longer answer for new connections (`ipvsadm -Lcn` shows port 65535) but hold until they expire.
    """

    __slots__ = ("assured", "displaced", "due_ns", "expires_ns", "held", "key", "server", "timeout_ns")

    def __init__(self, key: int, server: RealServer, timeout_ns: int) -> None:
        self.key = key
        self.server = server
        self.timeout_ns = timeout_ns
        self.held = 0
        self.assured = False
        self.displaced = False
        self.expires_ns = 0
        self.due_ns = NEVER_NS


class IpvsConnection:
    """One flow: which server it goes to, its state, and until when. `expires_ns` is 0 once the entry is gone.

    `key` is the five-tuple (`svcsim.linux.ipvs.keys.split_key`); `template` is set for flows of a persistent service. The
    methods make an entry a `svcsim.linux.packet.Flow`.
    """

    __slots__ = ("due_ns", "expires_ns", "key", "server", "state", "template")

    def __init__(self, key: int, server: RealServer, state: State, template: Template | None) -> None:
        self.key = key
        self.server = server
        self.state = state
        self.template = template
        self.expires_ns = 0
        self.due_ns = NEVER_NS

    @property
    def active(self) -> bool:
        """Whether the entry counts as an active connection of its server."""
        return self.state in (State.ESTABLISHED, State.SYN_RECV, State.SYN_SENT)

    def on_packet(self, now_ns: int) -> bool:
        """A segment or datagram of the client passes; False if IPVS drops it or has no entry for it any more."""
        return self.server.service.table.on_packet(self, now_ns) == 2

    def on_close(self, now_ns: int, *, by_client: bool) -> None:
        """FINs pass in both directions, the first one from the client or from the server."""
        table = self.server.service.table
        table.on_fin(self, by_client, now_ns)
        table.on_fin(self, not by_client, now_ns)

    def on_reset(self, now_ns: int) -> None:
        """A RST of the server passes."""
        self.server.service.table.on_rst(self, False, now_ns)


Entry = IpvsConnection | Template


class _Lane:
    __slots__ = ("dues", "entries")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.dues: deque[int] = deque()


class ExpiryQueue:
    """Entries by the instant at which to look at them; `next_ns` is the earliest of those instants."""

    __slots__ = ("_heap", "_lanes", "_serial", "next_ns")

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}
        self._heap: list[tuple[int, int, Entry]] = []
        self._serial = 0
        self.next_ns = NEVER_NS

    def put(self, entry: Entry, timeout_ns: int, due_ns: int) -> None:
        """Look at the entry at `due_ns`; `timeout_ns` names the FIFO. An earlier appointment of the entry is void."""
        entry.due_ns = due_ns
        lane = self._lanes.get(timeout_ns)
        if lane is None:
            lane = self._lanes[timeout_ns] = _Lane()
        dues = lane.dues
        if dues and dues[-1] > due_ns:
            self._serial += 1
            heappush(self._heap, (due_ns, self._serial, entry))
        else:
            dues.append(due_ns)
            lane.entries.append(entry)
        if due_ns < self.next_ns:
            self.next_ns = due_ns

    def pop(self) -> Entry | None:
        """The entry whose appointment is the earliest; None if that appointment is void."""
        first: _Lane | None = None
        heap = self._heap
        due_ns = heap[0][0] if heap else NEVER_NS
        second_ns = NEVER_NS
        for lane in self._lanes.values():
            if lane.dues:
                head_ns = lane.dues[0]
                if head_ns < due_ns:
                    second_ns = due_ns
                    due_ns = head_ns
                    first = lane
                elif head_ns < second_ns:
                    second_ns = head_ns
        if first is not None:
            dues = first.dues
            dues.popleft()
            entry = first.entries.popleft()
            head_ns = dues[0] if dues else NEVER_NS
        elif heap:
            entry = heappop(heap)[2]
            head_ns = heap[0][0] if heap else NEVER_NS
        else:
            self.next_ns = NEVER_NS
            return None
        self.next_ns = head_ns if head_ns < second_ns else second_ns
        return entry if entry.due_ns == due_ns else None

    def clear(self) -> None:
        """Forget all appointments."""
        self._lanes.clear()
        self._heap.clear()
        self.next_ns = NEVER_NS
