"""The verdict in words: what was expected, who was best, what each fault cost. Plain text; the page escapes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from svcsim.report.lanes import Lane, counted, elapsed, fault_lanes
from svcsim.results.anatomy import FaultAnatomy
from svcsim.results.comparison import Comparison, Variant
from svcsim.results.expectations import Verdict
from svcsim.results.metrics import metric_named
from svcsim.results.records import Outcome
from svcsim.results.table import percent
from svcsim.units import S, format_ns

_ALIKE = 0.02
"""Figures that differ by less, relatively, are told in one breath."""
_MAX_NAMED = 6


@dataclass(frozen=True, slots=True)
class Judged:
    """An expectation and how one mode kept it; as a run's verdicts and a folder's summary both tell it."""

    expectation: str
    mode: str
    value: str
    holds: bool


def judged(verdicts: Sequence[Verdict]) -> list[Judged]:
    """Verdicts of a run as texts."""
    return [
        Judged(str(each.expectation), each.mode, _value(each.expectation.metric, each.value), each.holds) for each in verdicts
    ]


def judged_before(told: Sequence[dict[str, object]]) -> list[Judged]:
    """The same from the list `expectations` of `summary.json`."""
    found = []
    for each in told:
        value = each["value"]
        number = float(value) if isinstance(value, int | float) else math.nan
        text = _value(str(each["metric"]), number)
        found.append(Judged(str(each["expectation"]), str(each["mode"]), text, bool(each["holds"])))
    return found


def _value(metric: str, value: float) -> str:
    """The figure as a person reads it; the summary writes both infinity and no sample as null."""
    return metric_named(metric).text(value) if math.isfinite(value) else "without a finite value"


def expectation_words(judgements: Sequence[Judged]) -> str:
    """How many expectations hold."""
    if not judgements:
        return "The scenario states no expectations."
    texts = list(dict.fromkeys(each.expectation for each in judgements))
    broken = {each.expectation for each in judgements if not each.holds}
    if not broken:
        return "The expectation holds." if len(texts) == 1 else f"All {len(texts)} expectations hold."
    if len(texts) == 1:
        return "The expectation does not hold."
    return f"{len(broken)} of {len(texts)} expectations {'does' if len(broken) == 1 else 'do'} not hold."


def best_words(comparison: Comparison) -> list[str]:
    """Who was best and worst in what matters; for one variant its figures."""
    if len(comparison) == 1:
        only = comparison.variants[0]
        failed = only.measured.failures
        cost = f", {failed:,} failed" if failed else ""
        return [
            f"{only.label}: {percent(only.success)} of the requests succeeded{cost}; p50 {format_ns(only.latency.p50)}, "
            f"p99 {format_ns(only.latency.p99)}, longest {format_ns(only.latency.max)}."
        ]
    sentences = [
        _ranked(comparison, "Fewest failures", lambda one: float(one.measured.failures), lambda value: f"{value:,.0f}",
                same="All modes failed equally often"),
        _ranked(comparison, "Lowest p99 of what succeeded", lambda one: one.latency.p99, format_ns,
                same="p99 of what succeeded is alike in all modes"),
        _ranked(comparison, "Least CPU for proxying", lambda one: one.proxy_cpu_ns, format_ns,
                same="Proxying costs alike in all modes"),
    ]
    return [sentence for sentence in sentences if sentence]


def _ranked(
    comparison: Comparison, what: str, of: Callable[[Variant], float], text: Callable[[float], str], *, same: str
) -> str:
    values = {variant.label: of(variant) for variant in comparison}
    values = {label: value for label, value in values.items() if math.isfinite(value)}
    if len(values) < 2:
        return ""
    low, high = min(values.values()), max(values.values())
    if high <= low * (1 + _ALIKE):
        return f"{same}: {text(low)}." if low == high else f"{same}: {text(low)} to {text(high)}."
    best = [label for label, value in values.items() if value <= low * (1 + _ALIKE)]
    worst = [label for label, value in values.items() if value >= high * (1 - _ALIKE)]
    return f"{what}: {text(low)} in {listed(best)}; most: {text(high)} in {listed(worst)}."


def listed(names: Sequence[str]) -> str:
    """Names with commas and an `and`."""
    shown = list(names[:_MAX_NAMED])
    if len(names) > _MAX_NAMED:
        shown.append(f"{len(names) - _MAX_NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def fault_words(comparison: Comparison) -> list[tuple[str, str]]:
    """Each fault as a heading and what it cost."""
    return [
        (f"{fault.began_ns / S:g} s: {fault.fault}", " ".join(_fault(fault, lanes))) for fault, lanes in fault_lanes(comparison)
    ]


def _fault(fault: FaultAnatomy, lanes: Sequence[Lane]) -> list[str]:
    sentences = [_answer(lanes)]
    costs: dict[str, list[str]] = {}
    for lane in sorted(lanes, key=lambda lane: lane.failures):
        reasons = [f"{counted(count)} {outcome.words}" for outcome, count in lane.reasons.items() if outcome is not Outcome.OK]
        cost = reasons[0] if len(reasons) == 1 else f"{counted(lane.failures)} ({', '.join(reasons)})" if reasons else "none"
        costs.setdefault(cost, []).append(lane.label)
    if list(costs) == ["none"]:
        sentences.append("No request failed.")
    elif len(lanes) == 1:
        sentences.append(f"Failed requests: {next(iter(costs))}.")
    else:
        shares = [f"{cost} in {listed(labels)}" for cost, labels in costs.items()]
        sentences.append(f"Failed requests{' a run' if lanes[0].replications > 1 else ''}: {'; '.join(shares)}.")
    last = [lane.last_failure_ns for lane in lanes if lane.last_failure_ns is not None]
    if last:
        sentences.append(f"The last one that failed was sent {_range(last)} after the fault.")
    return [sentence for sentence in sentences if sentence]


def _answer(lanes: Sequence[Lane]) -> str:
    """What the control plane did, and when."""
    detected = [lane.detected_ns for lane in lanes if lane.detected_ns is not None]
    if not detected:
        return "The control plane did not notice it."
    steps = [f"noticed after {_range(detected)}"]
    endpoints = [lane.endpoints_ns for lane in lanes if lane.endpoints_ns is not None]
    synced = [lane.last_synced_ns for lane in lanes if lane.last_synced_ns is not None]
    if endpoints:
        steps.append(f"out of the endpoints after {_range(endpoints)}")
    if synced:
        steps.append(f"programmed on the last node after {_range(synced)}")
    text = ", ".join(steps)
    return f"{text[0].upper()}{text[1:]}."


def _range(values: Sequence[float]) -> str:
    low, high = elapsed(min(values)).removeprefix("+"), elapsed(max(values)).removeprefix("+")
    return low if low == high else f"{low} to {high}"


def caution(comparison: Comparison) -> str:
    """How far the differences can be trusted."""
    runs = min(len(variant.runs) for variant in comparison)
    if len(comparison) > 1 and runs == 1:
        return "One run a mode, with the same requests in each: `svcsim compare` says which differences are more than chance."
    return f"{runs} runs a mode, pooled." if runs > 1 else ""
