"""Simulated against measured figures, drawn on logarithmic axes: on the diagonal both agree; in-sample rows are hollow.

Counts and yes or no, which agree or don't, are in the table alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from svcsim.grounding.validating import UNITS, Row, Verdict, tally
from svcsim.report.looks import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from svcsim.report.style import INK, MUTED, SHADE, SMALL_SIZE, framed, styled
from svcsim.units import MS, US, S

BAND = 0.2
"""The share about the diagonal that is shaded; each row's own tolerance is in the table."""
_PANELS = (("Ratios", ("ratio",)), ("A rule of the list", ("ns",)), ("Times", ("µs", "ms", "s")))
_STYLES = {
    "nft-2025": (VERMILLION, "D"), "tigera-2019": (BLUE, "o"), "cilium-2019": (GREEN, "^"), "imroc-2026": (ORANGE, "s"),
    "alibaba-2020": (PURPLE, "v"), "cilium-2020": (SKY, "P"), "huawei-2017": (BLACK, "X"), "pr-16344": ("#8C564B", "*"),
    "netns": (MUTED, "o"), "uml-ipvs": (INK, "p"), "kernel-slope": ("#B37A00", "<"),
}
_OTHER = (INK, "h")
_LEFT_IN, _GAP_IN, _TOP_IN, _BOTTOM_IN, _LEGEND_IN = 0.75, 0.75, 1.15, 0.6, 0.7


def grounding_figure(rows: Sequence[Row]) -> Figure:
    """Draw every row that has a logarithm, a panel for each kind of figure."""
    counts = tally(rows)
    panels = [(title, [row for row in rows if row.target.unit in units]) for title, units in _PANELS]
    panels = [panel for panel in panels if panel[1]]
    with styled():
        frame = framed(4.95)
        frame.title(
            "Simulated against measured figures",
            f"{counts.within} of {counts.counted} rows that count are within their own tolerance  ·  hollow: in-sample  ·  "
            f"struck through: outside  ·  shaded: within {BAND:.0%}",
            left=0.2,
        )
        room = frame.width - _LEFT_IN - 0.25 - _GAP_IN * (len(panels) - 1)
        width = room / len(panels)
        for place, (title, of_panel) in enumerate(panels):
            left = _LEFT_IN + place * (width + _GAP_IN)
            ax = frame.axes(left, _TOP_IN, frame.width - left - width, _BOTTOM_IN + _LEGEND_IN)
            _draw(ax, of_panel)
            ax.set_title(title, pad=6)
            ax.set_xlabel("measured")
            if place == 0:
                ax.set_ylabel("simulated")
        sources = list(dict.fromkeys(row.target.source.key for row in rows))
        handles = [_handle(source) for source in sources]
        frame.figure.legend(
            handles, sources, loc="lower center", ncols=6, fontsize=SMALL_SIZE, bbox_to_anchor=(0.5, 0.02), handletextpad=0.3,
            columnspacing=1.6,
        )
        return frame.figure


def _tick(value: float, _: int) -> str:
    """A time in its largest unit."""
    unit, size = next((unit, size) for unit, size in (("s", S), ("ms", MS), ("µs", US), ("ns", 1)) if value >= size or size == 1)
    return f"{value / size:,.6g} {unit}"


def _handle(source: str) -> Line2D:
    colour, marker = _STYLES.get(source, _OTHER)
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=6.5)


def _draw(ax: Axes, rows: Sequence[Row]) -> None:
    drawn = [row for row in rows if row.target.value > 0 and row.simulated > 0]
    sizes = {id(row): UNITS[row.target.unit] for row in drawn}
    figures = [figure * sizes[id(row)] for row in drawn for figure in (row.target.value, row.simulated)]
    low, high = min(figures) / 1.5, max(figures) * 1.5
    ax.set_xscale("log")
    ax.set_yscale("log")
    ends = [low, high]
    below, above = ([end * (1 + share) for end in ends] for share in (-BAND, BAND))
    ax.fill_between(ends, below, above, color=SHADE, zorder=0, linewidth=0)
    ax.plot(ends, ends, color=MUTED, linewidth=1.0, zorder=1)
    for row in drawn:
        measured, simulated = ([figure * sizes[id(row)]] for figure in (row.target.value, row.simulated))
        colour, marker = _STYLES.get(row.target.source.key, _OTHER)
        face = "none" if row.target.in_sample else colour
        ax.plot(
            measured, simulated, marker=marker, markersize=6.5, markeredgecolor=colour, markerfacecolor=face,
            linestyle="none", alpha=0.9, zorder=3,
        )
        if row.verdict is Verdict.OUTSIDE:
            ax.plot(measured, simulated, marker="_", markersize=13, color=colour, linestyle="none", zorder=4)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_aspect("equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 300 else (1.0,), numticks=8))
        axis.set_major_formatter(FuncFormatter(_tick if drawn[0].target.unit != "ratio" else lambda value, _: f"{value:,.6g}"))
        axis.set_minor_formatter(NullFormatter())
