"""What the simulation is held against (`targets.toml`): sources, figures with tolerances, and the points that simulate them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from svcsim.grounding.setups import Point


@dataclass(frozen=True, slots=True)
class Source:
    """Where figures are from; `feeds` are the profiles that took a cost from it."""

    key: str
    title: str
    address: str
    year: int
    method: str
    """How its figures were read, their error, and what it says of its machines."""
    feeds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """One figure and how it is simulated: a measure of a point, with `over` the ratio of two, with `less` the difference."""

    id: str
    source: Source
    what: str
    value: float
    unit: str
    low: float
    high: float
    """The figures that count as within the tolerance."""
    measure: str
    of: Point
    over: Point | None = None
    less: Point | None = None
    why: str | None = None
    """The key of the reason, if the simulated figure lies outside."""
    group: str = ""
    """The heading of its rows within the source's."""

    @property
    def in_sample(self) -> bool:
        """Whether the profile of its run was made from this source."""
        return self.of.profile in self.source.feeds

    @property
    def points(self) -> tuple[Point, ...]:
        """The runs that it takes."""
        return tuple(point for point in (self.of, self.over, self.less) if point is not None)


@dataclass(frozen=True, slots=True)
class Absent:
    """A published figure that is not simulated, and why not."""

    source: Source
    what: str
    value: str
    why: str


@dataclass(frozen=True, slots=True)
class Targets:
    """All of them, in the order of the file."""

    sources: Mapping[str, Source]
    reasons: Mapping[str, str]
    targets: tuple[Target, ...]
    absent: tuple[Absent, ...]


@lru_cache(maxsize=1)
def shipped_targets() -> Targets:
    """The targets that come with svcsim."""
    text = files("svcsim.grounding").joinpath("targets.toml").read_text(encoding="utf-8")
    return parse_targets(tomllib.loads(text))


def parse_targets(data: Mapping[str, Any]) -> Targets:
    """The targets that a file's data describes; KeyError, TypeError or ValueError for what can't be one."""
    sources = {raw["key"]: Source(**{**raw, "feeds": tuple(raw["feeds"])}) for raw in data["source"]}
    reasons = {raw["key"]: raw["text"] for raw in data["reason"]}
    return Targets(
        sources,
        reasons,
        tuple(_target(raw, sources) for raw in data["target"]),
        tuple(Absent(sources[raw["source"]], raw["what"], raw["value"], raw["why"]) for raw in data["absent"]),
    )


def _target(raw: Mapping[str, Any], sources: Mapping[str, Source]) -> Target:
    low, high = _bounds(raw)
    profile = raw["profile"]
    over, less = (Point(profile=profile, **raw[key]) if key in raw else None for key in ("over", "less"))
    return Target(
        raw["id"], sources[raw["source"]], raw["what"], float(raw["value"]), raw["unit"], low, high, raw["measure"],
        Point(profile=profile, **raw["of"]), over, less, raw.get("why"), raw.get("group", ""),
    )


def _bounds(raw: Mapping[str, Any]) -> tuple[float, float]:
    value = float(raw["value"])
    if "within" in raw:
        low, high = raw["within"]
        return float(low), float(high)
    if "factor" in raw:
        return value / float(raw["factor"]), value * float(raw["factor"])
    return value * (1 - float(raw["tolerance"])), value * (1 + float(raw["tolerance"]))
