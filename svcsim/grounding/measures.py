"""What is read off a run, by the names that `targets.toml` uses: nanoseconds, a rate a second, or a ratio."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from svcsim.results.records import Outcome
from svcsim.results.result import Result
from svcsim.results.selection import Latency
from svcsim.units import S

Measure = Callable[[Result], float]


def _answered(result: Result, column: str) -> NDArray[np.int64]:
    requests = result.measured.requests
    found: NDArray[np.int64] = requests.column(column)[requests.outcome == int(Outcome.OK)]
    return found


def _quantile(column: str, share: float) -> Measure:
    return lambda result: Latency(_answered(result, column)).quantile(share)


def _mean(column: str) -> Measure:
    return lambda result: Latency(_answered(result, column)).mean


def _round_trip(result: Result) -> float:
    return Latency(_answered(result, "latency_ns") - _answered(result, "service_ns")).quantile(0.5)


def _a_rule(column: str) -> Measure:
    def slope(result: Result) -> float:
        rules = _answered(result, "rules").astype(np.float64)
        times = _answered(result, column).astype(np.float64)
        away = rules - rules.mean()
        squares = float(np.dot(away, away))
        return float(np.dot(away, times - times.mean())) / squares if squares else 0.0

    return slope


def _rate(result: Result) -> float:
    return len(_answered(result, "latency_ns")) * S / (result.duration_ns - result.warmup_ns)


MEASURES: dict[str, Measure] = {
    "connect p01": _quantile("connect_ns", 0.01),
    "connect p50": _quantile("connect_ns", 0.5),
    "connect p90": _quantile("connect_ns", 0.9),
    "connect p99": _quantile("connect_ns", 0.99),
    "connect a rule": _a_rule("connect_ns"),
    "one way": _quantile("request_ns", 0.5),
    "one way a rule": _a_rule("request_ns"),
    "round trip": _round_trip,
    "latency mean": _mean("latency_ns"),
    "latency first": _quantile("latency_ns", 0.0),
    "latency p50": _quantile("latency_ns", 0.5),
    "latency last": _quantile("latency_ns", 1.0),
    "last over first": lambda result: _quantile("latency_ns", 1.0)(result) / _quantile("latency_ns", 0.0)(result),
    "answers": _rate,
}
"""`connect` is until the client's connect() returns; `one way` until the request is in the server's socket; `a rule` the slope
over rules examined, by least squares; `first` and `last` are the called Services nearest to the list's ends."""
