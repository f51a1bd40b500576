"""Variants against a base, figure by figure: paired differences, their intervals, and a plain verdict on each.

All verdicts of one table are taken together (Holm), so the chance that any "better" or "worse" of it is wrong is at most one
minus the level. Intervals are each on its own.
"""

from __future__ import annotations

import importlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from svcsim.analysis.intervals import holm, paired_difference
from svcsim.errors import UsageError
from svcsim.results.comparison import Interval, t_interval
from svcsim.results.measured import Figure, Measured
from svcsim.results.metrics import Metric, Preference
from svcsim.spelling import nearest


class Word(StrEnum):
    """What is to be said of a difference."""

    BASE = "base"
    BETTER = "better"
    WORSE = "worse"
    DIFFERENT = "different"
    NONE_SHOWN = "no difference shown"
    EQUAL = "equal in every run"
    UNKNOWN = "can't be told"


@dataclass(frozen=True, slots=True)
class Contrast:
    """A variant's figure over all replications, and how it differs from the base's."""

    figure: Figure
    label: str
    values: tuple[float, ...]
    """One a replication; infinite or NaN as `svcsim.results.measured` says."""
    interval: Interval | None
    difference: Interval | None
    """Of the mean difference to the base, paired by seed; None for the base, or where a value is not finite."""
    p_value: float | None
    """Of "there is no difference", adjusted for all the contrasts of the table."""
    word: Word

    @property
    def mean(self) -> float:
        """The mean over replications, infinite or NaN if a value is."""
        return statistics.fmean(self.values)

    @property
    def relative(self) -> float | None:
        """The difference as a share of the base's mean; None where that is zero."""
        if self.difference is None:
            return None
        base = self.mean - self.difference.mean
        return None if base == 0.0 else self.difference.mean / base


@dataclass(frozen=True, slots=True, repr=False)
class Contrasts:
    """All of them: for each figure the base and then every other variant."""

    base: str
    level: float
    replications: int
    rows: tuple[Contrast, ...]

    def of(self, figure: str) -> tuple[Contrast, ...]:
        """The rows of a figure, by its text."""
        return tuple(row for row in self.rows if row.figure.text == figure)

    @property
    def figures(self) -> tuple[str, ...]:
        """The texts of the figures, in order."""
        return tuple(dict.fromkeys(row.figure.text for row in self.rows))

    def with_samples(self) -> Contrasts:
        """Without the figures that no run of any variant has a sample of."""
        known = {row.figure.text for row in self.rows if not all(math.isnan(value) for value in row.values)}
        return replace(self, rows=tuple(row for row in self.rows if row.figure.text in known))

    def to_pandas(self) -> Any:
        """A pandas DataFrame, a row a figure and variant; values in the metric's unit (ns, share, count, ratio). Needs pandas."""
        import pandas as pd

        return pd.DataFrame([
            {
                "figure": row.figure.text, "unit": row.figure.of.unit.value, "variant": row.label, "mean": row.mean,
                **_columns("", row.interval), "difference": None if row.difference is None else row.difference.mean,
                **_columns("difference_", row.difference), "relative": row.relative, "p_value": row.p_value,
                "verdict": row.word.value,
            }
            for row in self.rows
        ])

    # The report stands above and imports this; by name, it is loaded when something is to be shown.
    def __repr__(self) -> str:
        return str(importlib.import_module("svcsim.report.contrasts").contrasts_table(self))

    def _repr_html_(self) -> str:
        return str(importlib.import_module("svcsim.report.contrasts").contrasts_html(self))

    @property
    def plot(self) -> Any:
        """The figures of this comparison, such as `found.plot.differences()`; see `svcsim.report.plot.ContrastsPlot`."""
        return importlib.import_module("svcsim.report.plot").ContrastsPlot(self)


def _columns(prefix: str, interval: Interval | None) -> dict[str, float | None]:
    return {f"{prefix}low": interval.low if interval else None, f"{prefix}high": interval.high if interval else None}


def contrast(
    runs: Sequence[Measured], figures: Sequence[Figure], base: str | None = None, level: float = 0.95
) -> Contrasts:
    """Every variant against the base (the first, or that of a label); runs of a variant are paired by replication.

    UsageError if there is no such base, if a variant lacks replications, or if there are fewer than two of them.
    """
    by_label: dict[str, list[Measured]] = {}
    for run in runs:
        by_label.setdefault(run.label, []).append(run)
    labels = list(by_label)
    chosen = labels[0] if base is None else base
    if chosen not in by_label:
        raise UsageError(f"there is no variant {chosen!r} to compare with{nearest(chosen, labels)}")
    counts = {len(found) for found in by_label.values()}
    if counts == {1}:
        raise UsageError("one replication has no interval: ask for at least two (20 are usual)")
    if len(counts) > 1:
        raise UsageError("the variants have different numbers of replications")
    ordered = [chosen, *(label for label in labels if label != chosen)]
    sides = {label: sorted(found, key=lambda run: run.replication) for label, found in by_label.items()}
    rows = [_row(figures, place, label, sides, chosen, level) for place in range(len(figures)) for label in ordered]
    return Contrasts(chosen, level, counts.pop(), tuple(_judged(rows, level)))


def _row(
    figures: Sequence[Figure], place: int, label: str, sides: dict[str, list[Measured]], base: str, level: float
) -> Contrast:
    values = tuple(run.values[place] for run in sides[label])
    interval = t_interval(values, level)
    if label == base:
        return Contrast(figures[place], label, values, interval, None, None, Word.BASE)
    found = paired_difference([run.values[place] for run in sides[base]], values, level)
    if found is None:
        return Contrast(figures[place], label, values, interval, None, None, Word.UNKNOWN)
    return Contrast(figures[place], label, values, interval, found.interval, found.p_value, Word.NONE_SHOWN)


def _judged(rows: Sequence[Contrast], level: float) -> list[Contrast]:
    told = [row for row in rows if row.p_value is not None]
    adjusted = dict(zip(map(id, told), holm([row.p_value or 0.0 for row in told]), strict=True))
    found = []
    for row in rows:
        if row.difference is None:
            found.append(row)
            continue
        p_value = adjusted[id(row)]
        word = word_of(row.figure.of, row.difference.mean, p_value, level)
        if row.difference.mean == 0.0 and row.difference.half_width == 0.0:
            word = Word.EQUAL
        found.append(Contrast(row.figure, row.label, row.values, row.interval, row.difference, p_value, word))
    return found


def word_of(metric: Metric, difference: float, p_value: float, level: float) -> Word:
    """The verdict on a difference of a metric with this adjusted p-value."""
    if not math.isfinite(difference):
        return Word.UNKNOWN
    if p_value >= 1.0 - level:
        return Word.NONE_SHOWN
    if metric.better is Preference.NEITHER:
        return Word.DIFFERENT
    return Word.BETTER if (difference < 0) == (metric.better is Preference.LOWER) else Word.WORSE


CONTRASTS_SCHEMA = "svcsim/contrasts/v1"


def document(found: Contrasts, runs: Sequence[Measured], scenario: str) -> dict[str, Any]:
    """Everything as JSON, schema `svcsim/contrasts/v1`; a value that is infinite or has no sample is null."""
    return {
        "schema": CONTRASTS_SCHEMA,
        "scenario": scenario,
        "base": found.base,
        "level": found.level,
        "replications": found.replications,
        "contrasts": [
            {
                "figure": row.figure.text,
                "metric": row.figure.metric,
                "unit": row.figure.of.unit.value,
                "variant": row.label,
                "mean": _number(row.mean),
                "interval": _ends(row.interval),
                "difference": None if row.difference is None else row.difference.mean,
                "difference_interval": _ends(row.difference),
                "relative": row.relative,
                "p_value": row.p_value,
                "verdict": row.word.value,
                "values": [_number(value) for value in row.values],
            }
            for row in found.rows
        ],
        "runs": [
            {"variant": run.label, "replication": run.replication, "seed": run.seed, "fingerprint": run.fingerprint}
            for run in runs
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
