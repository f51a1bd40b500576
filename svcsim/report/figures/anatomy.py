"""The anatomy of each fault: how long each step of the control plane's answer took, and what failed meanwhile.

A panel a fault, a lane a mode. The bar runs from the fault to the last node's sync, its shades are the steps; the cross is
the intended send of the last request that failed. Beside it, the failures by reason. Over several replications times are
medians and counts are means.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from svcsim.errors import UsageError
from svcsim.report.figures.latency import subtitle
from svcsim.report.lanes import Lane, counted, elapsed, fault_lanes
from svcsim.report.looks import REASON_COLOURS, looks
from svcsim.report.style import (
    INK,
    MUTED,
    SMALL_SIZE,
    TEXT_SIZE,
    WIDTH_IN,
    Frame,
    figure_of,
    fitted,
    framed,
    say_nothing,
    styled,
    text_width_in,
)
from svcsim.results.anatomy import FaultAnatomy
from svcsim.results.comparison import Comparison
from svcsim.results.records import Outcome
from svcsim.units import S

_LANE_IN = 0.36
_PANELS_IN = 7.6
"""Height for the panels of one figure."""
_GAP_IN = 0.95
NUMBERED_FROM = 5
"""So many faults have numbers, by which the timeline may call them."""
_MAX_LABEL_IN = 2.0
_MAX_TITLE_IN = 5.0
_REASONS_A_ROW = 6
_STEPS = (
    ("until detected", "#8F8F8F"),
    ("until endpoints updated", "#B5A27A"),
    ("until the first node synced", "#9DB8CB"),
    ("until the last node synced", "#D3E0E9"),
)


_PLAIN = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
"""The ground of a text that stands on grid lines."""


def failover_anatomy(comparison: Comparison) -> list[Figure]:
    """Draw every fault, as many to a figure as fit a slide; no figure if nothing went wrong."""
    panels = fault_lanes(comparison)
    a_figure = max(1, int((_PANELS_IN + _GAP_IN) / (max(2, len(comparison)) * _LANE_IN + _GAP_IN)))
    numbers = len(panels) >= NUMBERED_FROM
    figures = []
    for start in range(0, len(panels), a_figure):
        with styled():
            figures.append(_figure(comparison, panels[start : start + a_figure], start + 1 if numbers else None))
    return figures


def whole_anatomy(comparison: Comparison) -> Figure:
    """Draw every fault in one figure, however tall; one that says so if nothing went wrong."""
    panels = fault_lanes(comparison)
    with styled():
        if panels:
            return _figure(comparison, panels, 1 if len(panels) >= NUMBERED_FROM else None)
        frame = framed(2.2)
        frame.title("Failover anatomy", subtitle(comparison))
        ax = frame.axes(0.3, 0.9, 0.3, 0.3)
        ax.set(xticks=[], yticks=[])
        say_nothing(ax, "the scenario has no fault")
        return frame.figure


def anatomy_panel(comparison: Comparison, ax: Axes, fault: int = 0) -> Figure:
    """Draw the steps of one fault, by its place among those that took place, into axes; UsageError if there is none there."""
    panels = fault_lanes(comparison)
    if not 0 <= fault < len(panels):
        raise UsageError(f"there is no fault {fault}: {len(panels)} took place, counted from 0")
    anatomy, lanes = panels[fault]
    with styled():
        _draw_times(ax, lanes, comparison, anatomy)
        title = f"{anatomy.began_ns / S:g} s   {anatomy.fault}"
        ax.set_title(fitted(title, _MAX_TITLE_IN, TEXT_SIZE, bold=True), loc="left", fontsize=TEXT_SIZE, weight="bold")
        return figure_of(ax)


def _figure(
    comparison: Comparison, panels: Sequence[tuple[FaultAnatomy, list[Lane]]], first: int | None
) -> Figure:
    reasons = {outcome for _, lanes in panels for one in lanes for outcome in one.reasons}
    head, gap, foot = 1.05, _GAP_IN, 1.15 if len(reasons) <= _REASONS_A_ROW else 1.4
    heights = [max(2, len(lanes)) * _LANE_IN for _, lanes in panels]
    frame = framed(head + sum(heights) + gap * (len(panels) - 1) + foot + 0.15)
    frame.title("Failover anatomy", subtitle(comparison))
    widest = max(text_width_in(label, TEXT_SIZE, bold=True) for label in comparison.labels)
    left = min(widest, _MAX_LABEL_IN) + 0.5
    bars_in = 2.55
    top = head + 0.15
    for place, ((fault, lanes), height) in enumerate(zip(panels, heights, strict=True)):
        bottom = frame.height - top - height
        times = frame.axes(left, top, bars_in + 0.95, bottom)
        counts = frame.axes(WIDTH_IN - bars_in - 0.5, top, 0.5, bottom)
        number = "" if first is None else f"{first + place} ·  "
        title = fitted(f"{number}{fault.began_ns / S:g} s   {fault.fault}", WIDTH_IN - bars_in - 0.95 - 0.5, TEXT_SIZE, bold=True)
        frame.text(0.3, top - 0.1, title, fontsize=TEXT_SIZE, weight="bold")
        frame.text(WIDTH_IN - bars_in - 0.5, top - 0.1, "failed requests", fontsize=TEXT_SIZE, color=MUTED)
        _draw_times(times, lanes, comparison, fault)
        _draw_counts(counts, lanes)
        top += height + gap
    _legend(frame, [lane for _, lanes in panels for lane in lanes])
    return frame.figure


def _draw_times(ax: Axes, lanes: Sequence[Lane], comparison: Comparison, fault: FaultAnatomy) -> None:
    styles = looks(comparison.labels)
    reached = [value for lane in lanes for value in (*lane.steps_ns, lane.last_failure_ns) if value is not None]
    # Room at the right for the text behind the longest lane.
    limit_s = max([*reached, 0.1 * S]) / S * 1.55
    for row, one in enumerate(lanes):
        start = 0.0
        for end, (_, colour) in zip(one.steps_ns, _STEPS, strict=True):
            if end is not None:
                ax.barh(row, end / S - start, left=start, height=0.52, color=colour, linewidth=0)
                start = max(start, end / S)
        if all(step is None for step in one.steps_ns):
            ax.text(limit_s * 0.008, row, "no reaction", fontsize=SMALL_SIZE, color=MUTED, va="center", style="italic")
            start = limit_s * 0.16
        after = start
        words = "no later failure" if one.failures else "no failure"
        if one.last_failure_ns is not None:
            last = max(0.0, one.last_failure_ns / S)
            ax.plot(last, row, "X", color=styles[one.label].colour, markersize=8.5, markeredgecolor="white",
                    markeredgewidth=0.8, zorder=4, clip_on=False)
            after = max(start, last)
            words = f"last failure {elapsed(one.last_failure_ns)}"
        ax.annotate(words, (after, row), xytext=(9, 0), textcoords="offset points", va="center", fontsize=SMALL_SIZE,
                    color=INK, bbox=_PLAIN)
    ax.axvline(0, color=INK, linewidth=1.2)
    ax.set_yticks(range(len(lanes)), [fitted(one.label, _MAX_LABEL_IN, TEXT_SIZE, bold=True) for one in lanes])
    for tick, one in zip(ax.get_yticklabels(), lanes, strict=True):
        tick.set(color=styles[one.label].colour, fontweight="bold", fontsize=TEXT_SIZE)
    _rows(ax, lanes)
    ax.set_xlim(0, limit_s)
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    ax.set_xlabel("seconds after the fault", fontsize=SMALL_SIZE)


def _draw_counts(ax: Axes, lanes: Sequence[Lane]) -> None:
    most = max((one.failures for one in lanes), default=0.0)
    limit = max(most, 1.0) * 1.32
    for row, one in enumerate(lanes):
        start = 0.0
        for outcome, count in one.reasons.items():
            colour = REASON_COLOURS.get(outcome.key, MUTED)
            ax.barh(row, count, left=start, height=0.52, color=colour, linewidth=0)
            start += count
        ax.annotate(counted(one.failures), (start, row), xytext=(5, 0), textcoords="offset points", va="center",
                    fontsize=SMALL_SIZE, bbox=_PLAIN)
    ax.set_yticks([])
    _rows(ax, lanes)
    ax.set_xlim(0, limit)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _rows(ax: Axes, lanes: Sequence[Lane]) -> None:
    ax.set_ylim(max(2, len(lanes)) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def _legend(frame: Frame, lanes: Sequence[Lane]) -> None:
    steps: list[Patch | Line2D] = [Patch(facecolor=colour, label=words) for words, colour in _STEPS]
    steps.append(Line2D([], [], marker="X", linestyle="", color=MUTED, markersize=8, label="last failed request sent"))
    present = [outcome for outcome in Outcome if any(outcome in one.reasons for one in lanes)]
    reasons: list[Patch | Line2D] = [
        Patch(facecolor=REASON_COLOURS.get(outcome.key, MUTED), label=outcome.words) for outcome in present
    ]
    rows = [reasons[start : start + _REASONS_A_ROW] for start in range(0, len(reasons), _REASONS_A_ROW)]
    for bottom, handles in zip((0.1, 0.35, 0.6), [*rows[::-1], steps], strict=False):
        frame.figure.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0.25 / frame.width, bottom / frame.height),
            ncols=len(handles), fontsize=SMALL_SIZE, handlelength=1.3, handletextpad=0.5, columnspacing=1.5,
            borderaxespad=0.0,
        )
