"""Cluster IPs and node ports: ranges with a band for static use, from which numbers are drawn or asked for.

A draw is a function of who asks, so Services do not change each other's numbers (unless they collide); the upper band is
used before the lower one. Sources: pkg/registry/core/service/ipallocator and portallocator (calculateRangeOffset,
AllocateNext); KEP-3070 and KEP-3668 (bands).

>>> AddressRange(Prefix.parse("10.96.0.0/24"), Stream(1, "kube/cluster-ips")).static_size
16
"""

from __future__ import annotations

from svcsim.engine.streams import Stream, stream_seed
from svcsim.linux.address import Address, Prefix, is_ipv6

NODE_PORT_FIRST = 30000
NODE_PORT_LAST = 32767
_IPV6_HOST_BITS_MAX = 16


class AllocationError(Exception):
    """A number that cannot be given: taken, out of range, or none is left."""


def band_offset(size: int, divisor: int, longest: int) -> int:
    """How many numbers at the start of a range are left for static use: between 16 and `longest`, 0 of a small range.

    >>> band_offset(4096, 16, 256), band_offset(2768, 32, 128), band_offset(16, 16, 256)
    (256, 86, 0)
    """
    return 0 if size <= 16 else min(max(16, size // divisor), longest)


class _Pool:
    """Numbers 0 … size-1, of which the first `static_size` are drawn last."""

    __slots__ = ("_stream", "_taken", "size", "static_size")

    def __init__(self, size: int, static_size: int, stream: Stream) -> None:
        self.size = size
        self.static_size = min(static_size, size)
        self._stream = stream
        self._taken: set[int] = set()

    @property
    def free(self) -> int:
        return self.size - len(self._taken)

    def take(self, number: int) -> None:
        if number in self._taken:
            raise AllocationError("is already allocated")
        self._taken.add(number)

    def holds(self, number: int) -> bool:
        return number in self._taken

    def draw(self, who: str) -> int:
        """A free number of the upper band, else of the lower one: from a drawn start the next that is free."""
        bits = self._stream.bits(stream_seed(self._stream.seed, who))
        for first, length in ((self.static_size, self.size - self.static_size), (0, self.static_size)):
            if length and not self._is_full(first, length):
                start = bits % length
                for step in range(length):
                    number = first + (start + step) % length
                    if number not in self._taken:
                        self._taken.add(number)
                        return number
        raise AllocationError("range is full")

    def _is_full(self, first: int, length: int) -> bool:
        return len(self._taken) >= length and all(number in self._taken for number in range(first, first + length))

    def give_back(self, number: int) -> None:
        self._taken.discard(number)


class AddressRange:
    """The cluster IPs of one family: every address of the CIDR but the first (and, in IPv4, the last); IPv6 uses 16 bits."""

    __slots__ = ("_pool", "prefix")

    def __init__(self, prefix: Prefix, stream: Stream) -> None:
        self.prefix = prefix
        bits = prefix.bits - prefix.length
        size = 1 << (min(bits, _IPV6_HOST_BITS_MAX) if is_ipv6(prefix.base) else bits)
        usable = size - 1 if is_ipv6(prefix.base) else size - 2
        self._pool = _Pool(max(0, usable), band_offset(size, 16, 256), stream)

    @property
    def free(self) -> int:
        """How many addresses are left."""
        return self._pool.free

    @property
    def static_size(self) -> int:
        """How many addresses the static band has."""
        return self._pool.static_size

    def allocate(self, who: str) -> Address:
        """An address for whom the text names; AllocationError when none is left."""
        return Address(self.prefix.base + 1 + self._pool.draw(who))

    def reserve(self, address: Address) -> None:
        """Take a given address; AllocationError when it is taken or outside."""
        self._pool.take(self._number(address))

    def release(self, address: Address) -> None:
        """Give an address back."""
        self._pool.give_back(self._number(address))

    def holds(self, address: Address) -> bool:
        """Whether an address is taken."""
        return address in self.prefix and self._pool.holds(address - self.prefix.base - 1)

    def _number(self, address: Address) -> int:
        number = address - self.prefix.base - 1
        if address not in self.prefix or not 0 <= number < self._pool.size:
            raise AllocationError(f"provided IP is not in the valid range {self.prefix}")
        return number


class PortRange:
    """Node ports, of all protocols together."""

    __slots__ = ("_pool", "first", "last")

    def __init__(self, stream: Stream, first: int = NODE_PORT_FIRST, last: int = NODE_PORT_LAST) -> None:
        self.first = first
        self.last = last
        size = last - first + 1
        self._pool = _Pool(size, band_offset(size, 32, 128), stream)

    @property
    def free(self) -> int:
        """How many ports are left."""
        return self._pool.free

    @property
    def static_size(self) -> int:
        """How many ports the static band has."""
        return self._pool.static_size

    def allocate(self, who: str) -> int:
        """A port for whom the text names; AllocationError when none is left."""
        return self.first + self._pool.draw(who)

    def reserve(self, port: int) -> None:
        """Take a given port; AllocationError when it is taken or outside."""
        if not self.first <= port <= self.last:
            raise AllocationError(f"port {port} is not in the range {self.first}-{self.last}")
        try:
            self._pool.take(port - self.first)
        except AllocationError:
            raise AllocationError(f"port {port} is already allocated") from None

    def release(self, port: int) -> None:
        """Give a port back."""
        self._pool.give_back(port - self.first)

    def holds(self, port: int) -> bool:
        """Whether a port is taken."""
        return self._pool.holds(port - self.first)
