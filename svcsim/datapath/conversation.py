"""What a capture must know of a connection beyond the model: sequence numbers, time stamps, IP ids, what is under way.

The model has trains and windows; numbers are drawn from the connection's key, so they are the same in each run. Sources: RFC 9293
(sequence numbers), RFC 7323 (time stamps), Linux tcp_output.c (the options of a SYN and their order).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from svcsim.engine.streams import splitmix64
from svcsim.linux.frames import ACK, PSH, RST, SYN, TcpHeader
from svcsim.linux.tcp import SEGMENT_BYTES

if TYPE_CHECKING:
    from svcsim.datapath.connection import Request

SYN_WINDOW = 64240
WINDOW_SHIFT = 7
FIRST_WINDOW, LARGEST_WINDOW = 64256 >> WINDOW_SHIFT, 65535
"""The window field once it is scaled; it grows with what comes in, so that no window of the sender fills it."""
_MASK = 0xFFFFFFFF
_MILLISECOND_NS = 1_000_000
LARGEST_UNIT_BYTES = 65535 - 20 - 32
LARGEST_DATAGRAM_BYTES = 65507


class Parcel:
    """One packet as its sender wrote it, before any interface gives it addresses.

    `header` is None for a datagram of UDP. An ICMP error has a `kind` and is about the parcel `quoted`; it comes from `origin`,
    and where the translation of the flow is undone, from `origin_for_client`.
    """

    __slots__ = ("header", "ident", "kind", "origin", "origin_for_client", "payload", "quoted")

    def __init__(self, header: TcpHeader | None, payload: bytes, ident: int) -> None:
        self.header = header
        self.payload = payload
        self.ident = ident
        self.kind: tuple[int, int] | None = None
        self.quoted: Parcel | None = None
        self.origin = self.origin_for_client = 0

    @classmethod
    def error(cls, kind: tuple[int, int], about: Parcel, origin: int, origin_for_client: int) -> Parcel:
        """An ICMP error about a packet."""
        parcel = cls(None, b"", 0)
        parcel.kind, parcel.quoted = kind, about
        parcel.origin, parcel.origin_for_client = origin, origin_for_client
        return parcel


class Peer:
    """One end of a conversation: the next byte it sends, the next it expects, and what its headers count.

    `reached` is what follows the last byte that has come, `holes` where segments before that are missing.
    """

    __slots__ = ("clock", "echo", "following", "holes", "ident", "reached", "seen", "start", "window")

    def __init__(self, draw: int) -> None:
        self.start = draw & _MASK
        self.following = self.start
        self.seen = 0
        self.clock = (draw >> 32) & 0x7FFFFFFF
        self.echo = 0
        self.ident = (draw >> 16) & 0xFFFF
        self.window = FIRST_WINDOW
        self.reached = 0
        self.holes: set[int] = set()

    def stamp(self, at_ns: int) -> int:
        """Its time stamp clock, in milliseconds as Linux has it."""
        return (self.clock + at_ns // _MILLISECOND_NS) & _MASK

    def next_ident(self, packets: int = 1) -> int:
        """The IP id of a packet; one that offload will cut takes as many as its pieces."""
        ident = self.ident
        self.ident += packets
        return ident & 0xFFFF


class Train:
    """A message under way: its packets, where it begins in the stream and where it ends, and which of them a link lost.

    `late` are packets that were lost once and come again at the end.
    """

    __slots__ = ("begin", "data", "end", "late", "parcels", "retransmitted")

    def __init__(self, data: bytes, begin: int) -> None:
        self.data = data
        self.begin = begin
        self.end = begin + len(data)
        self.parcels: list[Parcel] = []
        self.late: list[Parcel] = []
        self.retransmitted = False


class Conversation:
    """Both ends of a connection, their trains, and when each interface last saw a packet of it."""

    __slots__ = ("answer", "back", "client", "last_ns", "newest", "opening", "server", "there")

    def __init__(self, key: int) -> None:
        self.client = Peer(splitmix64(key & 0xFFFFFFFFFFFFFFFF))
        self.server = Peer(splitmix64(splitmix64(key & 0xFFFFFFFFFFFFFFFF)))
        self.there: dict[Request, Train] = {}
        self.back: dict[Request, Train] = {}
        self.opening: Parcel | None = None
        self.answer: Parcel | None = None
        self.last_ns: dict[tuple[int, int, bool], int] = {}
        self.newest: object = None

    def ends(self, *, forward: bool) -> tuple[Peer, Peer]:
        """Sender and receiver of a direction."""
        return (self.client, self.server) if forward else (self.server, self.client)

    def trains(self, *, forward: bool) -> dict[Request, Train]:
        """The messages under way in a direction."""
        return self.there if forward else self.back

    def syn(self, at_ns: int, *, ipv6: bool) -> Parcel:
        """The client's SYN, sent again with the same number."""
        client = self.client
        client.following = client.start + 1
        header = TcpHeader(SYN, client.start, 0, SYN_WINDOW, _syn_options(client.stamp(at_ns), 0, ipv6=ipv6))
        self.opening = Parcel(header, b"", client.next_ident())
        return self.opening

    def syn_ack(self, at_ns: int, *, ipv6: bool) -> Parcel:
        """The server's answer to it; its IP id is 0, as is that of each packet without a full socket behind it."""
        server, client = self.server, self.client
        server.following = server.start + 1
        server.seen = client.start + 1
        server.echo = client.stamp(at_ns)
        if self.opening is not None and self.opening.header is not None:
            server.echo = int.from_bytes(self.opening.header.options[8:12], "big")
        options = _syn_options(server.stamp(at_ns), server.echo, ipv6=ipv6)
        return Parcel(TcpHeader(SYN | ACK, server.start, server.seen, SYN_WINDOW, options), b"", 0)

    def control(self, flags: int, at_ns: int, *, forward: bool) -> Parcel:
        """A segment without data at the sender's place in the stream; SYN and FIN count as a byte."""
        sender, _ = self.ends(forward=forward)
        header = TcpHeader(flags, sender.following, sender.seen, sender.window, _stamps(sender.stamp(at_ns), sender.echo))
        return Parcel(header, b"", sender.next_ident())

    def refusal(self) -> Parcel:
        """The RST of a port where nobody listens: number 0, the SYN acknowledged (RFC 9293, 3.10.7.1)."""
        return Parcel(TcpHeader(RST | ACK, 0, self.client.start + 1, 0), b"", 0)

    def bare_reset(self, *, forward: bool) -> Parcel:
        """The RST of a kernel that knows nothing of the connection: its number is what the segment acknowledged."""
        _, receiver = self.ends(forward=forward)
        return Parcel(TcpHeader(RST, receiver.seen, 0, 0), b"", 0)

    def cut(self, data: bytes, begin: int, at_ns: int, unit_bytes: int, *, forward: bool) -> list[Parcel]:
        """Data as packets: offload hands on units of many segments, without it each segment is a packet."""
        sender, _ = self.ends(forward=forward)
        largest = min(unit_bytes, LARGEST_UNIT_BYTES)
        unit = max(1, largest // SEGMENT_BYTES) * SEGMENT_BYTES
        stamps = _stamps(sender.stamp(at_ns), sender.echo)
        parcels = []
        for start in range(0, max(1, len(data)), unit):
            piece = data[start : start + unit]
            flags = ACK | PSH if start + unit >= len(data) else ACK
            header = TcpHeader(flags, begin + start, sender.seen, sender.window, stamps)
            parcels.append(Parcel(header, piece, sender.next_ident(-(-len(piece) // SEGMENT_BYTES))))
        return parcels

    def received(self, train: Train, at_ns: int, *, forward: bool) -> None:
        """A train is with its receiver whole."""
        _, receiver = self.ends(forward=forward)
        receiver.seen = max(receiver.seen, train.end)
        receiver.window = min(LARGEST_WINDOW, max(receiver.window, 4 * len(train.data) >> WINDOW_SHIFT))
        if train.parcels:
            header = train.parcels[-1].header
            if header is not None and len(header.options) >= 12:
                receiver.echo = int.from_bytes(header.options[4:8], "big")


    def arrived(self, parcel: Parcel, end: int, *, forward: bool) -> None:
        """A packet of a long message is with its receiver, which expects the first byte that has not come."""
        _, receiver = self.ends(forward=forward)
        receiver.reached = max(receiver.reached, receiver.seen, end)
        receiver.seen = min(receiver.holes, default=receiver.reached)
        if not receiver.holes:
            receiver.window = min(LARGEST_WINDOW, receiver.window + (3 * len(parcel.payload) >> WINDOW_SHIFT))
        header = parcel.header
        if header is not None and len(header.options) >= 12:
            receiver.echo = int.from_bytes(header.options[4:8], "big")


def _stamps(value: int, echo: int) -> bytes:
    return struct.pack("!BBBBII", 1, 1, 8, 10, value, echo & _MASK)


def _syn_options(value: int, echo: int, *, ipv6: bool) -> bytes:
    """MSS, SACK permitted, time stamps, NOP, window scale: the order in which Linux writes them."""
    mss = 1440 if ipv6 else 1460
    return struct.pack("!BBHBBBBIIBBBB", 2, 4, mss, 4, 2, 8, 10, value, echo & _MASK, 1, 3, 3, WINDOW_SHIFT)
