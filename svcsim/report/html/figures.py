"""The numbers behind the report's charts: distribution, rates over time, the slowest requests' parts, balance, fault anatomy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from svcsim.report.lanes import counted, fault_lanes
from svcsim.report.looks import REASON_COLOURS, looks
from svcsim.results.comparison import Comparison, Variant
from svcsim.results.records import PART_WORDS, PARTS
from svcsim.results.selection import Selection
from svcsim.results.timeline import timeline
from svcsim.units import MS

_POINTS = 220
_MAX_BALANCE = 60
BANDS = ((1.0, "all that succeeded"), (0.1, "slowest 10%"), (0.01, "slowest 1%"), (0.001, "slowest 0.1%"))
_STEPS = ("until detected", "until endpoints updated", "until the first node synced", "until the last node synced")


def charts(comparison: Comparison) -> dict[str, Any]:
    """All numbers of the charts, by mode; times in ms, rounded to what a chart can show."""
    styles = looks(comparison.labels)
    return {
        "modes": [
            {"name": label, "colour": styles[label].colour, "dash": _dash(styles[label].dash)} for label in comparison.labels
        ],
        "duration": comparison.results[0].duration_ns / MS,
        "warmup": comparison.results[0].warmup_ns / MS,
        "cdf": [_curve(variant.latency.sorted_ns) for variant in comparison],
        "rates": [_rates(variant) for variant in comparison],
        "parts": {"names": [PART_WORDS[part] for part in PARTS], "bands": [_bands(variant.measured) for variant in comparison]},
        "balance": _balance(comparison),
        "steps": list(_STEPS),
        "faults": [
            {
                "text": fault.fault, "at": _ms(fault.began_ns),
                "lanes": [
                    {
                        "mode": lane.label, "steps": [_ms(step) for step in lane.steps_ns], "last": _ms(lane.last_failure_ns),
                        "failures": counted(lane.failures),
                        "reasons": [
                            [outcome.words, round(count, 1), REASON_COLOURS.get(outcome.key, "#888888")]
                            for outcome, count in lane.reasons.items()
                        ],
                    }
                    for lane in lanes
                ],
            }
            for fault, lanes in fault_lanes(comparison)
        ],
    }


def _dash(dash: str | tuple[float, tuple[float, ...]]) -> str:
    """A dash of matplotlib as one of SVG."""
    return "" if isinstance(dash, str) else " ".join(f"{2 * length:g}" for length in dash[1])


def _ms(ns: float | None) -> float | None:
    return None if ns is None else _short(ns / MS)


def _short(value: float) -> float:
    """Four significant digits at least, as more can't be seen."""
    if value == 0 or not math.isfinite(value):
        return 0.0
    return round(value, max(0, 4 - math.floor(math.log10(abs(value)))))


def _curve(latencies: NDArray[np.int64]) -> list[list[float]]:
    """Points of latency in ms and the share that took longer, dense in the tail."""
    count = len(latencies)
    if not count:
        return []
    survivors = np.unique(np.geomspace(1, count, min(_POINTS, count)).round().astype(np.int64))[::-1]
    return [
        [_short(max(int(latencies[count - left]), 1) / MS), _short(left / count)] for left in survivors.tolist()
    ]


def _rates(variant: Variant) -> dict[str, Any]:
    run = variant.runs[0]
    slots = timeline(run.requests, run.duration_ns)
    return {
        "width": slots.slot_ns / MS, "ok": slots.succeeded.tolist(), "failed": slots.failed.tolist(),
        "p99": [None if math.isnan(value) else _short(value / MS) for value in slots.p99_ns.tolist()],
    }


def _bands(selection: Selection) -> list[dict[str, Any]]:
    """Mean parts of the slowest successes, for each share of them."""
    requests = selection.requests
    latency = requests.column("latency_ns", keep=False)
    chosen = np.flatnonzero(requests.succeeded)
    ordered = chosen[np.argsort(-latency[chosen], kind="stable")]
    columns = {part: requests.column(part, keep=False) for part in PARTS}
    found = []
    for share, words in BANDS:
        count = math.ceil(round(share * len(ordered), 6))
        if count and (share == 1.0 or len(ordered) * share >= 5):
            rows = ordered[:count]
            means = [_short(int(columns[part][rows].sum()) / count / MS) for part in PARTS]
            found.append({"band": words, "count": count, "parts": means})
    return found


def _balance(comparison: Comparison) -> dict[str, Any]:
    answered = [variant.runs[0].measured.answered_by() for variant in comparison]
    names = list(dict.fromkeys(name for by_name in answered for name in by_name))
    totals = {name: sum(by_name.get(name, 0) for by_name in answered) for name in names}
    shown = names if len(names) <= _MAX_BALANCE else sorted(names, key=lambda name: -totals[name])[:_MAX_BALANCE]
    return {
        "names": shown, "left": len(names) - len(shown),
        "answers": [[by_name.get(name, 0) for name in shown] for by_name in answered],
    }
