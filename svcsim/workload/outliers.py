"""Outlier detection: a client that balances leaves an address out for a while when too many of its requests there fail.

At the end of each interval a client looks at what it counted in it. By *failure percentage* an address is ejected whose failures
exceed a threshold, by *success rate* one that succeeds less than the mean of all addresses by some standard deviations; both need
so many addresses with so many requests to say anything. Only a share of all addresses is ejected at a time, one at least. An
ejection lasts the base time, times how often it happened; each interval without one takes once off. There is no timer: what has
ended is found out when somebody asks, since nothing else depends on it.

Sources: gRPC A50 (outlier_detection); grpc-go internal/xds/balancer/outlierdetection/balancer.go; Envoy
docs/root/intro/arch_overview/upstream/outlier.rst, which has further algorithms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

from svcsim.units import S


@dataclass(frozen=True, slots=True)
class FailurePercentage:
    """Eject an address of which more than this share of the requests fails."""

    threshold: float = 0.85
    minimum_hosts: int = 5
    request_volume: int = 50


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """Eject an address whose share of successes is so many standard deviations below the mean."""

    stdev_factor: float = 1.9
    minimum_hosts: int = 5
    request_volume: int = 100


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """How often a client looks, for how long it ejects, how large a share at most, and by which algorithms; None: not by it."""

    interval_ns: int = 10 * S
    base_ejection_ns: int = 30 * S
    max_ejection_ns: int = 300 * S
    max_ejection: float = 0.1
    failure_percentage: FailurePercentage | None = None
    success_rate: SuccessRate | None = None


class Outliers:
    """What one client counts, and which addresses it has ejected."""

    __slots__ = ("_counts", "_detection", "_ejected_ns", "_next_ns", "_times")

    def __init__(self, detection: OutlierDetection, now_ns: int) -> None:
        self._detection = detection
        self._next_ns = now_ns + detection.interval_ns
        self._counts: dict[int, list[int]] = {}
        self._ejected_ns: dict[int, int] = {}
        self._times: dict[int, int] = {}

    def ended(self, address: int, targets: Sequence[int], now_ns: int, *, succeeded: bool) -> None:
        """A request to an address is over."""
        self._look(targets, now_ns)
        self._counts.setdefault(address, [0, 0])[succeeded] += 1

    def left(self, targets: Sequence[int], now_ns: int) -> Sequence[int]:
        """The addresses that are not ejected; all of them if there is no other."""
        self._look(targets, now_ns)
        ejected = self._ejected_ns
        return [address for address in targets if address not in ejected] or targets if ejected else targets

    def _look(self, targets: Sequence[int], now_ns: int) -> None:
        while self._next_ns <= now_ns:
            self._judge(targets, self._next_ns)
            self._next_ns += self._detection.interval_ns

    def _judge(self, targets: Sequence[int], at_ns: int) -> None:
        """An interval is over."""
        detection, ejected, times = self._detection, self._ejected_ns, self._times
        counts = {address: self._counts.get(address, [0, 0]) for address in targets}
        self._counts = {}
        for address in [each for each in ejected if each not in counts]:
            del ejected[address]
        for address in [each for each in times if each not in counts]:
            del times[address]
        for address in (*self._by_success_rate(counts), *self._by_failures(counts)):
            if address not in ejected:
                if len(ejected) >= detection.max_ejection * len(targets) and ejected:
                    break
                ejected[address] = at_ns
                times[address] = times.get(address, 0) + 1
        longest_ns = max(detection.base_ejection_ns, detection.max_ejection_ns)
        for address, number in list(times.items()):
            since_ns = ejected.get(address)
            if since_ns is None:
                times[address] = max(0, number - 1)
            elif at_ns > since_ns + min(detection.base_ejection_ns * number, longest_ns):
                del ejected[address]

    def _by_success_rate(self, counts: dict[int, list[int]]) -> Iterator[int]:
        rule = self._detection.success_rate
        if rule is None:
            return
        rates = {address: good / (bad + good) for address, (bad, good) in counts.items() if bad + good >= rule.request_volume}
        if not rates or len(rates) < rule.minimum_hosts:
            return
        mean = sum(rates.values()) / len(rates)
        deviation = sqrt(sum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
        yield from (address for address, rate in rates.items() if rate < mean - rule.stdev_factor * deviation)

    def _by_failures(self, counts: dict[int, list[int]]) -> Iterator[int]:
        rule = self._detection.failure_percentage
        if rule is None:
            return
        judged = {address: (bad, bad + good) for address, (bad, good) in counts.items() if bad + good >= rule.request_volume}
        if len(judged) >= rule.minimum_hosts:
            yield from (address for address, (bad, number) in judged.items() if bad > rule.threshold * number)
