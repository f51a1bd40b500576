"""What is kept of a run among many: a few figures and its fingerprint, not its records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from svcsim.errors import UsageError
from svcsim.results.metrics import Metric, Question, measure, metric_named
from svcsim.results.result import Result


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure that is asked of every run: a metric, and of which requests or fault."""

    text: str
    """As it was asked for, such as `web: latency.p99 during 5s..30s`: its name in tables and files."""
    metric: str
    question: Question = field(default_factory=Question)

    @property
    def of(self) -> Metric:
        """The metric."""
        return metric_named(self.metric)


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one run. A value is NaN where the run has no sample of it, infinite where requests failed."""

    label: str
    replication: int
    seed: int
    requests: int
    fingerprint: str
    values: tuple[float, ...]
    """One a figure, in the order in which they were asked for, in the metric's unit (ns, share, count, ratio)."""
    problems: tuple[str, ...] = ()
    """Why a value is NaN, a sentence each."""
    result: Result | None = field(default=None, compare=False, repr=False)
    """The whole result, where it was asked for."""


def measured(result: Result, figures: Sequence[Figure], *, whole: bool = False) -> Measured:
    """The figures of a run; `whole` keeps its result beside them."""
    values: list[float] = []
    problems: list[str] = []
    for figure in figures:
        try:
            values.append(measure([result], figure.metric, figure.question))
        except UsageError as error:
            values.append(math.nan)
            problems.append(str(error))
    return Measured(
        result.label, result.replication, result.provenance.seed, len(result.requests), result.fingerprint, tuple(values),
        tuple(problems), result if whole else None,
    )
