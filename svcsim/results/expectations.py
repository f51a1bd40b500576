"""Whether results hold what a scenario expects of them.

An expectation holds for each mode, or for the one that it names, on the pooled requests of all replications.
What can't be measured (an unknown metric, workload, mode or fault, an empty window) is an error. A run that gives no sample of a
figure, since every request failed, does not keep its bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from svcsim.errors import NoSampleError, UsageError
from svcsim.results.comparison import Comparison
from svcsim.results.metrics import Question, measure, metric_named
from svcsim.units import duration_text


@dataclass(frozen=True, slots=True)
class Expectation:
    """A bound on a figure. Bounds are in the metric's unit (ns, share, count, ratio); at least one is given.

    Bounds are strict (`below`, `above`) unless marked inclusive (`atMost`, `atLeast`).
    """

    metric: str
    low: float | None = None
    high: float | None = None
    low_inclusive: bool = False
    high_inclusive: bool = False
    workload: str | None = None
    mode: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    fault: int | None = None
    """The fault's place in the scenario's list, from 0."""
    endpoint: str | None = None
    """An endpoint's name or a pattern of names."""
    where: str = ""
    """Where it stands, as `file:line`, for messages."""

    @property
    def question(self) -> Question:
        """What is asked of the results."""
        return Question(self.workload, self.start_ns, self.end_ns, self.fault, self.endpoint)

    def is_about(self, label: str) -> bool:
        """Whether a variant of this label is meant."""
        return self.mode is None or label == self.mode or label.startswith(f"{self.mode}/")

    def holds(self, value: float) -> bool:
        """Whether a value keeps the bounds; NaN keeps none."""
        above = self.low is None or value > self.low or (self.low_inclusive and value == self.low)
        below = self.high is None or value < self.high or (self.high_inclusive and value == self.high)
        return above and below and not math.isnan(value)

    @property
    def bounds(self) -> str:
        """The bounds in words, such as `below 20 ms`."""
        text = metric_named(self.metric).text
        words = []
        if self.low is not None:
            words.append(f"{'at least' if self.low_inclusive else 'above'} {text(self.low)}")
        if self.high is not None:
            words.append(f"{'at most' if self.high_inclusive else 'below'} {text(self.high)}")
        return " and ".join(words)

    def __str__(self) -> str:
        words = [] if self.workload is None else [self.workload]
        words.append(self.metric)
        if self.fault is not None:
            words.append(f"of fault[{self.fault}]")
        if self.endpoint is not None:
            words.append(f"to {self.endpoint}")
        words.append(self.bounds)
        if self.start_ns is not None or self.end_ns is not None:
            end = "" if self.end_ns is None else duration_text(self.end_ns)
            words.append(f"during {duration_text(self.start_ns or 0)}..{end}")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An expectation set against one mode; `value` is NaN where its runs give no sample."""

    expectation: Expectation
    mode: str
    value: float
    holds: bool

    @property
    def text(self) -> str:
        """The value for a person, after `it is`."""
        if math.isnan(self.value):
            return "without a sample"
        return metric_named(self.expectation.metric).text(self.value)


def evaluate(expectations: Iterable[Expectation], comparison: Comparison) -> tuple[Verdict, ...]:
    """Set each expectation against each mode that it is about.

    UsageError, naming the place, for one that can't be measured or has no bound.
    """
    verdicts = []
    for expectation in expectations:
        try:
            if expectation.low is None and expectation.high is None:
                raise UsageError(f"{expectation.metric} has no bound (give `above` or `below`)")
            chosen = tuple(comparison) if expectation.mode is None else comparison.matching(expectation.mode)
            for variant in chosen:
                try:
                    value = measure(variant.runs, expectation.metric, expectation.question)
                except NoSampleError:
                    value = math.nan
                verdicts.append(Verdict(expectation, variant.label, value, expectation.holds(value)))
        except UsageError as error:
            raise UsageError(f"{expectation.where}: {error}" if expectation.where else str(error)) from None
    return tuple(verdicts)
