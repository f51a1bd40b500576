"""A connection's first packet as a person writes it: `10.0.0.5:40000>10.96.0.10:53/udp`, `[fd00::1]:4000>[fd00::2]:80`.

The protocol is tcp unless it is said; the source's port may be left out (40000 then). The sign stands for the arrow between the
two; spaces around it are allowed, and so is `->`.
"""

from __future__ import annotations

import re

from svcsim.linux.address import format_endpoint, is_ipv6, parse_address
from svcsim.linux.packet import PROTOCOL_NAME, PROTOCOL_NUMBER, Hook, Packet

DEFAULT_SOURCE_PORT = 40000
_FLOW = re.compile(r"^\s*(?P<source>[^\s>]+?)\s*-?>\s*(?P<destination>[^\s>/]+)(?:/(?P<protocol>\w+))?\s*$")
_END = re.compile(r"^(?:\[(?P<bracketed>[^\]]+)\]|(?P<plain>[^\[\]]+?))(?::(?P<port>\d{1,5}))?$")
_FORM = "SOURCE[:PORT]>DESTINATION:PORT[/PROTOCOL], as 10.0.0.5:40000>10.96.0.10:53/udp or [fd00::5]>[fd00::10]:80"


def parse_packet(text: str) -> Packet:
    """The packet that a text names, as it comes in by an interface; ValueError says what would be right."""
    found = _FLOW.match(text)
    if not found:
        raise ValueError(f"a packet is written {_FORM} (got {text[:60]!r})")
    name = (found["protocol"] or "tcp").upper()
    if name not in PROTOCOL_NUMBER:
        raise ValueError(f"the protocol is tcp, udp or sctp (got {name.lower()[:20]!r})")
    source, source_port = _end(found["source"])
    destination, port = _end(found["destination"])
    if port is None:
        raise ValueError(f"the destination has a port: {_FORM} (got {text[:60]!r})")
    if is_ipv6(source) != is_ipv6(destination):
        raise ValueError(f"source and destination are of one family (got {text[:60]!r})")
    return Packet(
        PROTOCOL_NUMBER[name], source, DEFAULT_SOURCE_PORT if source_port is None else source_port, destination, port,
        Hook.PREROUTING,
    )


def _end(text: str) -> tuple[int, int | None]:
    if text.count(":") > 1 and not text.startswith("["):
        raise ValueError(f"an IPv6 address with a port stands in brackets, as [fd00::1]:80 (got {text[:60]!r})")
    found = _END.match(text)
    try:
        address = parse_address((found["bracketed"] or found["plain"]) if found else "")
    except ValueError:
        raise ValueError(f"{text[:60]!r} is no address, nor one with a port") from None
    assert found is not None
    if not found["port"]:
        return address, None
    port = int(found["port"])
    if not 0 < port < 65536:
        raise ValueError(f"a port is from 1 to 65535 (got {port})")
    return address, port


def format_packet(packet: Packet) -> str:
    """The text of a packet."""
    source = format_endpoint(packet.source, packet.source_port)
    return f"{source}>{format_endpoint(packet.destination, packet.destination_port)}/{PROTOCOL_NAME[packet.protocol].lower()}"
