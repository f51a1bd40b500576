"""One file that alone reproduces a run: manifests inlined, overrides applied, defaults written out."""

from __future__ import annotations

from typing import Any

from svcsim.scenario.faults import Apply
from svcsim.scenario.model import Scenario
from svcsim.units import duration_text
from svcsim.yamldump import dump, dump_line

MAX_SPREAD = 200
"""So many manifests are written with a line a field."""

_RAW = {"manifests", "compare"}


def resolved_data(scenario: Scenario) -> dict[str, Any]:
    """The complete scenario as plain data."""
    written = scenario.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=_RAW)
    origin = scenario.origin
    if not _compares(scenario, "kubernetes"):
        # A comparison of versions is one of their default modes, too, so that the mode stays open there.
        written["kubernetes"]["proxy"] = {"mode": scenario.kubernetes.mode, **_without(written["kubernetes"]["proxy"], "mode")}
    written["run"] = {
        "duration": written["run"]["duration"], "warmup": duration_text(scenario.run.measured_from_ns),
        **_without(written["run"], "duration", "warmup"),
    }
    if scenario.nodes and not _compares(scenario, "cluster.nodes"):
        nodes = [node.model_dump(mode="json", by_alias=True, exclude_none=True) for node in scenario.nodes]
        written["cluster"] = {"nodes": {"list": nodes}, **_without(written["cluster"], "nodes")}
    for fault, model in zip(written.get("faults", []), scenario.faults, strict=True):
        if isinstance(model, Apply):
            fault["apply"] = list(model.objects)
    if isinstance(origin.data.get("services"), dict):
        [written["services"]] = written["services"]
    manifests = [*(origin.data.get("manifests") or scenario.manifests), *origin.added]
    raw = {"manifests": manifests, "compare": dict(scenario.compare)}
    complete = {}
    for name, field in type(scenario).model_fields.items():
        key = field.alias or name
        value = raw[key] if key in raw else _pruned(written[key])
        # `workloads: []` says that there are none; left out, it would mean one with defaults.
        if value or key == "workloads":
            complete[key] = value
    return complete


def resolved_yaml(scenario: Scenario) -> str:
    """The complete scenario as the text of a scenario file; loading it gives the same scenario.

    Manifests by the hundred are written a line each.
    """
    data = resolved_data(scenario)
    manifests = data.get("manifests", ())
    if len(manifests) <= MAX_SPREAD:
        return dump(data)
    sections = []
    for key, value in data.items():
        if key == "manifests":
            sections.append("manifests:\n" + "".join(f"- {dump_line(item)}\n" for item in manifests))
        else:
            sections.append(dump({key: value}))
    return "".join(sections)


def _compares(scenario: Scenario, part: str) -> bool:
    """Whether a path of the comparison leads into a part, which then keeps the shape that the path counts on."""
    return any(path == part or path.startswith((f"{part}.", f"{part}[")) for path in scenario.compare)


def _without(data: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in names}


def _pruned(value: Any) -> Any:
    """Without empty containers that a default stands for; a list of failures to retry on may well be empty."""
    if isinstance(value, dict):
        pruned = {key: _pruned(item) for key, item in value.items()}
        return {key: item for key, item in pruned.items() if item not in ({}, [], "") or key == "on"}
    return [_pruned(item) for item in value] if isinstance(value, list) else value
