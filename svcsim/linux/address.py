"""IP addresses as (family, integer), packed into one Python int.

An IPv4 address is its 32-bit value; an IPv6 address is its 128-bit value with bit 128 set, so the family is part of the
number, equal means equal, and a dictionary key is one int. Address 0 is nobody's: 0.0.0.0.

>>> parse_address("10.0.0.1")
167772161
>>> format_address(parse_address("2001:db8::1")), is_ipv6(parse_address("2001:db8::1"))
('2001:db8::1', True)
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import NewType

Address = NewType("Address", int)

LAST_IPV4 = (1 << 32) - 1
"""Every address above this number is one of IPv6."""
_IPV6_BIT = 1 << 128
_IPV6_MASK = _IPV6_BIT - 1


def parse_address(text: str) -> Address:
    """The address that the text names; ValueError if it names none."""
    parsed = ipaddress.ip_address(text)
    return Address(int(parsed) if parsed.version == 4 else int(parsed) | _IPV6_BIT)


def format_address(address: int) -> str:
    """The canonical text of an address."""
    if address & _IPV6_BIT:
        return str(ipaddress.IPv6Address(address & _IPV6_MASK))
    return f"{address >> 24}.{(address >> 16) & 255}.{(address >> 8) & 255}.{address & 255}"


def is_ipv6(address: int) -> bool:
    """Whether the address belongs to family IPv6."""
    return bool(address & _IPV6_BIT)


def address_value(address: int) -> int:
    """The bare integer of the address, without its family."""
    return address & _IPV6_MASK


@dataclass(frozen=True, slots=True)
class Prefix:
    """A CIDR block: every address whose leading `length` bits are those of `base`."""

    base: Address
    length: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """The block that the text names (`10.0.0.0/8`; a bare address is a /32 or /128); host bits are cleared."""
        network = ipaddress.ip_network(text, strict=False)
        return cls(parse_address(str(network.network_address)), network.prefixlen)

    @property
    def bits(self) -> int:
        """Width of an address of this family: 32 or 128."""
        return 128 if is_ipv6(self.base) else 32

    def __contains__(self, address: int) -> bool:
        if is_ipv6(address) != is_ipv6(self.base):
            return False
        shift = self.bits - self.length
        return address >> shift == self.base >> shift

    def __str__(self) -> str:
        return f"{format_address(self.base)}/{self.length}"


def format_endpoint(address: int, port: int) -> str:
    """`10.0.0.1:80`, or `[2001:db8::1]:80` for IPv6."""
    return f"[{format_address(address)}]:{port}" if is_ipv6(address) else f"{format_address(address)}:{port}"


def parse_endpoint(text: str) -> tuple[Address, int]:
    """The inverse of `format_endpoint`."""
    host, _, port = text.rpartition(":")
    return parse_address(host.strip("[]")), int(port)
