"""Packets as bytes: Ethernet frames of IPv4 and IPv6 with TCP, UDP and ICMP errors inside, checksums filled in.

Sources: RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443, RFC 1071 (checksum), RFC 7323 (TCP timestamps).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from svcsim.linux.address import address_value, is_ipv6
from svcsim.linux.packet import TCP, UDP

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
ICMP, ICMPV6 = 1, 58
PORT_UNREACHABLE, HOST_UNREACHABLE = (3, 3), (3, 1)
"""Type and code of the ICMP errors; ICMPv6 has others for the same (RFC 4443 section 3.1)."""
_V6_CODES = {PORT_UNREACHABLE: (1, 4), HOST_UNREACHABLE: (1, 3)}
QUOTED_BYTES_V4, QUOTED_BYTES_V6 = 548, 1232
"""What an ICMP error quotes at most: errors stay within 576 bytes (Linux icmp.c) and 1280 bytes (RFC 4443)."""
TOS_OF_ERRORS = 0xC0
_DONT_FRAGMENT = 0x4000
_ETHERTYPE_V4, _ETHERTYPE_V6 = 0x0800, 0x86DD


@dataclass(frozen=True, slots=True)
class TcpHeader:
    """What a segment says beside its ports: numbers modulo 2**32, the window field as sent, options padded to four bytes."""

    flags: int
    sequence: int
    acknowledgement: int
    window: int
    options: bytes = b""


@lru_cache(maxsize=4096)
def packed(address: int) -> bytes:
    """The 4 or 16 bytes of an address."""
    return address_value(address).to_bytes(16 if is_ipv6(address) else 4, "big")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): 2**16 is 1 modulo 65535, so the sum of all words is the whole number's remainder.

    >>> hex(checksum(bytes.fromhex("0001f203f4f5f6f7")))
    '0x220d'
    """
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    if not number:
        return 0xFFFF
    return (65535 - number % 65535) % 65535


def _pseudo_header(source: int, destination: int, protocol: int, length: int) -> bytes:
    if is_ipv6(source):
        return packed(source) + packed(destination) + struct.pack("!II", length, protocol)
    return packed(source) + packed(destination) + struct.pack("!HH", protocol, length)


def tcp_segment(
    source: int, source_port: int, destination: int, destination_port: int, header: TcpHeader, payload: bytes
) -> bytes:
    """A TCP header with its payload."""
    offset = (5 + len(header.options) // 4) << 4
    start = struct.pack(
        "!HHIIBBH", source_port, destination_port, header.sequence & 0xFFFFFFFF, header.acknowledgement & 0xFFFFFFFF, offset,
        header.flags, header.window,
    )
    length = 20 + len(header.options) + len(payload)
    pseudo = _pseudo_header(source, destination, TCP, length)
    total = checksum(b"".join((pseudo, start, b"\0\0\0\0", header.options, payload)))
    return b"".join((start, struct.pack("!HH", total, 0), header.options, payload))


def udp_datagram(source: int, source_port: int, destination: int, destination_port: int, payload: bytes) -> bytes:
    """A UDP header with its payload; a checksum of 0 would mean none, so it is sent as 65535."""
    length = 8 + len(payload)
    start = struct.pack("!HHH", source_port, destination_port, length)
    total = checksum(b"".join((_pseudo_header(source, destination, UDP, length), start, b"\0\0", payload))) or 0xFFFF
    return start + struct.pack("!H", total) + payload


def icmp_error(source: int, destination: int, kind: tuple[int, int], quoted: bytes) -> bytes:
    """An ICMP or ICMPv6 error of a `kind` named above that quotes the packet that it is about."""
    if not is_ipv6(source):
        body = b"\0\0\0\0" + quoted[:QUOTED_BYTES_V4]
        total = checksum(bytes(kind) + b"\0\0" + body)
        return bytes(kind) + struct.pack("!H", total) + body
    kind = _V6_CODES[kind]
    body = b"\0\0\0\0" + quoted[:QUOTED_BYTES_V6]
    total = checksum(_pseudo_header(source, destination, ICMPV6, 4 + len(body)) + bytes(kind) + b"\0\0" + body)
    return bytes(kind) + struct.pack("!H", total) + body


def ip_packet(
    source: int, destination: int, protocol: int, hops: int, ident: int, content: bytes, *, fragments: bool = False, tos: int = 0
) -> bytes:
    """An IP packet of the addresses' family; `hops` is its TTL, `fragments` leaves DF out (IPv4)."""
    if is_ipv6(source):
        start = struct.pack("!IHBB", 0x60000000 | tos << 20, len(content), protocol, hops)
        return b"".join((start, packed(source), packed(destination), content))
    flags = 0 if fragments else _DONT_FRAGMENT
    start = struct.pack("!BBHHHBB", 0x45, tos, 20 + len(content), ident & 0xFFFF, flags, hops, protocol)
    addresses = packed(source) + packed(destination)
    return b"".join((start, struct.pack("!H", checksum(start + b"\0\0" + addresses)), addresses, content))


def ethernet_frame(source: bytes, destination: bytes, packet: bytes) -> bytes:
    """An Ethernet II frame around an IP packet, without padding and check sequence, as captures have it."""
    ethertype = _ETHERTYPE_V6 if packet[0] >> 4 == 6 else _ETHERTYPE_V4
    return b"".join((destination, source, struct.pack("!H", ethertype), packet))
