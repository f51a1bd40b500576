"""What a check found, for a person, for a CI system (JUnit XML), and for GitHub's annotations."""

from __future__ import annotations

import math
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from svcsim.analysis.regression import Finding, Moved
from svcsim.report.terminal import WIDTH, Ink, shortened, table
from svcsim.results.metrics import metric_named
from svcsim.results.table import Rows
from svcsim.sweep.checking import Checked

_LONGEST_LABEL = 24
_MOST_ROWS = 40


def verdict_text(checked: Checked, ink: Ink | None = None) -> str:
    """One scenario: a line on what came of it, then whatever is not as it should be."""
    ink = ink or Ink()
    word = ink.good("pass") if checked.passes else ink.bad("FAIL")
    blocks = [f"{word}  {ink.bold(checked.scenario.name)}  {', '.join(_facts(checked))}"]
    for note in checked.notes:
        blocks.append("\n".join(textwrap.wrap(note, WIDTH - 6, initial_indent="      ", subsequent_indent="        ")))
    for verdict in checked.broken:
        where = f" ({verdict.expectation.where})" if verdict.expectation.where else ""
        text = f"expected {verdict.expectation}: it is {verdict.text} in {verdict.mode}{where}"
        blocks.append("\n".join(textwrap.wrap(text, WIDTH - 6, initial_indent="      ", subsequent_indent="        ")))
    if checked.misses:
        blocks.append(_misses(checked))
    rows = _shown(checked)
    if rows:
        blocks.append(textwrap.indent(moved_table(rows, ink), "      "))
    return "\n".join(blocks)


def _facts(checked: Checked) -> Iterator[str]:
    labels = list(dict.fromkeys(run.label for run in checked.now.runs))
    replications = len(checked.now.seeds)
    yield f"{len(labels)} variant{'' if len(labels) == 1 else 's'} × {replications} run{'' if replications == 1 else 's'}"
    if checked.verdicts:
        expectations = {verdict.expectation for verdict in checked.verdicts}
        broken = {verdict.expectation for verdict in checked.broken}
        yield f"{len(expectations) - len(broken)} of {len(expectations)} expectations hold"
    if checked.before is not None:
        if checked.golden:
            runs = len(checked.now.runs)
            missed = len(checked.misses)
            yield f"{runs - missed} of {runs} runs equal to the byte" if missed else "every run equal to the byte"
        else:
            yield _moved_fact(checked.moved)


def _moved_fact(moved: Sequence[Moved]) -> str:
    counts = {finding: sum(row.finding is finding for row in moved) for finding in Finding}
    parts = [f"{counts[finding]} {finding.value}" for finding in Finding if counts[finding] and finding is not Finding.SAME]
    same = f"{counts[Finding.SAME]} of {len(moved)} figures the same"
    return "; ".join([same, *parts])


def _misses(checked: Checked) -> str:
    lines = []
    for miss in checked.misses[:_MOST_ROWS]:
        name = f"{miss.label}, seed {miss.seed}"
        if not miss.before:
            lines.append(f"      {name}: not in the baseline")
        elif not miss.after:
            lines.append(f"      {name}: in the baseline, not run now")
        else:
            lines.append(f"      {name}: records or events differ ({miss.before[:8]} then, {miss.after[:8]} now)")
    return "\n".join(lines)


def _shown(checked: Checked) -> list[Moved]:
    if checked.golden:
        return [row for row in checked.moved if row.finding is not Finding.SAME]
    return [row for row in checked.moved if row.finding not in {Finding.SAME, Finding.WITHIN}]


def moved_table(rows: Sequence[Moved], ink: Ink | None = None) -> str:
    """Then, now and the change of each figure."""
    cells: Rows = [("figure", "variant", "then", "now", "change", "")]
    for row in rows[:_MOST_ROWS]:
        text = metric_named(row.metric).text
        change = "" if row.relative is None else f"{100 * row.relative:+.2f}%"
        cells.append((
            shortened(row.figure, 34), shortened(row.label, _LONGEST_LABEL), _value(text(row.before), row.before),
            _value(text(row.after), row.after), change, row.finding.value,
        ))
    shown = table(cells, ink or Ink(), left=(0, 1, 5))
    return shown if len(rows) <= _MOST_ROWS else f"{shown}\n… and {len(rows) - _MOST_ROWS} more"


def _value(text: str, value: float) -> str:
    return "–" if math.isnan(value) else text


def junit(checked: Sequence[Checked]) -> str:
    """JUnit XML: a suite a scenario, a case an expectation, a run (golden) or a figure (tolerance)."""
    root = ET.Element("testsuites", name="svcsim")
    for one in checked:
        cases = list(_cases(one))
        failures = sum(bool(message) for _, message in cases)
        suite = ET.SubElement(
            root, "testsuite", name=one.scenario.name, file=one.file, tests=str(len(cases)), failures=str(failures)
        )
        for name, message in cases:
            case = ET.SubElement(suite, "testcase", classname=f"svcsim.{one.scenario.name}", name=name)
            if message:
                ET.SubElement(case, "failure", message=message)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _cases(checked: Checked) -> Iterator[tuple[str, str]]:
    for verdict in checked.verdicts:
        message = "" if verdict.holds else f"it is {verdict.text} in {verdict.mode}"
        yield f"{verdict.expectation} [{verdict.mode}]", message
    if checked.golden:
        missed = {(miss.label, miss.seed): miss for miss in checked.misses}
        for run in checked.now.runs:
            miss = missed.get((run.label, run.seed))
            yield f"golden {run.label} seed {run.seed}", "" if miss is None else "records or events differ from the baseline"
        for miss in checked.misses:
            if not miss.after:
                yield f"golden {miss.label} seed {miss.seed}", "in the baseline, not run now"
    else:
        for row in checked.moved:
            yield f"{row.figure} [{row.label}]", moved_text(row) if row.finding.fails else ""


def moved_text(row: Moved) -> str:
    """What became of a figure, in a sentence."""
    text = metric_named(row.metric).text
    change = "" if row.relative is None else f" ({100 * row.relative:+.2f}%)"
    return f"{row.figure} of {row.label} is {row.finding.value}: {text(row.before)} then, {text(row.after)} now{change}"


def github_annotations(checked: Sequence[Checked]) -> Iterator[str]:
    """GitHub's workflow commands: an error for each thing that fails, at the scenario's line where it has one."""
    for one in checked:
        for verdict in one.broken:
            _, _, line = verdict.expectation.where.rpartition(":")
            place = f"file={_property(one.file)}" + (f",line={line}" if line.isdigit() else "")
            text = f"expected {verdict.expectation}: it is {verdict.text} in {verdict.mode}"
            yield f"::error {place},title=svcsim {_property(one.scenario.name)}::{_data(text)}"
        for miss in one.misses:
            text = f"{miss.label}, seed {miss.seed}: differs from the golden baseline"
            yield f"::error file={_property(one.file)},title=svcsim {_property(one.scenario.name)}::{_data(text)}"
        for row in one.regressions:
            yield f"::error file={_property(one.file)},title=svcsim {_property(one.scenario.name)}::{_data(moved_text(row))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def markdown(checked: Sequence[Checked]) -> str:
    """A summary for a job's page: a line a scenario, then the figures that moved."""
    lines = ["### svcsim", "", "| scenario | | |", "|---|---|---|"]
    for one in checked:
        lines.append(f"| {_cell(one.scenario.name)} | {'pass' if one.passes else '**FAIL**'} | {_cell(', '.join(_facts(one)))} |")
    for one in checked:
        rows = _shown(one)[:_MOST_ROWS]
        if rows:
            lines += ["", f"#### {one.scenario.name}", ""]
            lines += ["| figure | variant | then | now | change | |", "|---|---|--:|--:|--:|---|"]
            for row in rows:
                text = metric_named(row.metric).text
                change = "" if row.relative is None else f"{100 * row.relative:+.2f}%"
                cells = (row.figure, row.label, text(row.before), text(row.after), change, row.finding.value)
                lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
