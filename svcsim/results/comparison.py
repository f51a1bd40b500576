"""Results side by side: the variants of a comparison, each run once or several times with different seeds.

Intervals come from replications, never from the requests of one run as if they were independent: one
replication has none.
"""

from __future__ import annotations

import importlib
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from svcsim.errors import UsageError
from svcsim.results.anatomy import FaultAnatomy
from svcsim.results.frames import Faults, modes_frame
from svcsim.results.result import Result
from svcsim.results.selection import Figures, Selection, pooled
from svcsim.results.table import html_table, mode_rows
from svcsim.spelling import nearest


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over replications and the ends of its confidence interval by Student's t."""

    mean: float
    low: float
    high: float
    level: float
    replications: int

    @property
    def half_width(self) -> float:
        """How far the ends lie from the mean."""
        return (self.high - self.low) / 2


def t_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """The interval of the mean of independent values; None for fewer than two, or where one is not finite.

    >>> interval = t_interval([1.0, 2.0, 3.0])
    >>> round(interval.low, 3), interval.mean, round(interval.high, 3)
    (-0.484, 2.0, 4.484)
    """
    if not 0.0 < level < 1.0:
        raise UsageError(f"a confidence level lies between 0 and 1 (got {level})")
    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        return None
    from scipy.special import stdtrit

    mean = statistics.fmean(values)
    error = statistics.stdev(values) / math.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, (1 + level) / 2)) * error
    return Interval(mean, mean - half, mean + half, level, len(values))


class Variant(Figures):
    """One variant of a scenario and all its replications."""

    def __init__(self, label: str, runs: Sequence[Result]) -> None:
        self.label = label
        self.runs = tuple(runs)

    def __repr__(self) -> str:
        runs = f" in {len(self.runs)} replications" if len(self.runs) > 1 else ""
        return f"<{self.label}{runs}: {self.measured!r}>"

    def _repr_html_(self) -> str:
        return html_table(mode_rows((self,)))

    @cached_property
    def measured(self) -> Selection:
        """The measured requests of all replications, pooled."""
        return pooled([run.measured for run in self.runs])

    @property
    def balance(self) -> float:
        """Busiest endpoint over mean endpoint, the mean over replications."""
        return statistics.fmean(run.balance for run in self.runs)

    @property
    def proxy_cpu_ns(self) -> float:
        """CPU of all kube-proxies, the mean over replications."""
        return statistics.fmean(run.proxy_cpu_ns for run in self.runs)

    def fault(self, index: int) -> tuple[FaultAnatomy, ...]:
        """The anatomies, one a replication, of the fault at that place of the scenario's list, from 0."""
        return tuple(fault for run in self.runs for fault in run.faults if fault.index == index)


class Comparison:
    """Results of several variants and replications, in the order of the scenario's `compare`."""

    def __init__(self, results: Sequence[Result]) -> None:
        if not results:
            raise UsageError("there is no result to compare")
        self.results = tuple(results)
        by_label: dict[str, list[Result]] = {}
        for result in results:
            by_label.setdefault(result.label, []).append(result)
        self.variants = tuple(
            Variant(label, sorted(runs, key=lambda run: run.replication)) for label, runs in by_label.items()
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the variants."""
        return tuple(variant.label for variant in self.variants)

    def __len__(self) -> int:
        return len(self.variants)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.variants))

    def __iter__(self) -> Iterator[Variant]:
        return iter(self.variants)

    def __getitem__(self, label: str) -> Variant:
        for variant in self.variants:
            if variant.label == label:
                return variant
        raise UsageError(f"there is no result of {label!r}{nearest(label, self.labels)}")

    def matching(self, mode: str) -> tuple[Variant, ...]:
        """The variant of that label, or those of a mode with any scheduler: `ipvs` matches `ipvs/rr`."""
        chosen = tuple(variant for variant in self.variants if variant.label.startswith(f"{mode}/"))
        return (self[mode],) if mode in self.labels or not chosen else chosen

    @property
    def faults(self) -> Faults:
        """What each fault cost, as one table: fault by fault, each with its variants and replications."""
        found = [
            (variant.label, run.replication, fault) for variant in self.variants for run in variant.runs for fault in run.faults
        ]
        return Faults(tuple(sorted(found, key=lambda row: (row[2].began_ns, row[2].index))))

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame, a row a variant, times in ns. Needs pandas."""
        return modes_frame(self.variants)

    @property
    def plot(self) -> Any:
        """The figures of these results, such as `comparison.plot.latency_cdf()`; see
        `svcsim.report.plot.Plot`.
        """
        # The report stands above the results and imports them; by name, it is loaded when a figure is wanted.
        return importlib.import_module("svcsim.report.plot").Plot(self.results)

    def _repr_html_(self) -> str:
        return html_table(mode_rows(self.variants))
