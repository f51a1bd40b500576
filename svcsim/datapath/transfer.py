"""Messages longer than the initial window: they cross window by window, each a train of its own.

A sender sends what its congestion window allows. The acknowledgements of a train release the next one: its head leaves when
the first of them is back, its tail not before the last (ack clocking). So trains of several transfers share a link in turn, and
once a window is longer than what the path holds, the link never rests. Acknowledgements are pure delays: they wait in no queue,
are never lost and cost nothing. Messages on one connection (streams) share its window and take turns, a train each.

What is lost is sent again as soon as something sent behind it is acknowledged: a later packet of its train, a later train, or a
probe that the sender sends if nothing comes (RACK and TLP: tcp_recovery.c, tcp_output.c, RFC 8985). If that is lost, too, a
time-out sends the train again, in slow start.

`svcsim.linux.congestion` has the window itself, `svcsim.datapath.exchange` the way of shorter messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from svcsim.datapath.connection import RESPONSE, Connection, Request
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Charges, Host
from svcsim.engine.clock import PACKET
from svcsim.engine.hop import Hop, Step
from svcsim.linux.congestion import CongestionWindow
from svcsim.linux.tcp import SEGMENT_BYTES
from svcsim.results.records import Flag
from svcsim.units import MS

if TYPE_CHECKING:
    from svcsim.datapath.exchange import Exchanges

_RETRANSMITTED = int(Flag.RETRANSMITTED)
_PROBE_MARGIN_NS = 2 * MS  # TCP_TIMEOUT_MIN: two jiffies, of a millisecond


class Message:
    """A request or an answer under way, in segments: `fresh` is the next that was never sent, `again` are those to be sent again,
    `missing` says how many have not arrived. `whole_ns` is when the last of those that have arrived was there and copied:
    processes copy one part after the other, while the next ones travel.
    """

    __slots__ = ("again", "copied_bytes", "forward", "fresh", "missing", "request", "segments", "size_bytes", "whole_ns")

    def __init__(self, request: Request, size_bytes: int, *, forward: bool) -> None:
        self.request = request
        self.forward = forward
        self.size_bytes = size_bytes
        self.segments = self.missing = -(-size_bytes // SEGMENT_BYTES)
        self.fresh = self.whole_ns = self.copied_bytes = 0
        self.again: list[int] = []

    @property
    def to_send(self) -> int:
        """Segments that wait to be sent, for the first time or again."""
        return len(self.again) + self.segments - self.fresh

    def take(self, limit: int) -> Sequence[int]:
        """Up to so many segments by number: what was lost, then what comes next."""
        if not self.again:
            begin = self.fresh
            self.fresh = min(self.segments, begin + limit)
            return range(begin, self.fresh)
        taken, self.again = self.again[:limit], self.again[limit:]
        begin = self.fresh
        self.fresh = min(self.segments, begin + limit - len(taken))
        return [*taken, *range(begin, self.fresh)]

    def copy(self, size_bytes: int, charges: Charges) -> int:
        """What copying the next so many bytes takes at both ends."""
        begin_bytes = self.copied_bytes
        self.copied_bytes += size_bytes
        return charges.copied_ns(self.copied_bytes) - charges.copied_ns(begin_bytes)

    def bytes_of(self, numbers: Sequence[int]) -> int:
        """The size of these segments; the message's last one may be short."""
        last = self.segments - 1
        short = self.segments * SEGMENT_BYTES - self.size_bytes if numbers and numbers[-1] == last else 0
        return len(numbers) * SEGMENT_BYTES - short


class Sender:
    """One direction of a connection: its window, the messages that have something to send, in turn, and what is under way.

    `untold` are trains of which something is missing that no acknowledgement has told of; trains are numbered by `serial`.
    `time_outs` counts those in a row. `send_ns` and `receive_ns` are what sockets take at either end, which is no part of a
    round trip between kernels; `acknowledge_ns` is the way back of an acknowledgement. `idle` is called when all has come back.
    """

    __slots__ = (
        "acknowledge_ns", "idle", "messages", "receive_ns", "send_ns", "serial", "time_outs", "under_way", "untold", "window",
    )

    def __init__(self, window: CongestionWindow) -> None:
        self.window = window
        self.messages: deque[Message] = deque()
        self.untold: list[Train] = []
        self.under_way = self.time_outs = self.serial = 0
        self.send_ns = self.receive_ns = self.acknowledge_ns = 0
        self.idle: Callable[[], None] | None = None


class Train(Hop):
    """Segments of a message that travel together. `carried` are those that are still with it, `lost` the others.

    `tail_ns` is when the last of them is where the head is now. `most` is the most that was under way while it was sent. `resent`
    of its segments, the first ones, had been sent before. `settled` says that what was missing is in other hands; a probe is for
    the train `probed`.
    """

    __slots__ = (
        "carried", "connection", "first", "lost", "message", "most", "numbers", "position", "probed", "resent", "sender",
        "sent_ns", "serial", "settled", "tail_ns",
    )

    def __init__(
        self, connection: Connection, sender: Sender, message: Message, numbers: Sequence[int], sent_ns: int, tail_ns: int
    ) -> None:
        self.connection = connection
        self.sender = sender
        self.message = message
        self.numbers = self.carried = numbers
        self.first = False
        self.settled = False
        self.probed: Train | None = None
        self.resent = 0
        sender.serial = self.serial = sender.serial + 1
        self.lost: list[int] = []
        self.position = 0
        self.sent_ns = sent_ns
        self.tail_ns = tail_ns
        self.most = sender.under_way


class Transfers:
    """All steps of long messages. One object a world; what it knows of a connection is with the connection."""

    __slots__ = (
        "_acknowledged", "_answered", "_at_socket", "_backlog_ns", "_cause", "_counts", "_environment", "_exchanges",
        "_probe_due", "_station", "_timed_out", "fabric",
    )

    def __init__(self, fabric: Fabric, exchanges: Exchanges) -> None:
        self.fabric = fabric
        self._exchanges = exchanges
        self._environment = fabric.environment
        self._counts = fabric.counts
        self._backlog_ns = fabric.settings.backlog_ns
        self._station: Step = (self._on_station,)
        self._at_socket: Step = (self._on_socket,)
        self._acknowledged: Step = (self._on_acknowledged,)
        self._probe_due: Step = (self._on_probe_due,)
        self._timed_out: Step = (self._on_time_out,)
        self._answered: Step = (self._on_answered,)
        self._cause = ""

    # ---- the sender --------------------------------------------------------------------------------------------------

    def begin(self, request: Request) -> None:
        """A request, or its answer where the phase is RESPONSE, is written to a connection that stands, now."""
        forward = request.phase != RESPONSE
        connection = request.connection
        if forward:  # the server accepts meanwhile
            connection.forward = connection.paths.forward
        sender = connection.client_sender if forward else connection.sender
        if sender is None:
            sender = Sender(CongestionWindow(self.fabric.settings.windows))
            if forward:
                connection.client_sender = sender
            else:
                connection.sender = sender
        self._measure(connection, sender, forward=forward)
        if not sender.under_way:
            sender.window.resume(self._environment._now, self._timeout_ns(sender))
        size_bytes = request.request_bytes if forward else request.answer_bytes
        sender.messages.append(Message(request, size_bytes, forward=forward))
        self._send(connection, sender, 0, by_process=True)

    def is_sending(self, connection: Connection) -> bool:
        """Whether a part of an answer waits at the server, or for acknowledgements."""
        sender = connection.sender
        return sender is not None and bool(sender.messages or sender.under_way)

    def when_sent(self, connection: Connection, action: Callable[[], None]) -> None:
        """Call a function when the server has sent all answers on the connection, and they are acknowledged."""
        assert connection.sender is not None
        connection.sender.idle = action

    def _measure(self, connection: Connection, sender: Sender, *, forward: bool) -> None:
        client, server = connection.namespace.host.charges, connection.server_host.charges
        if forward:
            sender.send_ns, sender.receive_ns = client.client_send_ns, server.server_receive_ns
            back_ns = server.server_send_ns + client.client_receive_ns
        else:
            sender.send_ns, sender.receive_ns = server.server_send_ns, client.client_receive_ns
            back_ns = client.client_send_ns + server.server_receive_ns
        stations = connection.backward if forward else connection.forward
        sender.acknowledge_ns = max(0, sum(station[2] + station[3] for station in stations) - back_ns)

    def _timeout_ns(self, sender: Sender) -> int:
        """The retransmission time-out, before it doubles (tcp_set_rto: the smoothed round trip and the least variance)."""
        return self.fabric.settings.timers.data_floor_ns + sender.window.rtt_ns

    def _send(
        self, connection: Connection, sender: Sender, spread_ns: int, released: int = 0, *, by_process: bool = False
    ) -> None:
        """Send what the window has room for, now; the last packet of as much as fills it leaves `spread_ns` later.

        `released` is how much the acknowledgements that arrive meanwhile take from what is under way.
        """
        window = sender.window
        room = all_room = window.segments - sender.under_way
        now = self._environment._now
        while room > 0 and sender.messages:
            message = sender.messages[0]
            if not self._goes_on(message):
                sender.messages.popleft()
                continue
            self._counts.sent += 1
            if message.forward and not by_process and not self._exchanges.balanced(connection):
                sender.messages.clear()
                return
            resent = len(message.again)
            numbers = message.take(room)
            if message.to_send:
                sender.messages.rotate(-1)
            else:
                sender.messages.popleft()
            room -= len(numbers)
            sender.under_way += len(numbers)
            window.used_ns = now
            train = Train(connection, sender, message, numbers, now, now + spread_ns * (all_room - room) // all_room)
            train.first = by_process
            train.most += released - (all_room - room) * released // all_room
            train.resent = min(resent, len(numbers))
            self._depart(train)

    def _depart(self, train: Train) -> None:
        self._on_station(train)

    def _goes_on(self, message: Message) -> bool:
        """Whether anybody waits for the rest of a message, and there is somebody to send it."""
        request = message.request
        connection = request.connection
        if not request.live or connection is None:
            return False
        return message.forward or (connection.server_namespace.alive and connection.server_host.up)

    # ---- the way -----------------------------------------------------------------------------------------------------

    def _on_station(self, train: Train) -> None:
        """The head of a train reaches a host's CPU queue."""
        connection = train.connection
        if connection.generation != self.fabric.generation and not self._exchanges.revalidate(connection):
            self._on_no_path(train)
            return
        now = self._environment._now
        message, sender, position = train.message, train.sender, train.position
        stations = connection.forward if message.forward else connection.backward
        free, queue, cost_ns, delay_ns, _ = stations[position]
        start = free[queue]
        if start < now:
            start = now
        elif start - now > self._backlog_ns:
            self._lost(train, "softirq backlog")
            return
        size_bytes = message.bytes_of(train.carried)
        charges = connection.entry_host.charges
        head_ns = start + cost_ns
        free[queue] = done_ns = head_ns + (-(-size_bytes // charges.unit_bytes) - 1) * charges.extra_unit_ns
        tail_ns = max(done_ns, train.tail_ns + cost_ns)
        if position == 0 and not train.first:
            delay_ns -= sender.send_ns  # the kernel sends it by itself
        train.position = position = position + 1
        head_ns += delay_ns
        tail_ns += delay_ns
        if position == len(stations):
            head_ns -= sender.receive_ns
            tail_ns -= sender.receive_ns
            train.callbacks = self._at_socket
        else:
            train.callbacks = self._station
            if connection.lossy:
                crossed = self._cross(train, head_ns, tail_ns)
                if crossed is None:
                    self._lost(train, self._cause)
                    return
                head_ns, tail_ns = crossed
        train.tail_ns = tail_ns
        self._environment.schedule(train, PACKET, head_ns - now)

    def _cross(self, train: Train, head_ns: int, tail_ns: int) -> tuple[int, int] | None:
        """When head and tail reach the next host if nothing but the route's delay kept them so far; None if too few get there."""
        fabric = self.fabric
        connection, message = train.connection, train.message
        near, far = self._ends(train)
        route = fabric.route(near, far)
        if route is None:
            self._cause = "no path"
            return None
        if route.loss:
            kept = [number for number in train.carried if not fabric.is_lost(connection, route)]
            if len(kept) < len(train.carried) and not self._lose(train, kept, "link loss"):
                return None
        jitter_ns = fabric.rough_delay_ns(connection, route)
        head_ns += jitter_ns
        tail_ns += jitter_ns
        for link in route.links:
            carried = train.carried
            taken, head_ns, tail_ns = link.carry(head_ns, tail_ns, len(carried), message.bytes_of(carried))
            if taken < len(carried) and not self._lose(train, carried[:taken], "link queue full"):
                return None
        return head_ns, tail_ns

    def _ends(self, train: Train) -> tuple[Host, Host]:
        """The hosts between which a train travels after its `position`-th station."""
        hosts = self._exchanges.hosts_of(train.connection)
        position = train.position
        return (hosts[position - 1], hosts[position]) if train.message.forward else (hosts[-position], hosts[-position - 1])

    def _lose(self, train: Train, kept: Sequence[int], cause: str) -> bool:
        """Some packets of a train go no further; whether any do."""
        self._cause = cause
        if not kept:
            return False
        still = set(kept)
        gone = [number for number in train.carried if number not in still]
        train.lost += gone
        train.carried = kept
        self.fabric.drop(cause, len(gone))
        self._counts.sent += len(gone)
        return True

    # ---- the receiver ------------------------------------------------------------------------------------------------

    def _on_socket(self, train: Train) -> None:
        """The head of a train is with its receiver's kernel, which acknowledges it."""
        connection, message, sender = train.connection, train.message, train.sender
        request = message.request
        if message.forward and (connection.server is None or not connection.open):
            self._on_no_socket(train)
            return
        if train.probed is None:
            message.missing -= len(train.carried)
        elif not self._probe_arrived(train.probed, train.carried[0]):
            self._counts.delivered += 1
            train.callbacks = self._acknowledged
            self._environment.schedule(train, PACKET, sender.acknowledge_ns)
            return
        message.whole_ns = max(message.whole_ns, train.tail_ns + sender.receive_ns)
        message.whole_ns += message.copy(message.bytes_of(train.carried), connection.entry_host.charges)
        if train.lost:
            request.flags |= _RETRANSMITTED
        if train.lost or sender.messages or sender.untold:
            train.callbacks = self._acknowledged
            self._environment.schedule(train, PACKET, sender.acknowledge_ns)
        else:
            self._on_acknowledged(train, sender.acknowledge_ns)
        self._arrived(train)

    def _arrived(self, train: Train) -> None:
        """Hand the message over if that was all of it; its last train counts there."""
        message = train.message
        if message.missing:
            self._counts.delivered += 1
            connection = train.connection
            connection.entry_host.proxy_ns += connection.proxy_exchange_ns // 2
            return
        request = message.request
        request.callbacks = self._exchanges.at_server if message.forward else self._answered
        self._environment.schedule(request, PACKET, message.whole_ns - self._environment._now)

    def _on_answered(self, request: Request) -> None:
        self._exchanges.deliver(request, self._environment._now)

    def _on_no_socket(self, train: Train) -> None:
        """The pod that a train was for has gone, or lives without this socket."""
        if train.connection.backend_address not in self.fabric.namespaces:
            self._lost(train, "no such pod")
            return
        self._counts.delivered += 1
        if train.message.request.live:
            train.sender.messages.clear()
            self._exchanges.answer_reset(train.message.request)

    # ---- what the sender learns --------------------------------------------------------------------------------------

    def _on_acknowledged(self, train: Train, ahead_ns: int = 0) -> None:
        """The first acknowledgement of a train is back, or will be after `ahead_ns`, when nothing follows it."""
        message, sender = train.message, train.sender
        now = self._environment._now + ahead_ns
        spread_ns = train.tail_ns - (now - sender.acknowledge_ns)
        sender.under_way -= len(train.carried)
        sender.time_outs = 0
        window = sender.window
        told = bool(train.lost or sender.untold) and self._tell(train, now)
        if not told and train.probed is None:
            window.acknowledged(len(train.carried), train.most, now - train.sent_ns, spread_ns, now)
        if train.lost:
            behind = [number for number in train.lost if number > train.carried[-1]]
            before = [number for number in train.lost if number < train.carried[-1]]
            if before:
                sender.under_way -= len(before)
                self._queue_again(sender, message, before)
            if behind:
                train.numbers = behind
                self._await_news(train, now)
        if sender.messages:
            self._send(train.connection, sender, spread_ns, len(train.carried))
        if sender.idle is not None:
            self._look_for_idle(sender)

    def _tell(self, train: Train, now_ns: int) -> bool:
        """Whether an acknowledgement tells of a loss: of trains sent before, or before the last packet of its own."""
        sender = train.sender
        told = False
        for other in [other for other in sender.untold if other.serial < train.serial]:
            sender.untold.remove(other)
            other.settled = told = True
            sender.under_way -= len(other.numbers)
            sender.window.lost(other.sent_ns, now_ns)
            self._queue_again(sender, other.message, other.numbers)
        if train.lost and min(train.lost) < train.carried[-1]:
            sender.window.lost(train.sent_ns, now_ns)
            told = True
        return told

    def _queue_again(self, sender: Sender, message: Message, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        message.request.flags |= _RETRANSMITTED
        if not message.to_send:
            sender.messages.appendleft(message)
        message.again = sorted([*message.again, *numbers])

    def _look_for_idle(self, sender: Sender) -> None:
        idle = sender.idle
        if idle is not None and not sender.messages and not sender.under_way:
            sender.idle = None
            idle()

    # ---- what is lost ------------------------------------------------------------------------------------------------

    def _on_no_path(self, train: Train) -> None:
        """Nothing gets through; a node that has lost power forgot the translation of a flow and answers for itself."""
        connection = train.connection
        entry = connection.near_entry
        gone = entry is not None and entry.expires_ns <= self._environment._now
        if train.message.forward and gone and connection.entry_host.up:
            self.fabric.drop("no conntrack entry")
            train.sender.messages.clear()
            self._exchanges.send_reset(connection, by_entry_host=True)
        else:
            self._lost(train, "no path")

    def _lost(self, train: Train, cause: str) -> None:
        """A train goes no further."""
        self.fabric.drop(cause)
        if train.probed is None:
            self._await_news(train, self._environment._now)
            return
        train.sender.under_way -= 1
        self._send(train.connection, train.sender, 0)  # if its train was given up meanwhile, the window had no room for it

    def _await_news(self, train: Train, now_ns: int) -> None:
        """Its `numbers` are missing, and only what is sent later can tell: the sender's timers run."""
        sender = train.sender
        timers = self.fabric.settings.timers
        if sender.time_outs >= timers.data_retries:
            sender.under_way -= len(train.numbers)
            return
        sender.untold.append(train)
        probe_ns = max(now_ns, train.sent_ns) + 2 * sender.window.rtt_ns + _PROBE_MARGIN_NS
        if sender.window.rtt_ns and len(train.numbers) > 1 and probe_ns < self._due_ns(train):
            train.callbacks = self._probe_due
            self._environment.schedule(train, PACKET, probe_ns - self._environment._now)
        else:
            self._await_time_out(train)

    def _due_ns(self, train: Train) -> int:
        """When a train is given up."""
        sender = train.sender
        ceiling_ns = self.fabric.settings.timers.data_ceiling_ns
        return train.sent_ns + min(self._timeout_ns(sender) << sender.time_outs, ceiling_ns)

    def _await_time_out(self, train: Train) -> None:
        train.callbacks = self._timed_out
        self._environment.schedule(train, PACKET, max(0, self._due_ns(train) - self._environment._now))

    def _on_probe_due(self, train: Train) -> None:
        """No acknowledgement came for two round trips: the last segment is sent again, unless others are under way anyhow."""
        if train.settled:
            return
        sender = train.sender
        self._await_time_out(train)
        if sender.under_way > sum(len(other.numbers) for other in sender.untold) or not self._goes_on(train.message):
            return
        now = self._environment._now
        probe = Train(train.connection, sender, train.message, train.numbers[-1:], now, now)
        probe.probed = train
        probe.resent = 1
        sender.under_way += 1
        self._counts.sent += 1
        self._depart(probe)

    def _probe_arrived(self, train: Train, number: int) -> bool:
        """The last segment of a train came by a probe; whether it did so before the time-out."""
        if train.settled:
            return False
        train.numbers = [each for each in train.numbers if each != number]
        train.sender.under_way -= 1
        train.message.missing -= 1
        return True

    def _on_time_out(self, train: Train) -> None:
        """No acknowledgement came: all that is missing of a train is sent again, in slow start."""
        if train.settled:
            return
        sender, message = train.sender, train.message
        train.settled = True
        sender.untold.remove(train)
        sender.under_way -= len(train.numbers)
        sender.time_outs += 1
        sender.window.timed_out(train.sent_ns, self._environment._now)
        if self._goes_on(message):
            self._queue_again(sender, message, train.numbers)
        self._send(train.connection, sender, 0)
        if sender.idle is not None:
            self._look_for_idle(sender)
