"""Variants against a base, drawn: a panel a figure, a dot and an interval a variant, zero being the base."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from svcsim.analysis.verdicts import Contrast, Contrasts, Word
from svcsim.errors import UsageError
from svcsim.report.looks import looks
from svcsim.report.style import INK, MUTED, SMALL_SIZE, TEXT_SIZE, figure_of, fitted, framed, say_nothing, styled
from svcsim.results.metrics import Unit
from svcsim.spelling import nearest
from svcsim.units import format_ns

_ROW_IN, _PANEL_IN, _HEAD_IN = 0.27, 0.82, 1.05
_COLOURS = {Word.BETTER: "#00795A", Word.WORSE: "#B04A00", Word.DIFFERENT: INK}
_LABEL_IN, _VERDICT_IN = 2.0, 2.3


def contrasts_figure(found: Contrasts) -> Figure:
    """Draw every figure's differences to the base with their intervals, and the verdicts beside them."""
    figures = found.figures
    others = {text: [row for row in found.of(text) if row.word is not Word.BASE] for text in figures}
    equal = [text for text, rows in others.items() if all(row.word is Word.EQUAL for row in rows)]
    drawn = [text for text in figures if text not in equal] or list(figures[:1])
    panels = [others[text] for text in drawn]
    heights = [_ROW_IN * len(rows) for rows in panels]
    with styled():
        frame = framed(_HEAD_IN + sum(heights) + _PANEL_IN * len(panels) + (0.35 if equal else 0.1))
        frame.title(
            f"Differences to {found.base}",
            f"{found.replications} paired replications  ·  {found.level:.0%} intervals  ·  verdicts Holm-corrected",
        )
        styles = looks(list(dict.fromkeys(row.label for row in found.rows)))
        top = _HEAD_IN
        if equal:
            words = f"Equal in every run: {', '.join(equal)}"
            room = frame.width - 0.5
            frame.text(0.3, frame.height - 0.15, fitted(words, room, SMALL_SIZE), fontsize=SMALL_SIZE, color=MUTED)
        for text, rows, height in zip(drawn, panels, heights, strict=True):
            ax = frame.axes(_LABEL_IN, top + 0.22, _VERDICT_IN, frame.height - top - 0.22 - height)
            _draw(ax, text, rows, {row.label: styles[row.label].colour for row in rows})
            top += height + _PANEL_IN
        return frame.figure


def contrasts_panel(found: Contrasts, ax: Axes, figure: str | None = None) -> Figure:
    """Draw one figure's differences, the first unless its text is given, into axes that have room at their right."""
    chosen = found.figures[0] if figure is None else figure
    if chosen not in found.figures:
        raise UsageError(f"there is no figure {chosen!r}{nearest(chosen, found.figures)}")
    rows = [row for row in found.of(chosen) if row.word is not Word.BASE]
    with styled():
        styles = looks(list(dict.fromkeys(row.label for row in found.rows)))
        _draw(ax, f"{chosen}: difference to {found.base}", rows, {row.label: styles[row.label].colour for row in rows})
        return figure_of(ax)


def _draw(ax: Axes, text: str, rows: list[Contrast], colours: dict[str, str]) -> None:
    ax.set_title(fitted(text, 5.0, TEXT_SIZE), loc="left", fontsize=TEXT_SIZE, weight="bold", pad=5)
    ax.axvline(0.0, color=MUTED, linewidth=1.0, zorder=1)
    ax.grid(axis="y", visible=False)
    shown = False
    for place, row in enumerate(rows):
        if row.difference is not None:
            shown = True
            low, middle, high = row.difference.low, row.difference.mean, row.difference.high
            ax.plot([low, high], [place, place], color=colours[row.label], linewidth=2.2, solid_capstyle="butt")
            ax.plot([middle], [place], marker="o", markersize=6, color=colours[row.label])
        ax.annotate(
            _verdict(row), (1.0, place), xycoords=("axes fraction", "data"), xytext=(8, 0), textcoords="offset points",
            va="center", fontsize=SMALL_SIZE, color=_COLOURS.get(row.word, MUTED),
            weight="bold" if row.word in _COLOURS else "normal",
        )
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)), [fitted(row.label, _LABEL_IN - 0.4, TEXT_SIZE) for row in rows])
    if not shown:
        ax.set_xlim(-1, 1)
        ax.set_xticks([])
        say_nothing(ax, "no finite difference")
        return
    low, high = ax.get_xlim()
    if low == high:
        ax.set_xlim(-1, 1)
    ax.margins(x=0.06)
    unit = rows[0].figure.of.unit
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(unit, value)))


def _verdict(row: Contrast) -> str:
    return row.word.value if row.relative is None or row.word is Word.EQUAL else f"{row.word.value} ({100 * row.relative:+.1f}%)"


def _tick(unit: Unit, value: float) -> str:
    if value == 0.0:
        return "0"
    sign = "−" if value < 0 else "+"
    if unit is Unit.DURATION:
        return sign + format_ns(abs(value))
    return f"{sign}{100 * abs(value):.3g}%" if unit is Unit.SHARE else f"{sign}{abs(value):.3g}"
