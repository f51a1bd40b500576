"""The distribution of latency a mode, with the tail drawn as large as the middle.

The vertical axis is logarithmic in the share of requests that took longer, so p99 to p99.9 gets the room of p90 to p99; the
horizontal axis is logarithmic in latency. Both tail and middle can be read, and two modes compared at each percentile.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from svcsim.report.looks import looks
from svcsim.report.style import TEXT_SIZE, figure_of, fitted, framed, say_nothing, styled
from svcsim.results.comparison import Comparison
from svcsim.results.table import percent
from svcsim.units import MS, US, S

_PERCENTILES = ((0.0, "min"), (0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99"),
                (0.99999, "p99.999"))
_POINTS = 600
_LEGEND_IN = 1.75


def latency_cdf(comparison: Comparison, ax: Axes | None = None) -> Figure:
    """Draw the latency of successful requests, a curve a mode, into `ax` or a figure of its own."""
    with styled():
        if ax is None:
            frame = framed(max(5.6, 1.6 + 0.5 * len(comparison)))
            ax = frame.axes(0.95, 1.0, 2.75, 0.7)
            frame.title("Latency of successful requests", subtitle(comparison))
        _draw(comparison, ax)
        return figure_of(ax)


def subtitle(comparison: Comparison) -> str:
    """One muted line that says what was run."""
    first = comparison.results[0]
    runs = max(len(variant.runs) for variant in comparison)
    requests = len(first.measured)
    facts = [first.provenance.scenario] if first.provenance.scenario else []
    facts += [f"{first.duration_ns / S:g} s", f"{requests:,} requests a run", f"seed {first.provenance.seed}"]
    if runs > 1:
        facts.append(f"{runs} replications")
    if first.provenance.profile:
        facts.append(f"costs {first.provenance.profile}")
    return "  ·  ".join(facts)


def _draw(comparison: Comparison, ax: Axes) -> None:
    styles = looks(comparison.labels)
    longest, lowest, highest = 10, np.inf, 0.0
    for variant in comparison:
        latencies = variant.latency.sorted_ns
        look = styles[variant.label]
        text = f"{fitted(variant.label, _LEGEND_IN, TEXT_SIZE)}\n{percent(variant.success)} succeeded"
        if len(latencies) == 0:
            ax.plot([], [], color=look.colour, linestyle=look.dash, label=text)
            continue
        x, y = _curve(latencies)
        ax.plot(x, y, color=look.colour, linestyle=look.dash, label=text, drawstyle="steps-post")
        longest = max(longest, len(latencies))
        lowest = min(lowest, latencies[len(latencies) // 2000])
        highest = max(highest, x[-1])
    ax.set_xscale("log")
    if highest > 0:
        ax.set_xlim(max(1.0, lowest / 1.15), max(highest, lowest * 3) * 1.25)
    else:
        ax.set_xlim(MS, S)
        say_nothing(ax, "no request succeeded")
    top = np.log10(longest) + 0.15
    ax.set_ylim(0, top)
    shown = [(share, name) for share, name in _PERCENTILES if -np.log10(1 - share) <= top]
    ax.yaxis.set_major_locator(FixedLocator([float(-np.log10(1 - share)) for share, _ in shown]))
    ax.set_yticklabels([name for _, name in shown])
    ax.yaxis.set_minor_locator(NullLocator())
    time_axis(ax)
    ax.set_xlabel("latency (log scale)")
    ax.set_ylabel("percentile of requests (tail enlarged)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0, labelspacing=0.9, handlelength=2.6)


def time_axis(ax: Axes) -> None:
    """Ticks of a logarithmic latency axis: 1, 2 and 5 of each decade where there is room, with units."""
    low, high = ax.get_xlim()
    decades = np.log10(high / low)
    subs = (1.0, 2.0, 5.0) if decades <= 2.4 else (1.0,) if decades > 4.5 else (1.0, 3.0)
    ax.xaxis.set_major_locator(LogLocator(base=10, subs=subs, numticks=30))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_minor_locator(NullLocator())


def tick_text(ns: float) -> str:
    """A round duration for a tick, such as `5 ms`."""
    for unit, name in ((S, "s"), (MS, "ms"), (US, "µs")):
        if ns >= unit * 0.999:
            return f"{ns / unit:g} {name}"
    return f"{ns:g} ns"


def _curve(latencies: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count = len(latencies)
    survivors = np.unique(np.geomspace(1, count, min(_POINTS, count)).round().astype(np.int64))[::-1]
    ranks = count - survivors
    return np.maximum(latencies[ranks], 1).astype(np.float64), -np.log10(survivors / count)
