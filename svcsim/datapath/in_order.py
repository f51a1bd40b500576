"""Streams of one connection behind a lost packet: TCP hands over in order, so whatever was sent later waits until it is there.

What has arrived behind a gap waits in the receiver's kernel, whose acknowledgement of it tells the sender of the gap: the packet
is sent again a round trip later, and after its time-out if nothing follows it. Bytes of a stream that was given up meanwhile fill
their gap all the same. Each direction of a connection is a sequence of its own. Gaps in messages that are longer than the initial
window (`svcsim.datapath.transfer`) hold up nobody else.

Sources: RFC 9293, 3.4 (sequence numbers); RFC 8985 (RACK: a packet is lost when one sent later is acknowledged).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from svcsim.datapath.connection import RESPONSE, Request
from svcsim.datapath.multiplexed import Gap, MultiplexedConnection
from svcsim.engine.hop import Step
from svcsim.results.records import Flag

if TYPE_CHECKING:
    from svcsim.datapath.exchange import Exchanges

_RETRANSMITTED = int(Flag.RETRANSMITTED)


class InOrder:
    """The steps around a gap. One object a world; gaps and what waits behind them are with the connection."""

    __slots__ = ("_again", "_again_back", "_exchanges", "arrives")

    def __init__(
        self, exchanges: Exchanges, again: Callable[[Request], None], again_back: Callable[[Request], None]
    ) -> None:
        """`again` and `again_back` send a request or an answer once more, now."""
        self._exchanges = exchanges
        self._again = again
        self._again_back = again_back
        self.arrives: Step = (self._on_arrival,)

    # ---- the sender --------------------------------------------------------------------------------------------------

    def lost(self, request: Request, connection: MultiplexedConnection) -> None:
        """A train is lost: it is sent again when an acknowledgement tells of it, at the latest after its time-out."""
        gap = self._gap(request, connection)
        timers = self._exchanges.fabric.settings.timers
        gap.turn += 1
        gap.told = False
        if request.transmission >= timers.data_retries:
            self._give_up(connection, gap)
            return
        wait_ns = timers.data_wait_ns(request.transmission)
        request.transmission += 1
        request.flags |= _RETRANSMITTED
        self._later(wait_ns, connection, gap)

    def repaired(self, request: Request, connection: MultiplexedConnection) -> None:
        """A train goes on without some of its packets, which follow a round trip later."""
        gap = self._gap(request, connection)
        gap.turn += 1
        gap.told = True
        self._watch(connection, gap, 0)

    def _gap(self, request: Request, connection: MultiplexedConnection) -> Gap:
        gap = connection.gaps.get(request)
        if gap is None:
            gap = connection.gaps[request] = Gap(request, request.mark_ns, forward=request.phase != RESPONSE)
        connection.lossy = True  # so that all that follows comes by here
        return gap

    def _later(self, wait_ns: int, connection: MultiplexedConnection, gap: Gap) -> None:
        turn = gap.turn
        self._exchanges.fabric.later(wait_ns, lambda: self._send_again(connection, gap, turn))

    def _send_again(self, connection: MultiplexedConnection, gap: Gap, turn: int) -> None:
        request = gap.request
        if gap.turn != turn or connection.gaps.get(request) is not gap:
            return  # it was sent again before, or is there
        if not self._may_be_filled(connection, gap):
            self._give_up(connection, gap)
            return
        gap.turn += 1
        gap.told = True
        if request.live and (not gap.forward or request in connection.streams):
            (self._again if gap.forward else self._again_back)(request)
            self._watch(connection, gap, 0)
        else:
            self._fill(connection, gap)

    def _fill(self, connection: MultiplexedConnection, gap: Gap) -> None:
        """Nobody waits for the stream any more, but its bytes are due: they come by a packet that costs nobody anything."""
        exchanges = self._exchanges
        if connection.generation != exchanges.fabric.generation and not exchanges.revalidate(connection):
            self.lost(gap.request, connection)
            return
        delay_ns = exchanges.delay_ns(connection, forward=gap.forward)
        exchanges.fabric.later(delay_ns, lambda: self._filled(connection, gap))

    def _watch(self, connection: MultiplexedConnection, gap: Gap, looks: int) -> None:
        """Look now and then whether a connection has ended under what was sent again."""
        timers = self._exchanges.fabric.settings.timers
        turn = gap.turn

        def look() -> None:
            if gap.turn != turn or connection.gaps.get(gap.request) is not gap:
                return
            if looks >= timers.data_retries or not self._may_be_filled(connection, gap):
                self._give_up(connection, gap)
            else:
                self._watch(connection, gap, looks + 1)

        self._exchanges.fabric.later(timers.data_wait_ns(looks), look)

    def _may_be_filled(self, connection: MultiplexedConnection, gap: Gap) -> bool:
        if not connection.open:
            return False
        return gap.forward or (connection.server_namespace.alive and connection.server_host.up)

    # ---- the receiver ------------------------------------------------------------------------------------------------

    def _on_arrival(self, request: Request) -> None:
        """A train is with the kernel of its receiver."""
        connection = request.connection
        assert isinstance(connection, MultiplexedConnection)
        filled = connection.gaps.pop(request, None)
        if connection.gaps and self._waits(connection, request):
            connection.held.append(request)
        else:
            self._hand_over(connection, request)
        if filled is not None:
            self._release(connection)

    def _waits(self, connection: MultiplexedConnection, request: Request) -> bool:
        """Whether something that was sent before is missing; the acknowledgement then tells its sender of that."""
        forward = request.phase != RESPONSE
        before = [gap for gap in connection.gaps.values() if gap.forward == forward and gap.sent_ns < request.mark_ns]
        for gap in before:
            if not gap.told:
                gap.told = True
                self._later(self._exchanges.delay_ns(connection, forward=not forward), connection, gap)
        return bool(before)

    def _hand_over(self, connection: MultiplexedConnection, request: Request) -> None:
        if request.phase == RESPONSE:
            self._exchanges.deliver(request, self._exchanges.fabric.clock.now)
        else:
            for step in connection.forward[-1][4]:
                step(request)

    def _filled(self, connection: MultiplexedConnection, gap: Gap) -> None:
        if connection.gaps.get(gap.request) is gap:
            del connection.gaps[gap.request]
            self._release(connection)

    def _release(self, connection: MultiplexedConnection) -> None:
        """A gap is closed: hand over what waited for it alone."""
        held, connection.held = connection.held, []
        for request in held:
            if connection.gaps and self._waits(connection, request):
                connection.held.append(request)
            else:
                self._hand_over(connection, request)
        if not connection.gaps and connection.generation == self._exchanges.fabric.generation:
            self._exchanges.build_paths(connection)  # as smooth as it was

    def _give_up(self, connection: MultiplexedConnection, gap: Gap) -> None:
        """What is missing will never come, nor will anybody get what waits behind it."""
        del connection.gaps[gap.request]
        kept = []
        for request in connection.held:
            if (request.phase != RESPONSE) == gap.forward and gap.sent_ns < request.mark_ns:
                self._exchanges.fabric.drop("behind a lost packet")
            else:
                kept.append(request)
        connection.held = kept
        self._release(connection)
