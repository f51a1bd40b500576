"""Randomness by name and key: a draw is a function of (seed, stream, key), never of the order in which things happen.

A stream is named after what it decides (`workload/web/arrivals`, `iptables/statistic`). Hot paths take the numbers of one
request in blocks by sequence number (`Block`); what is drawn rarely is hashed from its key (`Stream.uniform`). Both are the
same for any number of workers and any PYTHONHASHSEED.

>>> Stream(1, "workload/web/size").uniform(7, 0) == Stream(1, "workload/web/size").uniform(7, 0)
True
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np

_MASK64 = (1 << 64) - 1
_TWO_POW_MINUS_53 = 2.0**-53
BLOCK_LENGTH = 4096


def splitmix64(value: int) -> int:
    """One step of SplitMix64 (Steele, Lea, Flood 2014): a 64-bit mix of a 64-bit value."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK64
    return value ^ (value >> 31)


def stream_seed(seed: int, name: str) -> int:
    """The 64-bit seed of a named stream."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=seed.to_bytes(16, "big", signed=True)).digest()
    return int.from_bytes(digest, "big")


class Stream:
    """A named source of keyed draws."""

    __slots__ = ("_state", "name", "seed")

    def __init__(self, seed: int, name: str) -> None:
        self.name = name
        self.seed = seed
        self._state = stream_seed(seed, name)

    def bits(self, key: int, ordinal: int = 0) -> int:
        """64 bits for this key."""
        return splitmix64(splitmix64(self._state ^ (key & _MASK64)) ^ ordinal)

    def uniform(self, key: int, ordinal: int = 0) -> float:
        """A number in [0, 1) for this key."""
        return (splitmix64(splitmix64(self._state ^ (key & _MASK64)) ^ ordinal) >> 11) * _TWO_POW_MINUS_53

    def uniforms(self, width: int = 1) -> Iterator[tuple[float, ...]]:
        """The rows of a block stream in order: row i holds the `width` uniforms of sequence number i."""
        return chain.from_iterable(self._blocks(width))

    def _blocks(self, width: int) -> Iterator[Iterator[tuple[float, ...]]]:
        generator = np.random.Generator(np.random.PCG64(self._state))
        while True:
            block = generator.random((BLOCK_LENGTH, width))
            yield zip(*(column.tolist() for column in block.T), strict=True)

    def integers(self, transform: Callable[[float], int]) -> Iterator[int]:
        """The uniforms of a block stream, each turned into an int by `transform`."""
        generator = np.random.Generator(np.random.PCG64(self._state))

        def blocks() -> Iterator[list[int]]:
            while True:
                yield [transform(u) for u in generator.random(BLOCK_LENGTH).tolist()]

        return chain.from_iterable(blocks())


def permuted(key: int, index: int, length: int) -> int:
    """Where `index` lands in a permutation of range(length) chosen by `key`: O(1), by a cycle-walking Feistel network.

    >>> sorted(permuted(42, i, 1000) for i in range(1000)) == list(range(1000))
    True
    """
    if length <= 1:
        return 0
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    value = index
    while True:
        left, right = value >> half, value & mask
        for round_ in range(4):
            left, right = right, left ^ (splitmix64(key ^ (right << 3 | round_) * 0x9E3779B97F4A7C15) & mask)
        value = (left << half) | right
        if value < length:
            return value
