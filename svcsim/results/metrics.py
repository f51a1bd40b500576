"""The figures that a scenario's `expect`, a baseline and the command line can name, and how each is measured.

One grammar for all: a name, and for most an optional workload and window. Over several replications a figure
is taken on their pooled requests; figures of a whole run (CPU, packets) are means over replications, those of
a fault the worst of them.

Nothing here answers for want of data: an unknown name, an empty window or no sample (`NoSampleError`) is a `UsageError`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from svcsim.errors import NoSampleError, UsageError
from svcsim.results.anatomy import FaultAnatomy
from svcsim.results.records import PART_WORDS, PARTS, Flag, Outcome
from svcsim.results.result import Result
from svcsim.results.selection import QUANTILES, Selection, pooled
from svcsim.results.table import percent
from svcsim.spelling import nearest
from svcsim.units import duration_text, format_ns


class Unit(StrEnum):
    """What a figure is measured in, which says how its bounds are written."""

    DURATION = "duration"  # ns; bounds as `20ms`
    SHARE = "share"  # 0 to 1; bounds as `99.9%`
    COUNT = "count"  # bounds as a bare number
    RATIO = "ratio"  # bounds as a bare number


class Preference(StrEnum):
    """Which way a figure is better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Question:
    """Which requests, of which workload or fault, a figure is asked of."""

    workload: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    fault: int | None = None
    """A fault's place in the scenario's list, counted from 0."""
    endpoint: str | None = None
    """An endpoint's name or a pattern of names, as `web-*`."""


Measure = Callable[[Sequence[Result], Question], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure with a name, its unit and one sentence on what it is."""

    name: str
    unit: Unit
    words: str
    of_fault: bool
    measure: Measure
    better: Preference = Preference.LOWER

    def text(self, value: float) -> str:
        """A value of this figure for a person."""
        if self.unit is Unit.DURATION:
            return format_ns(value)
        if self.unit is Unit.SHARE:
            return percent(value)
        return f"{value:,.0f}" if self.unit is Unit.COUNT else f"{value:.3g}"


def _selected(results: Sequence[Result], question: Question) -> Selection:
    """The pooled requests that a question is about; UsageError for an unknown name, NoSampleError if there are none."""
    windowed = question.start_ns is not None or question.end_ns is not None
    end_ns = math.inf if question.end_ns is None else question.end_ns
    if windowed and (question.start_ns or 0) >= end_ns:
        raise UsageError(f"the window {_window(question)} is empty")
    selections = []
    for result in results:
        selection = result.measured
        if windowed:
            selection = result.during(question.start_ns, question.end_ns)
        if question.workload is not None:
            selection = selection.of_workload(question.workload)
        if question.endpoint is not None:
            selection = selection.of_endpoint(question.endpoint)
        selections.append(selection)
    selection = pooled(selections)
    if len(selection) == 0:
        of = "" if question.workload is None else f" of workload {question.workload!r}"
        of += "" if question.endpoint is None else f" to endpoint {question.endpoint!r}"
        during = f" during {_window(question)}" if windowed else ""
        raise NoSampleError(f"no request{of} was sent{during}, so nothing can be said of it")
    return selection


def _window(question: Question) -> str:
    start = duration_text(question.start_ns or 0)
    return f"{start}..{'' if question.end_ns is None else duration_text(question.end_ns)}"


def _of_requests(figure: Callable[[Selection], float]) -> Measure:
    def measure(results: Sequence[Result], question: Question) -> float:
        value = figure(_selected(results, question))
        if math.isnan(value):
            raise NoSampleError("none of the requests chosen gives a sample of it (did every one fail?)")
        return value

    return measure


def _balance(results: Sequence[Result], question: Question) -> float:
    of_one = _of_requests(lambda selection: selection.balance)
    return statistics.fmean(of_one([result], question) for result in results)


def _endpoints(results: Sequence[Result], question: Question) -> float:
    return max(_of_requests(lambda selection: selection.endpoints_used)([result], question) for result in results)


def _of_run(figure: Callable[[Result], float]) -> Measure:
    def measure(results: Sequence[Result], question: Question) -> float:
        if any(each is not None for each in (question.workload, question.endpoint, question.start_ns, question.end_ns)):
            raise UsageError("it is a figure of the whole run and knows neither workload, endpoint nor window")
        return statistics.fmean(figure(result) for result in results)

    return measure


def _of_fault(figure: Callable[[FaultAnatomy], float | None]) -> Measure:
    def measure(results: Sequence[Result], question: Question) -> float:
        values = []
        for result in results:
            found = [fault for fault in result.faults if question.fault in {None, fault.index}]
            if not found:
                which = "no fault" if question.fault is None else f"no fault[{question.fault}]"
                raise UsageError(f"{which} took place (faults are counted from 0)")
            values += [math.inf if value is None else value for value in map(figure, found)]
        return max(values)

    return measure


def _elapsed(attribute: str) -> Callable[[FaultAnatomy], float | None]:
    return lambda fault: fault.since(getattr(fault, attribute))


def _quantile(latency: str, share: float) -> Callable[[Selection], float]:
    return lambda selection: float(getattr(selection, latency).quantile(share))


def _outcome(outcome: Outcome) -> Callable[[Selection], float]:
    return lambda selection: selection.outcomes.get(outcome, 0)


def _part(part: str) -> Callable[[Selection], float]:
    return lambda selection: selection.parts()[part]


def _api_bytes(resource: str) -> Callable[[Result], float]:
    return lambda result: result.counters.api_bytes.get(resource, 0)


def _metrics() -> Iterator[Metric]:
    def metric(name: str, unit: Unit, words: str, figure: Callable[[Selection], float]) -> Metric:
        return Metric(name, unit, words, False, _of_requests(figure))

    def of_run(name: str, unit: Unit, words: str, figure: Callable[[Result], float]) -> Metric:
        return Metric(name, unit, words, False, _of_run(figure))

    def of_fault(name: str, unit: Unit, words: str, figure: Callable[[FaultAnatomy], float | None]) -> Metric:
        return Metric(name, unit, words, True, _of_fault(figure))

    duration, share, count, ratio = Unit.DURATION, Unit.SHARE, Unit.COUNT, Unit.RATIO
    for name, part in QUANTILES.items():
        words = f"p{100 * part:g} of the latency of "
        yield metric(f"latency.{name}", duration, f"{words}successful requests", _quantile("latency", part))
        words += "all requests, failures as infinite"
        yield metric(f"latency_all.{name}", duration, words, _quantile("latency_all", part))
    yield metric("latency.max", duration, "longest latency of a successful request", lambda s: s.latency.max)
    yield metric("latency.mean", duration, "mean latency of successful requests", lambda s: s.latency.mean)
    yield metric("success", share, "share of the requests sent that succeeded", lambda s: s.success)
    yield metric("error_rate", share, "share of the requests sent that failed", lambda s: s.error_rate)
    yield metric("requests", count, "requests that the workload meant to send", len)
    yield metric("failures", count, "requests that failed", lambda s: s.failures)
    for outcome in Outcome:
        if outcome is not Outcome.OK:
            words = f"requests that ended: {outcome.words}"
            yield metric(f"failures.{outcome.key}", count, words, _outcome(outcome))
    for column in PARTS:
        name = column.removesuffix("_ns")
        words = f"mean of the latency's part: {PART_WORDS[column]}"
        yield metric(f"part.{name}", duration, words, _part(column))
    words = "share of the answers whose server saw a node's address, not the client's"
    yield metric("masqueraded", share, words, lambda s: s.answered_with(Flag.MASQUERADED))
    words = "share of the answers from another node than the client's"
    yield metric("cross_node", share, words, lambda s: s.answered_with(Flag.CROSS_NODE))
    yield metric("hairpin", share, "share of the answers that the client's own pod gave", lambda s: s.answered_with(Flag.HAIRPIN))
    yield metric("attempts", ratio, "attempts that were made for a request, in the mean", lambda s: s.attempts)
    yield metric("hedged", count, "requests that a second attempt was made for, beside one", lambda s: s.flagged(Flag.HEDGED))
    words = "requests that failed because the budget had no attempt left"
    yield metric("retries_denied", count, words, lambda s: s.flagged(Flag.RETRY_DENIED))
    yield Metric("endpoints", count, "endpoints that gave an answer", False, _endpoints)
    yield Metric("balance", ratio, "answers of the busiest endpoint over the mean of all", False, _balance)
    yield of_run(
        "proxy_cpu", duration, "CPU that proxying costs on all nodes: kube-proxy processes and kernel", lambda r: r.proxy_cpu_ns
    )
    yield of_run("kernel_cpu", duration, "the kernel share of it", lambda r: r.kernel_cpu_ns)
    yield of_run("packets_dropped", count, "packets dropped for any cause", lambda r: r.packets_dropped)
    words = "bytes that the API server sent of Services, Endpoints and EndpointSlices to all who watch them"
    yield of_run("api_bytes", count, words, lambda r: r.api_bytes)
    for resource in ("services", "endpoints", "endpointslices"):
        words = f"of these, bytes of {resource}"
        yield of_run(f"api_bytes.{resource}", count, words, _api_bytes(resource))
    words = "from the fault until the last failing request was sent"
    yield of_fault("outage", duration, words, lambda f: f.outage_ns)
    words = "time in which requests failed and none succeeded"
    yield of_fault("unavailable", duration, words, lambda f: f.unavailable_ns)
    yield of_fault("fault_failures", count, "requests that a fault cost", lambda f: f.failures)
    words = "from the fault until it was reported not ready"
    yield of_fault("detection", duration, words, _elapsed("detected_ns"))
    words = "from the fault until the endpoints were updated"
    yield of_fault("endpoints_updated", duration, words, _elapsed("endpoints_ns"))
    words = "from the fault until the last node had synced"
    yield of_fault("synced", duration, words, _elapsed("last_synced_ns"))


_BETTER = {"success": Preference.HIGHER, "requests": Preference.NEITHER}
METRICS: Mapping[str, Metric] = MappingProxyType({
    metric.name: replace(metric, better=_BETTER.get(metric.name, Preference.LOWER)) for metric in _metrics()
})
"""Every figure by its name."""

_ALIASES = {"latency.p99.9": "latency.p999", "latency_all.p99.9": "latency_all.p999", "errors": "error_rate"}


def metric_named(name: str) -> Metric:
    """The figure of that name; UsageError with the nearest name if there is none."""
    metric = METRICS.get(_ALIASES.get(name, name))
    if metric is None:
        raise UsageError(f"there is no metric {name!r}{nearest(name, METRICS)}")
    return metric


def measure(results: Sequence[Result], name: str, question: Question | None = None) -> float:
    """The value of a figure over the replications of one variant: ns, a share, a count or a ratio.

    UsageError for an unknown name, workload or fault, an empty window or no sample.
    """
    metric = metric_named(name)
    asked = question or Question()
    if asked.fault is not None and not metric.of_fault:
        raise UsageError(f"{metric.name} is not a figure of a fault")
    if metric.of_fault and (asked.workload is not None or asked.endpoint is not None):
        raise UsageError(f"{metric.name} is a figure of a fault and knows neither workload nor endpoint")
    if not results:
        raise UsageError(f"there is no result to take {metric.name} from")
    try:
        return metric.measure(results, asked)
    except UsageError as error:
        raise type(error)(f"{metric.name}: {error}") from None
