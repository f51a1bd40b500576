"""A chain to which every Service port adds its rules, such as KUBE-SERVICES: a list with an index.

kube-proxy writes such a chain anew in each sync, in the order in which it visits a Go map, which is random. The order here is a
keyed permutation of the rules, another one for each node and sync; the position of one rule costs O(1), a change of one rule too.
Nodes that start alike share a base and keep what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from svcsim.engine.streams import permuted

if TYPE_CHECKING:
    from svcsim.kubeproxy.iptables_programme import Programme

ListKind = Literal["services", "node_ports", "filter_services", "external", "firewall", "health"]
"""nat KUBE-SERVICES and KUBE-NODEPORTS; filter KUBE-SERVICES, -EXTERNAL-SERVICES, -PROXY-FIREWALL and -NODEPORTS."""
LIST_KINDS: tuple[ListKind, ...] = ("services", "node_ports", "filter_services", "external", "firewall", "health")

Placed = tuple[Any, ...]
"""(slot, Listed) of the rule with a key; the same twice or more where several rules have the same key."""


class Listed:
    """One rule of a programme in a shared chain: whose it is, what it matches (`key`) and where it leads."""

    __slots__ = ("key", "kind", "ordinal", "programme", "target")

    def __init__(self, programme: Programme, kind: str, ordinal: int, key: int, target: Any) -> None:
        self.programme = programme
        self.kind = kind
        self.ordinal = ordinal
        self.key = key
        self.target = target

    @property
    def rule(self) -> Any:
        """The rule itself."""
        return getattr(self.programme.written, self.kind)[self.ordinal]

    @property
    def sort_key(self) -> tuple[str, str, int]:
        """By Service port, then as kube-proxy writes them."""
        return (*self.programme.sort_key, self.ordinal)


class ListBase:
    """Rules that nodes have in common, in their slots. Never changes."""

    __slots__ = ("index", "items")

    def __init__(self, items: Iterable[Listed] = ()) -> None:
        self.items: Sequence[Listed] = tuple(items)
        self.index: dict[int, Placed] = {}
        for slot, item in enumerate(self.items):
            self.index[item.key] = (*self.index.get(item.key, ()), slot, item)


class RuleList:
    """A shared chain on one node. `order` keys the permutation; None sorts by Service port, as text shows it."""

    __slots__ = ("_moved", "base", "base_index", "length", "order", "overlay", "positions")

    def __init__(self, base: ListBase, order: int | None) -> None:
        self.base = base
        self.base_index = base.index
        self.overlay: dict[int, Placed | None] = {}
        self.length = len(base.items)
        self.order = order
        self._moved: dict[int, Listed] = {}
        self.positions: dict[int, int] = {}

    def __len__(self) -> int:
        return self.length

    def find(self, key: int) -> Placed | None:
        """The rules with this key and their slots, None if there is none."""
        return self.overlay[key] if key in self.overlay else self.base_index.get(key)

    def _item(self, slot: int) -> Listed:
        item = self._moved.get(slot)
        return item if item is not None else self.base.items[slot]

    def _put(self, slot: int, item: Listed) -> None:
        if slot < len(self.base.items) and self.base.items[slot] is item:
            self._moved.pop(slot, None)
        else:
            self._moved[slot] = item

    def _index(self, key: int, placed: Placed) -> None:
        if placed:
            self.overlay[key] = placed
        elif key in self.base_index:
            self.overlay[key] = None
        else:
            self.overlay.pop(key, None)

    def _slot(self, item: Listed) -> int:
        placed = self.find(item.key) or ()
        for at in range(0, len(placed), 2):
            if placed[at + 1] is item:
                slot: int = placed[at]
                return slot
        raise KeyError(item.key)

    def add(self, item: Listed) -> None:
        """Add a rule."""
        slot = self.length
        self.length += 1
        self._put(slot, item)
        self._index(item.key, (*(self.find(item.key) or ()), slot, item))

    def remove(self, item: Listed) -> None:
        """Take a rule out; the last slot's rule fills its slot."""
        slot = self._slot(item)
        self._relocate(item, slot, None)
        last = self.length - 1
        if slot != last:
            mover = self._item(last)
            self._relocate(mover, last, slot)
            self._put(slot, mover)
        self._moved.pop(last, None)
        self.length = last

    def _relocate(self, item: Listed, old: int, new: int | None) -> None:
        placed = self.find(item.key) or ()
        kept: list[Any] = []
        for at in range(0, len(placed), 2):
            if placed[at] != old:
                kept += placed[at : at + 2]
            elif new is not None:
                kept += (new, item)
        self._index(item.key, tuple(kept))

    def replace(self, old: Listed, new: Listed) -> None:
        """Put a rule with the same key in the place of another."""
        slot = self._slot(old)
        placed = self.find(old.key) or ()
        self._put(slot, new)
        self._index(old.key, tuple(new if part is old else part for part in placed))

    def swap(self, old: Sequence[Listed], new: Sequence[Listed]) -> None:
        """Exchange the rules of one Service port."""
        if len(old) == len(new) and all(one.key == other.key for one, other in zip(old, new, strict=True)):
            for one, other in zip(old, new, strict=True):
                if one is not other:
                    self.replace(one, other)
            return
        for item in old:
            self.remove(item)
        for item in new:
            self.add(item)

    def reorder(self, order: int | None) -> None:
        """Write the chain anew: in another order, unless sorted."""
        self.order = order
        self.positions.clear()

    def position(self, slot: int) -> int:
        """Where the rule of a slot stands in the chain, from 1."""
        position = self.positions.get(slot)
        if position is None:
            if self.order is None:
                for rank, (_, each) in enumerate(sorted((self._item(each).sort_key, each) for each in range(self.length))):
                    self.positions[each] = rank + 1
                return self.positions[slot]
            position = self.positions[slot] = permuted(self.order, slot, self.length) + 1
        return position

    def matches(self, *keys: int) -> list[tuple[int, Listed]]:
        """The rules with one of these keys and their positions, in the chain's order."""
        found: list[tuple[int, Listed]] = []
        for key in keys:
            placed = self.overlay[key] if key in self.overlay else self.base_index.get(key)
            if placed is None:
                continue
            found += [(self.position(placed[at]), placed[at + 1]) for at in range(0, len(placed), 2)]
        if len(found) > 1:
            found.sort(key=lambda pair: pair[0])
        return found

    def in_order(self) -> list[Listed]:
        """All rules in the chain's order."""
        ordered: list[Listed | None] = [None] * self.length
        for slot in range(self.length):
            ordered[self.position(slot) - 1] = self._item(slot)
        return [item for item in ordered if item is not None]
