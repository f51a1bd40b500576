"""The conntrack entry that a connection's first packet leaves on a node, as `conntrack -L` prints it and as plain values.

Source: conntrack(8); Linux net/netfilter/nf_conntrack_standalone.c (`ct_seq_show`); time-outs of `svcsim.linux.conntrack`, and of
nf_conntrack_proto_sctp.c.
"""

from __future__ import annotations

from typing import Any

from svcsim.linux.address import format_address, format_endpoint
from svcsim.linux.conntrack import Timeouts
from svcsim.linux.packet import SCTP, TCP, Packet
from svcsim.units import S

_SCTP_COOKIE_WAIT_S = 3
_UNKNOWN = "?"

Leaves = tuple[int | None, int, int, int]
"""Source (None: an address of the node that is not known), source port, destination and port behind the node."""


def _state(protocol: int) -> tuple[str, int, str]:
    """Name of the protocol, seconds to live, state (empty for UDP)."""
    timeouts = Timeouts()
    if protocol == TCP:
        return "tcp", timeouts.syn_sent_ns // S, "SYN_SENT"
    if protocol == SCTP:
        return "sctp", _SCTP_COOKIE_WAIT_S, "COOKIE_WAIT"
    return "udp", timeouts.udp_ns // S, ""


def entry_text(packet: Packet, leaves: Leaves) -> str:
    """The entry: what came, and what an answer will look like."""
    name, seconds, state = _state(packet.protocol)
    source, source_port, destination, port = leaves
    words = [name, str(packet.protocol), str(seconds), *([state] if state else [])]
    words += _tuple(packet.source, packet.source_port, packet.destination, packet.destination_port)
    words += ["[UNREPLIED]", *_tuple(destination, port, source, source_port)]
    return " ".join(words)


def _tuple(source: int | None, source_port: int, destination: int | None, port: int) -> list[str]:
    def text(address: int | None) -> str:
        return _UNKNOWN if address is None else format_address(address)

    return [f"src={text(source)}", f"dst={text(destination)}", f"sport={source_port}", f"dport={port}"]


def entry_json(packet: Packet, leaves: Leaves) -> dict[str, Any]:
    """The entry as plain values; a source that is not known is null."""
    name, seconds, state = _state(packet.protocol)
    source, source_port, destination, port = leaves
    return {
        "protocol": name,
        "seconds": seconds,
        "state": state,
        "original": {
            "source": format_endpoint(packet.source, packet.source_port),
            "destination": format_endpoint(packet.destination, packet.destination_port),
        },
        "reply": {
            "source": format_endpoint(destination, port),
            "destination": None if source is None else format_endpoint(source, source_port),
        },
    }
