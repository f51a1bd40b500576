"""What is read off a run, by the names that `targets.toml` uses: nanoseconds, a rate a second, a ratio, or how many."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from svcsim.engine.journal import Happening
from svcsim.results.records import Outcome
from svcsim.results.result import Result
from svcsim.results.selection import Latency, Selection
from svcsim.units import MS, S

Measure = Callable[[Result], float]

AT_ONCE_NS = 10 * MS
"""What fails in less has waited for no timer."""


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


# ---- failures ---------------------------------------------------------------------------------------------------------------


def _counted(result: Result) -> Selection:
    """The requests that count: those of the workload `measured`, if there is one."""
    return result.workload("measured") if "measured" in result.names.workloads else result.measured


def _ended(outcome: Outcome, *, by: str = "", at_once: bool = False) -> Measure:
    """How many ended so, with a certain pod, without waiting for anything."""
    def count(result: Result) -> float:
        counted = _counted(result)
        requests = (counted.of_endpoint(by) if by else counted).requests
        chosen = requests.outcome == int(outcome)
        if at_once:
            chosen &= requests.column("latency_ns") < AT_ONCE_NS
        return int(chosen.sum())

    return count


def _time(share: float, column: str = "latency_ns", *, late: bool = False) -> Measure:
    """A quantile of the time until the outcome, whatever it was; `late`: of those that waited for something."""
    def time(result: Result) -> float:
        times = _counted(result).requests.column(column)
        return Latency(times[times >= AT_ONCE_NS] if late else times).quantile(share)

    return time


def _clients_kept(result: Result) -> float:
    """Workloads, which are a client each, whose requests were all answered by one pod."""
    requests = result.measured.requests
    kept = 0
    for client in range(len(result.names.workloads)):
        mine = requests.workload == client
        endpoints = set(requests.endpoint[mine].tolist())
        kept += len(endpoints) == 1 and not requests.outcome[mine].any()
    return kept


def _sync(kind: str) -> Measure:
    """How long the node's last sync of a kind took."""
    def duration(result: Result) -> float:
        times = [
            entry.at_ns - int(str(entry.detail["began_ns"]))
            for entry in result.journal.entries
            if entry.kind is Happening.PROXY_SYNCED and entry.detail["kind"] == kind
        ]
        return float(times[-1])

    return duration


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
    "answered": _ended(Outcome.OK),
    "answered by web-0": _ended(Outcome.OK, by="web-0"),
    "answered by web-1": _ended(Outcome.OK, by="web-1"),
    "refused": _ended(Outcome.REFUSED),
    "refused at once": _ended(Outcome.REFUSED, at_once=True),
    "no route at once": _ended(Outcome.NO_ROUTE, at_once=True),
    "reset": _ended(Outcome.RESET),
    "connect timed out": _ended(Outcome.CONNECT_TIMEOUT),
    "unanswered": _ended(Outcome.REQUEST_TIMEOUT),
    "outcome p50": _time(0.5),
    "connecting p50": _time(0.5, "connect_ns"),
    "outcome last": _time(1.0),
    "late p50": _time(0.5, late=True),
    "clients kept": _clients_kept,
    "full sync": _sync("full"),
    "partial sync": _sync("partial"),
}
"""`connect` is until the client's connect() returns; `one way` until the request is in the server's socket; `a rule` the slope
over rules examined, by least squares; `first` and `last` are the called Services nearest to the list's ends. From `answered` on
they are those of failures: how many requests ended so, how long until they did, how long a sync took."""
