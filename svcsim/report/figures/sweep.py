"""A sweep drawn: each metric over the first numeric path, a line a variant and combination of what else varies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from svcsim.report.looks import looks
from svcsim.report.style import MUTED, SMALL_SIZE, TEXT_SIZE, figure_of, fitted, framed, say_nothing, styled
from svcsim.report.sweeping import Cell, cells_of, short_paths, varied
from svcsim.results.metrics import Unit
from svcsim.sweep.grid import number_of, shown
from svcsim.sweep.sweeping import Sweep
from svcsim.units import format_ns

_LEGEND_IN = 2.3
_LOG_FROM = 30.0
_MOST_LINES = 14
_MOST_TICKS = 12


def sweep_figures(swept: Sweep) -> Iterator[tuple[str, Figure]]:
    """A figure a metric, with its name."""
    for place, figure in enumerate(swept.figures):
        yield figure.text, sweep_figure(swept, place)


def sweep_figure(swept: Sweep, figure: int = 0, ax: Axes | None = None) -> Figure:
    """Draw one metric, by its place, into `ax` or a figure of its own."""
    with styled():
        if ax is None:
            frame = framed(5.2)
            ax = frame.axes(1.0, 1.0, _LEGEND_IN + 0.6 if _several(swept) else 0.4, 0.75)
            replications = max(row.found.replication for row in swept.rows) + 1
            runs = f"{replications} replications, 95% intervals" if replications > 1 else "one run a point"
            words = swept.figures[figure].of.words
            frame.title(f"{words[0].upper()}{words[1:]}", f"{swept.scenario}  ·  {swept.figures[figure].text}  ·  {runs}")
        _draw(swept, figure, ax)
        return figure_of(ax)


def _across(swept: Sweep, cells: list[Cell]) -> str | None:
    """The first path whose values are all numbers."""
    return next((path for path in varied(swept) if all(number_of(dict(cell.settings)[path]) is not None for cell in cells)), None)


def _several(swept: Sweep) -> bool:
    """Whether there is more than one line to tell apart."""
    cells = cells_of(swept)
    across = _across(swept, cells)
    return across is not None and len(_lines(cells, [path for path in varied(swept) if path != across])) > 1


def _draw(swept: Sweep, figure: int, ax: Axes) -> None:
    cells = cells_of(swept)
    paths = varied(swept)
    across = _across(swept, cells)
    lines = _lines(cells, [path for path in paths if path != across])
    unit = swept.figures[figure].of.unit
    if across is None or len(lines) > _MOST_LINES:
        _dots(swept, figure, ax, cells, across if across is not None else None)
    else:
        names = list(lines)
        firsts = [name.split(" · ")[0] for name in names]
        styles = looks(firsts if len(set(firsts)) == len(names) else names)

        def place_of(cell: Cell) -> float:
            return number_of(dict(cell.settings)[across]) or 0.0

        for name, look in zip(names, styles.values(), strict=True):
            one = sorted(lines[name], key=place_of)
            x = [place_of(cell) for cell in one]
            y = [cell.mean(figure) for cell in one]
            ax.plot(x, [value if math.isfinite(value) else math.nan for value in y], color=look.colour, linestyle=look.dash,
                    marker=look.marker, markersize=5, label=fitted(name, _LEGEND_IN - 0.5, TEXT_SIZE))
            ends = [cell.ends(figure) for cell in one]
            low, high = [end[0] for end in ends if end], [end[1] for end in ends if end]
            if len(low) == len(x):
                ax.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0)
        if len(names) > 1 or names[0]:
            ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0)
        _across_axis(ax, {place_of(cell): shown(dict(cell.settings)[across]) for cell in cells})
        ax.set_xlabel(across)
    _value_axis(ax, unit, [cell.mean(figure) for cell in cells])


def _lines(cells: list[Cell], others: list[str]) -> dict[str, list[Cell]]:
    names = short_paths(others)
    several = len({cell.label for cell in cells}) > 1
    proxies = any(path.startswith("kubernetes.proxy") for path in others)
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        values = dict(cell.settings)
        parts = [cell.label] if several and not proxies else []
        for path in others:
            parts.append(shown(values[path]) if path.startswith("kubernetes.proxy") else f"{names[path]} {shown(values[path])}")
        found.setdefault(" · ".join(parts), []).append(cell)
    return found


def _dots(swept: Sweep, figure: int, ax: Axes, cells: list[Cell], across: str | None) -> None:
    """One dot a point where no line can be drawn."""
    if across is not None:
        x = [number_of(dict(cell.settings)[across]) or 0.0 for cell in cells]
        ax.scatter(x, [cell.mean(figure) for cell in cells], s=22)
        _across_axis(ax, dict(zip(x, (shown(dict(cell.settings)[across]) for cell in cells), strict=True)))
        ax.set_xlabel(across)
        return
    lines = _lines(cells, list(varied(swept)))
    if not lines:
        say_nothing(ax, "one point")
        return
    styles = looks(list(lines))
    for place, (name, look) in enumerate(zip(lines, styles.values(), strict=True)):
        for cell in lines[name]:
            ends = cell.ends(figure)
            if ends is not None:
                ax.plot([place, place], ends, color=look.colour, linewidth=2)
            ax.plot([place], [cell.mean(figure)], color=look.colour, marker=look.marker, markersize=7, linestyle="none")
    ax.set_xticks(range(len(lines)), [fitted(name, 1.6, SMALL_SIZE) for name in lines], rotation=25 if len(lines) > 4 else 0,
                  ha="right" if len(lines) > 4 else "center", fontsize=SMALL_SIZE)
    ax.set_xlim(-0.6, len(lines) - 0.4)


def _across_axis(ax: Axes, texts: dict[float, str]) -> None:
    """Ticks at the values as they are written, where these are few and apart."""
    distinct = sorted(texts)
    steep = len(distinct) > 1 and distinct[0] > 0 and distinct[-1] / distinct[0] >= _LOG_FROM
    if steep:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    places = [math.log(value) if steep else value for value in distinct]
    least = (places[-1] - places[0]) / _MOST_TICKS
    if all(after - before >= least for before, after in pairwise(places)):
        plain = {value: f"{value:,.10g}" for value, text in texts.items() if text.replace(".", "").isdigit()}
        ax.set_xticks(distinct, [plain.get(value, texts[value]) for value in distinct])
        ax.xaxis.set_minor_locator(NullLocator())


def _value_axis(ax: Axes, unit: Unit, values: list[float]) -> None:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        say_nothing(ax, "no finite value")
        return
    if min(finite) > 0 and max(finite) / min(finite) >= _LOG_FROM:
        ax.set_yscale("log")
    else:
        ax.yaxis.set_major_locator(MaxNLocator(7))
        if min(finite) >= 0 and min(finite) < 0.5 * max(finite):
            ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(unit, value)))
    if len(finite) < len(values):
        ax.annotate("left out: infinite or no sample", (0.99, 0.02), xycoords="axes fraction", ha="right", color=MUTED,
                    fontsize=SMALL_SIZE)


def _tick(unit: Unit, value: float) -> str:
    if unit is Unit.DURATION:
        return format_ns(value)
    if unit is Unit.SHARE:
        return f"{100 * value:.4g}%"
    return f"{value:,.10g}" if unit is Unit.COUNT else f"{value:.4g}"
