"""One metric of every variant as a bar, for what is best said by a single figure a variant."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from svcsim.report.figures.latency import subtitle
from svcsim.report.looks import looks
from svcsim.report.style import INK, SMALL_SIZE, TEXT_SIZE, figure_of, fitted, framed, styled, text_width_in
from svcsim.results.comparison import Comparison
from svcsim.results.metrics import Question, measure, metric_named

_MAX_NAME_IN = 3.0


def metric_bars(
    comparison: Comparison, name: str, question: Question | None = None, ax: Axes | None = None, headline: str = "",
) -> Figure:
    """Draw a metric by its name, asked as `question` says, into `ax` or a figure of its own, which `headline` names.

    UsageError as of `svcsim.results.metrics.measure`.
    """
    metric = metric_named(name)
    values = {variant.label: measure(variant.runs, name, question) for variant in comparison}
    with styled():
        if ax is None:
            frame = framed(1.9 + 0.42 * max(2, len(values)))
            widest = max(text_width_in(label, TEXT_SIZE) for label in values)
            ax = frame.axes(min(widest, _MAX_NAME_IN) + 0.6, 1.0, 1.3, 0.7)
            of = "" if question is None or question.workload is None else f" of {question.workload}"
            frame.title(headline or f"{metric.words[0].upper()}{metric.words[1:]}{of}", subtitle(comparison))
        styles = looks(list(values))
        lengths = [value if math.isfinite(value) else 0.0 for value in values.values()]
        ax.barh(range(len(values)), lengths, height=0.62, color=[styles[label].colour for label in values], zorder=2)
        for row, value in enumerate(values.values()):
            ax.annotate(metric.text(value), (lengths[row], row), xytext=(5, 0), textcoords="offset points", va="center",
                        fontsize=SMALL_SIZE, color=INK)
        ax.set_yticks(range(len(values)), [fitted(label, _MAX_NAME_IN, TEXT_SIZE) for label in values], fontsize=TEXT_SIZE)
        ax.set_ylim(len(values) - 0.5, -0.5)
        ax.set_xlim(0, (max(lengths) or 1.0) * 1.12)
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: metric.text(value)))
        return figure_of(ax)
