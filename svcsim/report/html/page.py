"""The page: texts and tables as HTML, numbers as one JSON document, style and scripts from `assets/`, all in one file.

Whatever comes from a scenario is escaped: as text by `html.escape`, in the JSON by writing `<`, `>` and `&` as escapes, so that
no name can end the script element. The scripts set it as text. A content security policy in the page forbids every request.
The bytes are a function of the results alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from svcsim.report.causes import slowest
from svcsim.report.html.figures import charts
from svcsim.report.html.frames import cluster
from svcsim.report.html.words import Judged, best_words, caution, expectation_words, fault_words
from svcsim.report.terminal import reasons_rows
from svcsim.results.comparison import Comparison
from svcsim.results.table import Rows, mode_rows, workload_rows
from svcsim.units import S

_SCRIPTS = ("draw.js", "charts.js", "cluster.js", "start.js")
_EXPLAINED = 12
_MAX_CLUSTERS = 12
"""So many variants are drawn over time; a page of more would grow without end."""
_SLOT = re.compile(r"@([a-z_]+)@")


def page(comparison: Comparison, judgements: Sequence[Judged], scenario_text: str) -> str:
    """The report as one HTML document."""
    provenance = comparison.results[0].provenance
    title = provenance.scenario or "run"
    several = len(comparison) > 1
    faults = fault_words(comparison)
    numbers = {
        "charts": charts(comparison),
        "cluster": [cluster(variant.runs[0]) for variant in comparison.variants[:_MAX_CLUSTERS]],
        "first": _most_telling(comparison),
    }
    slots = {
        "title": escape(f"{title} – svcsim"),
        "scenario": escape(title),
        "facts": escape(_facts(comparison)),
        "style": _asset("style.css"),
        "contents": _contents(several, bool(faults)),
        "verdict": _verdict(comparison, judgements, faults),
        "modes_title": "Modes side by side" if several else "Figures",
        "modes": table(mode_rows(comparison.variants)),
        "more": _titled("Failed requests by reason", reasons_rows(comparison))
        + _titled("By workload", workload_rows(comparison.variants)),
        "drawn": _drawn(len(numbers["cluster"]), len(comparison)),
        "anatomy": _ANATOMY if faults else "",
        "explained": _explained(comparison),
        "provenance": _provenance(comparison, scenario_text),
        "data": as_json(numbers),
        "script": "\n".join(_asset(name) for name in _SCRIPTS),
    }
    return _SLOT.sub(lambda match: slots[match[1]] if match[1] in slots else match[0], _asset("page.html"))


def _drawn(drawn: int, variants: int) -> str:
    """What is to be said where not all variants have a drawing."""
    return "" if drawn == variants else f'<p class="muted">Drawn are the first {drawn} of {variants} variants.</p>'


_ANATOMY = """<section id="anatomy"><h2>Failover anatomy</h2>
<p class="muted">What the control plane did after each fault, and which requests failed.</p>
<div class="legend" id="anatomy-legend"></div>
<div id="anatomy-chart"></div>
</section>"""


def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def as_json(document: Any) -> str:
    """JSON that is safe inside a script element.

    >>> as_json({"a": "</script>"})
    '{"a":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _facts(comparison: Comparison) -> str:
    first = comparison.results[0]
    facts = [f"{first.duration_ns / S:g} s simulated", f"{len(first.measured):,} requests a run", f"seed {first.provenance.seed}"]
    runs = max(len(variant.runs) for variant in comparison)
    if runs > 1:
        facts.append(f"{runs} replications")
    if first.provenance.profile:
        facts.append(f"costs {first.provenance.profile}")
    return " · ".join(facts)


def _most_telling(comparison: Comparison) -> str:
    """The mode that the page draws first: the one in which most failed."""
    drawn = comparison.variants[:_MAX_CLUSTERS]
    return max(drawn, key=lambda variant: variant.measured.failures).label


def _contents(several: bool, faults: bool) -> str:
    links = [("verdict", "Verdict"), ("modes", "Modes" if several else "Figures"), ("latency", "Latency"),
             ("timeline", "Cluster over time")]
    if faults:
        links.append(("anatomy", "Failover anatomy"))
    links += [("slowest", "Slowest requests"), ("balance", "Balance"), ("provenance", "Provenance")]
    return "\n".join(f'<a href="#{target}">{text}</a>' for target, text in links)


def _paragraphs(sentences: Sequence[str]) -> str:
    return "".join(f"<p>{_code(sentence)}</p>" for sentence in sentences if sentence)


def _code(sentence: str) -> str:
    """Escaped, with what stands in backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(sentence))


def _verdict(comparison: Comparison, judgements: Sequence[Judged], faults: Sequence[tuple[str, str]]) -> str:
    state = "" if not judgements else " good" if all(each.holds for each in judgements) else " bad"
    parts = [f'<div class="verdict{state}"><p class="headline">{escape(expectation_words(judgements))}</p>']
    parts += [_paragraphs(best_words(comparison)), "</div>"]
    parts += [f"<h3>{escape(heading)}</h3><p>{escape(text)}</p>" for heading, text in faults]
    if not faults:
        parts.append("<p>No fault was injected.</p>")
    parts.append(f'<p class="muted">{_code(caution(comparison))}</p>')
    if judgements:
        rows = "".join(
            f'<tr><td class="{"held" if each.holds else "broken"}">{"holds" if each.holds else "fails"}</td>'
            f"<td>{escape(each.expectation)}</td><td>{escape(each.mode)}</td><td>{escape(each.value)}</td></tr>"
            for each in judgements
        )
        summary = f"<summary>{len(judgements)} figure{'s' if len(judgements) > 1 else ''} checked</summary>"
        head = "<tr><th>verdict</th><th>expected</th><th>mode</th><th>it is</th></tr>"
        opened = "" if state == " good" else " open"
        parts.append(f'<details{opened}>{summary}<table class="texts">{head}{rows}</table></details>')
    return "\n".join(parts)


def _titled(title: str, rows: Rows) -> str:
    return f'<h3>{title}</h3><div class="scroll">{table(rows)}</div>' if rows else ""


def table(rows: Rows) -> str:
    """A table with headings; rows in the order given."""
    lines = ["<table>", "<thead><tr>", *(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0]), "</tr></thead><tbody>"]
    for row in rows[1:]:
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    return "".join([*lines, "</tbody></table>"])


def _explained(comparison: Comparison) -> str:
    """The slowest requests in words, as `svcsim explain` says them."""
    found = slowest(comparison, _EXPLAINED + 1, one_of_a_kind=True)
    several = f"The slowest of each mode and outcome, of these the {_EXPLAINED} slowest"
    kinds = several if len(found) > _EXPLAINED else "The slowest of each mode and outcome"
    if not found:
        return ""
    items = []
    for each in found[:_EXPLAINED]:
        lines = [f"<p><strong>{escape(each.headline)}</strong></p>", f'<p class="muted">{escape(each.time_words)}</p>']
        lines += [f"<p>{escape(reason)}</p>" for reason in each.reasons]
        items.append(f"<li>{''.join(lines)}</li>")
    hint = f"{kinds}; <code>svcsim explain</code> says the same of as many as you like."
    return f'<h3>The slowest requests, explained</h3><p class="muted">{hint}</p><ol class="explained">{"".join(items)}</ol>'


def _provenance(comparison: Comparison, scenario_text: str) -> str:
    told = comparison.results[0].provenance
    count = told.unmeasured_costs
    unmeasured = f"{count} derived, published or assumed, not measured" if count else "all measured"
    seeds = ", ".join(str(run.provenance.seed) for run in comparison.variants[0].runs)
    facts = [
        ("scenario", f"{told.scenario}, hash {told.scenario_hash}"), ("seed", seeds), ("cost profile", told.profile),
        ("costs used", unmeasured), ("versions", f"svcsim {told.svcsim}, Python {told.python}, NumPy {told.numpy}"),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    runs = "".join(
        f"<tr><td>{escape(run.label)}</td><td>{run.replication + 1}</td><td><code>{run.fingerprint}</code></td>"
        f"<td><code>{escape(run.provenance.replay)}</code></td></tr>"
        for run in comparison.results
    )
    head = "<tr><th>mode</th><th>replication</th><th>fingerprint</th><th>replay with</th></tr>"
    text = f"<summary>the resolved scenario</summary><pre>{escape(scenario_text)}</pre>" if scenario_text else ""
    text = f"<details>{text}</details>" if text else ""
    return f'<dl>{rows}</dl><details><summary>runs</summary><table class="texts">{head}{runs}</table></details>{text}'
