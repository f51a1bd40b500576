"""Attempts beyond the first: what a budget lets a client make, and a second one beside an attempt that takes long.

A budget is a client process's own: each request pays in a share of a retry, each retry or hedge takes a whole one, and both are
forgotten after a while; a few a second are allowed in any case. So a failing server meets a fifth more requests and not three
times as many. A hedge is sent when an attempt has taken a given time, or longer than most of the last ones. The first answer
wins; the other attempt is cancelled: its connection is closed, or its stream reset. Its server finishes what it has begun.

Sources: Finagle RetryBudget and BackupRequestFilter; Linkerd docs/reference/service-profiles (retryBudget); gRPC A6 (hedging);
Dean, Barroso: The Tail at Scale (2013).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from svcsim.datapath.connection import Request
from svcsim.engine.clock import PACKET, Clock
from svcsim.engine.hop import Hop, Step
from svcsim.engine.streams import Stream
from svcsim.engine.timers import TimerFifo
from svcsim.results.records import Flag
from svcsim.units import S
from svcsim.workload.source import Source

SLICES = 10
"""A budget forgets a tenth of its time at once."""
_WHOLE = 1_000_000
_HEDGED = int(Flag.HEDGED)
LATENCIES = 1000
"""Of so many of the last answers a client knows the quantiles,"""
FEWEST_LATENCIES = 100
"""and of fewer than these it draws no conclusion."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many retries a client may make: a share of its requests of the last `ttl_ns`, and so many a second anyway."""

    share: float = 0.2
    min_per_s: float = 10.0
    ttl_ns: int = 10 * S


@dataclass(frozen=True, slots=True)
class Hedging:
    """When a second attempt is sent: after a time, or after this quantile of the last latencies."""

    after_ns: int | None = None
    quantile: float | None = None


class RetryBudget:
    """The budget of one client, in millionths of a retry."""

    __slots__ = ("_balance", "_reserve", "_share", "_slice", "_slice_ns", "_slices")

    def __init__(self, budget: Budget) -> None:
        self._share = round(budget.share * _WHOLE)
        self._reserve = round(budget.min_per_s * budget.ttl_ns / S * _WHOLE)
        self._slice_ns = max(1, budget.ttl_ns // SLICES)
        self._slice = 0
        self._slices: deque[int] = deque([0] * SLICES)
        self._balance = 0

    def deposit(self, now_ns: int) -> None:
        """A request was sent."""
        self._advance(now_ns)
        self._book(self._share)

    def withdraw(self, now_ns: int) -> bool:
        """Whether one more attempt may be made; it is then paid for."""
        self._advance(now_ns)
        if self._balance + self._reserve < _WHOLE:
            return False
        self._book(-_WHOLE)
        return True

    def _book(self, amount: int) -> None:
        self._slices[-1] += amount
        self._balance += amount

    def _advance(self, now_ns: int) -> None:
        current = now_ns // self._slice_ns
        for _ in range(min(SLICES, current - self._slice)):
            self._balance -= self._slices.popleft()
            self._slices.append(0)
        self._slice = current


class Latencies:
    """The last latencies of a client, and their quantiles."""

    __slots__ = ("_last", "_ordered")

    def __init__(self) -> None:
        self._last: deque[int] = deque()
        self._ordered: list[int] = []

    def add(self, latency_ns: int) -> None:
        """One more; the oldest is forgotten if there are too many."""
        if len(self._last) == LATENCIES:
            del self._ordered[bisect_left(self._ordered, self._last.popleft())]
        self._last.append(latency_ns)
        insort(self._ordered, latency_ns)

    def quantile(self, share: float) -> int | None:
        """Which latency this share of them does not exceed; None while there are too few."""
        count = len(self._ordered)
        return self._ordered[min(count - 1, int(share * count))] if count >= FEWEST_LATENCIES else None


class Race(Hop):
    """An attempt, and perhaps another beside it."""

    __slots__ = ("began_ns", "deadline_ns", "first", "second")

    def __init__(self, first: Request, began_ns: int) -> None:
        super().__init__()
        self.first = first
        self.second: Request | None = None
        self.began_ns = began_ns
        self.deadline_ns = 0


class ExtraAttempts:
    """Budgets and hedges of a workload; `send` lets an attempt find its connection, `cancel` takes one back."""

    __slots__ = (
        "_budget", "_budgets", "_cancel", "_clock", "_draws", "_due_step", "_hedging", "_latencies", "_races", "_send", "_timers",
    )

    def __init__(
        self, budget: Budget | None, hedging: Hedging | None, clock: Clock, draws: Stream, send: Callable[[Request], None],
        cancel: Callable[[Request], None],
    ) -> None:
        self._budget = budget
        self._budgets: dict[Source, RetryBudget] = {}
        self._hedging = hedging
        self._clock = clock
        self._draws = draws
        self._send = send
        self._cancel = cancel
        self._races: dict[int, Race] = {}
        self._latencies: dict[Source, Latencies] = {}
        self._due_step: Step = (self._on_due,)
        self._timers: TimerFifo[Race] | None = None
        if hedging is not None and hedging.after_ns is not None:
            self._timers = TimerFifo(clock, hedging.after_ns, self._due)

    def request_begun(self, request: Request) -> None:
        """A new request: it pays into its client's budget."""
        if self._budget is not None:
            self._budget_of(request.tag).deposit(self._clock.now)
        self.attempt_begun(request)

    def attempt_begun(self, request: Request) -> None:
        """An attempt that is not a hedge itself: watch how long it takes."""
        hedging = self._hedging
        if hedging is None:
            return
        now = self._clock.now
        race = Race(request, now)
        if self._timers is not None:
            self._timers.set(race)
        elif hedging.quantile is not None:
            latencies = self._latencies.get(request.tag)
            after_ns = latencies.quantile(hedging.quantile) if latencies is not None else None
            if after_ns is not None:
                race.deadline_ns = now + after_ns
                race.callbacks = self._due_step
                self._clock.environment.schedule(race, PACKET, after_ns)
        self._races[request.sequence] = race

    def may_retry(self, source: Source) -> bool:
        """Whether the client's budget has a retry left; it is then spent."""
        return self._budget is None or self._budget_of(source).withdraw(self._clock.now)

    def won(self, request: Request, finish_ns: int) -> None:
        """An attempt was answered: nobody waits for the other one any more."""
        race = self._races.pop(request.sequence, None)
        if race is None:
            return
        race.deadline_ns = 0
        if self._timers is None:
            latencies = self._latencies.get(request.tag)
            if latencies is None:
                latencies = self._latencies[request.tag] = Latencies()
            latencies.add(finish_ns - race.began_ns)
        other = race.first if request is race.second else race.second
        if other is not None:
            request.attempt = max(request.attempt, other.attempt)
            self._cancel(other)

    def other_goes_on(self, request: Request) -> bool:
        """An attempt has failed: whether there is another beside it that may yet be answered."""
        race = self._races.get(request.sequence)
        if race is None:
            return False
        other = race.first if request is race.second else race.second
        if other is None or not other.live:
            race.deadline_ns = 0
            del self._races[request.sequence]
            return False
        race.first, race.second = other, None
        other.attempt = max(request.attempt, other.attempt)
        return True

    def _budget_of(self, source: Source) -> RetryBudget:
        assert self._budget is not None
        budget = self._budgets.get(source)
        if budget is None:
            budget = self._budgets[source] = RetryBudget(self._budget)
        return budget

    def _on_due(self, hop: Hop) -> None:
        assert isinstance(hop, Race)
        if hop.deadline_ns:
            hop.deadline_ns = 0
            self._due(hop)

    def _due(self, race: Race) -> None:
        """The attempt takes long: send another."""
        first = race.first
        if not first.live or not first.tag.alive or not self.may_retry(first.tag):
            return
        key, number = first.sequence, first.attempt + 1
        second = first.next_attempt(self._draws.uniform(key, 2 * number), self._draws.uniform(key, 2 * number + 1))
        second.tag = first.tag
        first.flags |= _HEDGED
        second.flags |= _HEDGED
        race.second = second
        second.close_part(self._clock.now)
        self._send(second)
