"""Words that follow from figures, for the answers of docs/questions.md."""

from __future__ import annotations

from svcsim.results.comparison import Comparison
from svcsim.results.metrics import Question, measure, metric_named
from svcsim.units import S, format_ns


class Asked:
    """The runs of a scenario, asked for metrics by variant."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def value(
        self, variant: str, metric: str, *, workload: str | None = None, fault: int | None = None,
        start_s: float | None = None, end_s: float | None = None,
    ) -> float:
        """A metric of a variant, perhaps of one workload or fault, or of requests sent in a window of seconds."""
        window = [None if each is None else round(each * S) for each in (start_s, end_s)]
        return measure(self.comparison[variant].runs, metric, Question(workload, window[0], window[1], fault))

    def text(self, variant: str, metric: str, **chosen: object) -> str:
        """The same for a person."""
        return metric_named(metric).text(self.value(variant, metric, **chosen))  # type: ignore[arg-type]


def more(value: float, other: float) -> str:
    """How much one figure is more than another: `64% more than`, `3.3 times`, `as much as`."""
    ratio = value / other
    if abs(ratio - 1) < 0.03:
        return "as much as"
    if ratio >= 2:
        return f"{ratio:.1f} times"
    return f"{100 * abs(ratio - 1):.0f}% {'more' if ratio > 1 else 'less'} than"


def grows(before_ns: float, after_ns: float) -> str:
    """Whether a duration grew: `grows by 9 µs`, `does not grow`."""
    if after_ns < 1.02 * before_ns:
        return "does not grow"
    return f"grows by {format_ns(after_ns - before_ns)}"


def share(value: float) -> str:
    """A share in whole per cent, `none` and `all` at the ends."""
    return "none" if value == 0 else "all" if value == 1 else f"{100 * value:.0f}%" if value >= 0.01 else f"{100 * value:.1f}%"


def seconds(ns: float) -> str:
    """A duration with a digit after the point where that says something."""
    return f"{ns / S:.1f} s" if ns < 10 * S else f"{ns / S:.0f} s"


def megabytes(count: float) -> str:
    """Bytes in kB, MB or GB, with two digits or more."""
    for size, unit in ((1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:.{1 if count < 10 * size else 0}f} {unit}"
    return f"{count / 1e3:.0f} kB"
