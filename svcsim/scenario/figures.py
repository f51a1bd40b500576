"""Figures asked for in words, in the grammar of `expect` without a bound: `p99`, `web: latency.p99 during fault[0]..+30s`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from svcsim.errors import UsageError
from svcsim.results.measured import Figure
from svcsim.results.metrics import Question, metric_named
from svcsim.scenario.expect import fault_reference, metric_name, parse_window
from svcsim.scenario.model import Scenario
from svcsim.spelling import nearest
from svcsim.units import duration_text

_FIGURE = re.compile(
    r"(?:(?P<workload>[a-z0-9][-a-z0-9.]*)\s*:\s*)?(?P<metric>[A-Za-z_][\w.]*(?:\(\d+(?:\.\d+)?\))?)"
    r"(?:\s+of\s+(?:fault)?\s*\[?(?P<fault>[a-z0-9][-a-z0-9.]*)\]?)?(?:\s+to\s+(?P<endpoint>[\w*?./-]+))?(?:\s+during\s+(?P<during>\S+))?"
)

STEADY = ("latency.p50", "latency.p99", "latency.p999", "latency.mean", "success", "proxy_cpu", "balance")
"""What is compared unless something else is asked for."""
WITH_FAULTS = ("fault_failures", "outage")
"""And what beside it where a scenario has faults."""


def figures_of(scenario: Scenario, texts: Sequence[str] = ()) -> tuple[Figure, ...]:
    """The figures that texts ask of a scenario; without any, those that are usually compared.

    UsageError for a text that is none, an unknown metric, workload or fault.
    """
    comes = any(fault.at_ns < scenario.run.duration_ns for fault in scenario.faults)
    wanted = list(texts) or [*STEADY, *(WITH_FAULTS if comes else ())]
    found = [figure_of(scenario, text) for text in wanted]
    return tuple({figure.text: figure for figure in found}.values())


def check_comes(asked: Iterable[tuple[Figure, Scenario]]) -> None:
    """Refuse a figure of what comes in none of the scenarios that it is asked of, before anything is run: UsageError."""
    reasons: dict[str, list[str]] = {}
    for figure, scenario in asked:
        reasons.setdefault(figure.text, []).append(_why_never(figure, scenario))
    for text, found in reasons.items():
        if all(found):
            raise UsageError(f"{text}: {found[0]}")


def _why_never(figure: Figure, scenario: Scenario) -> str:
    """Why no run of a scenario can have a sample of a figure, as far as its text tells; empty if it may."""
    end_ns, asked = scenario.run.duration_ns, figure.question
    over = f"when the run of {duration_text(end_ns)} is over"
    if asked.start_ns is not None and asked.start_ns >= end_ns:
        return f"the window begins at {duration_text(asked.start_ns)}, {over}"
    if not figure.of.of_fault:
        return ""
    faults = scenario.faults if asked.fault is None else scenario.faults[asked.fault : asked.fault + 1]
    if not faults:
        return "there is no such fault"
    if all(fault.at_ns >= end_ns for fault in faults):
        at = duration_text(min(fault.at_ns for fault in faults))
        return f"the fault comes at {at}, {over}" if len(faults) == 1 else f"all faults come at {at} or later, {over}"
    return ""


def figure_of(scenario: Scenario, text: str) -> Figure:
    """One figure; see `figures_of`."""
    match = _FIGURE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a figure: {text[:80]!r} (write 'p99', 'web: success' or 'latency.p99 during 5s..30s')")
    metric = metric_named(metric_name(match["metric"]))
    workload, fault = match["workload"], None
    names = [each.name for each in scenario.workloads]
    if workload is not None and workload not in names:
        raise UsageError(f"{text}: there is no workload {workload!r}{nearest(workload, names)}")
    if match["fault"] is not None:
        fault = scenario.fault_index(fault_reference(match["fault"]))
        if fault is None:
            raise UsageError(f"{text}: there is no fault {match['fault']!r} (they are counted from 0)")
        if not metric.of_fault:
            raise UsageError(f"{text}: {metric.name} is not a figure of a fault; write 'during fault[{match['fault']}]..+30s'")
    if metric.of_fault and (workload is not None or match["endpoint"] or match["during"]):
        raise UsageError(f"{text}: {metric.name} is a figure of a fault and knows neither workload, endpoint nor window")
    start_ns = end_ns = None
    if match["during"]:
        try:
            start_ns, end_ns = scenario.window_ns(parse_window(match["during"]))
        except ValueError as error:
            raise UsageError(f"{text}: {error}") from None
    parts = [f"{workload}:" if workload else "", metric.name, f"of fault[{match['fault']}]" if match["fault"] else ""]
    parts.append(f"to {match['endpoint']}" if match["endpoint"] else "")
    parts.append(f"during {match['during']}" if match["during"] else "")
    question = Question(workload, start_ns, end_ns, fault, match["endpoint"])
    return Figure(" ".join(part for part in parts if part), metric.name, question)
