"""How evenly the endpoints of a Service were used, a mode beside the other.

Up to a dozen endpoints are drawn a row each, with a mark a mode at the endpoint's share of the answers; more are a row
a mode, an endpoint a dot, at its answers over the mean. The line is where all would stand if the answers were even.
Where workloads have Services of their own, an endpoint is compared with those of its Service alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from svcsim.report.figures.latency import subtitle
from svcsim.report.looks import looks
from svcsim.report.style import (
    GRID,
    INK,
    MUTED,
    SMALL_SIZE,
    TEXT_SIZE,
    figure_of,
    fitted,
    framed,
    say_nothing,
    styled,
    text_width_in,
)
from svcsim.results.comparison import Comparison, Variant
from svcsim.results.result import Result
from svcsim.results.table import ratio

_MAX_ROWS = 12
_MAX_MARKS = 8
_ALIKE = 0.75
_MAX_NAME_IN = 2.6
_LEGEND_IN = 1.75
_OWN = "its Service's endpoints"


def endpoint_balance(comparison: Comparison, ax: Axes | None = None) -> Figure:
    """Draw the share of the answers that each endpoint gave, all replications together."""
    shares = {variant.label: _answers(variant) for variant in comparison}
    several = any(len(_services(run)) > 1 for run in comparison.results)
    names = sorted({name for answers in shares.values() for name in answers}, key=_natural)
    fewest = min((len(run.measured.answered_by()) for run in comparison.results), default=0)
    # Where runs have pods of their own, a row a pod would set each against pods that it never stood beside.
    by_endpoint = len(names) <= _MAX_ROWS and len(comparison) <= _MAX_MARKS and fewest >= _ALIKE * len(names)
    rows = names if by_endpoint else list(shares)
    with styled():
        if ax is None:
            height = 2.0 + max(3, len(rows)) * (max(0.42, 0.14 * len(shares)) if by_endpoint else 0.6)
            widest = max((text_width_in(row, TEXT_SIZE) for row in rows), default=1.0)
            frame = framed(max(height, 2.2 + 0.62 * len(shares)))
            right = 2.75 if by_endpoint else 1.6
            ax = frame.axes(min(widest, _MAX_NAME_IN) + 0.55, 1.0, right, 0.75)
            frame.title("Balance over endpoints", subtitle(comparison))
        if not any(sum(answers.values()) for answers in shares.values()):
            ax.set(xticks=[], yticks=[])
            say_nothing(ax, "no endpoint answered")
        elif by_endpoint:
            _by_endpoint(ax, comparison, shares, names, several=several)
        else:
            _by_mode(ax, comparison, several=several)
        return figure_of(ax)


def _answers(variant: Variant) -> dict[str, int]:
    total: dict[str, int] = {}
    for run in variant.runs:
        for name, count in run.measured.answered_by().items():
            total[name] = total.get(name, 0) + count
    return total


def _services(run: Result) -> list[set[str]]:
    """A run's endpoints by Service: those behind one workload, or behind several that share any."""
    groups: list[set[str]] = []
    for workload in run.measured.names.workloads:
        found = set(run.measured.of_workload(workload).answered_by())
        apart = [group for group in groups if not group & found]
        found.update(*(group for group in groups if group & found))
        groups = [*apart, found] if found else apart
    return groups


def _over_mean(variant: Variant) -> dict[str, float]:
    """Each endpoint's answers over the mean of its Service's endpoints, of several replications the mean."""
    found: dict[str, list[float]] = {}
    for run in variant.runs:
        answers = run.measured.answered_by()
        for service in _services(run):
            total = sum(answers[name] for name in service)
            for name in sorted(service) if total else ():
                found.setdefault(name, []).append(answers[name] * len(service) / total)
    return {name: sum(ratios) / len(ratios) for name, ratios in found.items()}


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    digits, parts = "", []
    for character in f"{name}\0":
        if character.isdigit():
            digits += character
            continue
        if digits:
            parts.append((int(digits), ""))
            digits = ""
        parts.append((-1, character))
    return tuple(parts)


def _by_endpoint(
    ax: Axes, comparison: Comparison, shares: dict[str, dict[str, int]], names: list[str], *, several: bool
) -> None:
    styles = looks(comparison.labels)
    spread = 0.64 if len(shares) > 1 else 0.0
    offsets = np.linspace(-spread / 2, spread / 2, len(shares))
    even = 1.0 if several else 1 / max(1, len(names))
    highest = 1.5 * even
    for row in range(len(names)):
        if row % 2 == 0:
            ax.axhspan(row - 0.5, row + 0.5, color="#F7F7F7", linewidth=0, zorder=0)
    if names:
        ax.axvline(even, color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
    for offset, variant in zip(offsets, comparison, strict=True):
        answers = shares[variant.label]
        total = max(1, sum(answers.values()))
        over_mean = _over_mean(variant) if several else {}
        x = np.array([over_mean.get(name, 0.0) if several else answers.get(name, 0) / total for name in names])
        look = styles[variant.label]
        ax.plot(
            x, np.arange(len(names)) + offset, look.marker, color=look.colour, markersize=7, markeredgecolor="white",
            markeredgewidth=0.7, label=_legend_text(variant), zorder=3,
        )
        highest = max(highest, float(x.max(initial=0)))
    ax.set_yticks(range(len(names)), [fitted(name, _MAX_NAME_IN, TEXT_SIZE) for name in names], fontsize=TEXT_SIZE)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    ax.set_xlim(0, highest * 1.12)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if several else f"{100 * value:g}%"))
    ax.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    ax.set_xlabel(f"answers over the mean of {_OWN} (dashed: even)" if several else "share of the answers (dashed: even)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.03, 1.0), borderaxespad=0.0, labelspacing=0.9, handletextpad=0.4)


def _legend_text(variant: Variant) -> str:
    return f"{fitted(variant.label, _LEGEND_IN, TEXT_SIZE)}\nbusiest/mean {ratio(variant.balance)}"


def _by_mode(ax: Axes, comparison: Comparison, *, several: bool) -> None:
    styles = looks(comparison.labels)
    highest = 1.5
    for row, variant in enumerate(comparison):
        over_mean = np.array(sorted(_over_mean(variant).values()) or [0.0], dtype=np.float64)
        colour = styles[variant.label].colour
        ax.plot([over_mean.min(), over_mean.max()], [row, row], color=GRID, linewidth=7, zorder=1)
        ax.plot(over_mean, np.full(len(over_mean), row) + _swarm(len(over_mean)), "o", color=colour, markersize=4.5,
                alpha=0.55, markeredgewidth=0, zorder=3)
        ax.annotate(f"busiest/mean {ratio(variant.balance)}", (1.0, row), xycoords=("axes fraction", "data"),
                    xytext=(8, 0), textcoords="offset points", va="center", fontsize=SMALL_SIZE, color=INK)
        highest = max(highest, float(over_mean.max(initial=0)))
    labels = [fitted(label, _MAX_NAME_IN, TEXT_SIZE) for label in comparison.labels]
    ax.set_yticks(range(len(labels)), labels, fontsize=TEXT_SIZE)
    for tick, label in zip(ax.get_yticklabels(), comparison.labels, strict=True):
        tick.set_color(styles[label].colour)
        tick.set_fontweight("bold")
    ax.axvline(1, color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), zorder=2)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlim(0, highest * 1.06)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    counts = sorted({len(run.measured.answered_by()) for run in comparison.results})
    count = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    mean = f"the mean of {_OWN}" if several else "the mean"
    ax.set_xlabel(f"answers of an endpoint over {mean}, {count} endpoints (dashed: even)")
    handles = [Line2D([], [], marker="o", linestyle="", color=MUTED, markersize=4.5, label="an endpoint")]
    ax.legend(handles=handles, loc="lower right", fontsize=SMALL_SIZE, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)


def _swarm(count: int) -> NDArray[np.floating[Any]]:
    # The golden ratio's multiples spread neighbours apart without a random draw.
    return ((np.arange(count) * 0.6180339887) % 1.0 - 0.5) * 0.5
