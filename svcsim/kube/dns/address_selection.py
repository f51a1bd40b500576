"""The order in which a client tries the addresses of a name: destination address selection (RFC 6724, section 6).

getaddrinfo sorts by what the client's own addresses are good for: an address whose family the client does not have comes last
(rule 1), then those whose label is that of the source address come first (rule 5), then higher precedence (rule 6), and among
addresses of IPv6 the one that has most leading bits in common with the source (rule 9); else the answer's order stays (rule 10).
All addresses here are of global scope, so rules 2 to 4, 7 and 8 decide nothing. The policy tables are those of the C library:
glibc ranks all of IPv6 above IPv4 unless gai.conf says otherwise (sysdeps/posix/getaddrinfo.c, after RFC 3484), musl ranks unique
local addresses (fc00::/7) below IPv4 (src/network/lookup_name.c, after RFC 6724). Among addresses of IPv4 the order of the answer
is kept, as servers balance by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from svcsim.linux.address import Prefix, address_value, is_ipv6

Policy = tuple[tuple[Prefix, int, int], ...]
"""(block, precedence, label), longest blocks first."""


def _policy(*rows: tuple[str, int, int]) -> Policy:
    return tuple((Prefix.parse(block), precedence, label) for block, precedence, label in rows)


GLIBC = _policy(
    ("::1/128", 50, 0), ("2001::/32", 40, 7), ("2002::/16", 30, 2), ("fec0::/10", 40, 5), ("fc00::/7", 40, 6), ("::/0", 40, 1),
    ("0.0.0.0/0", 10, 4),
)
MUSL = _policy(
    ("::1/128", 50, 0), ("2001::/32", 5, 5), ("2002::/16", 30, 2), ("3ffe::/16", 1, 12), ("fec0::/10", 1, 11),
    ("fc00::/7", 3, 13), ("::/0", 40, 1), ("0.0.0.0/0", 35, 4),
)


def in_order(
    addresses: Sequence[int], towards: Callable[[int], int], libc: Literal["glibc", "musl"] = "glibc"
) -> tuple[int, ...]:
    """The addresses as the client tries them; `towards` is its own address for each, 0 where it has none of that family."""
    if not any(map(is_ipv6, addresses)):
        return tuple(addresses)
    policy = GLIBC if libc == "glibc" else MUSL

    def rank(address: int) -> tuple[bool, bool, int, int]:
        source = towards(address)
        precedence, label = _of(policy, address)
        common = 0
        if source and is_ipv6(address):
            common = 128 - (address_value(address) ^ address_value(source)).bit_length()
        return not source, not source or _of(policy, source)[1] != label, -precedence, -common

    return tuple(sorted(addresses, key=rank))


def _of(policy: Policy, address: int) -> tuple[int, int]:
    return next((precedence, label) for block, precedence, label in policy if address in block)
