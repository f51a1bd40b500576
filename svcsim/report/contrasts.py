"""Variants against a base, as text: a block a figure, a line a variant, and what the verdicts mean."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterator

from svcsim.analysis.verdicts import Contrast, Contrasts, Word
from svcsim.report.terminal import WIDTH, Ink, table, told_apart
from svcsim.results.comparison import Interval
from svcsim.results.metrics import Metric, Unit
from svcsim.results.table import Rows, html_table, percent
from svcsim.units import format_ns

_LONGEST_LABEL = 24


def contrasts_table(found: Contrasts, ink: Ink | None = None) -> str:
    """All figures, each with its variants; then how the verdicts are to be read."""
    ink = ink or Ink()
    figures = list(found.figures)
    rows: Rows = []
    for text in figures:
        of_figure = found.of(text)
        labels = told_apart([row.label for row in of_figure], _LONGEST_LABEL)
        rows.append((text, *_headings(found)))
        rows += [(f"  {label}", *_cells(row)) for label, row in zip(labels, of_figure, strict=True)]
    return f"{_with_headings(table(rows, ink, left=(0, 4)), figures, ink)}\n\n{ink.dim(legend(found, ink.width))}"


def contrasts_html(found: Contrasts) -> str:
    """The same as an HTML table for a notebook, a block of rows a figure, and the legend below it."""
    rows: Rows = []
    for text in found.figures:
        rows.append((text, *_headings(found)))
        rows += [(row.label, *_cells(row)) for row in found.of(text)]
    heads = {place for place, row in enumerate(rows) if row[1:] == _headings(found)}
    words = html.escape(" ".join(legend(found).split()))
    return f'{html_table(rows, heads)}\n<p style="max-width: 48em; opacity: 0.75; font-size: smaller">{words}</p>'


def _headings(found: Contrasts) -> tuple[str, ...]:
    return (f"mean ± {found.level:.0%}", f"difference to {found.base}"[:30], "relative", "verdict")


def _with_headings(text: str, figures: list[str], ink: Ink) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        heads = not line.startswith("  ")
        if heads and lines:
            lines.append("")
        lines.append(ink.bold(line) if heads else _coloured(line, ink))
    return "\n".join(lines)


def _coloured(line: str, ink: Ink) -> str:
    for word, colour in ((Word.BETTER, ink.good), (Word.WORSE, ink.bad)):
        if line.endswith(word):
            return line.removesuffix(word) + colour(word)
    return line


def _cells(row: Contrast) -> Iterator[str]:
    metric = row.figure.of
    yield with_interval(metric, row.mean, row.interval)
    if row.difference is None:
        yield ""
        yield ""
    else:
        low, high = (_signed(metric, value) for value in (row.difference.low, row.difference.high))
        yield f"{low} … {high}" if low != high else low
        yield "" if row.relative is None else _with_sign(100 * row.relative)
    yield "" if row.word is Word.BASE else row.word.value


def with_interval(metric: Metric, mean: float, interval: Interval | None) -> str:
    """A mean and half the width of its interval, in the metric's own unit."""
    if math.isnan(mean):
        return "–"
    if math.isinf(mean):
        return "infinite"
    text = metric.text(mean)
    if interval is None:
        return text
    half = interval.half_width
    if metric.unit is Unit.DURATION:
        return f"{text} ± {format_ns(half)}"
    if metric.unit is Unit.SHARE:
        return f"{100 * mean:.3f}% ± {100 * half:.3f}"
    return f"{mean:.4f} ± {half:.4f}" if metric.unit is Unit.RATIO else f"{text} ± {half:.3g}"


def _with_sign(percentage: float) -> str:
    text = f"{abs(percentage):.1f}%"
    return text if text == "0.0%" else ("−" if percentage < 0 else "+") + text


def _signed(metric: Metric, value: float) -> str:
    sign = "−" if value < 0 else "+" if value > 0 else ""
    size = abs(value)
    if metric.unit is Unit.DURATION:
        return sign + format_ns(size)
    if metric.unit is Unit.SHARE:
        return f"{sign}{100 * size:.3f}%" if size else percent(0.0)
    return f"{sign}{size:.3g}"


def legend(found: Contrasts, width: int = WIDTH) -> str:
    """What the table's intervals and verdicts mean, in lines of at most so many characters."""
    number = sum(row.p_value is not None for row in found.rows)
    together = "There is one verdict" if number == 1 else f"The {number} verdicts are taken together (Holm)"
    text = (
        f"{found.replications} replications; differences are taken pair by pair, on the same arrivals and service times, and "
        f"their {found.level:.0%} intervals shown. {together}: the chance that any 'better' or 'worse' is wrong is at most "
        f"{1 - found.level:.0%}, so an interval that leaves zero out may still carry no verdict. 'No difference shown' is no "
        "proof of none."
    )
    return textwrap.fill(text, width)
