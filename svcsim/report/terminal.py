"""What a run prints: a header, the table a mode, each fault's anatomy, the expectations and where the results are.

Everything is text of at most 100 columns. On a terminal headings are bold and verdicts have a colour; elsewhere, or with
`NO_COLOR` set, there is no escape sequence in it. Neither rich nor matplotlib is imported.
"""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TextIO

from svcsim.engine.journal import Happening
from svcsim.report.lanes import Lane, counted, elapsed, fault_lanes
from svcsim.results.comparison import Comparison, Variant, t_interval
from svcsim.results.expectations import Verdict
from svcsim.results.metrics import measure, metric_named
from svcsim.results.records import Outcome
from svcsim.results.table import Rows, mode_rows, workload_rows
from svcsim.units import S, format_ns

WIDTH = 100
_MIN_LABEL = 12
_ONE_REPLICATION = "--replications 1"
"""How the line ends that replays one run."""
_LONGEST_BESIDE = 40
"""Longer names of scenarios stand above the facts, not beside them."""
_MAX_LABEL = 16
_NARROWEST = 40
_LEAST_ROOM = 24
"""Columns that the reasons of failures need beside the times."""
_INTERVALS = ("latency.p50", "latency.p99", "latency.p999", "success")

_SUBSTITUTES = str.maketrans(
    {"·": "|", "…": "...", "–": "-", "−": "-", "∞": "inf", "µ": "u", "±": "+/-", "━": "=", "─": "-", "×": "x"}
)
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Ink:
    """Emphasis: escape sequences for a terminal, nothing otherwise; and how wide a line may be."""

    on: bool = False
    width: int = WIDTH

    def bold(self, text: str) -> str:
        """Strong."""
        return f"\x1b[1m{text}\x1b[0m" if self.on else text

    def dim(self, text: str) -> str:
        """In the background."""
        return f"\x1b[2m{text}\x1b[0m" if self.on else text

    def good(self, text: str) -> str:
        """As it should be."""
        return f"\x1b[32m{text}\x1b[0m" if self.on else text

    def bad(self, text: str) -> str:
        """Not as it should be."""
        return f"\x1b[1;31m{text}\x1b[0m" if self.on else text


def ink_for(stream: TextIO) -> Ink:
    """Emphasis where the stream is a terminal that wants it, and lines that fit it."""
    if not stream.isatty():
        return Ink()
    columns = shutil.get_terminal_size((WIDTH, 24)).columns
    on = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return Ink(on, max(_NARROWEST, min(WIDTH, columns)))


def printable(text: str, stream: TextIO) -> str:
    """The text with signs that the stream's encoding lacks replaced by ones that it has."""
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_SUBSTITUTES).encode(encoding, "replace").decode(encoding)
    return text


@dataclass(frozen=True, slots=True)
class Scene:
    """What was simulated, for the header."""

    scenario: str
    nodes: int
    pods: int
    services: int
    duration_ns: int
    seed: int
    profile: str
    unmeasured_costs: int = 0
    replications: int = 1


def header(scene: Scene, ink: Ink = Ink()) -> str:
    """The line before anything runs."""
    facts = [
        _count(scene.nodes, "node"),
        _count(scene.pods, "pod"),
        _count(scene.services, "Service"),
        f"{scene.duration_ns / S:g} s",
        f"seed {scene.seed}",
    ]
    if scene.replications > 1:
        facts.append(f"{scene.replications} replications")
    if scene.profile:
        facts.append(f"costs {scene.profile}")
    beside = len(scene.scenario) <= _LONGEST_BESIDE
    indent = " " * (len(scene.scenario) + 3 if beside else 3)
    room = ink.width - len(indent)
    lines = textwrap.wrap(" · ".join(facts), room, break_long_words=False, break_on_hyphens=False)
    name = ink.bold(shortened(scene.scenario, ink.width))
    text = (f"{name}   " if beside else f"{name}\n{indent}") + f"\n{indent}".join(lines)
    if scene.unmeasured_costs:
        note = f"{scene.unmeasured_costs} of the costs used are derived, published or assumed, not measured"
        text += "".join(f"\n{indent}{ink.dim(line)}" for line in textwrap.wrap(note, room))
    return text


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def report(comparison: Comparison, verdicts: Sequence[Verdict] = (), ink: Ink = Ink()) -> str:
    """Everything that is said of results: table, intervals, notes, faults, expectations."""
    blocks = [
        mode_table(comparison, ink), workload_table(comparison, ink), intervals(comparison, ink), notes(comparison, ink)
    ]
    blocks += [anatomy_block(fault.fault, fault.began_ns, lanes, ink) for fault, lanes in fault_lanes(comparison)]
    blocks.append(reasons_block(comparison, ink))
    blocks.append(expectations_block(verdicts, comparison, ink))
    return "\n\n".join(block for block in blocks if block)


def mode_table(comparison: Comparison, ink: Ink = Ink()) -> str:
    """The table a mode: requests, success, latencies of successes, CPU of the proxies, balance."""
    return table(mode_rows(comparison.variants), ink)


def workload_table(comparison: Comparison, ink: Ink = Ink()) -> str:
    """The table a workload and mode, where there are several workloads; what they share is in the table a mode."""
    rows = workload_rows(comparison.variants)
    return table(rows, ink) if rows else ""


def table(rows: Rows, ink: Ink, left: Sequence[int] = (0,)) -> str:
    """Rows in columns, the first row a heading; those columns that `left` names are set to the left.

    What is too wide for a narrow terminal goes on below: further columns, behind the first one again.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    if ink.width < WIDTH and sum(widths) + 2 * (len(widths) - 1) > ink.width and len(widths) > 2:
        room, used, fitting = ink.width - min(widths[0], _MAX_LABEL), 0, 1
        while fitting < len(widths) - 1 and (used := used + 2 + widths[fitting]) <= room:
            fitting += 1
        fitting = max(2, fitting)
        parts = [[(row[0], *row[1:fitting]) for row in rows], [(row[0], *row[fitting:]) for row in rows]]
        beyond = [column - fitting + 1 for column in left if column >= fitting]
        lefts = [[column for column in left if column < fitting], [0, *beyond]]
        return "\n\n".join(table(part, ink, set_left) for part, set_left in zip(parts, lefts, strict=True) if len(part[0]) > 1)
    others, gaps = sum(widths[1:]), len(widths) - 1
    gap = next((gap for gap in (3, 2) if widths[0] + others + gap * gaps <= ink.width), 1)
    widths[0] = min(widths[0], max(_MIN_LABEL, ink.width - others - gap * gaps))
    firsts = [shortened(rows[0][0], widths[0]), *told_apart([row[0] for row in rows[1:]], widths[0])]
    lines = []
    for index, row in enumerate(rows):
        cells = [firsts[index].ljust(widths[0])]
        for column, (cell, width) in enumerate(zip(row[1:], widths[1:], strict=True), start=1):
            cells.append(cell.ljust(width) if column in left else cell.rjust(width))
        line = (" " * gap).join(cells).rstrip()
        lines.append(ink.bold(line) if index == 0 else line)
    return "\n".join(lines)


def told_apart(labels: Sequence[str], limit: int) -> list[str]:
    """Labels of at most so many characters: where one is longer, parts that all have in common go first.

    >>> told_apart(["replicas=2/seed=1", "replicas=4/seed=1"], 12)
    ['replicas=2', 'replicas=4']
    """
    if max(map(len, labels), default=0) <= limit:
        return list(labels)
    parts = [label.split("/") for label in labels]
    if len(labels) > 1 and len({len(each) for each in parts}) == 1:
        telling = [column for column in range(len(parts[0])) if len({each[column] for each in parts}) > 1]
        if telling:
            parts = [[each[column] for column in telling] for each in parts]
    return [shortened("/".join(each), limit) for each in parts]


def shortened(label: str, limit: int) -> str:
    """A label with its middle left out if it is longer than the limit."""
    if len(label) <= limit:
        return label
    head = (limit - 1) // 2
    return f"{label[:head]}…{label[len(label) - (limit - 1 - head):]}"


def intervals(comparison: Comparison, ink: Ink = Ink()) -> str:
    """Means over replications with 95% intervals; nothing for a single one."""
    rows: Rows = [("mean ± 95%", *(metric.removeprefix("latency.") for metric in _INTERVALS))]
    rows += [row for variant in comparison if (row := _interval_row(variant))]
    rows[0] = tuple(cell.replace("p999", "p99.9").replace("success", "succeeded") for cell in rows[0])
    return table(rows, ink) if len(rows) > 1 else ""


def _interval_row(variant: Variant) -> tuple[str, ...]:
    if len(variant.runs) < 2:
        return ()
    cells = [variant.label]
    for name in _INTERVALS:
        sampled = all(run.measured.successes for run in variant.runs)
        interval = t_interval([measure([run], name) for run in variant.runs]) if sampled else None
        text = metric_named(name).text
        if interval is None:
            cells.append("–")
        elif name == "success":
            cells.append(f"{100 * interval.mean:.3f}% ± {100 * interval.half_width:.3f}")
        else:
            cells.append(f"{text(interval.mean)} ± {format_ns(interval.half_width)}")
    return tuple(cells)


def notes(comparison: Comparison, ink: Ink = Ink()) -> str:
    """Sentences that the simulation has for the reader, each with the modes that it is about."""
    about: dict[str, list[str]] = {}
    for variant in comparison:
        for entry in variant.runs[0].journal.entries:
            if entry.kind is Happening.NOTE:
                sentence = str(entry.detail.get("text", entry.subject))
                modes = about.setdefault(sentence, [])
                if variant.label not in modes:
                    modes.append(variant.label)
            elif entry.kind is Happening.CONNTRACK_FULL:
                modes = about.setdefault(f"conntrack table full on {entry.subject}", [])
                if variant.label not in modes:
                    modes.append(variant.label)
    lines = []
    for sentence, modes in about.items():
        everywhere = len(modes) == len(comparison)
        text = sentence if everywhere else f"{', '.join(modes)}: {sentence}"
        wrapped = textwrap.wrap(text, ink.width - 6)
        lines += [f"{ink.dim('note')}  {wrapped[0]}", *(f"      {line}" for line in wrapped[1:])]
    return "\n".join(lines)


_ANATOMY_HEADINGS = ("mode", "not ready", "endpoints", "nodes synced", "last bad", "failed (why)")


def anatomy_block(fault: str, began_ns: int, lanes: Iterable[Lane], ink: Ink = Ink()) -> str:
    """One fault: when it was seen, answered and over, and what it cost, a line a mode.

    Over several replications times are medians and counts are means.
    """
    lanes = list(lanes)
    labels = told_apart([one.label for one in lanes], _MAX_LABEL)
    rows = [((label, *_times(one)), one) for label, one in zip(labels, lanes, strict=True)]
    widths = [
        max(len(heading), *(len(cells[column]) for cells, _ in rows), 0)
        for column, heading in enumerate(_ANATOMY_HEADINGS[:-1])
    ]
    room = ink.width - 2 - sum(widths) - 2 * len(widths)
    lines = [ink.bold(line) for line in textwrap.wrap(f"{began_ns / S:g} s  {fault}", ink.width, subsequent_indent="      ")]
    if room < _LEAST_ROOM:
        lines += table([_ANATOMY_HEADINGS[:-1], *(cells for cells, _ in rows)], ink, left=range(len(widths))).splitlines()
        for label, one in zip(labels, lanes, strict=True):
            lines += textwrap.wrap(f"{label} failed: {why(one)}", ink.width, subsequent_indent="  ", break_on_hyphens=False)
        return "\n".join(lines)
    headings = _ANATOMY_HEADINGS
    if any(one.replications > 1 for _, one in rows):
        headings = (*_ANATOMY_HEADINGS[:-1], "failed a run (why)")
    heading = "  ".join(cell.ljust(width) for cell, width in zip(headings, (*widths, 0), strict=True))
    lines.append(ink.dim(f"  {heading.rstrip()}"))
    for cells, one in rows:
        columns = [[cell] for cell in cells]
        if one.synced_nodes and one.synced_nodes < one.nodes:
            columns[3].append(f"({one.synced_nodes} of {one.nodes} nodes)"[: widths[3]])
        columns.append(textwrap.wrap(why(one), room, break_on_hyphens=False))
        for parts in zip_longest(*columns, fillvalue=""):
            line = "  ".join(part.ljust(width) for part, width in zip(parts, (*widths, 0), strict=True))
            lines.append(f"  {line}".rstrip())
    return "\n".join(lines)


def _times(one: Lane) -> tuple[str, str, str, str]:
    def text(ns: float | None) -> str:
        return "–" if ns is None else elapsed(ns)

    synced = text(one.first_synced_ns)
    if one.last_synced_ns is not None and one.last_synced_ns != one.first_synced_ns:
        synced = f"{synced} … {text(one.last_synced_ns)}"
    return text(one.detected_ns), text(one.endpoints_ns), synced, text(one.last_failure_ns)


def why(one: Lane) -> str:
    """How many requests failed and in which way, such as `145 (133 refused, 12 connect time-out)`."""
    reasons = ", ".join(f"{counted(count)} {outcome.words}" for outcome, count in one.reasons.items())
    facts = [reasons] if reasons else []
    if one.in_flight:
        facts.append(f"{counted(one.in_flight)} in flight")
    if one.redialed:
        facts.append(f"{counted(one.redialed)} dial{'s' if one.redialed > 1 else ''} retried")
    return f"{counted(one.failures)} ({'; '.join(facts)})" if facts else counted(one.failures)


def reasons_block(comparison: Comparison, ink: Ink = Ink()) -> str:
    """Failures by reason, a line a mode, over all measured requests; nothing if none failed."""
    gone = sum(variant.measured.outcomes.get(Outcome.CLIENT_GONE, 0) for variant in comparison)
    never_sent = ink.dim(f"{gone:,} requests were never sent: their client was gone") if gone else ""
    by_mode = reasons_rows(comparison)
    if not by_mode:
        return never_sent
    by_reason = list(zip(*by_mode, strict=True))
    tables = [table(by_mode, ink), table(by_reason, ink)]
    narrower = min(tables, key=lambda text: max(ink.width, *(len(visible(line)) for line in text.splitlines())))
    return f"{narrower}\n{never_sent}" if gone else narrower


def reasons_rows(comparison: Comparison) -> Rows:
    """A row of headings and a row a mode: failures in all and by reason; no row if none failed."""
    outcomes = sorted({outcome for variant in comparison for outcome in variant.measured.reasons})
    if not outcomes:
        return []
    rows: Rows = [("failed", "in all", *(outcome.words for outcome in outcomes))]
    for variant in comparison:
        counts = (variant.measured.reasons.get(outcome, 0) for outcome in outcomes)
        rows.append((variant.label, f"{variant.measured.failures:,}", *(f"{count:,}" for count in counts)))
    return rows


def expectations_block(verdicts: Sequence[Verdict], comparison: Comparison, ink: Ink = Ink()) -> str:
    """How many expectations hold; each that doesn't, with its value and the line that replays its run."""
    if not verdicts:
        return ""
    expectations = list(dict.fromkeys(verdict.expectation for verdict in verdicts))
    failing = [verdict for verdict in verdicts if not verdict.holds]
    broken = {verdict.expectation for verdict in failing}
    count = f"{len(expectations) - len(broken)} of {len(expectations)}"
    lines = [f"expect  {ink.bad(count + ' hold') if failing else ink.good(count + ' hold')}"]
    for expectation in dict.fromkeys(verdict.expectation for verdict in failing):
        values = ", ".join(f"{one.text} in {one.mode}" for one in failing if one.expectation == expectation)
        wrapped = textwrap.wrap(f"{expectation}: it is {values}", ink.width - 9, break_on_hyphens=False)
        lines += [f"  {ink.bad('fails')}  {wrapped[0]}", *(f"         {line}" for line in wrapped[1:])]
    replays = dict.fromkeys(_replay(comparison[verdict.mode]) for verdict in failing)
    lines += [f"  replay with: {replay}" for replay in replays if replay]
    return "\n".join(lines)


def _replay(variant: Variant) -> str:
    """The line that runs a variant again, with all of its replications: a verdict is on them together."""
    one = variant.runs[0].provenance.replay
    return one.removesuffix(_ONE_REPLICATION) + f"--replications {len(variant.runs)}" if one.endswith(_ONE_REPLICATION) else one


def footer(folder: Path | None, html: Path | None = None) -> str:
    """Where the results are."""
    if folder is None:
        return ""
    return f"results in {folder}" + (f", report in {html}" if html is not None else "")


def visible(text: str) -> str:
    """A text without its escape sequences."""
    return _ESCAPE.sub("", text)
