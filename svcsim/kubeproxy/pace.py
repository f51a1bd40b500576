"""How often a kube-proxy may sync: requests are coalesced, and two syncs are a least time apart.

Until about 1.33 a token bucket of size 2 decides: after a quiet time two syncs may follow back to back, then one an interval.
Later a sync waits until the interval has passed since the one before *ended*. Pure: instants in, instants out.

Sources: pkg/util/async/bounded_frequency_runner.go (until 1.33), pkg/proxy/runner/bounded_frequency_runner.go (from 1.34).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Pace(Protocol):
    """When the next sync may begin."""

    def earliest_ns(self, now_ns: int) -> int:
        """The first instant from now on at which a sync may begin."""

    def begin(self, now_ns: int) -> None:
        """A sync begins now."""

    def end(self, now_ns: int) -> None:
        """The sync has ended."""


@dataclass(slots=True)
class TokenBucketPace:
    """A bucket of `burst` tokens that fills at one an interval.

    >>> pace = TokenBucketPace(interval_ns=10, burst=2)
    >>> begun = []
    >>> for _ in range(4):
    ...     begun.append(pace.earliest_ns(begun[-1] if begun else 0))
    ...     pace.begin(begun[-1])
    >>> begun
    [0, 0, 10, 20]
    """

    interval_ns: int
    burst: int
    _credit_ns: int = -1
    _last_ns: int = 0

    def _fill(self, now_ns: int) -> None:
        full_ns = self.burst * self.interval_ns
        if self._credit_ns < 0:
            self._credit_ns = full_ns
        self._credit_ns = min(full_ns, self._credit_ns + now_ns - self._last_ns)
        self._last_ns = now_ns

    def earliest_ns(self, now_ns: int) -> int:
        """Now if there is a token, else when there will be one."""
        self._fill(now_ns)
        return now_ns + max(0, self.interval_ns - self._credit_ns)

    def begin(self, now_ns: int) -> None:
        """Take a token."""
        self._fill(now_ns)
        self._credit_ns = max(0, self._credit_ns - self.interval_ns)

    def end(self, now_ns: int) -> None:
        """The bucket does not care how long a sync took."""


@dataclass(slots=True)
class CompletionPace:
    """At least an interval between the end of a sync and the beginning of the next.

    >>> pace = CompletionPace(interval_ns=10)
    >>> pace.begin(0); pace.end(4); pace.earliest_ns(5)
    14
    """

    interval_ns: int
    _ended_ns: int | None = None

    def earliest_ns(self, now_ns: int) -> int:
        """Now, or an interval after the last end."""
        return now_ns if self._ended_ns is None else max(now_ns, self._ended_ns + self.interval_ns)

    def begin(self, now_ns: int) -> None:
        """Nothing to note: the interval counts from the end."""

    def end(self, now_ns: int) -> None:
        """The interval begins."""
        self._ended_ns = now_ns
