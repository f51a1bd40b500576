"""The points of a sweep: a full grid over values, a Latin hypercube over ranges, or a list that a file gives."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from svcsim.errors import UsageError
from svcsim.yamlsource import scalar

MAX_POINTS = 100_000

_END = re.compile(r"\s*(-?\d+(?:\.\d+)?(?:e-?\d+)?)\s*([A-Za-zµ%/]*)\s*")


@dataclass(frozen=True, slots=True)
class Axis:
    """A path of the scenario and the values that it takes."""

    path: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A path of the scenario and the ends of a range, with the unit that its values carry; `log` spreads them by ratio."""

    path: str
    low: float
    high: float
    unit: str = ""
    whole: bool = False
    log: bool = False

    def at(self, share: float) -> Any:
        """The value a share of the way, from 0 to 1."""
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        if self.whole:
            # Each whole number of the range gets an equal share of it, the last one too.
            value = value if self.log else math.floor(self.low + share * (self.high - self.low + 1))
            number: float = min(int(self.high), round(value))
        else:
            number = float(f"{value:.6g}")
        return f"{number:g}{self.unit}" if self.unit else number


Settings = tuple[tuple[str, Any], ...]
"""One point: each path with its value."""


def parse_range(path: str, text: str) -> Range:
    """A range written `LOW..HIGH`, as `10..100`, `1ms..50ms`, `log:100/s..10000/s`; UsageError if it is none.

    >>> parse_range("cluster.nodes.count", "3..9")
    Range(path='cluster.nodes.count', low=3.0, high=9.0, unit='', whole=True, log=False)
    """
    spread, _, ends = text.rpartition(":")
    first, dots, second = ends.partition("..")
    low, high = _END.fullmatch(first), _END.fullmatch(second)
    if spread not in {"", "log"} or not dots or low is None or high is None:
        raise UsageError(f"{path}: a range is written LOW..HIGH, as 1ms..50ms or log:10..10000 (got {text[:60]!r})")
    unit = high[2] or low[2]
    if low[2] not in {"", unit}:
        raise UsageError(f"{path}: both ends of a range carry the same unit (got {text[:60]!r})")
    begin, end = float(low[1]), float(high[1])
    if begin >= end or (spread and begin <= 0):
        raise UsageError(f"{path}: a range rises{', above zero if it is logarithmic' if spread else ''} (got {text[:60]!r})")
    whole = not unit and not any(sign in ends.replace("..", "") for sign in ".e")
    return Range(path, begin, end, unit, whole, bool(spread))


def grid(axes: Sequence[Axis]) -> list[Settings]:
    """Every combination, the last axis fastest. UsageError for an empty or a doubled axis, and for too many points."""
    paths = [axis.path for axis in axes]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise UsageError(f"{twice} is given twice")
    count = math.prod(len(axis.values) for axis in axes)
    if count > MAX_POINTS:
        raise UsageError(f"{count:,} points are more than the limit of {MAX_POINTS:,}")
    if empty := next((axis.path for axis in axes if not axis.values), None):
        raise UsageError(f"{empty} has no value")
    return [tuple(zip(paths, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def latin_hypercube(ranges: Sequence[Range], points: int, seed: int) -> list[Settings]:
    """So many points of which each range's part is hit once on every axis (McKay, Beckman, Conover 1979)."""
    if not 1 <= points <= MAX_POINTS:
        raise UsageError(f"a Latin hypercube has between 1 and {MAX_POINTS:,} points (got {points})")
    from scipy.stats import qmc

    shares = qmc.LatinHypercube(d=len(ranges), seed=seed).random(points)
    return [
        tuple((each.path, each.at(float(share))) for each, share in zip(ranges, row, strict=True)) for row in shares
    ]


def listed(text: str, name: str) -> list[Settings]:
    """The points of a CSV text whose heading names the paths, a point a line; UsageError with the line of a mistake."""
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise UsageError(f"{name}: a heading with paths, and a line a point are expected")
    heading = [cell.strip() for cell in rows[0]]
    if "" in heading or len(set(heading)) < len(heading):
        raise UsageError(f"{name}:1: each column has a path of its own as its heading")
    points: list[Settings] = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(heading):
            raise UsageError(f"{name}:{number}: {len(row)} values for {len(heading)} paths")
        points.append(tuple((path, scalar(cell.strip())) for path, cell in zip(heading, row, strict=True)))
    return points


def number_of(value: Any) -> float | None:
    """A value as a number for an axis: 5, `250ms` in seconds, `400/s`; None for what is no quantity."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    match = _END.fullmatch(value)
    if match is None:
        return None
    number, unit = float(match[1]), match[2]
    seconds = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    return number * seconds.get(unit, 1.0)


def shown(value: Any) -> str:
    """A value for a table: a proxy as its mode, `ipvs/lc`, anything else as it is written.

    >>> shown({"mode": "ipvs", "scheduler": "lc"}), shown("250ms")
    ('ipvs/lc', '250ms')
    """
    if isinstance(value, dict) and "mode" in value and set(value) <= {"mode", "scheduler", "backend"}:
        return "/".join(str(value[part]) for part in ("mode", "scheduler", "backend") if part in value)
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list | bool | type(None)) else str(value)
