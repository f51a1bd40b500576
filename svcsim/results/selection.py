"""Figures over chosen requests: latency quantiles, success, failures by reason, balance over endpoints.

A quantile is the smallest observed latency that at least the given share of the requests stayed within
(nearest rank, the inverse of the empirical distribution function), so each is a latency that some request
had, and a failure can count as infinite. Latencies are nanoseconds.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svcsim.errors import UsageError
from svcsim.results.records import PARTS, Flag, Outcome, Requests
from svcsim.results.table import html_table, percent, selection_rows
from svcsim.spelling import nearest
from svcsim.units import format_ns

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
"""Names of the quantiles that tables and files carry; `p999` is the 99.9th percentile."""


class Latency:
    """Latencies of some requests, failures possibly among them as infinite; NaN where there is no request at
    all.
    """

    def __init__(self, latencies_ns: NDArray[np.int64], failures: int = 0) -> None:
        """Take the finite latencies, which are sorted in place, and the number of infinite ones."""
        latencies_ns.sort()
        self._sorted = latencies_ns
        self._failures = failures

    def __len__(self) -> int:
        return len(self._sorted) + self._failures

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {format_ns(self.quantile(share))}" for name, share in QUANTILES.items())
        return f"<latency of {len(self):,} requests: {shown}>"

    def _repr_html_(self) -> str:
        return html_table([tuple(QUANTILES), tuple(format_ns(self.quantile(share)) for share in QUANTILES.values())])

    def quantile(self, share: float) -> float:
        """The latency in ns that at least this share of the requests stayed within."""
        if not 0.0 <= share <= 1.0:
            raise UsageError(f"a quantile lies between 0 and 1 (got {share})")
        count = len(self)
        if count == 0:
            return math.nan
        # 0.999 is no binary fraction: unrounded, 0.999 of some counts would take a value too far up.
        rank = max(1, math.ceil(round(share * count, 6)))
        return float(self._sorted[rank - 1]) if rank <= len(self._sorted) else math.inf

    @property
    def p50(self) -> float:
        """The median in ns."""
        return self.quantile(0.5)

    @property
    def p90(self) -> float:
        """The 90th percentile in ns."""
        return self.quantile(0.9)

    @property
    def p95(self) -> float:
        """The 95th percentile in ns."""
        return self.quantile(0.95)

    @property
    def p99(self) -> float:
        """The 99th percentile in ns."""
        return self.quantile(0.99)

    @property
    def p999(self) -> float:
        """The 99.9th percentile in ns."""
        return self.quantile(0.999)

    @property
    def max(self) -> float:
        """The longest in ns."""
        return self.quantile(1.0)

    @property
    def mean(self) -> float:
        """The mean in ns; infinite if a failure counts."""
        if len(self) == 0:
            return math.nan
        return math.inf if self._failures else int(self._sorted.sum()) / len(self._sorted)

    @property
    def sorted_ns(self) -> NDArray[np.int64]:
        """The finite latencies in rising order, for a distribution function."""
        return self._sorted


@dataclass(frozen=True, slots=True)
class Names:
    """What the indices in a run's records mean."""

    workloads: tuple[str, ...]
    endpoints: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    endpoints_of: tuple[tuple[int, ...], ...] = ()
    """For each workload the endpoints that stood behind its Service at any time, used or not."""
    homes: tuple[int, ...] = ()
    """For each endpoint the node on which it served last, -1 where it never did."""

    def workload(self, name: str) -> int:
        """The index of a workload; UsageError with the nearest name if there is none."""
        if name not in self.workloads:
            raise UsageError(f"there is no workload {name!r}{nearest(name, self.workloads)}")
        return self.workloads.index(name)


class Selection:
    """The requests of one run that lie in a window or belong to a workload, and the figures over them."""

    def __init__(self, requests: Requests, names: Names) -> None:
        self.requests = requests
        self.names = names

    def __len__(self) -> int:
        return len(self.requests)

    def __repr__(self) -> str:
        latency = f"p50 {format_ns(self.latency.p50)}, p99 {format_ns(self.latency.p99)}"
        return f"<{len(self):,} requests, {percent(self.success)} succeeded, {latency}>"

    def _repr_html_(self) -> str:
        return html_table(selection_rows(self))

    def to_pandas(self) -> Any:
        """A pandas DataFrame, a row a request, with names in place of indices. Needs pandas."""
        from svcsim.results.frames import requests_frame

        return requests_frame(self)

    def of_workload(self, name: str) -> Selection:
        """The requests of one workload; UsageError if there is none of that name."""
        index = self.names.workload(name)
        return Selection(self.requests.select(self.requests.workload == index), self.names)

    def of_endpoint(self, pattern: str) -> Selection:
        """The requests that went to an endpoint, by its name or a pattern as `web-*`, with or without its namespace.

        UsageError if no endpoint has such a name.
        """
        chosen = [
            index for index, name in enumerate(self.names.endpoints)
            if fnmatchcase(name, pattern) or fnmatchcase(name.partition("/")[2], pattern)
        ]
        if not chosen:
            raise UsageError(f"there is no endpoint {pattern!r}{nearest(pattern, self.names.endpoints)}")
        return Selection(self.requests.select(np.isin(self.requests.endpoint, chosen)), self.names)

    def during(self, start_ns: int | None, end_ns: int | None) -> Selection:
        """The requests whose intended send lies in `[start_ns, end_ns)`."""
        return Selection(self.requests.during(start_ns, end_ns), self.names)

    @cached_property
    def latency(self) -> Latency:
        """Latencies of the requests that succeeded."""
        return Latency(self.requests.column("latency_ns", keep=False)[self.requests.succeeded])

    @cached_property
    def latency_all(self) -> Latency:
        """Latencies where each failure counts as infinite; clients that were gone are left out."""
        finite = self.latency.sorted_ns
        return Latency(finite, self.failures)

    @cached_property
    def outcomes(self) -> dict[Outcome, int]:
        """How many requests ended in each outcome that occurred, in the order of `Outcome`."""
        counts = np.bincount(self.requests.outcome, minlength=len(Outcome))
        return {outcome: int(counts[outcome]) for outcome in Outcome if counts[outcome]}

    @property
    def successes(self) -> int:
        """How many requests got their answer."""
        return self.outcomes.get(Outcome.OK, 0)

    @property
    def failures(self) -> int:
        """How many requests failed; clients that were gone sent none."""
        return sum(self.reasons.values())

    @property
    def reasons(self) -> dict[Outcome, int]:
        """Failures by reason, in the order of `Outcome`."""
        neither = (Outcome.OK, Outcome.CLIENT_GONE)
        return {outcome: count for outcome, count in self.outcomes.items() if outcome not in neither}

    @property
    def success(self) -> float:
        """Share of the requests sent that succeeded, 0 to 1; NaN if none was sent."""
        sent = self.successes + self.failures
        return self.successes / sent if sent else math.nan

    @property
    def error_rate(self) -> float:
        """Share of the requests sent that failed, 0 to 1; NaN if none was sent."""
        sent = self.successes + self.failures
        return self.failures / sent if sent else math.nan

    def parts(self) -> dict[str, float]:
        """Mean of each part of the latency in ns over the requests that succeeded; NaN if none did."""
        chosen = self.requests.succeeded
        count = int(chosen.sum())
        sums = {part: int(self.requests.column(part, keep=False)[chosen].sum()) for part in PARTS}
        return {part: total / count if count else math.nan for part, total in sums.items()}

    def answered_by(self) -> dict[str, int]:
        """Successful requests by endpoint, in the table's order: all that stood behind the workloads, used or
        not.
        """
        requests = self.requests
        answered = requests.endpoint[requests.succeeded & (requests.endpoint >= 0)]
        counts = np.bincount(answered, minlength=len(self.names.endpoints))
        behind = self._behind(np.unique(requests.workload).tolist(), counts)
        return {self.names.endpoints[index]: int(counts[index]) for index in behind}

    def answered_with(self, flag: Flag) -> float:
        """Share of the requests that succeeded which have a flag; NaN if none did."""
        answered = self.requests.flags[self.requests.succeeded]
        return float(np.count_nonzero(answered & int(flag))) / len(answered) if len(answered) else math.nan

    @property
    def attempts(self) -> float:
        """Mean number of attempts that a request took; NaN without requests."""
        attempts = self.requests.attempts
        return float(attempts.mean()) if len(attempts) else math.nan

    def flagged(self, flag: Flag) -> int:
        """How many requests have a flag."""
        return int(np.count_nonzero(self.requests.flags & int(flag)))

    @property
    def endpoints_used(self) -> int:
        """How many endpoints gave an answer."""
        requests = self.requests
        return len(np.unique(requests.endpoint[requests.succeeded & (requests.endpoint >= 0)]))

    @property
    def balance(self) -> float:
        """Answers of the busiest endpoint over the mean of all behind the Service: 1 is even.

        The worst workload counts. Endpoints that stood behind the Service at any time count in the mean. NaN
        where no workload has an answer.
        """
        requests = self.requests
        worst = math.nan
        answered = requests.succeeded & (requests.endpoint >= 0)
        for workload in np.unique(requests.workload).tolist():
            chosen = requests.endpoint[answered & (requests.workload == workload)]
            if len(chosen) == 0:
                continue
            counts = np.bincount(chosen, minlength=len(self.names.endpoints))
            behind = self._behind([workload], counts)
            ratio = float(counts.max()) * len(behind) / len(chosen)
            worst = ratio if math.isnan(worst) else max(worst, ratio)
        return worst

    def _behind(self, workloads: Sequence[int], counts: NDArray[np.int64]) -> list[int]:
        known = {
            index
            for workload in workloads
            if workload < len(self.names.endpoints_of)
            for index in self.names.endpoints_of[workload]
        }
        return sorted(known.union(np.flatnonzero(counts).tolist()))


class Figures(ABC):
    """What is asked of a run, or of all replications of a variant: figures over the requests that it counts as measured."""

    @property
    @abstractmethod
    def measured(self) -> Selection:
        """The requests that the figures are over."""

    @property
    def latency(self) -> Latency:
        """Latencies of the measured requests that succeeded: `.p50`, `.p99`, `.p999`, `.max`, `.mean`, in ns."""
        return self.measured.latency

    @property
    def latency_all(self) -> Latency:
        """The same with each failure counted as infinite."""
        return self.measured.latency_all

    @property
    def success(self) -> float:
        """Share of the measured requests that succeeded."""
        return self.measured.success

    @property
    def error_rate(self) -> float:
        """Share of the measured requests that failed."""
        return self.measured.error_rate


def pooled(selections: Sequence[Selection]) -> Selection:
    """The requests of several replications as one; endpoints keep the meaning of the first, so ask none of
    them.
    """
    if len(selections) == 1:
        return selections[0]
    requests = Requests.concatenate([selection.requests for selection in selections])
    return Selection(requests, selections[0].names)
