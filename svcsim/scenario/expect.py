"""What a scenario expects of its results: bounds on metrics, as `{metric: latency.p99, below: 20ms}` or `p99 < 20ms`.

The names are those of `svcsim.results.metrics`; `p99` is short for `latency.p99`. A window is written `5s..30s`, or by a fault:
`fault[0]..+30s`. Faults are counted from 0, as everything in square brackets is, or named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema, model_validator

from svcsim.scenario.quantities import Part
from svcsim.spelling import nearest
from svcsim.units import duration_ns, duration_text, fraction
from svcsim.validation import plain_kind

if TYPE_CHECKING:
    from svcsim.results.metrics import Metric

_ALIASES = {
    "med": "latency.p50", "median": "latency.p50", "avg": "latency.mean", "mean": "latency.mean", "max": "latency.max",
    "share.max_over_mean": "balance", "errors": "error_rate", "success_rate": "success",
}
_ASSERTION = re.compile(
    r"(?:(?P<workload>[a-z0-9][-a-z0-9.]*)\s*:\s*)?(?P<metric>[A-Za-z_][\w.]*(?:\(\d+(?:\.\d+)?\))?)"
    r"(?:\s+of\s+(?P<fault>\S+))?(?:\s+to\s+(?P<endpoint>[\w*?./-]+))?\s*(?P<sign><=|>=|<|>)\s*(?P<bound>[^\s<>]+)"
    r"(?:\s+during\s+(?P<during>\S+))?(?:\s+(?:in|mode)\s+(?P<mode>\S+))?"
)
_SIGNS = {"<": "below", "<=": "atMost", ">": "above", ">=": "atLeast"}
_FAULT = re.compile(r"(?:fault)?\[([a-z0-9][-a-z0-9.]*)\]|fault\s+([a-z0-9][-a-z0-9.]*)")
_INSTANT = re.compile(r"(?P<anchor>start|warmup|end|fault\[(?P<fault>[a-z0-9][-a-z0-9.]*)\])?(?P<offset>[-+]?[^-+\s]+)?")
BOUNDS = ("below", "above", "at_most", "at_least")


@dataclass(frozen=True, slots=True)
class Instant:
    """A time of the run: an offset from its start, its end, the end of warm-up, a fault, or the beginning of the window."""

    anchor: str
    """`start`, `warmup`, `end`, `fault` or `window`."""
    offset_ns: int = 0
    fault: int | str | None = None

    def __str__(self) -> str:
        offset = duration_text(abs(self.offset_ns))
        if self.anchor == "start":
            return offset
        sign = "-" if self.offset_ns < 0 else "+"
        name = {"fault": f"fault[{self.fault}]", "window": ""}.get(self.anchor, self.anchor)
        return name if name and not self.offset_ns else f"{name}{sign}{offset}"


@dataclass(frozen=True, slots=True)
class Window:
    """From an instant to another; None is the start or the end of the run."""

    start: Instant | None
    end: Instant | None

    def __str__(self) -> str:
        return f"{self.start or ''}..{self.end or ''}"


def fault_reference(text: str) -> int | str:
    """A fault by its place, counted from 0, or by its name."""
    return int(text) if text.isdigit() and len(text) < 7 else text


def parse_window(value: Any) -> Window:
    """The window that a text names; ValueError says what would be right.

    >>> str(parse_window("fault[0] .. +30s"))
    'fault[0]..+30s'
    """
    if isinstance(value, Window):
        return value
    hint = "write '5s..30s', '30s..' or 'fault[0]..+30s'"
    if not isinstance(value, str) or value.count("..") != 1:
        raise ValueError(f"not a window of time: {plain_kind(value)} ({hint})")
    first, second = ("".join(side.split()) for side in value.split(".."))
    window = Window(_instant(first, hint), _instant(second, hint, ends=True))
    begin, end = window.start, window.end
    if end is not None and (begin is None or begin.anchor == "start") and end.anchor == "start":
        if end.offset_ns <= (begin.offset_ns if begin else 0):
            raise ValueError(f"the window {value} is empty")
    return window


def _instant(text: str, hint: str, *, ends: bool = False) -> Instant | None:
    if not text:
        return None
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time: {plain_kind(text)} ({hint})")
    anchor, offset = match["anchor"], match["offset"] or ""
    sign = -1 if offset.startswith("-") else 1
    offset_ns = sign * duration_ns(offset.lstrip("+-")) if offset else 0
    if anchor is None:
        if offset.startswith("+"):
            return Instant("window" if ends else "start", offset_ns)
        if offset_ns < 0:
            raise ValueError(f"a time of the run is not negative: {plain_kind(text)}")
        return Instant("start", offset_ns)
    if offset and offset[0] not in "+-":
        raise ValueError(f"not a time: {plain_kind(text)} ({hint})")
    if match["fault"] is not None:
        return Instant("fault", offset_ns, fault_reference(match["fault"]))
    return Instant(anchor, offset_ns)


WindowText = Annotated[
    Window, BeforeValidator(parse_window), PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": r"^.*\.\..*$", "examples": ["5s..30s", "30s..", "fault[0]..+30s"]}),
]


def metric_name(text: str) -> str:
    """The full name of a metric: `p99` is `latency.p99`, `p(99)` too.

    >>> metric_name("p(99.9)"), metric_name("success")
    ('latency.p999', 'success')
    """
    name = re.sub(r"\bp\((\d+(?:\.\d+)?)\)", r"p\1", text)
    name = re.sub(r"\bp(\d{2})\.(\d+)$", r"p\1\2", name)
    return f"latency.{name}" if re.fullmatch(r"p\d+", name) else _ALIASES.get(name, name)


def _metric(name: str) -> Metric:
    from svcsim.results.metrics import METRICS

    metric = METRICS.get(name)
    if metric is None:
        raise ValueError(f"there is no metric {name!r}{nearest(name, METRICS)}")
    return metric


def _bound(value: Any, metric: Metric) -> float:
    """A bound in the metric's unit."""
    if metric.unit == "duration":
        if not isinstance(value, str) or value.replace(".", "").isdigit():
            raise ValueError(f"a bound on {metric.name} carries a unit, as in '20ms' (got {plain_kind(value)})")
        return duration_ns(value)
    if metric.unit == "share":
        return fraction(value)
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"a bound on {metric.name} is a number (got {plain_kind(value)})")
    return float(value)


class Expect(Part):
    """A bound on a metric that must hold for each mode, or for the one named; or the same in a line: `p99 < 20ms`."""

    metric: str
    """Such as `latency.p99`, `success`, `error_rate`, `outage`, `balance`, `requests`."""
    workload: str | None = None
    endpoint: str | None = None
    """Only requests that went to this endpoint: a pod by its name, or a pattern as `web-*`."""
    below: str | float | None = None
    above: str | float | None = None
    at_most: str | float | None = None
    at_least: str | float | None = None
    during: WindowText | None = None
    """Only requests sent in this window: `5s..30s`, `fault[0]..+30s`."""
    fault: int | str | None = None
    """For metrics of a fault: its place, counted from 0, or its name."""
    mode: str | None = None
    """Only this variant: `iptables`, `ipvs/rr`, or `ipvs` for all its schedulers."""

    @model_validator(mode="before")
    @classmethod
    def _line(cls, value: Any) -> Any:
        if isinstance(value, str):
            match = _ASSERTION.fullmatch(value.strip())
            if match is None:
                hint = "write 'p99 < 20ms' or 'web: success > 99.9% during 5s..30s'"
                raise ValueError(f"not an expectation: {plain_kind(value)} ({hint})")
            found = {name: match[name] for name in ("workload", "metric", "fault", "endpoint", "during", "mode") if match[name]}
            value = {**found, _SIGNS[match["sign"]]: match["bound"]}
        if isinstance(value, dict):
            value = dict(value)
            if isinstance(value.get("metric"), str):
                value["metric"] = metric_name(value["metric"])
            fault = value.get("fault")
            if isinstance(fault, str):
                named = _FAULT.fullmatch(fault)
                value["fault"] = fault_reference(next(part for part in named.groups() if part) if named else fault)
        return value

    @model_validator(mode="after")
    def _measurable(self) -> Self:
        metric = _metric(self.metric)
        given = [getattr(self, name) for name in BOUNDS if getattr(self, name) is not None]
        if not given:
            raise ValueError("a bound is missing: give below, above, atMost or atLeast")
        for value in given:
            _bound(value, metric)
        low, high = self.low, self.high
        if low is not None and high is not None and low >= high:
            raise ValueError("no value keeps both bounds")
        if self.fault is not None and not metric.of_fault:
            raise ValueError(f"{metric.name} is not a figure of a fault; choose the time with 'during: fault[{self.fault}]..'")
        if metric.of_fault and (self.workload is not None or self.endpoint is not None or self.during is not None):
            raise ValueError(f"{metric.name} is a figure of a fault and knows neither workload, endpoint nor window")
        return self

    @property
    def low(self) -> float | None:
        """The lower bound in the metric's unit."""
        value = self.above if self.above is not None else self.at_least
        return None if value is None else _bound(value, _metric(self.metric))

    @property
    def high(self) -> float | None:
        """The upper bound in the metric's unit."""
        value = self.below if self.below is not None else self.at_most
        return None if value is None else _bound(value, _metric(self.metric))
