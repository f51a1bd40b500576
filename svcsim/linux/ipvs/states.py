"""The state of an IPVS entry and how packets move it: IPVS watches both directions of a NAT flow, less closely than TCP does.

A TCP entry is active while it is SYN_RECV, SYN_SENT or ESTABLISHED; the first FIN or RST of either side makes it inactive.
A UDP entry has one state and is inactive for its whole life. Source: Linux net/netfilter/ipvs/ip_vs_proto_tcp.c (the state
table for masquerading without secure_tcp), ip_vs_proto_udp.c. The states LAST_ACK, LISTEN and SYNACK are left out: without
secure_tcp nothing leads there.

>>> CLIENT_FIN[State.ESTABLISHED].name, SERVER_FIN[State.CLOSE_WAIT].name
('CLOSE_WAIT', 'TIME_WAIT')
"""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Where an entry stands; the order is the index of the tables below."""

    NONE = 0
    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT = 4
    TIME_WAIT = 5
    CLOSE = 6
    CLOSE_WAIT = 7
    UDP = 8


_SHORT = {
    "NO": State.NONE, "ES": State.ESTABLISHED, "SS": State.SYN_SENT, "SR": State.SYN_RECV, "FW": State.FIN_WAIT,
    "TW": State.TIME_WAIT, "CL": State.CLOSE, "CW": State.CLOSE_WAIT,
}


def _row(text: str) -> tuple[State, ...]:
    return (*(_SHORT[name] for name in text.split()), State.UDP)


#                   NO ES SS SR FW TW CL CW
CLIENT_SYN = _row("SR ES ES SR SR SR SR SR")
CLIENT_FIN = _row("CL CW SS TW TW TW CL CW")
CLIENT_ACK = _row("ES ES SS ES FW TW CL CW")
CLIENT_RST = _row("CL CL CL SR CL CL CL CL")
SERVER_SYN = _row("SS ES SS SR SS SS SS SS")
SERVER_FIN = _row("TW FW SS TW FW TW CL TW")
SERVER_ACK = _row("ES ES SS ES FW TW CL CW")
SERVER_RST = _row("CL CL SS CL CL TW CL CL")

ACTIVE: tuple[bool, ...] = tuple(
    state in (State.ESTABLISHED, State.SYN_SENT, State.SYN_RECV) for state in State
)
"""Whether an entry in this state counts as an active connection of its server."""
