"""Protocols over IP by name and number, as the texts of iptables, nftables and ipset write them."""

from __future__ import annotations

from collections.abc import Mapping

PROTOCOLS: Mapping[str, int] = {
    "all": 0, "icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
    "icmpv6": 58, "ipv6-icmp": 58, "ospf": 89, "ipip": 94, "pim": 103, "vrrp": 112, "sctp": 132, "udplite": 136,
}
"""Names of /etc/protocols that saved rules show."""


def protocol_number(text: str) -> int:
    """`tcp` or `6`; ValueError for what is neither a name nor a number up to 255."""
    number = PROTOCOLS.get(text.lower(), -1)
    if number < 0 and text.isascii() and text.isdigit():
        number = int(text)
    if not 0 <= number <= 255:
        raise ValueError(f"{text!r} is no protocol")
    return number
