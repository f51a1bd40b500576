"""The documents of a folder of results: `summary.json` and `timeline.json`.

`summary.json`, schema `svcsim/summary/v1`; its keys are stable: a later version adds keys, it removes or
renames none.

- `schema`, `scenario`, `scenario_hash`, `versions` (svcsim, python, numpy), `profile`, `unmeasured_costs`;
- `modes`: one object a variant: `mode`, `replications`, and over the measured requests of all replications
  `requests`, `success`, `error_rate`, `outcomes`, `latency` and `latency_all` (`p50_ns` … `p999_ns`,
  `max_ns`, `mean_ns`), `parts` (means), `balance`, `proxy_cpu_ns`, `kernel_cpu_ns`, `workloads` (by name:
  requests, success, latency), and `intervals` (by metric: mean, low, high at 95%, from two replications on);
- `faults`: one object a fault: `index`, `fault`, `began_ns` and `modes` (by mode: one anatomy a replication,
  times counted from the fault's beginning);
- `expectations`: `expectation`, `mode`, `metric`, `value`, `holds`;
- `runs`: one object a run: `mode`, `replication`, `seed`, `fingerprint`, `records` (the file), `replay`,
  `duration_ns`, `warmup_ns`, `counters`.

A value that is infinite or has no sample is null. No time of the real world stands in it, so the same
scenario and seed give the same bytes.

`timeline.json`, schema `svcsim/timeline/v1`: `runs`, each with `mode`, `replication`, `entries` (the journal:
`at_ns`, `kind`, `subject`, `detail`), `endpoints` (by Service: `[at_ns, ready, total]`) and `slots`
(`width_ns`, `succeeded`, `failed`, `p50_ns`, `p99_ns`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from svcsim.engine.journal import Happening
from svcsim.results.anatomy import FaultAnatomy
from svcsim.results.comparison import Comparison, Variant, t_interval
from svcsim.results.expectations import Verdict
from svcsim.results.metrics import measure
from svcsim.results.result import Result
from svcsim.results.selection import QUANTILES, Latency, Selection
from svcsim.results.timeline import timeline

SUMMARY_SCHEMA = "svcsim/summary/v1"
TIMELINE_SCHEMA = "svcsim/timeline/v1"

INTERVALS = ("latency.p50", "latency.p90", "latency.p99", "latency.p999", "latency.mean",
             "success", "proxy_cpu")
"""Metrics whose intervals over replications the summary gives."""


def summary(
    comparison: Comparison,
    verdicts: Sequence[Verdict] = (),
    records: Mapping[tuple[str, int], str] | None = None,
) -> dict[str, Any]:
    """The document `summary.json`; `records` names the file of each (mode, replication)."""
    provenance = comparison.results[0].provenance
    return {
        "schema": SUMMARY_SCHEMA,
        "scenario": provenance.scenario,
        "scenario_hash": provenance.scenario_hash,
        "versions": {"svcsim": provenance.svcsim, "python": provenance.python, "numpy": provenance.numpy},
        "profile": provenance.profile,
        "unmeasured_costs": provenance.unmeasured_costs,
        "modes": [_mode(variant) for variant in comparison],
        "faults": _faults(comparison),
        "expectations": [
            {
                "expectation": str(verdict.expectation),
                "mode": verdict.mode,
                "metric": verdict.expectation.metric,
                "value": _number(verdict.value),
                "holds": verdict.holds,
            }
            for verdict in verdicts
        ],
        "runs": [_run(result, records or {}) for result in comparison.results],
    }


def dumps(document: Mapping[str, Any]) -> str:
    """A document as JSON text that is the same for the same content."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) else value


def _latency(latency: Latency) -> dict[str, float | int | None]:
    figures = {f"{name}_ns": _number(latency.quantile(share)) for name, share in QUANTILES.items()}
    return {**figures, "max_ns": _number(latency.max), "mean_ns": _number(latency.mean)}


def _selection(selection: Selection) -> dict[str, Any]:
    return {
        "requests": len(selection),
        "success": _number(selection.success),
        "error_rate": _number(selection.error_rate),
        "outcomes": {outcome.key: count for outcome, count in selection.outcomes.items()},
        "latency": _latency(selection.latency),
        "latency_all": _latency(selection.latency_all),
    }


def _mode(variant: Variant) -> dict[str, Any]:
    measured = variant.measured
    comparable = len(variant.runs) > 1 and all(run.measured.successes for run in variant.runs)
    intervals = {}
    for name in INTERVALS:
        values = [measure([run], name) for run in variant.runs] if comparable else []
        interval = t_interval(values)
        if interval is not None:
            intervals[name] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {
        "mode": variant.label,
        "replications": len(variant.runs),
        **_selection(measured),
        "parts": {part: _number(mean) for part, mean in measured.parts().items()},
        "balance": _number(variant.balance),
        "proxy_cpu_ns": _number(variant.proxy_cpu_ns),
        "kernel_cpu_ns": _number(sum(run.kernel_cpu_ns for run in variant.runs) / len(variant.runs)),
        "workloads": {name: _selection(measured.of_workload(name)) for name in measured.names.workloads},
        "intervals": intervals,
    }


def _faults(comparison: Comparison) -> list[dict[str, Any]]:
    first = next((result.faults for result in comparison.results if result.faults), ())
    return [
        {
            "index": fault.index,
            "fault": fault.fault,
            "began_ns": fault.began_ns,
            "modes": {
                variant.label: [_anatomy(found) for found in variant.fault(fault.index)]
                for variant in comparison
            },
        }
        for fault in first
    ]


def _anatomy(fault: FaultAnatomy) -> dict[str, Any]:
    return {
        "ended_ns": fault.since(fault.ended_ns),
        "detected_ns": fault.since(fault.detected_ns),
        "endpoints_updated_ns": fault.since(fault.endpoints_ns),
        "first_synced_ns": fault.since(fault.first_synced_ns),
        "last_synced_ns": fault.since(fault.last_synced_ns),
        "synced_nodes": fault.synced_nodes,
        "nodes": fault.nodes,
        "ready_again_ns": fault.since(fault.ready_again_ns),
        "last_failure_ns": fault.since(fault.last_bad_ns),
        "outage_ns": fault.outage_ns,
        "unavailable_ns": fault.unavailable_ns,
        "requests": fault.requests,
        "failures": fault.failures,
        "reasons": {outcome.key: count for outcome, count in fault.reasons.items()},
        "in_flight": fault.in_flight,
        "redialed": fault.redialed,
    }


def _run(result: Result, records: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    return {
        "mode": result.label,
        "replication": result.replication,
        "seed": result.provenance.seed,
        "fingerprint": result.fingerprint,
        "records": records.get((result.label, result.replication)),
        "replay": result.provenance.replay,
        "duration_ns": result.duration_ns,
        "warmup_ns": result.warmup_ns,
        "counters": asdict(result.counters),
    }


def timelines(comparison: Comparison) -> dict[str, Any]:
    """The document `timeline.json`."""
    return {"schema": TIMELINE_SCHEMA, "runs": [_timeline(result) for result in comparison.results]}


def _timeline(result: Result) -> dict[str, Any]:
    slots = timeline(result.requests, result.duration_ns)
    endpoints: dict[str, list[list[Any]]] = {}
    for entry in result.journal.entries:
        if entry.kind is Happening.ENDPOINTS_UPDATED:
            counts = [entry.at_ns, entry.detail.get("ready"), entry.detail.get("total")]
            endpoints.setdefault(entry.subject, []).append(counts)
    return {
        "mode": result.label,
        "replication": result.replication,
        "entries": [
            {"at_ns": entry.at_ns, "kind": str(entry.kind), "subject": entry.subject, "detail": entry.detail}
            for entry in result.journal.entries
        ],
        "endpoints": endpoints,
        "slots": {
            "width_ns": slots.slot_ns,
            "succeeded": slots.succeeded.tolist(),
            "failed": slots.failed.tolist(),
            "p50_ns": [_number(value) for value in slots.p50_ns.tolist()],
            "p99_ns": [_number(value) for value in slots.p99_ns.tolist()],
        },
    }


