"""A map that many nodes share until they differ: one base for all, and what a node has changed since.

>>> base = {"a": 1, "b": 2}
>>> here = SharedMap(base)
>>> here["a"] = 3
>>> del here["b"]
>>> dict(here.items()), base
({'a': 3}, {'a': 1, 'b': 2})
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SharedMap(Generic[K, V]):
    """Reads as a dict; writes go to the node's own overlay. `base` must never change; values are never None.

    `overlay` holds what differs from the base, None for what is gone. Copying the overlay is all that it costs to follow.
    """

    __slots__ = ("_length", "base", "overlay")

    def __init__(self, base: Mapping[K, V] | None = None) -> None:
        self.base: Mapping[K, V] = base if base is not None else {}
        self.overlay: dict[K, V | None] = {}
        self._length = len(self.base)

    def get(self, key: K) -> V | None:
        """The value, None if there is none."""
        if key in self.overlay:
            return self.overlay[key]
        return self.base.get(key)

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def __len__(self) -> int:
        return self._length

    def __setitem__(self, key: K, value: V) -> None:
        if self.get(key) is None:
            self._length += 1
        if self.base.get(key) is value:
            self.overlay.pop(key, None)
        else:
            self.overlay[key] = value

    def __delitem__(self, key: K) -> None:
        if self.get(key) is None:
            return
        self._length -= 1
        if key in self.base:
            self.overlay[key] = None
        else:
            del self.overlay[key]

    def __iter__(self) -> Iterator[K]:
        for key, _ in self.items():
            yield key

    def items(self) -> Iterator[tuple[K, V]]:
        """The pairs: those of the base in its order, then the node's own."""
        for key, value in self.base.items():
            if key not in self.overlay:
                yield key, value
        for key, own in self.overlay.items():
            if own is not None:
                yield key, own

    def values(self) -> Iterator[V]:
        """The values, in the order of `items`."""
        for _, value in self.items():
            yield value
