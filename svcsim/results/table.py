"""The table a mode, as text cells that the terminal, the notebook and the report set in their own way."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from svcsim.results.records import Outcome
from svcsim.units import format_ns

if TYPE_CHECKING:
    from svcsim.results.comparison import Variant
    from svcsim.results.selection import Selection

Rows = list[tuple[str, ...]]

HEADINGS = (
    "mode", "requests", "succeeded", "p50", "p90", "p99", "p99.9", "max", "proxy CPU", "busiest/mean"
)


WORKLOAD_HEADINGS = ("requests", "succeeded", "p50", "p99", "max", "failed most")


def mode_rows(variants: Sequence[Variant]) -> Rows:
    """A row of headings and one row a variant; latencies are over successes, replications are pooled."""
    return [HEADINGS, *(_row(variant) for variant in variants)]


def _row(variant: Variant) -> tuple[str, ...]:
    selection = variant.measured
    latency = selection.latency
    return (
        variant.label,
        f"{len(selection):,}",
        percent(selection.success),
        *(format_ns(latency.quantile(share)) for share in (0.5, 0.9, 0.99, 0.999, 1.0)),
        format_ns(variant.proxy_cpu_ns),
        ratio(variant.balance),
    )


def workload_rows(variants: Sequence[Variant]) -> Rows:
    """A row of headings and one row a workload and variant; none where there are fewer than two workloads."""
    names = variants[0].measured.names.workloads if variants else ()
    if len(names) < 2:
        return []
    several = len(variants) > 1
    width = max(len("workload"), *map(len, names)) + 2
    rows: Rows = [("workload".ljust(width) + "mode" if several else "workload", *WORKLOAD_HEADINGS)]
    for name in names:
        for place, variant in enumerate(variants):
            label = ("" if place else name).ljust(width) + variant.label if several else name
            selection = variant.measured.of_workload(name)
            rows.append((
                label, f"{len(selection):,}", percent(selection.success),
                *(format_ns(selection.latency.quantile(share)) for share in (0.5, 0.99, 1.0)),
                worst_reason(selection.reasons),
            ))
    return rows


def selection_rows(selection: Selection) -> Rows:
    """The headings and figures of some requests of one run."""
    quantiles = (format_ns(selection.latency.quantile(share)) for share in (0.5, 0.99, 1.0))
    figures = (f"{len(selection):,}", percent(selection.success), *quantiles, worst_reason(selection.reasons))
    return [WORKLOAD_HEADINGS, figures]


def worst_reason(reasons: Mapping[Outcome, int]) -> str:
    """The most frequent reason for failures with its count; a dash without failures."""
    if not reasons:
        return "–"
    reason = max(reasons, key=lambda each: (reasons[each], -each))
    return f"{reasons[reason]:,} {reason.words}"


def percent(share: float) -> str:
    """A share as a percentage that says 100% only for all of them and 0% only for none; a dash for NaN."""
    if math.isnan(share):
        return "–"
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    text = f"{100 * share:.2f}"
    if text == "100.00":
        return ">99.99%"
    return "<0.01%" if text == "0.00" else f"{text}%"


def ratio(value: float) -> str:
    """A ratio with two decimals; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def html_table(rows: Rows, heads: Collection[int] = (0,)) -> str:
    """A table whose columns but the first are figures; the rows at the places `heads` are headings."""
    lines = ["<table>"]
    for index, row in enumerate(rows):
        tag = "th" if index in heads else "td"
        cells = "".join(
            f'<{tag} style="text-align:{"left" if column == 0 else "right"}">{html.escape(cell)}</{tag}>'
            for column, cell in enumerate(row)
        )
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</table>")
    return "\n".join(lines)
