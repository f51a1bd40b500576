"""Hash functions that IPVS schedulers use: the multiplicative hash of the kernel and SipHash-1-3 cut to 32 bits.

>>> bucket_of(0x0A000001, 0)
39
>>> hex(hsiphash(0x0A000001, 2654435761))
'0x3080ce4'

Sources: Linux include/linux/hash.h (`hash_32`), include/linux/siphash.h (`hsiphash_1u32` on 64-bit machines).
"""

from __future__ import annotations

from functools import lru_cache

from svcsim.linux.address import is_ipv6

GOLDEN_RATIO_32 = 0x61C88647
BUCKETS = 256
_MASK64 = (1 << 64) - 1


def folded(address: int) -> int:
    """The address in 32 bits: itself for IPv4, the four words of an IPv6 address by exclusive or."""
    if is_ipv6(address):
        return (address ^ address >> 32 ^ address >> 64 ^ address >> 96) & 0xFFFFFFFF
    return address


def hash_32(word: int, bits: int) -> int:
    """The multiplicative hash of a 32-bit word, as many bits of it."""
    return (word * GOLDEN_RATIO_32 & 0xFFFFFFFF) >> 32 - bits


def bucket_of(address: int, port: int) -> int:
    """The bucket, of 256, of an address and a port (IP_VS_SH_TAB_BITS is 8)."""
    return ((folded(address) + port) * GOLDEN_RATIO_32 & 0xFFFFFFFF) >> 24


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = v0 + v1 & _MASK64
    v1 = (v1 << 13 | v1 >> 51) & _MASK64 ^ v0
    v0 = (v0 << 32 | v0 >> 32) & _MASK64
    v2 = v2 + v3 & _MASK64
    v3 = (v3 << 16 | v3 >> 48) & _MASK64 ^ v2
    v0 = v0 + v3 & _MASK64
    v3 = (v3 << 21 | v3 >> 43) & _MASK64 ^ v0
    v2 = v2 + v1 & _MASK64
    v1 = (v1 << 17 | v1 >> 47) & _MASK64 ^ v2
    v2 = (v2 << 32 | v2 >> 32) & _MASK64
    return v0, v1, v2, v3


@lru_cache(maxsize=1 << 16)
def hsiphash(word: int, key: int) -> int:
    """SipHash-1-3 of one 32-bit word, both halves of the key being `key`, cut to 32 bits."""
    v0 = 0x736F6D6570736575 ^ key
    v1 = 0x646F72616E646F6D ^ key
    v2 = 0x6C7967656E657261 ^ key
    v3 = 0x7465646279746573 ^ key
    block = 4 << 56 | word & 0xFFFFFFFF
    v3 ^= block
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= block
    v2 ^= 0xFF
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return (v0 ^ v1 ^ v2 ^ v3) & 0xFFFFFFFF
