"""Simulate every target: each point once, on as many processes as asked for, and set the figures side by side.

A point depends on its set-up and the profile alone, so the rows are the same for any number of processes.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing import Process
from multiprocessing.connection import Connection, wait
from typing import Any

from svcsim.errors import SimulationError
from svcsim.grounding.measures import MEASURES
from svcsim.grounding.setups import Point, scenario_of
from svcsim.grounding.targets import Target, Targets
from svcsim.units import MS, US, S
from svcsim.version import __version__
from svcsim.world import build

SEED = 1
SCHEMA = "svcsim/validation/v1"
UNITS = {"ratio": 1, "ns": 1, "µs": US, "ms": MS, "s": S, "count": 1, "yes": 1}
"""Units of targets, each with its size in that of a measure. `yes` is a count of one."""

Found = Mapping[Point, Mapping[str, float]]
Asked = dict[Point, dict[str, None]]
"""The measures that are wanted of each point."""


class Verdict(StrEnum):
    """How a simulated figure stands to the one that was measured."""

    WITHIN = "within"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Row:
    """A target with what svcsim gives for it, in the target's unit."""

    target: Target
    simulated: float

    @property
    def ratio(self) -> float:
        """Simulated over measured."""
        return self.simulated / self.target.value

    @property
    def verdict(self) -> Verdict:
        """Whether the simulated figure is within the tolerance."""
        return Verdict.WITHIN if self.target.low <= self.simulated <= self.target.high else Verdict.OUTSIDE


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows stand how: those that count, and those that are in-sample."""

    within: int
    outside: int
    in_sample_within: int
    in_sample_outside: int

    @property
    def counted(self) -> int:
        """The rows that count."""
        return self.within + self.outside

    @property
    def in_sample(self) -> int:
        """The rows that don't."""
        return self.in_sample_within + self.in_sample_outside


def validate(
    targets: Sequence[Target], *, processes: int | None = None, on_end: Callable[[int, int], None] | None = None
) -> list[Row]:
    """A row for each target, in their order; `on_end` is called with how many points have ended, and of how many.

    `processes` None takes one a CPU. SimulationError if a worker process is lost.
    """
    asked: Asked = {}
    for target in targets:
        for point in target.points:
            asked.setdefault(point, {})[target.measure] = None
    points = list(asked)
    # What takes longest begins first, so that the processes end together.
    points.sort(key=lambda point: -point.services)
    found: dict[Point, Mapping[str, float]] = {}
    for point, measured in _each(points, asked, min(len(points), processes or os.cpu_count() or 1)):
        found[point] = measured
        if on_end is not None:
            on_end(len(found), len(points))
    return [Row(target, _simulated(target, found)) for target in targets]


def _each(points: list[Point], asked: Asked, count: int) -> Iterator[tuple[Point, Mapping[str, float]]]:
    if count <= 1:
        for point in points:
            yield point, measures_of(point, *asked[point])
        return
    waiting = deque(points)
    running: dict[Connection, tuple[Process, Point]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < count:
                point = waiting.popleft()
                answer, sender = multiprocessing.Pipe(duplex=False)
                process = multiprocessing.Process(target=_work, args=(sender, point, tuple(asked[point])), daemon=True)
                process.start()
                sender.close()
                running[answer] = process, point
            for answer in [each for each in running if each in wait(list(running))]:
                process, point = running.pop(answer)
                try:
                    found = answer.recv()
                except EOFError:
                    raise SimulationError(f"the process that ran {point} was lost; too little memory?") from None
                process.join()
                yield point, found
    finally:
        for process, _ in running.values():
            process.terminate()


def _work(sender: Connection, point: Point, names: tuple[str, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sender.send(measures_of(point, *names, alone=True))
    sender.close()


def measures_of(point: Point, *names: str, alone: bool = False) -> dict[str, float]:
    """Run a point, here: the measures of these names.

    `alone`: this process ends afterwards, so that nothing need be collected.
    """
    world = build(scenario_of(point), seed=SEED)
    if alone:
        # A world of 50,000 Services takes seconds to look through for garbage.
        gc.freeze()
    result = world.run()
    return {name: MEASURES[name](result) for name in names}


def _simulated(target: Target, found: Found) -> float:
    figure = found[target.of][target.measure]
    if target.over is not None:
        return figure / found[target.over][target.measure]
    if target.less is not None:
        figure -= found[target.less][target.measure]
    return figure / UNITS[target.unit]


def tally(rows: Sequence[Row]) -> Tally:
    """How many rows stand how."""
    def count(in_sample: bool, verdict: Verdict) -> int:
        return sum(row.target.in_sample is in_sample and row.verdict is verdict for row in rows)

    return Tally(
        count(False, Verdict.WITHIN), count(False, Verdict.OUTSIDE), count(True, Verdict.WITHIN), count(True, Verdict.OUTSIDE)
    )


def document(rows: Sequence[Row], targets: Targets) -> dict[str, Any]:
    """Everything as data with stable keys."""
    counts = tally(rows)
    return {
        "schema": SCHEMA,
        "svcsim": __version__,
        "counted": {"within": counts.within, "outside": counts.outside},
        "in_sample": {"within": counts.in_sample_within, "outside": counts.in_sample_outside},
        "rows": [
            {
                "id": row.target.id, "what": row.target.what, "source": row.target.source.key, "profile": row.target.of.profile,
                "unit": row.target.unit, "value": row.target.value, "low": row.target.low, "high": row.target.high,
                "simulated": row.simulated, "ratio": row.ratio, "verdict": str(row.verdict), "in_sample": row.target.in_sample,
                "why": None if row.verdict is Verdict.WITHIN else targets.reasons.get(row.target.why or ""),
            }
            for row in rows
        ],
        "not_simulated": [
            {"what": absent.what, "source": absent.source.key, "value": absent.value, "why": absent.why}
            for absent in targets.absent
        ],
        "sources": [
            {"key": source.key, "title": source.title, "address": source.address, "year": source.year, "method": source.method,
             "feeds": list(source.feeds)}
            for source in targets.sources.values()
        ],
    }
