"""What happened over time: faults on top, a row of success a mode, and the latencies of all modes below.

In each mode's row the filled dips are the share of requests, by intended send, that failed. A grey band reaches from a fault
until the last node's kube-proxy had synced the change; a tick in it marks the update of the endpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from svcsim.report.figures.latency import subtitle, tick_text
from svcsim.report.looks import looks
from svcsim.report.style import (
    GRID,
    INK,
    MUTED,
    SHADE,
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
from svcsim.results.result import Result
from svcsim.results.timeline import Timeline, slot_width_ns, timeline
from svcsim.units import MS, S

_RIGHT = 0.35
_TICKS_IN = 0.78
_MAX_LABEL_IN = 2.2
_ROW_IN, _GAP_IN = 0.42, 0.14
_LANE_IN = 0.21
_LATENCY_IN = 1.9
_MAX_LANES = 5
_MAX_TEXT_IN = 4.0
_SLOTS = 250
_A_SLOT = 25


def timeline_figure(comparison: Comparison) -> Figure:
    """Draw success and latency over time, from the first replication of each mode."""
    runs = [variant.runs[0] for variant in comparison]
    duration_s = max(run.duration_ns for run in runs) / S
    faults = next((run.faults for run in runs if run.faults), ())
    widest = max(text_width_in(label, TEXT_SIZE, bold=True) for label in (*comparison.labels, "latency of"))
    left = min(widest, _MAX_LABEL_IN) + _TICKS_IN
    room = WIDTH_IN - left - _RIGHT
    lanes, labels = place_labels(faults, duration_s, room)
    rows_in = len(runs) * _ROW_IN + (len(runs) - 1) * _GAP_IN
    strip_in = lanes * _LANE_IN + 0.12 if lanes else 0.0
    top = 1.0 + strip_in
    height = top + rows_in + 0.55 + _LATENCY_IN + 0.95
    with styled():
        frame = framed(height)
        frame.title("Success and latency over time", subtitle(comparison))
        styles = looks(comparison.labels)
        width_ns = _width_ns(runs)
        axes = []
        for position, run in enumerate(runs):
            row_top = top + position * (_ROW_IN + _GAP_IN)
            row = frame.axes(left, row_top, _RIGHT, height - row_top - _ROW_IN)
            _success_row(row, run, timeline(run.requests, run.duration_ns, width_ns), styles[run.label].colour)
            axes.append(row)
        latency = frame.axes(left, top + rows_in + 0.5, _RIGHT, 0.95)
        slots = [timeline(run.requests, run.duration_ns, width_ns) for run in runs]
        for run, over_time in zip(runs, slots, strict=True):
            _latency_lines(latency, over_time, styles[run.label].colour)
        _latency_axis(latency, slots)
        for ax in (*axes, latency):
            ax.set_xlim(0, duration_s)
            ax.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 3, 5, 6, 10]))
        for ax in axes:
            ax.tick_params(axis="x", labelbottom=False, length=0)
        _mark_faults(frame, (*axes, latency), faults, labels, left, top)
        numbered = any(label.side == "center" for label in labels)
        meaning = ";  numbers: faults, as in the failover anatomy" if numbered else ""
        latency.set_xlabel(f"simulated time, by intended send (s){meaning}")
        _legend(frame, bool(faults))
        return frame.figure


def success_panel(comparison: Comparison, ax: Axes) -> Figure:
    """Draw success over time, a line a mode, with the beginnings of the faults, into axes."""
    runs = [variant.runs[0] for variant in comparison]
    width_ns = _width_ns(runs)
    with styled():
        styles = looks(comparison.labels)
        for run in runs:
            slots = timeline(run.requests, run.duration_ns, width_ns)
            look = styles[run.label]
            ax.plot((slots.starts_ns + slots.slot_ns / 2) / S, slots.success * 100, color=look.colour, linestyle=look.dash,
                    linewidth=1.5, label=run.label)
        for fault in next((run.faults for run in runs if run.faults), ()):
            ax.axvline(fault.began_ns / S, color=INK, linewidth=1.0, zorder=1)
        ax.set_xlim(0, max(run.duration_ns for run in runs) / S)
        ax.set_ylim(-2, 104)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
        ax.set(xlabel="simulated time, by intended send (s)", ylabel="succeeded")
        ax.legend(loc="lower right", fontsize=SMALL_SIZE)
        return figure_of(ax)


def _width_ns(runs: Sequence[Result]) -> int:
    # A slot of a few requests shows chance instead of change.
    fewest = min(len(run.requests) for run in runs)
    return slot_width_ns(max(run.duration_ns for run in runs), max(10, min(_SLOTS, fewest // _A_SLOT)))


def _success_row(ax: Axes, run: Result, slots: Timeline, colour: str) -> None:
    edges = np.append(slots.starts_ns, len(slots.succeeded) * slots.slot_ns) / S
    success = slots.success * 100
    x, y = np.repeat(edges, 2)[1:-1], np.repeat(success, 2)
    ax.fill_between(x, y, 100, color=colour, alpha=0.75, linewidth=0)
    ax.plot(x, y, color=colour, linewidth=1.4)
    ax.set_ylim(0, 106)
    ax.set_yticks([0, 100], ["0%", "100%"])
    ax.set_ylabel(
        fitted(run.label, _MAX_LABEL_IN, TEXT_SIZE, bold=True), rotation=0, ha="right", va="center", color=colour,
        weight="bold", labelpad=8,
    )
    for fault in run.faults:
        if fault.last_synced_ns is not None:
            ax.axvspan(fault.began_ns / S, fault.last_synced_ns / S, color=SHADE, linewidth=0, zorder=0)
        if fault.endpoints_ns is not None:
            ax.axvline(fault.endpoints_ns / S, ymin=0, ymax=0.3, color=INK, linewidth=1.2)


def _latency_lines(ax: Axes, slots: Timeline, colour: str) -> None:
    middle = (slots.starts_ns + slots.slot_ns / 2) / S
    ax.plot(middle, slots.p99_ns, color=colour, linewidth=1.5)
    ax.plot(middle, slots.p50_ns, color=colour, linewidth=1.2, linestyle=(0, (2, 1.4)))


def _latency_axis(ax: Axes, slots: Sequence[Timeline]) -> None:
    values = np.concatenate([array for one in slots for array in (one.p50_ns, one.p99_ns)])
    values = values[np.isfinite(values) & (values > 0)]
    ax.set_yscale("log")
    if len(values):
        low, high = float(values.min()) / 1.5, float(values.max()) * 1.5
        ax.set_ylim(low, max(high, low * 10))
    else:
        ax.set_ylim(MS, S)
        say_nothing(ax, "no request succeeded")
    decades = np.log10(ax.get_ylim()[1] / ax.get_ylim()[0])
    subs = (1.0, 2.0, 5.0) if decades < 1.3 else (1.0, 3.0) if decades < 2.6 else (1.0,)
    ax.yaxis.set_major_locator(LogLocator(base=10, subs=subs, numticks=20))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylabel("latency of\nsuccesses", rotation=0, ha="right", va="center", labelpad=8)


@dataclass(frozen=True, slots=True)
class Label:
    """A fault's text: where its line stands, the lane of the text from the bottom, and what it covers; in inches."""

    text: str
    x: float
    lane: int
    side: Literal["left", "right", "center"]
    """Which side of the text stands at the line."""
    covers: tuple[float, float]

    @property
    def leftwards(self) -> bool:
        """Whether the text reaches to the left of its line."""
        return self.side == "right"


def place_labels(
    faults: Sequence[FaultAnatomy], duration_s: float, room_in: float
) -> tuple[int, tuple[Label, ...]]:
    """The number of lanes, and a place for each text: none overlaps another, and no fault's line crosses a text.

    Where words would need too many lanes, numbers stand over the lines, as many as there is room for.
    """
    placed: list[Label] = []
    wanted = [_in_words(fault, duration_s, room_in) for fault in faults]
    # From right to left, so that an earlier text rises above the lines of the faults that it reaches over.
    for label in sorted(wanted, key=lambda one: (one.leftwards, one.x if one.leftwards else -one.x)):
        placed.append(_in_lane(label, placed))
    lanes = max((label.lane + 1 for label in placed), default=0)
    if lanes <= _MAX_LANES:
        return lanes, tuple(placed)
    numbers: list[Label] = []
    for number, fault in enumerate(faults, start=1):
        x = fault.began_ns / S / duration_s * room_in
        half = text_width_in(str(number), SMALL_SIZE) / 2 + 0.04
        if not numbers or x - half >= numbers[-1].covers[1]:
            numbers.append(Label(str(number), x, 0, "center", (x - half, x + half)))
    return 1, tuple(numbers)


def _in_words(fault: FaultAnatomy, duration_s: float, room_in: float) -> Label:
    x = fault.began_ns / S / duration_s * room_in
    text = fitted(f"{fault.began_ns / S:g} s  {fault.fault}", _MAX_TEXT_IN, SMALL_SIZE)
    width = text_width_in(text, SMALL_SIZE) + 0.18
    leftwards = x + width > room_in and x > width
    return Label(text, x, 0, "right" if leftwards else "left", (x - width, x) if leftwards else (x, x + width))


def _in_lane(label: Label, placed: Sequence[Label]) -> Label:
    low, high = label.covers
    lane = 0
    for lane in range(len(placed) + 1):
        same = [one for one in placed if one.lane == lane]
        if any(low < one.covers[1] and one.covers[0] < high for one in same):
            continue
        crossed = any(low < one.x < high and one.lane >= lane for one in placed)
        crosses = any(one.covers[0] < label.x < one.covers[1] and one.lane <= lane for one in placed)
        if not (crossed or crosses):
            break
    return replace(label, lane=lane)


def _mark_faults(
    frame: Frame, axes: Sequence[Axes], faults: Sequence[FaultAnatomy], labels: Sequence[Label],
    left: float, top: float,
) -> None:
    for fault in faults:
        for ax in axes:
            ax.axvline(fault.began_ns / S, color=INK, linewidth=1.0, zorder=3)
            if fault.ended_ns is not None:
                ax.axvline(fault.ended_ns / S, color=MUTED, linewidth=1.0, linestyle=(0, (3, 2)), zorder=3)
    for label in labels:
        x = left + label.x
        y = top - 0.1 - label.lane * _LANE_IN
        rise = 0.12 if label.side != "center" else -0.02
        ends = [1 - top / frame.height, 1 - (y - rise) / frame.height]
        frame.figure.add_artist(Line2D([x / frame.width] * 2, ends, color=INK, linewidth=1.0))
        offset = {"left": 0.07, "right": -0.07, "center": 0.0}[label.side]
        frame.text(x + offset, y, label.text, fontsize=SMALL_SIZE, ha=label.side, va="bottom")


def _legend(frame: Frame, faults: bool) -> None:
    entries: list[Line2D | Patch] = [
        Line2D([], [], color=MUTED, linewidth=1.5, label="p99"),
        Line2D([], [], color=MUTED, linewidth=1.2, linestyle=(0, (2, 1.4)), label="p50"),
    ]
    if faults:
        entries += [
            Line2D([], [], color=INK, linewidth=1.0, label="fault"),
            Line2D([], [], color=MUTED, linewidth=1.0, linestyle=(0, (3, 2)), label="fault lifted"),
            Patch(facecolor=SHADE, edgecolor=GRID, label="until the last node synced"),
            Line2D([], [], color=INK, linewidth=1.4, marker="|", markersize=8, linestyle="", label="endpoints updated"),
        ]
    frame.figure.legend(
        handles=entries, loc="lower center", bbox_to_anchor=(0.5, 0.08 / frame.height), ncols=len(entries),
        fontsize=SMALL_SIZE, handlelength=1.8, columnspacing=1.6, borderaxespad=0.0,
    )
