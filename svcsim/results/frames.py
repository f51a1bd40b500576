"""Results as pandas DataFrames: variants, faults and requests a row each, names in place of indices, times in nanoseconds.

pandas is an extra (`pip install "svcsim[notebook]"`): it is imported when a frame is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from svcsim.results.anatomy import FaultAnatomy
from svcsim.results.table import Rows, html_table
from svcsim.units import S, format_ns

if TYPE_CHECKING:
    from svcsim.results.comparison import Variant
    from svcsim.results.selection import Selection


def modes_frame(variants: Sequence[Variant]) -> Any:
    """A row a variant, indexed by its label; requests of replications are pooled, CPU and balance are means."""
    import pandas as pd

    rows = []
    for variant in variants:
        selection, latency = variant.measured, variant.latency
        rows.append({
            "mode": variant.label, "replications": len(variant.runs), "requests": len(selection), "failures": selection.failures,
            "success": selection.success, "p50_ns": latency.p50, "p90_ns": latency.p90, "p99_ns": latency.p99,
            "p999_ns": latency.p999, "max_ns": latency.max, "mean_ns": latency.mean, "proxy_cpu_ns": variant.proxy_cpu_ns,
            "balance": variant.balance,
        })
    return pd.DataFrame(rows).set_index("mode")


def requests_frame(selection: Selection) -> Any:
    """A row a request, as `Requests.to_pandas`, with names of workloads, endpoints and nodes; one without has none (NaN)."""
    import pandas as pd

    frame, names = selection.requests.to_pandas(), selection.names
    for column, known in (
        ("workload", names.workloads), ("endpoint", names.endpoints), ("client_node", names.nodes), ("server_node", names.nodes)
    ):
        codes = frame[column].to_numpy()
        frame[column] = pd.Categorical.from_codes(np.where((codes >= 0) & (codes < len(known)), codes, -1), list(known))
    return frame


HEADINGS = ("fault", "mode", "failed", "outage", "not ready", "endpoints updated", "last node synced", "why")


@dataclass(frozen=True, slots=True)
class Faults:
    """The anatomy of every fault in every variant and replication, as one table."""

    rows: tuple[tuple[str, int, FaultAnatomy], ...]
    """Label, replication and anatomy: fault by fault, each with its variants."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[str, int, FaultAnatomy]]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return "\n".join("  ".join(row) for row in self._text())

    def _repr_html_(self) -> str:
        return html_table(self._text())

    def _text(self) -> Rows:
        several = any(replication for _, replication, _ in self.rows)
        rows: Rows = [HEADINGS]
        told = -1
        for label, replication, fault in self.rows:
            name = "" if fault.index == told else f"{fault.began_ns / S:g} s  {fault.fault}"
            told = fault.index
            reached = (fault.since(at) for at in (fault.detected_ns, fault.endpoints_ns, fault.last_synced_ns))
            rows.append((
                name, f"{label} #{replication + 1}" if several else label, f"{fault.failures:,}", format_ns(fault.outage_ns),
                *("–" if at is None else f"+{format_ns(at)}" for at in reached),
                ", ".join(f"{count:,} {reason.words}" for reason, count in fault.reasons.items()),
            ))
        return rows

    def to_pandas(self) -> Any:
        """A pandas DataFrame, a row a fault, variant and replication; times since the fault in ns. Needs pandas."""
        import pandas as pd

        return pd.DataFrame([
            {
                "fault": fault.fault, "index": fault.index, "mode": label, "replication": replication, "began_ns": fault.began_ns,
                "requests": fault.requests, "failures": fault.failures, "outage_ns": fault.outage_ns,
                "unavailable_ns": fault.unavailable_ns,
                **{f"{name}_ns": fault.since(at) for name, at in (
                    ("detected", fault.detected_ns), ("endpoints_updated", fault.endpoints_ns),
                    ("first_synced", fault.first_synced_ns), ("last_synced", fault.last_synced_ns),
                    ("ready_again", fault.ready_again_ns),
                )},
                "in_flight": fault.in_flight, "redialed": fault.redialed,
                "reasons": ", ".join(f"{count} {reason.key}" for reason, count in fault.reasons.items()),
            }
            for label, replication, fault in self.rows
        ])
