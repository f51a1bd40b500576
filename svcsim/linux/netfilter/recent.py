"""The lists of the `recent` match: which sources were seen when.

A list keeps up to 100 addresses (module parameter ip_list_tot) in the order of their last stamp. Only the newest of an entry's
stamps can decide a check with a time limit, so an entry is that stamp.

Source: net/netfilter/xt_recent.c (Linux 6.1).
"""

from __future__ import annotations

from collections.abc import Iterable

LIST_LENGTH = 100

RecentList = dict[int, int]
"""Source address -> nanosecond of its last stamp, least recently stamped first."""


class RecentState:
    """All lists of a node, by name. An empty list and none are the same."""

    __slots__ = ("lists",)

    def __init__(self) -> None:
        self.lists: dict[str, RecentList] = {}

    def check(self, name: str, source: int, seconds: int, now_ns: int, *, reap: bool) -> bool:
        """Whether the source was stamped within the last `seconds`.

        With `reap`, and if the source is in the list at all, the least recently stamped entry goes if it is outdated.
        """
        entries = self.lists.get(name)
        if not entries:
            return False
        stamp = entries.get(source)
        if stamp is None:
            return False
        limit = now_ns - seconds * 1_000_000_000
        if reap:
            oldest = next(iter(entries))
            if entries[oldest] < limit:
                del entries[oldest]
        return stamp >= limit

    def stamp(self, name: str, source: int, now_ns: int) -> None:
        """Note the source as seen now; a full list forgets the one that it saw least recently."""
        entries = self.lists.get(name)
        if entries is None:
            entries = self.lists[name] = {}
        elif source in entries:
            del entries[source]
        elif len(entries) >= LIST_LENGTH:
            del entries[next(iter(entries))]
        entries[source] = now_ns

    def forget(self, names: Iterable[str]) -> None:
        """Drop lists that no rule refers to any more."""
        for name in names:
            self.lists.pop(name, None)

    def contents(self) -> dict[str, list[tuple[int, int]]]:
        """The lists that hold anything, each in its order, for comparison."""
        return {name: list(entries.items()) for name, entries in sorted(self.lists.items()) if entries}
