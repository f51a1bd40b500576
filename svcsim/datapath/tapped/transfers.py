"""Long messages, with a tap on the trains of each window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from svcsim.datapath.conversation import Conversation, Parcel
from svcsim.datapath.transfer import Message, Train, Transfers
from svcsim.linux.frames import ACK
from svcsim.linux.packet import TCP
from svcsim.linux.tcp import SEGMENT_BYTES

if TYPE_CHECKING:
    from svcsim.datapath.capture import Point, Tap
    from svcsim.datapath.fabric import Fabric
    from svcsim.datapath.tapped.exchanges import TappedExchanges

DUPLICATES = 3
"""Acknowledgements of a packet that came behind a missing one: as many as tell a sender of the loss."""

Pieces = list[tuple[Sequence[int], Parcel]]
"""Packets with the numbers of their segments."""


class View(NamedTuple):
    """How a train passes a watched host: its interfaces, when head and tail come in, when the first and the last packet leave."""

    near: Point | None
    far: Point | None
    head_ns: int
    tail_ns: int
    first_ns: int
    last_ns: int
    comment: str


class Stream:
    """What a message says, and where each segment that was sent is in its connection's bytes."""

    __slots__ = ("begin", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.begin: dict[int, int] = {}

    def part(self, run: Sequence[int]) -> bytes:
        """The bytes of segments that follow on one another."""
        return self.data[run[0] * SEGMENT_BYTES : (run[-1] + 1) * SEGMENT_BYTES]

    def runs(self, numbers: Sequence[int], apart: int = 0) -> list[Sequence[int]]:
        """Segments that follow on one another in the connection's bytes; those before place `apart` for themselves."""
        runs: list[Sequence[int]] = []
        first = 0
        for place in range(1, len(numbers) + 1):
            follows = place < len(numbers) and place != apart and numbers[place] == numbers[place - 1] + 1
            if not follows or self.begin[numbers[place]] != self.begin[numbers[place - 1]] + SEGMENT_BYTES:
                runs.append(numbers[first:place])
                first = place
        return runs


class TappedTransfers(Transfers):
    """Trains as packets, with the acknowledgement of each."""

    __slots__ = ("_fate", "_parcels", "_streams", "tap", "tapped")

    def __init__(self, fabric: Fabric, exchanges: TappedExchanges, tap: Tap) -> None:
        super().__init__(fabric, exchanges)
        self.tapped = exchanges
        self.tap = tap
        self._streams: dict[Message, Stream] = {}
        self._parcels: dict[Train, Pieces] = {}
        self._fate = ""

    def _depart(self, train: Train) -> None:
        """As it is; the segments become packets."""
        conversation = self.tap.of(train.connection)
        if conversation is not None:
            self._cut(train, conversation)
        super()._depart(train)

    def _cut(self, train: Train, conversation: Conversation) -> None:
        """Runs of segments as packets: offload takes together what follows on one another, without those lost on the way."""
        message, connection = train.message, train.connection
        stream = self._streams.get(message)
        if stream is None:
            stream = self._streams[message] = Stream(self.tap.payload(message.request, not message.forward))
        sender, _ = conversation.ends(forward=message.forward)
        for number in train.numbers[train.resent :]:
            stream.begin[number] = sender.following
            sender.following += len(stream.part((number,)))
        unit = connection.entry_host.charges.unit_bytes
        parcels: Pieces = []
        for run in stream.runs(train.numbers, train.resent):
            cut = conversation.cut(stream.part(run), stream.begin[run[0]], train.sent_ns, unit, forward=message.forward)
            at = 0
            for parcel in cut:
                held = -(-len(parcel.payload) // SEGMENT_BYTES)
                parcels.append((run[at : at + held], parcel))
                at += held
        self._parcels[train] = parcels

    def _on_station(self, train: Train) -> None:
        """As it is; shows the train on both sides of the host, cut around what the link behind it loses."""
        parcels = self._parcels.get(train)
        conversation = self.tap.of(train.connection)
        if parcels is None or conversation is None:
            super()._on_station(train)
            return
        view = self._view(train)
        lost_before = len(train.lost)
        self._fate = ""
        super()._on_station(train)
        gone = frozenset(train.lost[lost_before:])
        if gone:
            parcels = self._parcels[train] = self._cut_around(train, parcels, gone)
        if view is not None:
            self._show(train, conversation, parcels, view, gone)
        still = frozenset(train.carried)
        self._parcels[train] = [(numbers, parcel) for numbers, parcel in parcels if numbers[0] in still]

    def _view(self, train: Train) -> View | None:
        """When a train passes the host that it has reached; None if nobody watches."""
        connection, forward, position = train.connection, train.message.forward, train.position
        now = self._environment._now
        passes = connection.generation == self.fabric.generation or self.tapped.revalidate(connection)
        stations = connection.forward if forward else connection.backward
        hosts = self.tapped.hosts_of(connection)
        i = position if forward else len(hosts) - 1 - position
        if not self.tap.watches(hosts[i : i + 1]) or not hosts[i].up:
            return None
        free, queue, cost_ns, _, _ = stations[position]
        start = free[queue] if free[queue] > now else now
        send_ns = train.sender.send_ns if position == 0 and train.first else 0
        charges = connection.entry_host.charges
        units = -(-train.message.bytes_of(train.carried) // charges.unit_bytes)
        first_ns = start + cost_ns + send_ns
        last_ns = max(first_ns + (units - 1) * charges.extra_unit_ns, train.tail_ns + cost_ns + send_ns)
        near, far = self.tapped._sides(connection, hosts, i, forward=forward)
        comment = ""
        if start - now > self._backlog_ns:
            comment, far = "dropped: softirq backlog", None
        elif not passes:
            comment = "no answer will come: no path"
            far = None if position == len(hosts) - 1 else far
        return View(near, far, now + send_ns, train.tail_ns + send_ns, first_ns, last_ns, comment)

    def _show(
        self, train: Train, conversation: Conversation, parcels: Pieces, view: View, gone: frozenset[int]
    ) -> None:
        resent = frozenset(train.numbers[: train.resent]) if not train.lost or train.position == 1 else frozenset()
        gaps = max(1, len(parcels) - 1)
        for k, (numbers, parcel) in enumerate(parcels):
            at_ns = view.head_ns + (view.tail_ns - view.head_ns) * k // gaps
            out_ns = max(at_ns, view.first_ns + (view.last_ns - view.first_ns) * k // gaps)
            remarks = ["retransmission"] if numbers[0] in resent else []
            if view.comment:
                remarks.append(view.comment)
            elif self._fate or numbers[0] in gone:
                remarks.append(f"lost: {self._cause}")
            steps = [(at_ns, view.near), (out_ns, view.far)]
            self.tap.show(conversation, parcel, TCP, steps, forward=train.message.forward, comment="; ".join(remarks))

    def _cut_around(self, train: Train, parcels: Pieces, gone: frozenset[int]) -> Pieces:
        """Packets as before, with each run of segments that get lost for itself."""
        stream = self._streams.get(train.message)
        if stream is None:
            return parcels
        found: Pieces = []
        for numbers, parcel in parcels:
            header = parcel.header
            for part in ([number for number in numbers if number in gone], [number for number in numbers if number not in gone]):
                for run in stream.runs(part):
                    if len(run) == len(numbers) or header is None:
                        found.append((numbers, parcel))
                    else:
                        piece = Parcel(replace(header, sequence=stream.begin[run[0]]), stream.part(run), parcel.ident)
                        found.append((run, piece))
        return sorted(found, key=lambda piece: piece[0][0])

    def _on_socket(self, train: Train) -> None:
        """As it is; the receiver's kernel acknowledges what has come in order."""
        message, connection = train.message, train.connection
        parcels = self._parcels.pop(train, None)
        conversation = self.tap.of(connection)
        if parcels is not None and conversation is not None and (not message.forward or connection.server is not None):
            self._acknowledge(train, conversation, parcels)
        if message.missing <= len(train.carried):
            self._streams.pop(message, None)
        super()._on_socket(train)

    def _acknowledge(self, train: Train, conversation: Conversation, parcels: Pieces) -> None:
        connection, forward = train.connection, train.message.forward
        stream = self._streams.get(train.message)
        if stream is None:
            return  # it was sent again for nothing
        _, receiver = conversation.ends(forward=forward)
        receiver.holes.update(stream.begin[number] for number in train.lost)
        now, gaps = self._environment._now, max(1, len(parcels) - 1)
        for k, (numbers, parcel) in enumerate(parcels):
            at_ns = now + (train.tail_ns - now) * k // gaps
            receiver.holes.difference_update(stream.begin[number] for number in numbers)
            conversation.arrived(parcel, stream.begin[numbers[0]] + len(parcel.payload), forward=forward)
            behind = min(receiver.holes, default=receiver.reached) < stream.begin[numbers[0]]
            for _ in range(DUPLICATES if behind else 1):
                control = conversation.control(ACK, at_ns, forward=not forward)
                self.tapped.pass_by(connection, conversation, control, at_ns, forward=not forward)

    def _lost(self, train: Train, cause: str) -> None:
        """As it is; says so at the packets."""
        self._fate = self._cause = cause
        conversation = self.tap.of(train.connection)
        stream = self._streams.get(train.message)
        if conversation is not None and stream is not None:
            _, receiver = conversation.ends(forward=train.message.forward)
            receiver.holes.update(stream.begin[number] for number in train.numbers)
        super()._lost(train, cause)
