"""A sweep as text: a line a point and variant, the means over its replications."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from svcsim.report.terminal import Ink, table
from svcsim.results.comparison import t_interval
from svcsim.results.table import Rows
from svcsim.sweep.grid import Settings, shown
from svcsim.sweep.sweeping import Sweep

_MOST_LINES = 60


@dataclass(frozen=True, slots=True)
class Cell:
    """A point and variant: its replications' values, a tuple a figure."""

    point: int
    settings: Settings
    label: str
    values: tuple[tuple[float, ...], ...]

    def mean(self, figure: int) -> float:
        """The mean of a figure by its place."""
        return statistics.fmean(self.values[figure])

    def ends(self, figure: int) -> tuple[float, float] | None:
        """The ends of its 95% interval; None for one replication."""
        interval = t_interval(self.values[figure])
        return None if interval is None else (interval.low, interval.high)


def cells_of(swept: Sweep) -> list[Cell]:
    """The rows of a sweep, replications put together."""
    grouped: dict[tuple[int, str], list[tuple[float, ...]]] = {}
    settings: dict[int, Settings] = {}
    for row in swept.rows:
        grouped.setdefault((row.point, row.found.label), []).append(row.found.values)
        settings[row.point] = row.settings
    return [
        Cell(point, settings[point], label, tuple(zip(*values, strict=True))) for (point, label), values in grouped.items()
    ]


def varied(swept: Sweep) -> tuple[str, ...]:
    """The paths that take more than one value."""
    return tuple(
        path for place, path in enumerate(swept.paths) if len({repr(row.settings[place][1]) for row in swept.rows}) > 1
    )


def short_paths(paths: Sequence[str]) -> dict[str, str]:
    """Each path by its last two parts, or as many as tell it from the others.

    >>> short_paths(["services.count", "cluster.nodes.count", "kubernetes.proxy"])["cluster.nodes.count"]
    'nodes.count'
    """
    parts = {path: path.split(".") for path in paths}

    def tail(path: str, count: int) -> str:
        return ".".join(parts[path][-count:])

    found = {}
    for path in paths:
        count = 2
        while count < len(parts[path]) and any(tail(other, count) == tail(path, count) for other in paths if other != path):
            count += 1
        found[path] = tail(path, count)
    return found


def sweep_rows(swept: Sweep) -> Rows:
    """A row of headings and one row a point and variant, the means over its replications; at most sixty."""
    cells = cells_of(swept)
    paths = varied(swept) or swept.paths
    names = short_paths(paths)
    several = len({(cell.point, cell.label) for cell in cells}) > len({cell.point for cell in cells})
    rows: Rows = [(names[paths[0]], *(names[path] for path in paths[1:]), *(["variant"] if several else []),
                   *(figure.text for figure in swept.figures))]
    rows += [tuple(_row(swept, cell, paths, several)) for cell in cells[:_MOST_LINES]]
    return rows


def sweep_table(swept: Sweep, ink: Ink | None = None) -> str:
    """A line a point and variant; at most sixty, then how many more the table in the folder has."""
    text, left = table(sweep_rows(swept), ink or Ink()), len(cells_of(swept)) - _MOST_LINES
    return text if left <= 0 else f"{text}\n… {left:,} more lines in results.csv"


def _row(swept: Sweep, cell: Cell, paths: Sequence[str], several: bool) -> Iterator[str]:
    values: dict[str, Any] = dict(cell.settings)
    yield from (shown(values[path]) for path in paths)
    if several:
        yield cell.label
    for place, figure in enumerate(swept.figures):
        mean = cell.mean(place)
        yield "–" if math.isnan(mean) else figure.of.text(mean)
