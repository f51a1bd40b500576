"""Keys of the connection table: a five-tuple in one integer, the part of the virtual service shifted to the front.

>>> split_key(service_key(6, 0x0A600001, 80) | 0x0A000001 << 16 | 40000)
FlowKey(protocol=6, client=167772161, client_port=40000, address=174063617, port=80)
"""

from __future__ import annotations

from typing import NamedTuple

from svcsim.linux.address import is_ipv6

IPV4_SHIFT = 48
IPV6_SHIFT = 145
FWMARK_BIT = 1 << 400
"""Stands in the key of a service by firewall mark."""
TEMPLATE_SHIFT = 160
"""A template's key is its service's, shifted by this, with the client's network."""

_IPV6_MASK = (1 << 129) - 1


class FlowKey(NamedTuple):
    """The five-tuple of an entry, from the client's side."""

    protocol: int
    client: int
    client_port: int
    address: int
    port: int


def service_key(protocol: int, address: int, port: int) -> int:
    """The part of an entry's key that a virtual service decides, shifted to its place."""
    if is_ipv6(address):
        return ((protocol << 16 | port) << 129 | address) << IPV6_SHIFT
    return ((protocol << 16 | port) << 32 | address) << IPV4_SHIFT


def split_key(key: int) -> FlowKey:
    """The five-tuple that a key stands for."""
    if key >> 104:
        rest = key >> IPV6_SHIFT
        head = rest >> 129
        return FlowKey(head >> 16, key >> 16 & _IPV6_MASK, key & 0xFFFF, rest & _IPV6_MASK, head & 0xFFFF)
    head = key >> 80
    return FlowKey(head >> 16, key >> 16 & 0xFFFFFFFF, key & 0xFFFF, key >> 48 & 0xFFFFFFFF, head & 0xFFFF)
