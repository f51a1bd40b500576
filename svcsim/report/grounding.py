"""Simulated against measured figures as text: a table for the terminal, and the part of a page that the command writes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from svcsim.errors import UsageError
from svcsim.grounding.targets import Source, Targets
from svcsim.grounding.validating import Row, Verdict, tally
from svcsim.report.terminal import WIDTH, Ink, table

BEGIN = "<!-- Written by `svcsim validate-model --out`, up to the mark of its end. -->"
END = "<!-- The end of what `svcsim validate-model --out` writes. -->"
FIGURE_WORDS = "Simulated against measured ratios, slopes and times, with the band of a fifth; in-sample rows are hollow"
HEADER = "| figure | measured | tolerance | simulated | ratio | verdict |\n|---|---|---|---|---|---|"


def summary(rows: Sequence[Row]) -> str:
    """The counts in two sentences.

    In-sample rows are said apart, since they show only that the model gives back what it was made from.
    """
    counts = tally(rows)
    return (
        f"{counts.within} of {counts.counted} rows that count are within their tolerance, {counts.outside} are not. "
        f"{counts.in_sample} rows more are in-sample and do not count: {counts.in_sample_within} within, "
        f"{counts.in_sample_outside} not."
    )


def grounding_table(rows: Sequence[Row], targets: Targets, ink: Ink | None = None) -> str:
    """All rows by source, then the reasons of those that lie outside, then what is not simulated."""
    ink = ink or Ink()
    notes = _notes(rows)
    cells: list[tuple[str, ...]] = [("figure", "measured", "simulated", "ratio", "verdict")]
    for row in rows:
        verdict = f"({row.verdict})" if row.target.in_sample else str(row.verdict)
        note = f" {notes[row.target.why]}" if row.verdict is Verdict.OUTSIDE and row.target.why else ""
        cells.append((row.target.what, *_figures(row), verdict + note))
    lines = table(cells, ink, left=(0, 4)).splitlines()
    text = [*(ink.bold(line) for line in textwrap.wrap(summary(rows), WIDTH)), "", lines[0]]
    for source, of_source in _by_source(list(zip(rows, lines[1:], strict=True))):
        text += ["", ink.bold(f"{source.title} ({source.year})")]
        for group, of_group in _by_group(of_source):
            text += [f"  {group}"] if group else []
            text += [_coloured(line, row, ink) for row, line in of_group]
    text += ["", "(in brackets: in-sample)", ""]
    for key, number in notes.items():
        text += _wrapped(f"{number:>2}  ", targets.reasons[key])
    text.append("")
    for absent in targets.absent:
        text += _wrapped("not simulated: ", f"{absent.what} ({absent.value}). {absent.why}")
    return "\n".join(text)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * 4)


def _coloured(line: str, row: Row, ink: Ink) -> str:
    if row.target.in_sample:
        return ink.dim(line)
    return line if row.verdict is Verdict.WITHIN else ink.bad(line)


def markdown(rows: Sequence[Row], targets: Targets, figure: str | None) -> str:
    """The generated part of a page, its marks included; `figure` is where the picture is, seen from the page."""
    notes = _notes(rows)
    lines = [BEGIN, "", f"**{summary(rows)}**", ""]
    if figure is not None:
        lines += [f"![{FIGURE_WORDS}]({figure})", ""]
    for source, of_source in _by_source([(row, "") for row in rows]):
        lines += [f"### {source.key}", ""]
        lines.append(f"[{source.title}]({source.address}) ({source.year}): {source.method}. {_costs(of_source)}")
        for group, of_group in _by_group(of_source):
            lines += ["", f"#### {group}"] if group else []
            lines += ["", HEADER, *(f"| {' | '.join(_cells(row, notes))} |" for row, _ in of_group)]
        lines.append("")
    lines += ["### Why rows lie outside", ""]
    lines += [f"{number}. {targets.reasons[key]}" for key, number in notes.items()]
    lines += ["", "### Not simulated", "", "| figure | source | measured | why |", "|---|---|---|---|"]
    lines += [f"| {absent.what} | {absent.source.key} | {absent.value} | {absent.why} |" for absent in targets.absent]
    return "\n".join([*lines, "", END])


def set_into(page: str, part: str, name: str) -> str:
    """A page with what stands between the marks replaced; UsageError if it has no marks."""
    before, begins, rest = page.partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not begins or not ends:
        raise UsageError(f"{name} has no place for the table: a line `{BEGIN}` and after it a line `{END}`")
    return f"{before}{part}{after}"


def _cells(row: Row, notes: dict[str, int]) -> Iterator[str]:
    target = row.target
    measured, simulated, ratio = _figures(row)
    yield target.what
    yield measured
    yield _bounds(row)
    yield simulated
    yield ratio
    verdict = "within" if row.verdict is Verdict.WITHIN else "**outside**"
    if row.verdict is Verdict.OUTSIDE and target.why:
        verdict += f" ({notes[target.why]})"
    yield f"({verdict})" if target.in_sample else verdict


def _figures(row: Row) -> tuple[str, str, str]:
    """Measured, simulated, ratio."""
    target, simulated = row.target, row.simulated
    if target.unit == "yes":
        return "yes", "yes" if simulated == target.value else "no", "–"
    if target.unit == "count":
        return f"{target.value:,.0f}", f"{simulated:,.0f}", f"{row.ratio:.2f}"
    unit = "" if target.unit == "ratio" else f" {target.unit}"
    return f"{_number(target.value)}{unit}", f"{_number(simulated)}{unit}", f"{row.ratio:.2f}"


def _bounds(row: Row) -> str:
    low, high = row.target.low, row.target.high
    if low == high:
        return "the same"
    if row.target.unit == "count":
        return f"{low:,.0f} to {high:,.0f}"
    return f"{_number(low)} to {_number(high)}"


def _costs(rows: Sequence[tuple[Row, str]]) -> str:
    """Which profiles the rows were run with, and whether they count."""
    profiles = " or, where it is said, ".join(f"`{name}`" for name in dict.fromkeys(row.target.of.profile for row, _ in rows))
    if all(row.target.in_sample for row, _ in rows):
        return f"Profile {profiles}, which the source fed: in-sample, so no row counts."
    return f"Profile {profiles}."


def _number(value: float) -> str:
    """Three digits at least, and no more after the point than they take."""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def _notes(rows: Sequence[Row]) -> dict[str, int]:
    keys = dict.fromkeys(row.target.why for row in rows if row.verdict is Verdict.OUTSIDE and row.target.why)
    return {key: number for number, key in enumerate(keys, start=1)}


def _by_group(rows: Sequence[tuple[Row, str]]) -> Iterator[tuple[str, list[tuple[Row, str]]]]:
    for group, of_group in groupby(rows, key=lambda pair: pair[0].target.group):
        yield group, list(of_group)


def _by_source(rows: Sequence[tuple[Row, str]]) -> Iterator[tuple[Source, list[tuple[Row, str]]]]:
    for _, of_source in groupby(rows, key=lambda pair: pair[0].target.source.key):
        found = list(of_source)
        yield found[0][0].target.source, found
