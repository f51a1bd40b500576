"""Runs against a stored baseline, in two ways.

*Golden*: every run's fingerprint is the baseline's. Whatever changes a single record is found; nothing else is.

*Tolerance*: a figure has moved if its mean differs by more than the tolerance and the paired differences over replications show
it (Student's t, Holm over all figures and variants of the scenario). It has regressed if it moved to the worse. With both
conditions the chance of any false alarm in a scenario is at most one minus the level, whether the seeds are those of the
baseline or others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from svcsim.analysis.intervals import holm, p_value_of_zero
from svcsim.results.baseline import Baseline
from svcsim.results.comparison import Interval, t_interval
from svcsim.results.measured import Figure
from svcsim.results.metrics import Metric, Preference, metric_named

DEFAULT_TOLERANCE = 0.02
DEFAULT_LEVEL = 0.95


class Finding(StrEnum):
    """What became of a figure."""

    SAME = "same"
    WITHIN = "within tolerance"
    BETTER = "better"
    WORSE = "worse"
    MOVED = "moved"
    NEW = "new"
    GONE = "gone"
    UNKNOWN = "can't be told"

    @property
    def fails(self) -> bool:
        """Whether the check fails for it."""
        return self in {Finding.WORSE, Finding.MOVED, Finding.GONE, Finding.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Moved:
    """A figure of a variant, then and now."""

    label: str
    figure: str
    metric: str
    before: float
    """The mean over replications, as is `after`; NaN where there is none."""
    after: float
    difference: Interval | None
    p_value: float | None
    tolerance: float
    finding: Finding

    @property
    def relative(self) -> float | None:
        """The change as a share of what it was; None where that is zero or not finite."""
        if not (math.isfinite(self.before) and math.isfinite(self.after)) or self.before == 0.0:
            return None
        return (self.after - self.before) / self.before


def compare(
    before: Baseline, after: Baseline, figures: Sequence[Figure], tolerances: Mapping[str, float] | None = None,
    level: float = DEFAULT_LEVEL,
) -> tuple[Moved, ...]:
    """Every figure of every variant. `tolerances` is by metric name, relative, `*` for all others."""
    given = tolerances or {}
    rows: list[Moved] = []
    for label in dict.fromkeys(run.label for run in (*after.runs, *before.runs)):
        for figure in figures:
            tolerance = given.get(figure.metric, given.get("*", DEFAULT_TOLERANCE))
            rows.append(_row(before, after, label, figure, tolerance, level))
    told = [row for row in rows if row.p_value is not None]
    adjusted = holm([row.p_value or 0.0 for row in told])
    verdicts = {id(row): p_value for row, p_value in zip(told, adjusted, strict=True)}
    return tuple(_judged(row, verdicts.get(id(row)), level) for row in rows)


def _row(before: Baseline, after: Baseline, label: str, figure: Figure, tolerance: float, level: float) -> Moved:
    old, new = before.values(label, figure.text), after.values(label, figure.text)

    def moved(finding: Finding, difference: Interval | None = None, p_value: float | None = None) -> Moved:
        return Moved(label, figure.text, figure.metric, _mean(old), _mean(new), difference, p_value, tolerance, finding)

    if old is None:
        return moved(Finding.NEW)
    if new is None:
        return moved(Finding.GONE)
    if any(map(math.isnan, (*old, *new))):
        return moved(Finding.UNKNOWN)
    if old == new:
        return moved(Finding.SAME)
    if any(map(math.isinf, (*old, *new))):
        lost, held = sum(map(math.isinf, new)), sum(map(math.isinf, old))
        if lost == held:
            return moved(Finding.WITHIN)
        return moved(_direction(metric_named(figure.metric), lost - held))
    pairs = min(len(old), len(new))
    differences = [b - a for a, b in zip(old[:pairs], new[:pairs], strict=True)]
    if pairs < 2:
        # One run has no spread to judge by: the tolerance alone decides.
        return moved(Finding.WITHIN, None, 0.0)
    return moved(Finding.WITHIN, t_interval(differences, level), p_value_of_zero(differences))


def _mean(values: tuple[float, ...] | None) -> float:
    return math.nan if values is None else statistics.fmean(values)


def _judged(row: Moved, p_value: float | None, level: float) -> Moved:
    if p_value is None:
        return row
    relative = row.relative
    beyond = row.after != row.before if relative is None else abs(relative) > row.tolerance
    finding = row.finding
    if beyond and p_value < 1.0 - level:
        finding = _direction(metric_named(row.metric), row.after - row.before)
    return Moved(
        row.label, row.figure, row.metric, row.before, row.after, row.difference, p_value, row.tolerance, finding
    )


def _direction(metric: Metric, difference: float) -> Finding:
    if metric.better is Preference.NEITHER:
        return Finding.MOVED
    return Finding.BETTER if (difference < 0) == (metric.better is Preference.LOWER) else Finding.WORSE


@dataclass(frozen=True, slots=True)
class GoldenMiss:
    """A run whose fingerprint is not the baseline's."""

    label: str
    replication: int
    seed: int
    before: str
    """Empty where the baseline has no such run."""
    after: str
    """Empty where there is no such run now."""


def golden(before: Baseline, after: Baseline) -> tuple[GoldenMiss, ...]:
    """The runs that are not the baseline's, byte for byte."""
    old = {(run.label, run.replication, run.seed): run.fingerprint for run in before.runs}
    new = {(run.label, run.replication, run.seed): run.fingerprint for run in after.runs}
    keys = dict.fromkeys((*new, *old))
    return tuple(GoldenMiss(*key, old.get(key, ""), new.get(key, "")) for key in keys if old.get(key) != new.get(key))
